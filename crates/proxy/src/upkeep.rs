//! Keeps a session's claims set on its server.
//!
//! Claims live in session state, and a client's own statements clear that: `RESET ALL`, `DISCARD ALL`, what a
//! driver's pool sends between two users. The command tags tell, and session init is sent again before the client's
//! next request. This is a convenience and no wall: a client that clears its claims unseen, inside a function say,
//! is nobody until it resets again, and nobody's is the least that anyone has.

use upstream::{DefaultAccess, Flight, SessionInit};
use wire::owed::{Owed, TxStatus};

/// What a client's statements left of session init.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lost {
    Nothing,
    /// The claims: `RESET`.
    Claims,
    /// The claims and what binds them to this server: `DISCARD`.
    Everything,
}

/// The longest command tag that [`Upkeep::completed`] wants to see.
pub(crate) const TAG_HEAD: usize = b"ROLLBACK".len();

/// Watches over the claims of one session.
#[derive(Debug)]
pub(crate) struct Upkeep {
    /// Absent where there are no claims to keep.
    init: Option<SessionInit>,
    lost: Lost,
    /// The last init went into an open transaction, whose end may undo it.
    tentative: bool,
    access: DefaultAccess,
}

impl Upkeep {
    /// For a server on which `init` has just been done.
    pub(crate) fn new(init: Option<SessionInit>, access: DefaultAccess) -> Self {
        Self { init, lost: Lost::Nothing, tentative: false, access }
    }

    /// A statement completed; `tag` is the beginning of its command tag.
    pub(crate) fn completed(&mut self, tag: &[u8]) {
        match tag.first() {
            Some(b'R') if tag.starts_with(b"RESET") => self.lose(Lost::Claims),
            Some(b'R') if self.tentative && tag.starts_with(b"ROLLBACK") => self.lose(Lost::Claims),
            Some(b'D') if tag.starts_with(b"DISCARD") => self.lose(Lost::Everything),
            _ => {}
        }
    }

    /// The server is ready for the next request.
    pub(crate) fn ready(&mut self, status: TxStatus) {
        if self.tentative && status == TxStatus::Idle {
            self.lose(Lost::Claims);
        }
    }

    /// The session's `default_transaction_read_only` has changed.
    pub(crate) fn set_access(&mut self, access: DefaultAccess) {
        self.access = access;
    }

    /// Whether the client's next request has to wait until the server has answered all before it. Only where the
    /// server will do so without another byte from the client.
    pub(crate) fn holds_back(&self, owed: &Owed) -> bool {
        self.lost != Lost::Nothing && owed.settles_unaided() && (!owed.is_settled() || self.is_due(owed))
    }

    /// Whether init can be sent now. In a failed transaction nothing runs but its end.
    pub(crate) fn is_due(&self, owed: &Owed) -> bool {
        self.lost != Lost::Nothing && owed.is_settled() && owed.status() != TxStatus::Failed
    }

    /// The flight to send now, if one is due: its frames, and the tags to note as owed.
    pub(crate) fn take_due(&mut self, owed: &Owed) -> Option<Flight> {
        if !self.is_due(owed) {
            return None;
        }
        // What binds claims to a server is written in a transaction. An open one cannot be made to write, and for the
        // claims alone need not be.
        let access = match (self.lost, owed.status()) {
            (Lost::Everything, TxStatus::Idle) => self.access,
            _ => DefaultAccess::ReadWrite,
        };
        let flight = self.init.as_ref()?.flight(access);
        self.tentative = owed.status() == TxStatus::Open;
        self.lost = Lost::Nothing;
        Some(flight)
    }

    fn lose(&mut self, lost: Lost) {
        if self.init.is_some() {
            self.lost = self.lost.max(lost);
            self.tentative = false;
        }
    }
}
