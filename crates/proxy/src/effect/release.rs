//! Statements that give up all of a kind that keeps a server with its client, as the pools of drivers send them between
//! two users.

use super::piece::{Deallocated, Piece, deallocated, selected};
use super::{Cause, Pins};

/// As many tokens as such a text may have. Npgsql's and deadpool's have seven statements.
const MOST: usize = 64;

/// What a text gives up, if it succeeds. Of one with any other statement in it nobody knows: a ROLLBACK takes back much.
pub(super) fn read(text: &[Piece]) -> Pins {
    if text.len() >= MOST {
        return Pins::NONE;
    }
    let statements = text.split(|piece| piece.is_mark(b';')).filter(|statement| !statement.is_empty());
    statements.map(given_up).try_fold(Pins::NONE, |all, pins| pins.map(|pins| all.union(pins))).unwrap_or_default()
}

fn given_up(statement: &[Piece]) -> Option<Pins> {
    let cause = match statement {
        [discard, all] if discard.is("discard") && all.is("all") => return Some(Pins::ALL),
        [discard, plans] if discard.is("discard") && plans.is("plans") => return Some(Pins::NONE),
        [reset, role] if reset.is("reset") && role.is("role") => return Some(Pins::NONE),
        [discard, temp] if discard.is("discard") && (temp.is("temp") || temp.is("temporary")) => Cause::Temporary,
        [set, session, authorization, default]
            if set.is("set") && session.is("session") && authorization.is("authorization") && default.is("default") =>
        {
            Cause::Role
        }
        [reset, session, authorization]
            if reset.is("reset") && session.is("session") && authorization.is("authorization") =>
        {
            Cause::Role
        }
        [discard, what] if discard.is("discard") && what.is("sequences") => {
            return Some(Pins::from(Cause::Nextval).union(Cause::Currval.into()));
        }
        [reset, all] if reset.is("reset") && all.is("all") => Cause::SetConfig,
        [close, all] if close.is("close") && all.is("all") => Cause::Hold,
        [unlisten, all] if unlisten.is("unlisten") && all.is_mark(b'*') => Cause::Listen,
        _ if matches!(deallocated(statement), Some(Deallocated::All)) => Cause::Prepare,
        _ if selected(statement).is_some_and(is_unlocking) => Cause::AdvisoryLock,
        _ => return None,
    };
    Some(cause.into())
}

fn is_unlocking(call: &[Piece]) -> bool {
    matches!(call, [function, open, close]
        if function.is("pg_advisory_unlock_all") && open.is_mark(b'(') && close.is_mark(b')'))
}
