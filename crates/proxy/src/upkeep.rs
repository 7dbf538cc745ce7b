//! Keeps a session's state right on the server that its client has at the moment.
//!
//! It begins with a *switch*, if the server was another session's: that goes out before the client's first request and
//! is answered before anything is let through behind the client's first Sync, for a Sync is what ends the skipping that
//! keeps the client's statements from running if the switch fails. The server answers it together with what comes behind
//! it, and tells with the first ReadyForQuery which values the settings have now.
//!
//! After that a client's own statements clear what was set: `RESET ALL`, `DISCARD ALL`, what a driver's pool sends
//! between two users. The command tags tell, and session init is sent again before the client's next request, which
//! waits until it has succeeded. A request that was sent together with the reset (Npgsql does that) has to wait for the
//! tag before, so what looks like a reset is taken for one until it is answered. All this is a convenience and no wall:
//! a client that clears its claims unseen, inside a function say, is nobody until it resets again, and nobody's is the
//! least that anyone has.

use upstream::{DefaultAccess, Flight, Part, SessionInit};
use wire::owed::{Owed, TxStatus};

use crate::effect::{Change, is_of_claims};
use crate::remembered::Remembered;

/// What a client's statements left of its claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Claims {
    #[default]
    Kept,
    /// They are gone: `RESET`.
    Lost,
    /// So is what binds them to this server: `DISCARD`.
    LostWithEpoch,
}

/// The change from one session to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Switch {
    Sent,
    /// And a Sync of the client's behind it.
    Synced,
    /// It has succeeded, and what the settings came to is not known yet.
    Succeeded,
    Done,
}

/// What the client's statements have taken away.
#[derive(Debug, Default)]
struct Lost {
    claims: Claims,
    /// The startup parameters that are no longer set.
    startup: Vec<String>,
    /// The sequences are those of another session, and the client is about to ask for them.
    sequences: bool,
}

/// Watches over the state of one session on one server.
#[derive(Debug)]
pub(crate) struct Upkeep {
    switch: Switch,
    /// How many of its transactions are still to be committed.
    commits: usize,
    /// What is to be set again. Most often nothing is.
    lost: Option<Box<Lost>>,
    /// Under way is what may change the session, or session init: the next request waits for its answer.
    doubtful: bool,
    /// Under way is session init.
    initializing: bool,
    /// What the last init has set in an open transaction, whose end may undo it.
    tentative: Option<Part>,
}

impl Upkeep {
    /// For a server whose state is right, or will be if the switch succeeds that was sent, with so many `commits`.
    pub(crate) fn new(commits: usize) -> Self {
        Self {
            switch: if commits > 0 { Switch::Sent } else { Switch::Done },
            commits,
            lost: None,
            doubtful: false,
            initializing: false,
            tentative: None,
        }
    }

    /// Whether the switch has not been answered yet.
    pub(crate) fn is_switching(&self) -> bool {
        matches!(self.switch, Switch::Sent | Switch::Synced)
    }

    /// Whether the server has yet to say what the settings came to.
    pub(crate) fn is_unreported(&self) -> bool {
        self.switch != Switch::Done
    }

    /// Whether the server works for us rather than for the client.
    pub(crate) fn is_ours(&self) -> bool {
        self.is_switching() || self.initializing
    }

    /// A command of the switch completed, with this tag. The last is a COMMIT.
    pub(crate) fn switches(&mut self, tag: &[u8]) {
        if tag == b"COMMIT\0" {
            self.commits -= 1;
            if self.commits == 0 {
                self.switch = Switch::Succeeded;
            }
        }
    }

    /// The server has said what the settings came to.
    pub(crate) fn reported(&mut self) {
        self.switch = Switch::Done;
    }

    /// A Sync of the client's goes to the server.
    pub(crate) fn synced(&mut self) {
        if self.switch == Switch::Sent {
            self.switch = Switch::Synced;
        }
    }

    /// A request goes to the server that may change the session.
    pub(crate) fn doubt(&mut self) {
        self.doubtful = true;
    }

    /// A statement completed that changes the session: its command tag, and what is known of it.
    pub(crate) fn completed(&mut self, tag: &[u8], change: Option<&Change>, init: &SessionInit) {
        match change {
            Some(Change::DiscardAll) => self.lose(Claims::LostWithEpoch, init.startup(), init),
            Some(Change::DiscardPart) if tag.starts_with(b"DISCARD SEQUENCES") => {
                self.lose(Claims::LostWithEpoch, [], init);
            }
            Some(Change::ResetAll) => self.lose(Claims::Lost, init.startup(), init),
            Some(Change::Reset { name }) if is_of_claims(name) => self.lose(Claims::LostWithEpoch, [], init),
            Some(Change::Reset { name }) => {
                self.lose(Claims::Kept, init.startup().filter(|set| set.as_bytes() == &**name), init);
            }
            Some(_) => {}
            // Of what, nobody knows.
            None if tag.starts_with(b"RESET") || tag.starts_with(b"DISCARD") => {
                self.lose(Claims::LostWithEpoch, init.startup(), init);
            }
            None => {}
        }
    }

    /// The client's next request must not find the sequences that another session has used.
    pub(crate) fn forget_sequences(&mut self, init: &SessionInit) {
        self.lost.get_or_insert_default().sequences = true;
        // The epoch is one of them.
        self.lose(Claims::LostWithEpoch, [], init);
    }

    /// A transaction was rolled back, or a part of one.
    pub(crate) fn rolled_back(&mut self, init: &SessionInit) {
        if let Some(part) = self.tentative.take() {
            let claims = if part.claims { Claims::Lost } else { Claims::Kept };
            self.lose(claims, part.startup.iter().map(String::as_str), init);
        }
    }

    /// The server is ready for the next request.
    pub(crate) fn ready(&mut self, owed: &Owed, init: &SessionInit) {
        self.doubtful &= !owed.is_settled();
        self.initializing &= !owed.is_settled();
        if owed.status() == TxStatus::Idle {
            self.rolled_back(init);
        }
    }

    /// Whether the client's next request has to wait until the server has answered all before it. Only where the
    /// server will do so without another byte from the client.
    pub(crate) fn holds_back(&self, owed: &Owed) -> bool {
        if !self.doubtful && !self.has_lost() {
            return self.switch == Switch::Synced;
        }
        let waits = !owed.is_settled() || self.is_due(owed);
        self.switch == Switch::Synced || (waits && owed.settles_unaided())
    }

    /// Whether init can be sent now. In a failed transaction nothing runs but its end.
    pub(crate) fn is_due(&self, owed: &Owed) -> bool {
        self.has_lost() && owed.is_settled() && owed.status() != TxStatus::Failed
    }

    /// Whether something is to be set again.
    pub(crate) fn has_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// The flight to send now that [one is due](Upkeep::is_due): its frames, and the tags to note as owed.
    /// What the client has set since the startup packet goes behind that.
    pub(crate) fn flight(
        &mut self,
        owed: &Owed,
        init: &SessionInit,
        remembered: &Remembered,
        access: DefaultAccess,
    ) -> Flight {
        // What binds claims to a server is written in a transaction. An open one cannot be made to write, and for the
        // claims alone need not be.
        let Lost { claims, startup, sequences } = *self.lost.take().unwrap_or_default();
        let access = match (claims, owed.status()) {
            (Claims::LostWithEpoch, TxStatus::Idle) => access,
            _ => DefaultAccess::ReadWrite,
        };
        let part = Part {
            claims: claims != Claims::Kept,
            settings: remembered.statements_for(&startup).map(Into::into).collect(),
            startup,
            sequences,
        };
        let flight = init.flight(&part, access);
        self.tentative = Some(part).filter(|_| owed.status() == TxStatus::Open);
        (self.doubtful, self.initializing) = (true, true);
        flight
    }

    /// Where there are no claims, none can be lost.
    fn lose<'a>(&mut self, claims: Claims, startup: impl IntoIterator<Item = &'a str>, init: &SessionInit) {
        let claims = if init.has_claims() { claims } else { Claims::Kept };
        let mut startup = startup.into_iter().peekable();
        if claims == Claims::Kept && startup.peek().is_none() {
            return;
        }
        let lost = self.lost.get_or_insert_default();
        lost.claims = lost.claims.max(claims);
        for name in startup {
            if !lost.startup.iter().any(|lost| lost == name) {
                lost.startup.push(name.to_owned());
            }
        }
        self.tentative = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_has_succeeded_with_its_last_commit_and_not_before() {
        let reset_before: [&[u8]; 6] =
            [b"BEGIN\0", b"RESET\0", b"COMMIT\0", b"DISCARD ALL\0", b"BEGIN\0", b"SELECT 1\0"];
        for (commits, tags) in [(1, &reset_before[3..]), (2, &reset_before)] {
            let mut upkeep = Upkeep::new(commits);
            upkeep.synced();
            for tag in tags {
                upkeep.switches(tag);
                assert!(upkeep.is_switching() && upkeep.holds_back(&Owed::default()), "{commits}");
            }
            upkeep.switches(b"COMMIT\0");
            assert!(!upkeep.is_switching() && !upkeep.holds_back(&Owed::default()) && upkeep.is_unreported());
        }
    }
}
