//! Keeps a session's claims set on its server.
//!
//! Claims live in session state, and a client's own statements clear that: `RESET ALL`, `DISCARD ALL`, what a
//! driver's pool sends between two users. The command tags tell, and session init is sent again before the client's
//! next request, which waits until it has succeeded. A request that was sent together with the reset (Npgsql does that)
//! has to wait for the tag before, so what begins like a reset is taken for one until it is answered. All this is a
//! convenience and no wall: a client that clears its claims unseen, inside a function say, is nobody until it resets
//! again, and nobody's is the least that anyone has.

use upstream::{DefaultAccess, Flight, SessionInit};
use wire::frame::{Tag, frontend};
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

/// How much of a request's body [`Upkeep::requested`] wants to see: enough for a setting's name.
pub(crate) fn request_head(tag: Tag) -> usize {
    match tag {
        frontend::QUERY | frontend::PARSE => 64,
        _ => 0,
    }
}

/// Watches over the claims of one session.
#[derive(Debug)]
pub(crate) struct Upkeep {
    /// Absent where there are no claims to keep.
    init: Option<SessionInit>,
    lost: Lost,
    /// Under way is what looks like a reset, or session init: the next request waits for its answer.
    doubtful: bool,
    /// What looks like a reset is one of a setting that is none of ours.
    harmless: bool,
    /// The last init went into an open transaction, whose end may undo it.
    tentative: bool,
    access: DefaultAccess,
}

impl Upkeep {
    /// For a server on which `init` has just been done.
    pub(crate) fn new(init: Option<SessionInit>, access: DefaultAccess) -> Self {
        Self { init, lost: Lost::Nothing, doubtful: false, harmless: false, tentative: false, access }
    }

    /// A request goes to the server; `head` is the beginning of its body. `alone`: it is all of it, and nothing is
    /// owed for requests before, so that the next command tag belongs to this one.
    pub(crate) fn requested(&mut self, tag: Tag, head: &[u8], alone: bool) {
        if self.init.is_none() {
            return;
        }
        let statement = match tag {
            frontend::QUERY => head,
            // The statement's name comes first; nobody prepares a reset under one.
            frontend::PARSE => head.strip_prefix(b"\0").unwrap_or_default(),
            _ => return,
        };
        let begins = |word: &[u8]| statement.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
        self.doubtful |= begins(b"RESET") || begins(b"DISCARD");
        self.harmless = alone && tag == frontend::QUERY && resets_another_setting(head);
    }

    /// A statement completed; `tag` is the beginning of its command tag.
    pub(crate) fn completed(&mut self, tag: &[u8]) {
        match tag.first() {
            Some(b'R') if tag.starts_with(b"RESET") && !self.harmless => self.lose(Lost::Claims),
            Some(b'R') if self.tentative && tag.starts_with(b"ROLLBACK") => self.lose(Lost::Claims),
            Some(b'D') if tag.starts_with(b"DISCARD") => self.lose(Lost::Everything),
            _ => {}
        }
    }

    /// The server is ready for the next request.
    pub(crate) fn ready(&mut self, owed: &Owed) {
        self.doubtful &= !owed.is_settled();
        if self.tentative && owed.status() == TxStatus::Idle {
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
        let answered = owed.is_settled();
        let waits = if answered { self.is_due(owed) } else { self.doubtful || self.lost != Lost::Nothing };
        waits && owed.settles_unaided()
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
        self.doubtful = true;
        Some(flight)
    }

    fn lose(&mut self, lost: Lost) {
        if self.init.is_some() {
            self.lost = self.lost.max(lost);
            self.tentative = false;
        }
    }
}

/// Whether a query is `RESET name` and no more, of a setting that has nothing to do with who this is. That is common
/// within transactions, where an init would take the snapshot that `SET TRANSACTION` and `LOCK TABLE` have to precede.
fn resets_another_setting(query: &[u8]) -> bool {
    let text = std::str::from_utf8(query).unwrap_or_default().trim_end_matches('\0');
    let mut words = text.trim_end_matches(|c: char| c == ';' || c.is_ascii_whitespace()).split_ascii_whitespace();
    let (reset, name, more) = (words.next(), words.next(), words.next());
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let ours = ["all", "role", "session"];
    reset.is_some_and(|word| word.eq_ignore_ascii_case("reset"))
        && name.is_some_and(|name| is_name(name) && !ours.iter().any(|ours| name.eq_ignore_ascii_case(ours)))
        && more.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_reset_of_one_other_setting_is_harmless() {
        for query in ["reset work_mem\0", "RESET search_path;\0", " Reset\n  TimeZone ; \0"] {
            assert!(resets_another_setting(query.as_bytes()), "{query:?}");
        }
        let others = [
            "",
            "reset\0",
            "reset all\0",
            "RESET ALL;\0",
            "reset role\0",
            "reset session authorization\0",
            "reset pgusher.claims\0",
            "reset \"pgusher.claims\"\0",
            "reset request.jwt.claims\0",
            "discard all\0",
            "reset work_mem; reset all\0",
            "reset work_mem;reset all\0",
            "reset/**/all\0",
            "reset work_mem--\nx\0",
            "reset work_mem select\0",
            "select 1\0",
        ];
        for query in others {
            assert!(!resets_another_setting(query.as_bytes()), "{query:?}");
        }
    }
}
