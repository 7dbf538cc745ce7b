//! What keeps a server and has a name, by which it can be given up again: a channel that is listened to, a cursor, a
//! statement prepared by SQL.

use super::lexer::{Lexer, MOST_NAME, Token};
use super::{Cause, Pins};

/// One such thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) cause: Cause,
    pub(crate) name: Box<[u8]>,
}

/// What a text makes and gives up of them, if all of its statements are understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) made: Vec<Held>,
    pub(crate) given_up: Vec<Held>,
}

/// The causes that have names.
pub(super) fn named() -> Pins {
    [Cause::Listen, Cause::Hold, Cause::Prepare].into_iter().fold(Pins::NONE, |all, cause| all.union(cause.into()))
}

/// Reads a whole text. None where something may be made that has no name here: in a body, say.
pub(super) fn read(text: &[u8]) -> Option<Names> {
    let (mut lexer, mut at) = (Lexer::default(), 0);
    let (mut names, mut statement) = (Names::default(), Statement::default());
    while let Some(token) = lexer.next(text, &mut at).or_else(|| lexer.last()) {
        let word = match token {
            Token::Mark(b';') => {
                names.add(std::mem::take(&mut statement))?;
                continue;
            }
            Token::Word(span) => Piece::Word(lexer.bytes(span, text)),
            Token::Name(span) => Piece::Name(lexer.bytes(span, text)),
            Token::TextBegins(_) => Piece::Text,
            Token::Text(_) | Token::TextEnds => continue,
            Token::Numbered | Token::Mark(_) => Piece::Mark,
        };
        statement.add(word)?;
    }
    names.add(statement)?;
    (!lexer.is_unclear()).then_some(names)
}

#[derive(Clone, Copy)]
enum Piece<'a> {
    Word(&'a [u8]),
    Name(&'a [u8]),
    Text,
    Mark,
}

impl Piece<'_> {
    fn is(self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// As Postgres has it. None: it is none, or so long that Postgres cuts it.
    fn name(self) -> Option<Box<[u8]>> {
        match self {
            Self::Word(name) if name.len() < MOST_NAME => Some(name.to_ascii_lowercase().into()),
            Self::Name(name) if name.len() < MOST_NAME => Some(name.into()),
            _ => None,
        }
    }
}

/// A statement as far as it has come.
#[derive(Default)]
struct Statement {
    verb: Verb,
    name: Option<Box<[u8]>>,
    /// The word before is WITH.
    with: bool,
    /// It is a cursor that outlives its transaction, or a statement that has a name.
    holds: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Verb {
    #[default]
    None,
    Listen,
    Unlisten,
    Declare,
    Close,
    Prepare,
    Deallocate,
    /// One that does nothing of the kind.
    Other,
}

/// What others begin with. What runs a body is not among them.
const OTHERS: [&str; 23] = [
    "abort",
    "begin",
    "commit",
    "delete",
    "discard",
    "end",
    "execute",
    "fetch",
    "insert",
    "merge",
    "move",
    "notify",
    "release",
    "reset",
    "rollback",
    "savepoint",
    "select",
    "set",
    "show",
    "start",
    "table",
    "update",
    "values",
];

impl Verb {
    fn of(piece: Piece<'_>) -> Option<Self> {
        let verbs = [
            ("listen", Self::Listen),
            ("unlisten", Self::Unlisten),
            ("declare", Self::Declare),
            ("close", Self::Close),
            ("prepare", Self::Prepare),
            ("deallocate", Self::Deallocate),
        ];
        let known = verbs.into_iter().find(|(word, _)| piece.is(word)).map(|(_, verb)| verb);
        known.or_else(|| OTHERS.iter().any(|word| piece.is(word)).then_some(Self::Other))
    }
}

impl Statement {
    fn add(&mut self, piece: Piece<'_>) -> Option<()> {
        match (self.verb, &self.name) {
            (Verb::None, _) => self.verb = Verb::of(piece)?,
            (Verb::Other, _) => {}
            (Verb::Unlisten, None) if matches!(piece, Piece::Mark) => self.verb = Verb::Other,
            (Verb::Close | Verb::Deallocate, None) if piece.is("all") => self.verb = Verb::Other,
            (_, None) => self.name = Some(piece.name()?),
            (Verb::Prepare, Some(name)) if **name == *b"transaction" && matches!(piece, Piece::Text) => {
                self.verb = Verb::Other;
            }
            (Verb::Prepare, Some(_)) => self.holds = true,
            (Verb::Deallocate, Some(name)) if **name == *b"prepare" && piece.is("all") => self.verb = Verb::Other,
            (Verb::Deallocate, Some(name)) if **name == *b"prepare" => self.name = Some(piece.name()?),
            (Verb::Declare, Some(_)) => self.holds |= self.with && piece.is("hold"),
            (_, Some(_)) => return None,
        }
        self.with = piece.is("with");
        Some(())
    }
}

impl Names {
    fn add(&mut self, statement: Statement) -> Option<()> {
        let (made, cause) = match statement.verb {
            Verb::None | Verb::Other => return Some(()),
            Verb::Declare if !statement.holds => return Some(()),
            Verb::Prepare if !statement.holds => return None,
            Verb::Listen => (true, Cause::Listen),
            Verb::Declare => (true, Cause::Hold),
            Verb::Prepare => (true, Cause::Prepare),
            Verb::Unlisten => (false, Cause::Listen),
            Verb::Close => (false, Cause::Hold),
            Verb::Deallocate => (false, Cause::Prepare),
        };
        let held = Held { cause, name: statement.name? };
        if made {
            // It is there again.
            self.given_up.retain(|other| *other != held);
            self.made.push(held);
        } else {
            self.given_up.push(held);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Option<String> {
        let Names { made, given_up } = read(text.as_bytes())?;
        let tell = |sign: char, held: Held| format!("{sign}{}", String::from_utf8_lossy(&held.name));
        let made = made.into_iter().map(|held| tell('+', held));
        Some(made.chain(given_up.into_iter().map(|held| tell('-', held))).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_is_made_and_given_up_has_its_name() {
        for (text, expected) in [
            ("LISTEN Jobs", "+jobs"),
            ("unlisten \"Jobs\";", "-Jobs"),
            ("BEGIN;declare \"SQL_CUR0x1\" cursor with hold for select 1;fetch 10 in \"SQL_CUR0x1\"", "+SQL_CUR0x1"),
            ("close \"SQL_CUR0x1\";commit", "-SQL_CUR0x1"),
            ("DECLARE c CURSOR FOR SELECT 1", ""),
            ("DECLARE c NO SCROLL CURSOR WITHOUT HOLD FOR SELECT 1", ""),
            ("PREPARE p (int) AS SELECT $1 + 1; EXECUTE p (1); DEALLOCATE PREPARE p", "+p -p"),
            ("DEALLOCATE p; PREPARE p AS SELECT 1", "+p"),
            ("PREPARE transaction AS SELECT 1; DEALLOCATE prepare", "+transaction -prepare"),
            ("PREPARE TRANSACTION 'x'; UNLISTEN *; CLOSE ALL; DEALLOCATE ALL; DEALLOCATE PREPARE ALL; ROLLBACK", ""),
            ("", ""),
        ] {
            assert_eq!(told(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_may_make_more_is_not_understood() {
        let long = format!("LISTEN {}", "x".repeat(64));
        for text in
            ["LISTEN a; DO 'LISTEN b'", "EXPLAIN SELECT 1", "LISTEN", "LISTEN a b", "PREPARE p", "CALL f()", &long]
        {
            assert_eq!(told(text), None, "{text}");
        }
    }
}
