//! The statements that change settings or forget what was prepared: `VariableSetStmt`, `VariableResetStmt`,
//! `DiscardStmt` and `DeallocateStmt` of Postgres's grammar, and `SET CONSTRAINTS`, whose tag begins like theirs.

use super::piece::{Deallocated, MOST, Piece, deallocated, pieces, selected};
use super::{Cause, Change, Pins};

/// Names of which the statement must never reach another identity, and that only the proxy sets.
const CLAIMS: [&[u8]; 3] = [b"pgusher.", b"request.", b"pg_session_jwt."];

/// Whether a setting is one of those.
pub(crate) fn is_of_claims(name: &[u8]) -> bool {
    CLAIMS.iter().any(|claims| name.starts_with(claims))
}

/// Reads one such statement, or the beginning of one that is longer than what is kept of it.
pub(super) fn read(text: &[u8], is_whole: bool) -> (Change, Pins) {
    let pieces = pieces(text, MOST);
    let found = match pieces.split_first() {
        Some((first, rest)) if first.is("set") => set(rest),
        Some((first, rest)) if first.is("reset") => reset(rest),
        Some((first, rest)) if first.is("discard") => discard(rest),
        _ => deallocate(&pieces),
    };
    match found {
        Some(Found::Set(_)) if !is_whole => (Change::Nothing, Cause::Setting.into()),
        Some(Found::Set(name)) => (Change::Set { name: name.into(), statement: text.into() }, pins_of_path(text)),
        Some(Found::Change(change)) => (change, pins_of_path(text)),
        Some(Found::Pin(cause)) => (Change::Nothing, cause.into()),
        None => (Change::Nothing, Cause::Unclear.into()),
    }
}

/// Reads a text that is a call of `set_config` for the session and nothing else, which drivers like better than SET.
pub(super) fn read_call(text: &[u8]) -> Option<Change> {
    // A Query's has a zero byte behind it.
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    let pieces = pieces(text, MOST);
    let call = selected(&pieces)?;
    let [function, open, Piece::Text(name), comma, Piece::Text(_), second, local, close, end @ ..] = call else {
        return None;
    };
    let marks = [(open, b'('), (comma, b','), (second, b','), (close, b')')];
    let is_call = function.is("set_config") && marks.iter().all(|(piece, mark)| piece.is_mark(*mark));
    let is_whole = matches!(end, []) || matches!(end, [end] if end.is_mark(b';'));
    if !(is_call && local.is("false") && is_whole && is_plain(name)) || mentions_temporary(text) {
        return None;
    }
    Some(Change::Call { name: todays(name.to_ascii_lowercase()).into(), statement: text.into() })
}

/// Whether all that `set_config` is called for in a text are settings like others, which RESET ALL resets.
pub(super) fn calls_are_plain(text: &[u8]) -> bool {
    let pieces = pieces(text, MOST);
    let mut calls = (0..pieces.len()).filter(|at| pieces[*at].is("set_config")).peekable();
    // In a text that goes on, or within a string, there may be others.
    let seen = pieces.len() < MOST && calls.peek().is_some();
    seen && calls.all(|at| match &pieces[at + 1..] {
        // A path may have the temporary schema on it, in which something is made then.
        [_, Piece::Text(name), ..] if name.eq_ignore_ascii_case(b"search_path") => false,
        [open, Piece::Text(name), comma, ..] => open.is_mark(b'(') && comma.is_mark(b',') && is_plain(name),
        _ => false,
    })
}

/// Whether a setting's name is written as it is, and a SET of it would pin nothing.
fn is_plain(name: &[u8]) -> bool {
    let is_name = name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(byte));
    let name = name.to_ascii_lowercase();
    is_name && special(&name).is_none() && name != b"standard_conforming_strings"
}

#[derive(Debug)]
enum Found {
    Set(Vec<u8>),
    Change(Change),
    Pin(Cause),
}

const NOTHING: Option<Found> = Some(Found::Change(Change::Nothing));

fn reset_of(name: &[u8]) -> Found {
    Found::Change(Change::Reset { name: name.into() })
}

fn set(rest: &[Piece]) -> Option<Found> {
    // Each of these is a setting's name too, if it is set like one.
    let leads = |pieces: &[Piece], word| pieces[0].is(word) && !pieces.get(1).is_some_and(follows_name);
    if rest.is_empty() {
        return None;
    }
    if leads(rest, "constraints") || leads(rest, "local") {
        return NOTHING;
    }
    match rest {
        [first, second, behind @ ..] if first.is("session") && is_of_session(second, behind) => {
            set_session(second, behind)
        }
        [_, behind @ ..] if leads(rest, "session") => set_rest(behind),
        _ => set_rest(rest),
    }
}

fn follows_name(piece: &Piece) -> bool {
    piece.is_mark(b'.') || piece.is_mark(b'=') || piece.is("to") || piece.is("from")
}

fn is_of_session(second: &Piece, behind: &[Piece]) -> bool {
    second.is("authorization") || (second.is("characteristics") && behind.first().is_some_and(|piece| piece.is("as")))
}

/// `SESSION AUTHORIZATION` or `SESSION CHARACTERISTICS AS TRANSACTION`. The latter sets up to three settings, and a
/// replay must not undo the ones that it does not mention: it is known by the only one that it does.
fn set_session(second: &Piece, behind: &[Piece]) -> Option<Found> {
    if second.is("authorization") {
        // By default the session is its login's, and the role that of the startup packet.
        return if matches!(behind, [default] if default.is("default")) {
            NOTHING
        } else {
            Some(Found::Pin(Cause::Role))
        };
    }
    let modes: Vec<_> = behind.iter().skip(2).filter_map(Piece::name).collect();
    let name = match modes.join(&b' ').as_slice() {
        b"isolation level serializable"
        | b"isolation level repeatable read"
        | b"isolation level read committed"
        | b"isolation level read uncommitted" => "default_transaction_isolation",
        b"read only" | b"read write" => "default_transaction_read_only",
        b"deferrable" | b"not deferrable" => "default_transaction_deferrable",
        _ => return Some(Found::Pin(Cause::Setting)),
    };
    Some(Found::Set(name.into()))
}

fn set_rest(rest: &[Piece]) -> Option<Found> {
    match rest {
        [_, second, ..] if follows_name(second) => set_named(rest),
        [first, second, behind @ ..] if first.is("session") && is_of_session(second, behind) => {
            set_session(second, behind)
        }
        [first, ..] if first.is("transaction") => NOTHING,
        [first, _] if first.is("role") => Some(Found::Pin(Cause::Role)),
        [time, zone, value] if time.is("time") && zone.is("zone") && (value.is("local") || value.is("default")) => {
            Some(reset_of(b"timezone"))
        }
        [time, zone, _, ..] if time.is("time") && zone.is("zone") => Some(Found::Set(b"timezone".into())),
        [names] if names.is("names") => Some(reset_of(b"client_encoding")),
        [names, value] if names.is("names") && value.is("default") => Some(reset_of(b"client_encoding")),
        [names, _] if names.is("names") => Some(Found::Set(b"client_encoding".into())),
        [schema, Piece::Text(_)] if schema.is("schema") => Some(Found::Set(b"search_path".into())),
        [xml, option, _] if xml.is("xml") && option.is("option") => Some(Found::Set(b"xmloption".into())),
        _ => None,
    }
}

/// `name {TO|=} value, …`
fn set_named(pieces: &[Piece]) -> Option<Found> {
    let (name, rest) = setting(pieces)?;
    let (sign, value) = rest.split_first()?;
    let first = value.first()?;
    if let Some(found) = special(&name) {
        return Some(found);
    }
    if sign.is("from") {
        return Some(Found::Pin(Cause::Setting));
    }
    if !(sign.is("to") || sign.is_mark(b'=')) {
        return None;
    }
    if first.is("default") && value.len() == 1 {
        return Some(reset_of(&name));
    }
    // With it off, a string's backslashes mean something that is not looked for.
    let is_on = first.is("on") || matches!(first, Piece::Text(text) if text.eq_ignore_ascii_case(b"on"));
    if name == b"standard_conforming_strings" && !is_on {
        return Some(Found::Pin(Cause::Setting));
    }
    Some(Found::Set(name))
}

fn reset(rest: &[Piece]) -> Option<Found> {
    match rest {
        [all] if all.is("all") => return Some(Found::Change(Change::ResetAll)),
        [time, zone] if time.is("time") && zone.is("zone") => return Some(reset_of(b"timezone")),
        // These lead back to the login, and to the role of the startup packet.
        [first, second] if first.is("session") && second.is("authorization") => return NOTHING,
        [role] if role.is("role") || role.is("session_authorization") => return NOTHING,
        [first, _, _] if first.is("transaction") => return NOTHING,
        _ => {}
    }
    let (name, rest) = setting(rest)?;
    if !rest.is_empty() {
        return None;
    }
    // The proxy sets claims again that were reset.
    let special = special(&name).filter(|found| !matches!(found, Found::Pin(Cause::Claims)));
    Some(special.unwrap_or_else(|| reset_of(&name)))
}

fn discard(rest: &[Piece]) -> Option<Found> {
    let [what] = rest else { return None };
    if what.is("all") {
        return Some(Found::Change(Change::DiscardAll));
    }
    let is_part = ["plans", "sequences", "temp", "temporary"].into_iter().any(|part| what.is(part));
    is_part.then_some(Found::Change(Change::DiscardPart))
}

fn deallocate(statement: &[Piece]) -> Option<Found> {
    let name = match deallocated(statement)? {
        Deallocated::All => None,
        Deallocated::One(name) => Some(name.name()?.into()),
    };
    Some(Found::Change(Change::Deallocate(name)))
}

/// The setting that is named first, in lower case whether quoted or not, by its name of today; and what is behind it.
fn setting(pieces: &[Piece]) -> Option<(Vec<u8>, &[Piece])> {
    let (first, mut rest) = pieces.split_first()?;
    let mut name = first.name()?.to_ascii_lowercase();
    while let [dot, next, behind @ ..] = rest
        && dot.is_mark(b'.')
    {
        name.push(b'.');
        name.extend(next.name()?.to_ascii_lowercase());
        rest = behind;
    }
    Some((todays(name), rest))
}

/// Some settings have a name from before.
fn todays(name: Vec<u8>) -> Vec<u8> {
    match &name[..] {
        b"sort_mem" => b"work_mem".into(),
        b"vacuum_mem" => b"maintenance_work_mem".into(),
        _ => name,
    }
}

/// What setting or resetting comes to, for the names that are no settings to replay.
fn special(name: &[u8]) -> Option<Found> {
    match name {
        b"role" | b"session_authorization" => Some(Found::Pin(Cause::Role)),
        b"seed" => Some(Found::Pin(Cause::Seed)),
        // An idle server would end by it, and take the next client's first request along.
        b"idle_session_timeout" => Some(Found::Pin(Cause::Setting)),
        // These last as long as the transaction.
        b"transaction_isolation" | b"transaction_read_only" | b"transaction_deferrable" => NOTHING,
        _ if is_of_claims(name) => Some(Found::Pin(Cause::Claims)),
        _ => None,
    }
}

/// Where the temporary schema is on the path, whatever is made may be temporary.
fn pins_of_path(text: &[u8]) -> Pins {
    if mentions_temporary(text) { Cause::Setting.into() } else { Pins::NONE }
}

pub(crate) fn mentions_temporary(text: &[u8]) -> bool {
    text.windows(b"pg_temp".len()).any(|window| window.eq_ignore_ascii_case(b"pg_temp"))
}
