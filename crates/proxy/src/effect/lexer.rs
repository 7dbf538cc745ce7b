//! Cuts SQL text into tokens as Postgres does (`src/backend/parser/scan.l`), wherever the parts it comes in end. It
//! holds on to one name, or to the delimiter of one dollar-quoted string; texts are handed on piece by piece, their
//! escapes taken away. No bytes are an error: what Postgres would refuse does nothing there.

pub(super) mod class;
mod text;

use class::{CLASS, Class, end_of_number, end_of_word};

/// How much of a name is kept. Postgres cuts names at 63 bytes, so that one of this size is too long.
pub(super) const MOST_NAME: usize = 64;

/// A dollar-quoted string's delimiter fits, if its tag is no longer than a name.
const HELD: usize = MOST_NAME + 2;

/// A token, or a piece of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A keyword or a name without quotes, as written.
    Word(Span),
    /// A name in double quotes, without them.
    Name(Span),
    /// A string constant begins.
    TextBegins(Quote),
    /// Some of what the string holds.
    Text(Span),
    /// An escape that stands for a character by its number.
    Numbered,
    TextEnds,
    /// A byte that is a token by itself or part of an operator; `0` for a number and `$` for a parameter.
    Mark(u8),
}

/// Where the bytes of a token are: see [`Lexer::bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Part(usize, usize),
    Held(usize),
}

/// How a string constant is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quote {
    /// `'…'`, also as `B'…'`, `X'…'` or `N'…'`.
    Single,
    /// `E'…'`
    Escape,
    /// `U&'…'`
    Unicode,
    /// `$tag$…$tag$`
    Dollar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Plain,
    /// In a word whose beginning is held.
    Word,
    Number,
    /// Behind `U&`, of which the letter is held.
    UnicodePrefix,
    Dash,
    Slash,
    LineComment,
    /// So deep, behind this byte.
    Comment(u32, u8),
    /// Behind a dollar and what is held of a tag.
    Dollar,
    Name,
    /// Behind a double quote in a name: its end, or the first of two.
    NameQuote,
    Text(Quote),
    TextQuote(Quote),
    TextEscape,
    DollarText,
    /// Behind so many bytes of what may be the closing delimiter.
    DollarClose(usize),
    /// A delimiter was too long to be kept: the rest cannot be told apart.
    Lost,
}

/// The state between two parts.
#[derive(Debug)]
pub(super) struct Lexer {
    state: State,
    held: [u8; HELD],
    held_len: usize,
    /// Behind an `E'…'` a plain quote continues it.
    behind_escape: bool,
    /// In an `E'…'`: the last byte was not ASCII.
    high: bool,
    /// In an `E'…'`: only backslashes came since such a byte. In some client encodings the first belongs to it.
    doubtful: bool,
    unclear: bool,
}

impl Default for Lexer {
    fn default() -> Self {
        Self {
            state: State::Plain,
            held: [0; HELD],
            held_len: 0,
            behind_escape: false,
            high: false,
            doubtful: false,
            unclear: false,
        }
    }
}

impl Lexer {
    /// The next token of `part`, from `at`, which moves behind it. None where the part ends; what is open then goes on
    /// with the next.
    #[inline]
    pub(super) fn next(&mut self, part: &[u8], at: &mut usize) -> Option<Token> {
        while *at < part.len() {
            let token = match self.state {
                State::Plain => self.plain(part, at),
                State::Text(quote) => self.text(quote, part, at),
                _ => self.resume(part, at),
            };
            if token.is_some() {
                return token;
            }
        }
        None
    }

    /// The token that only the end of the text ends, if there is one.
    pub(super) fn last(&mut self) -> Option<Token> {
        match std::mem::replace(&mut self.state, State::Plain) {
            State::Word | State::UnicodePrefix => Some(Token::Word(Span::Held(self.held_len))),
            State::Number => Some(Token::Mark(b'0')),
            State::Dash => Some(Token::Mark(b'-')),
            State::Slash => Some(Token::Mark(b'/')),
            State::Dollar => Some(Token::Mark(b'$')),
            State::NameQuote => Some(Token::Name(Span::Held(self.held_len))),
            State::TextQuote(_) => Some(Token::TextEnds),
            _ => None,
        }
    }

    /// The bytes of a token that `part` gave, until the next is asked for. Of a name no more than [`MOST_NAME`].
    pub(super) fn bytes<'a>(&'a self, span: Span, part: &'a [u8]) -> &'a [u8] {
        match span {
            Span::Part(from, to) => &part[from..to],
            Span::Held(len) => &self.held[..len],
        }
    }

    /// The text may mean another thing than the tokens say.
    pub(super) fn is_unclear(&self) -> bool {
        self.unclear
    }

    fn hold_anew(&mut self, bytes: &[u8]) {
        self.held_len = 0;
        self.hold(bytes);
    }

    fn hold(&mut self, bytes: &[u8]) {
        let len = bytes.len().min(MOST_NAME - self.held_len);
        self.held[self.held_len..][..len].copy_from_slice(&bytes[..len]);
        self.held_len += len;
    }

    #[inline]
    fn plain(&mut self, part: &[u8], at: &mut usize) -> Option<Token> {
        let from = *at;
        let byte = part[from];
        *at = from + 1;
        let class = CLASS[usize::from(byte)];
        match class {
            Class::Space => return None,
            Class::Dash => self.state = State::Dash,
            Class::Slash => self.state = State::Slash,
            Class::Word => {
                self.behind_escape = false;
                let end = end_of_word(part, from + 1);
                *at = end;
                if end == from + 1 || end == part.len() {
                    return self.short_or_cut(from, part, at);
                }
                return Some(Token::Word(Span::Part(from, end.min(from + MOST_NAME))));
            }
            Class::Quote => {
                let quote = if self.behind_escape { Quote::Escape } else { Quote::Single };
                return Some(self.begin(quote));
            }
            _ => self.behind_escape = false,
        }
        match class {
            Class::Digit => {
                self.state = State::Number;
                return self.number(part, at);
            }
            Class::DoubleQuote => {
                self.begin_name();
                return self.name(part, at);
            }
            Class::Dollar => {
                self.held_len = 0;
                self.state = State::Dollar;
            }
            Class::Mark => return Some(Token::Mark(byte)),
            _ => {}
        }
        None
    }

    /// A word that may be the prefix of a string, or that the part's end cuts.
    fn short_or_cut(&mut self, from: usize, part: &[u8], at: &mut usize) -> Option<Token> {
        if *at < part.len() {
            return self.word(Span::Part(from, *at), part, at);
        }
        self.hold_anew(&part[from..]);
        self.state = State::Word;
        None
    }

    /// What a word is, now that the byte behind it is known: a token, or the prefix of a string.
    fn word(&mut self, span: Span, part: &[u8], at: &mut usize) -> Option<Token> {
        self.state = State::Plain;
        let next = part[*at];
        if (next == b'\'' || next == b'&')
            && let &[letter] = self.bytes(span, part)
        {
            let quote = match (letter.to_ascii_lowercase(), next) {
                (b'e', b'\'') => Some(Quote::Escape),
                (b'b' | b'x' | b'n', b'\'') => Some(Quote::Single),
                (b'u', b'&') => None,
                _ => return Some(Token::Word(span)),
            };
            *at += 1;
            if quote.is_none() {
                self.hold_anew(&[letter]);
                self.state = State::UnicodePrefix;
            }
            return quote.map(|quote| self.begin(quote));
        }
        Some(Token::Word(span))
    }

    /// Goes on in any state but [`State::Plain`] and [`State::Text`].
    fn resume(&mut self, part: &[u8], at: &mut usize) -> Option<Token> {
        let byte = part[*at];
        match self.state {
            State::Word => {
                let from = *at;
                *at = end_of_word(part, from);
                self.hold(&part[from..*at]);
                if *at == part.len() { None } else { self.word(Span::Held(self.held_len), part, at) }
            }
            State::Number => self.number(part, at),
            State::UnicodePrefix => self.behind_prefix(byte, at),
            State::Dash if byte == b'-' => {
                self.state = State::LineComment;
                None
            }
            State::Dash => Some(self.mark(b'-')),
            State::Slash if byte == b'*' => {
                *at += 1;
                self.state = State::Comment(1, 0);
                None
            }
            State::Slash => Some(self.mark(b'/')),
            State::LineComment => {
                let end = part[*at..].iter().position(|byte| matches!(byte, b'\n' | b'\r'));
                *at = end.map_or(part.len(), |end| *at + end);
                if end.is_some() {
                    self.state = State::Plain;
                }
                None
            }
            State::Comment(depth, before) => {
                self.comment(depth, before, part, at);
                None
            }
            State::Name | State::NameQuote => self.name(part, at),
            State::Lost => {
                *at = part.len();
                None
            }
            _ => self.resume_text(part, at),
        }
    }

    fn number(&mut self, part: &[u8], at: &mut usize) -> Option<Token> {
        *at = end_of_number(part, *at);
        (*at < part.len()).then(|| self.mark(b'0'))
    }

    /// What was taken for the beginning of something is a token by itself.
    fn mark(&mut self, byte: u8) -> Token {
        self.behind_escape = false;
        self.state = State::Plain;
        Token::Mark(byte)
    }

    fn behind_prefix(&mut self, byte: u8, at: &mut usize) -> Option<Token> {
        match byte {
            b'\'' => {
                *at += 1;
                Some(self.begin(Quote::Unicode))
            }
            b'"' => {
                *at += 1;
                // It may be any name: its characters may be given by their numbers.
                self.unclear = true;
                self.begin_name();
                None
            }
            // The operator itself is of no interest.
            _ => {
                self.state = State::Plain;
                Some(Token::Word(Span::Held(self.held_len)))
            }
        }
    }

    fn comment(&mut self, mut depth: u32, mut before: u8, part: &[u8], at: &mut usize) {
        while *at < part.len() {
            let byte = part[*at];
            *at += 1;
            match (before, byte) {
                (b'*', b'/') if depth == 1 => {
                    self.state = State::Plain;
                    return;
                }
                (b'*', b'/') => (depth, before) = (depth - 1, 0),
                (b'/', b'*') => (depth, before) = (depth.saturating_add(1), 0),
                _ => before = byte,
            }
        }
        self.state = State::Comment(depth, before);
    }

    fn begin_name(&mut self) {
        self.held_len = 0;
        self.state = State::Name;
    }

    fn name(&mut self, part: &[u8], at: &mut usize) -> Option<Token> {
        let from = *at;
        if self.state == State::NameQuote {
            if part[from] != b'"' {
                self.state = State::Plain;
                return Some(Token::Name(Span::Held(self.held_len)));
            }
            *at += 1;
            self.hold(b"\"");
            self.state = State::Name;
            return None;
        }
        let end = part[from..].iter().position(|&byte| byte == b'"').map_or(part.len(), |end| from + end);
        if self.held_len == 0 && part.get(end + 1).is_some_and(|&byte| byte != b'"') {
            *at = end + 1;
            self.state = State::Plain;
            return Some(Token::Name(Span::Part(from, end.min(from + MOST_NAME))));
        }
        self.hold(&part[from..end]);
        *at = part.len().min(end + 1);
        if end < part.len() {
            self.state = State::NameQuote;
        }
        None
    }
}
