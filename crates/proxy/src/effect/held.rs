//! What keeps a server and has a name, by which it can be given up again: a channel that is listened to, a cursor, a
//! statement prepared by SQL.

use super::piece::{Deallocated, Piece, deallocated};
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

/// What statements begin with that do nothing of the kind. What runs a body is not among them.
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

/// Reads all of a text. None where something may be made that has no name here: in a body, say.
pub(super) fn read(text: &[Piece]) -> Option<Names> {
    let mut names = Names::default();
    for statement in text.split(|piece| piece.is_mark(b';')).filter(|statement| !statement.is_empty()) {
        names.add(statement)?;
    }
    Some(names)
}

impl Names {
    fn add(&mut self, statement: &[Piece]) -> Option<()> {
        match deallocated(statement) {
            Some(Deallocated::All) => return Some(()),
            Some(Deallocated::One(name)) => return self.give_up(Cause::Prepare, name),
            None => {}
        }
        let (verb, rest) = statement.split_first()?;
        match rest {
            [name] if verb.is("listen") => self.make(Cause::Listen, name),
            [all] if verb.is("unlisten") && all.is_mark(b'*') => Some(()),
            [name] if verb.is("unlisten") => self.give_up(Cause::Listen, name),
            [name, rest @ ..] if verb.is("declare") => {
                let holds = rest.windows(2).any(|words| words[0].is("with") && words[1].is("hold"));
                if holds { self.make(Cause::Hold, name) } else { Some(()) }
            }
            [all] if verb.is("close") && all.is("all") => Some(()),
            [name] if verb.is("close") => self.give_up(Cause::Hold, name),
            [transaction, Piece::Text(_)] if verb.is("prepare") && transaction.is("transaction") => Some(()),
            [name, _, ..] if verb.is("prepare") => self.make(Cause::Prepare, name),
            _ => OTHERS.iter().any(|word| verb.is(word)).then_some(()),
        }
    }

    fn make(&mut self, cause: Cause, name: &Piece) -> Option<()> {
        let held = Held { cause, name: name.name()?.into() };
        // It is there again.
        self.given_up.retain(|other| *other != held);
        self.made.push(held);
        Some(())
    }

    fn give_up(&mut self, cause: Cause, name: &Piece) -> Option<()> {
        self.given_up.push(Held { cause, name: name.name()?.into() });
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::piece::pieces;

    fn told(text: &str) -> Option<String> {
        let Names { made, given_up } = read(&pieces(text.as_bytes(), usize::MAX))?;
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
