//! Watches the statements of a text go by.

use super::calls::Calls;
use super::kept::Kept;
use super::lexer::{Lexer, Quote, Token};
use super::word::Word;
use super::{Cause, Change, Effects};

/// How many changes are told. Behind them the text pins.
const MOST_CHANGES: usize = 1024;

/// How deep a body may lie within bodies and still be read.
const DEEPEST: u8 = 4;

/// How much of an argument is looked at: enough for every spelling of true.
const LITERAL: usize = 8;

/// Reads a text, whole or in parts, which may end anywhere.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    lexer: Lexer,
    effects: Effects,
    /// How many strings this text lies within. In a body statements begin at more than semicolons.
    level: u8,
    kind: Kind,
    /// Open parentheses of the statement.
    depth: u32,
    /// The tokens before this one, the last first, as far as they were words.
    before: [Word; 2],
    /// What it calls is called when it is executed or fetched from, and as often.
    later: bool,
    /// It makes something temporary, unless that turns out to last no longer than its transaction.
    temporary: bool,
    calls: Calls,
    kept: Kept,
    string: Text,
}

/// What kind of statement this is, or what is awaited of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// None yet.
    #[default]
    Empty,
    /// Such as need no watching of their own.
    Other,
    /// SET, RESET, DISCARD, DEALLOCATE.
    Kept,
    Listen,
    Load,
    Prepare,
    PrepareTransaction,
    Declare,
    Create,
    /// CREATE or ALTER of a function or procedure.
    Routine,
    Explain,
    Update,
    Do,
    /// In a body: runs a string, which comes next.
    Execute,
    /// In a body: runs what began with a string.
    Executed,
    /// GRANT and REVOKE, where EXECUTE is a privilege.
    Grant,
}

/// The string that is open.
#[derive(Debug, Default)]
enum Text {
    #[default]
    None,
    Ignored,
    /// An argument of a call of `set_config`: its length, and its beginning.
    Literal(usize, [u8; LITERAL]),
    /// Statements, to be read like this text.
    Body(Box<Reader>),
}

impl Reader {
    /// Reads on.
    pub(crate) fn read(&mut self, part: &[u8]) {
        let mut at = 0;
        while let Some(token) = self.lexer.next(part, &mut at) {
            self.token(token, part, at);
        }
        if self.kind == Kind::Kept {
            self.kept.add(part, part.len());
        }
        self.kept.begin_part();
    }

    /// The text is complete.
    pub(crate) fn finish(mut self) -> Effects {
        while let Some(token) = self.lexer.last() {
            self.token(token, &[], 0);
        }
        self.end_text();
        self.end_statement(&[], 0);
        if self.lexer.is_unclear() {
            self.pin(Cause::Unclear);
        }
        self.effects
    }

    fn pin(&mut self, cause: Cause) {
        self.effects.pins.add(cause);
    }

    /// The next token, which ends at `at` in `part`. Inlined where the parts are read, or each token goes through memory.
    #[inline(always)]
    fn token(&mut self, token: Token, part: &[u8], at: usize) {
        match token {
            Token::Word(span) => {
                let bytes = self.lexer.bytes(span, part);
                let word = Word::find(bytes);
                if self.level > 0 && self.depth == 0 && word.begins_statement() {
                    return self.end_statement(part, at);
                }
                if self.kind == Kind::Empty && word.is_kept() {
                    self.kept.begin(bytes, at);
                }
                self.word(word);
            }
            Token::Name(span) => {
                let word = Word::find_name(self.lexer.bytes(span, part));
                self.word(word);
            }
            Token::TextBegins(quote) => self.begin_text(quote),
            Token::Text(span) => self.string.add(self.lexer.bytes(span, part)),
            Token::Numbered => self.numbered(),
            Token::TextEnds => self.end_text(),
            Token::Mark(b';') if self.depth == 0 => return self.end_statement(part, at),
            Token::Mark(byte) => self.mark(byte),
        }
        if self.kind == Kind::Kept {
            self.kept.end_token(at);
        }
    }

    fn end_statement(&mut self, part: &[u8], at: usize) {
        if self.kind == Kind::Kept {
            self.kept.add(part, at);
            let (change, pins) = self.kept.read();
            self.effects.pins = self.effects.pins.union(pins);
            self.change(change);
        }
        if !self.calls.is_empty() {
            self.pin(Cause::SetConfig);
            self.calls = Calls::default();
        }
        if std::mem::take(&mut self.temporary) {
            self.pin(Cause::Temporary);
        }
        self.kind = Kind::Empty;
        self.depth = 0;
        self.before = [Word::Other; 2];
    }

    fn change(&mut self, change: Change) {
        if self.level == 0 && self.effects.changes.len() < MOST_CHANGES {
            self.effects.changes.push(change);
            return;
        }
        // No tag will tell whether it came to that.
        match change {
            Change::Nothing => {}
            Change::Deallocate(_) => self.pin(Cause::Prepare),
            _ => self.pin(Cause::Setting),
        }
    }

    /// A word, or a name in double quotes.
    fn word(&mut self, word: Word) {
        let before = self.before;
        self.before = [word, before[0]];
        match self.kind {
            Kind::Empty => {
                self.kind = Kind::of(word, self.level);
                self.later = self.level == 0 && matches!(word, Word::Prepare | Word::Declare);
            }
            Kind::Other if word == Word::Other && self.calls.is_empty() => return,
            Kind::Other | Kind::Explain | Kind::Executed if word == Word::Execute && self.level > 0 => {
                self.kind = Kind::Execute;
            }
            _ => self.watched(word, before[0]),
        }
        if !self.calls.is_empty() {
            self.calls.token(self.depth, word == Word::True);
        }
        match word {
            Word::Temp if is_into(before) => self.pin(Cause::Temporary),
            Word::Drop if before == [Word::Commit, Word::On] && self.depth == 0 => self.temporary = false,
            // Functions name it last on their path, so that nothing is looked for there.
            Word::PgTemp if self.kind != Kind::Routine => self.pin(Cause::Temporary),
            Word::PgSettings if self.kind == Kind::Update || before[0] == Word::Update => self.pin(Cause::Setting),
            _ => {}
        }
    }

    /// A word in a statement of a kind that is watched.
    fn watched(&mut self, word: Word, before: Word) {
        match (self.kind, word) {
            (Kind::Listen, _) => self.pin_for(Cause::Listen),
            (Kind::Prepare, Word::Transaction) => self.kind = Kind::PrepareTransaction,
            (Kind::Prepare | Kind::PrepareTransaction, _) => self.pin_for(Cause::Prepare),
            (Kind::Load, _) => self.kind = Kind::Other,
            (Kind::Declare, Word::Hold) if before == Word::With => self.pin(Cause::Hold),
            (Kind::Create, Word::Temp) if before.leads_to_temp() => self.temporary = true,
            (Kind::Create, Word::Function | Word::Procedure) if before.leads_to_routine() => self.kind = Kind::Routine,
            (Kind::Explain, Word::Create) => self.kind = Kind::Create,
            // What other languages run cannot be told.
            (Kind::Do, Word::PlPgSql | Word::Sql) => {}
            (Kind::Do, _) if before == Word::Language => self.pin(Cause::Unclear),
            (Kind::Execute, Word::Format) => {}
            (Kind::Execute, _) => {
                self.pin(Cause::Unclear);
                self.kind = Kind::Executed;
            }
            _ => {}
        }
    }

    /// Pins, and watches the statement no more.
    fn pin_for(&mut self, cause: Cause) {
        self.pin(cause);
        self.kind = Kind::Other;
    }

    fn mark(&mut self, byte: u8) {
        let before = self.before[0];
        self.before = [Word::Other; 2];
        match self.kind {
            Kind::PrepareTransaction => self.pin_for(Cause::Prepare),
            Kind::Execute if byte != b'(' => {
                self.pin(Cause::Unclear);
                self.kind = Kind::Executed;
            }
            Kind::Routine if byte == b'.' && before == Word::PgTemp => self.pin(Cause::Temporary),
            _ => {}
        }
        match byte {
            b'(' => self.open(before),
            b')' => {
                self.depth = self.depth.saturating_sub(1);
                if !self.calls.is_empty() && !self.calls.close(self.depth) {
                    self.pin(Cause::SetConfig);
                }
            }
            _ if self.calls.is_empty() => {}
            b',' => self.calls.comma(self.depth),
            _ => self.calls.token(self.depth, false),
        }
    }

    /// A parenthesis opens, behind a function's name perhaps.
    fn open(&mut self, function: Word) {
        let leaves = matches!(
            function,
            Word::AdvisoryLock | Word::Currval | Word::DblinkConnect | Word::Nextval | Word::SetConfig | Word::SetSeed
        );
        if self.later && leaves {
            self.pin(Cause::Unclear);
        }
        match function {
            Word::AdvisoryLock => self.pin(Cause::AdvisoryLock),
            Word::DblinkConnect => self.pin(Cause::Dblink),
            Word::Currval => self.pin(Cause::Currval),
            Word::Nextval => self.pin(Cause::Nextval),
            Word::SetSeed => self.pin(Cause::Seed),
            // A string, and whatever it is put together from.
            Word::RunText => self.pin(Cause::Unclear),
            Word::SetConfig if !self.calls.begin(self.depth) => self.pin(Cause::SetConfig),
            Word::SetConfig => {}
            _ => self.calls.token(self.depth, false),
        }
        self.depth = self.depth.saturating_add(1);
    }

    fn begin_text(&mut self, quote: Quote) {
        let is_body = match self.kind {
            Kind::Do | Kind::Execute | Kind::Executed => true,
            Kind::Routine => self.before[0] == Word::As,
            _ => false,
        };
        match self.kind {
            Kind::Load => self.pin_for(Cause::Load),
            Kind::Empty | Kind::Listen | Kind::Prepare | Kind::PrepareTransaction => self.kind = Kind::Other,
            Kind::Execute => self.kind = Kind::Executed,
            _ => {}
        }
        self.string = if is_body {
            self.body(quote)
        } else if self.calls.is_empty() {
            Text::Ignored
        } else {
            Text::Literal(0, [0; LITERAL])
        };
    }

    fn body(&mut self, quote: Quote) -> Text {
        // A string behind a string continues it.
        if self.level == DEEPEST || quote == Quote::Unicode || self.before[0] == Word::Body {
            self.pin(Cause::Unclear);
            return Text::Ignored;
        }
        Text::Body(Box::new(Self { level: self.level + 1, ..Self::default() }))
    }

    fn numbered(&mut self) {
        match &mut self.string {
            Text::None | Text::Ignored => {}
            Text::Literal(len, _) => *len += LITERAL,
            Text::Body(_) => self.pin(Cause::Unclear),
        }
    }

    fn end_text(&mut self) {
        let (word, is_true) = match std::mem::take(&mut self.string) {
            Text::None => return,
            Text::Ignored => (Word::Other, false),
            Text::Literal(len, bytes) => (Word::Other, bytes.get(..len).is_some_and(is_true)),
            Text::Body(reader) => {
                self.effects.pins = self.effects.pins.union(reader.finish().pins);
                (Word::Body, false)
            }
        };
        self.calls.token(self.depth, is_true);
        self.before = [word, Word::Other];
    }
}

impl Text {
    fn add(&mut self, bytes: &[u8]) {
        match self {
            Self::None | Self::Ignored => {}
            Self::Literal(len, head) => {
                for (place, byte) in head.iter_mut().skip(*len).zip(bytes) {
                    *place = *byte;
                }
                *len = len.saturating_add(bytes.len());
            }
            Self::Body(reader) => reader.read(bytes),
        }
    }
}

impl Kind {
    /// By the word that a statement begins with.
    fn of(word: Word, level: u8) -> Self {
        match word {
            Word::Alter | Word::Create => Self::Create,
            Word::Declare => Self::Declare,
            Word::Do => Self::Do,
            Word::Execute if level > 0 => Self::Execute,
            Word::Explain => Self::Explain,
            Word::Grant | Word::Revoke => Self::Grant,
            Word::Listen => Self::Listen,
            Word::Load => Self::Load,
            Word::Prepare => Self::Prepare,
            Word::Update => Self::Update,
            _ if word.is_kept() => Self::Kept,
            _ => Self::Other,
        }
    }
}

/// `INTO [LOCAL | GLOBAL]`, but for the one that says where rows go to.
fn is_into(before: [Word; 2]) -> bool {
    match before {
        [Word::Into, verb] => !matches!(verb, Word::Insert | Word::Merge),
        [Word::Local | Word::Global, Word::Into] => true,
        _ => false,
    }
}

/// Whether Postgres takes the string for true.
fn is_true(text: &[u8]) -> bool {
    let spellings: [&[u8]; 8] = [b"t", b"tr", b"tru", b"true", b"on", b"y", b"yes", b"1"];
    spellings.iter().any(|spelling| text.eq_ignore_ascii_case(spelling))
}
