//! What a statement does to the session it runs in, as far as its text shows: which settings are to be replayed on the
//! next server, and what keeps its client on this one. Nothing here guards anybody: a text can always hide what it
//! does, and then its own client misses what it left on a server. In doubt a text pins.
//!
//! A `lexer` cuts the text into tokens and `reader` watches statements go by, in any number of parts and in bounded
//! memory. Only the statements that `change` reads are kept, being short.

use std::sync::Arc;

mod calls;
mod change;
mod deallocated;
mod fuzz;
mod glance;
mod held;
mod kept;
mod lexer;
mod piece;
mod pins;
mod reader;
mod release;
mod word;

pub(crate) use change::{is_of_claims, mentions_temporary};
pub(crate) use deallocated::deallocated;
pub use fuzz::fuzz_effects;
pub(crate) use held::{Held, Names};
pub(crate) use pins::{Cause, Counts, Pins};
pub(crate) use reader::Reader;

/// The longest text that is kept, or read as a whole.
const MOST_KEPT: usize = 4096;

/// What a text does to its session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// Why the server must stay with the client once the text ran.
    pub(crate) pins: Pins,
    /// What no longer is a reason once the text ran.
    pub(crate) releases: Pins,
    /// Both, where they have names.
    pub(crate) names: Option<Box<Names>>,
    /// It may draw from a sequence though its command tag is that of a query.
    pub(crate) draws: bool,
    /// One for each statement whose command tag begins with SET, RESET, DISCARD or DEALLOCATE, in their order. Or
    /// what a SELECT sets, if there is nothing else.
    pub(crate) changes: Vec<Change>,
}

/// What one statement changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A setting for the session.
    Set {
        /// Which, in lower case, however the statement spells it: `SET TIME ZONE` sets `timezone`.
        name: Box<[u8]>,
        /// The statement alone, as written. Shared, for one that is bound a thousand times is expected as often.
        statement: Arc<[u8]>,
    },
    /// The same, by a SELECT of `set_config`.
    Call {
        /// Which.
        name: Box<[u8]>,
        /// The statement.
        statement: Arc<[u8]>,
    },
    /// A setting goes back to what the session began with.
    Reset { name: Box<[u8]> },
    /// All settings do.
    ResetAll,
    /// The session is as new.
    DiscardAll,
    /// Plans, sequences or temporary objects are gone.
    DiscardPart,
    /// A prepared statement is gone; without a name, all.
    Deallocate(Option<Box<[u8]>>),
    /// None: it ends with the transaction, or it is why the text pins.
    Nothing,
}

/// Reads a whole text.
pub(crate) fn effects(text: &[u8]) -> Effects {
    let draws = begins_with(text);
    if glance::is_harmless(text) {
        return Effects { draws, ..Effects::default() };
    }
    let effects = Effects { draws, ..read(text) };
    if text.len() > MOST_KEPT {
        return effects.in_doubt();
    }
    let sets = effects.pins.contains(Cause::SetConfig);
    let only_sets = effects.pins == Cause::SetConfig.into() && effects.changes.is_empty();
    if let Some(call) = only_sets.then(|| change::read_call(text)).flatten() {
        return Effects { changes: vec![call], draws, ..Effects::default() };
    }
    let effects = if sets && !change::calls_are_plain(text) { effects.in_doubt() } else { effects };
    let text = piece::pieces(text, MOST_KEPT);
    let effects = Effects { releases: release::read(&text), ..effects };
    // What may mean something else has no names.
    match held::read(&text).filter(|_| !effects.pins.contains(Cause::Unclear)) {
        Some(names) if names != Names::default() => {
            Effects { pins: effects.pins.without(held::named()), names: Some(Box::new(names)), ..effects }
        }
        _ => effects,
    }
}

/// Reads a text that has come in parts.
pub(crate) fn effects_of_parts(reader: Reader) -> Effects {
    reader.finish().in_doubt()
}

impl Effects {
    /// Of what a call of `set_config` sets nobody has looked at: RESET ALL may not reset it.
    fn in_doubt(mut self) -> Self {
        if self.pins.contains(Cause::SetConfig) {
            self.pins.add(Cause::Setting);
        }
        self
    }
}

/// Whether it begins with WITH, behind which there may be an INSERT.
fn begins_with(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    text.len() > 4 && text[..4].eq_ignore_ascii_case(b"with")
}

/// As far as it makes no difference where the text is cut.
fn read(text: &[u8]) -> Effects {
    let mut reader = Reader::default();
    reader.read(text);
    reader.finish()
}

/// Whether the text is of a kind that Postgres plans, so that it holds on to its result (`stmt_requires_parse_analysis`
/// in `src/backend/parser/analyze.c`) and that may have one. What FETCH returns is up to its cursor.
pub(crate) fn is_planned(text: &[u8]) -> bool {
    let mut lexer = lexer::Lexer::default();
    match lexer.next(text, &mut 0).or_else(|| lexer.last()) {
        Some(lexer::Token::Word(span)) => {
            let word = lexer.bytes(span, text);
            PLANNED.iter().any(|planned| word.eq_ignore_ascii_case(planned))
        }
        Some(lexer::Token::Mark(byte)) => byte == b'(',
        _ => false,
    }
}

/// What such a text begins with.
const PLANNED: [&[u8]; 9] =
    [b"select", b"insert", b"update", b"delete", b"with", b"merge", b"values", b"table", b"call"];

#[cfg(test)]
mod tests;
