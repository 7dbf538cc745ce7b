//! The data phase: two lanes between a client and the server it has at the moment, and the account of what is owed.
//!
//! One future moves both directions, because each must go on while the other is stuck: a client that pipelines into
//! a server which is blocked on its results would wait for ever otherwise. A socket is read into a lane's fixed
//! buffer and written from it, so a peer that does not read stops the other and nothing grows.
//!
//! [`pump`] moves the bytes, [`up`] decides about each of the client's frames and [`down`] about each of the server's.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use upstream::{CancelTarget, Flight, Holds, Lease, SessionInit, default_access, switch};
use wire::lane::Lane;
use wire::message;
use wire::owed::{Answer, Owed};
use wire::stream::Stream;

use crate::config::PoolMode;
use crate::deadlines::{Progress, Standing};
use crate::effect::{self, Effects};
use crate::remembered::Remembered;
use crate::statements::Statements;
use crate::upkeep::Upkeep;

mod down;
mod end;
mod idle;
mod pump;
mod up;

pub(crate) use end::{Broken, End, Farewell};
use idle::{Cancelled, Idle};
pub(crate) use pump::{drain_down, drain_up, fill_down, fill_up};
pub(crate) use up::is_request;

/// Terminate, as a frame.
const TERMINATE: &[u8] = b"X\0\0\0\x04";

/// What a server reported of its settings (ParameterStatus).
pub(crate) type Reported = Arc<Vec<(String, String)>>;

/// A client that is in, and perhaps the server it works with.
#[derive(Debug)]
pub(crate) struct Relay {
    client: Stream,
    up: Lane,
    down: Lane,
    owed: Owed,
    session: Session,
    link: Option<Link>,
    /// The last thing the client was told is an error.
    error_told: bool,
}

/// What a client has made of its session.
#[derive(Debug)]
pub(crate) struct Session {
    /// A number of its own, which is not 0.
    id: u64,
    mode: PoolMode,
    pub(crate) remembered: Remembered,
    statements: Statements,
    /// The values that the client knows, once it is in.
    known: Option<Reported>,
    progress: Progress,
    /// What an Execute of these portals changes. A tree, which takes no room as long as there is none.
    bound: BTreeMap<Box<[u8]>, Effects>,
    /// A frame that is too long to be seen at once. Few clients send one.
    long: Option<Box<up::Long>>,
    /// A copy message waits until it is known whether a COPY is to read it.
    copy_waits: bool,
    /// The client may say more: its socket has not ended, nor has it taken leave.
    listening: bool,
    /// It has taken leave. What comes behind that is not heard.
    terminated: bool,
    cancelled: Cancelled,
}

/// For whom a server works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorksFor {
    /// For the client, or it waits for what that will ask.
    Client,
    /// For us, to set up what the client has reset; its next request waits for that.
    Us,
    /// For us, to set up the client's session, and then for the client, whose request goes out behind that.
    UsFirst,
}

/// A server, as long as the client has it.
#[derive(Debug)]
struct Link {
    lease: Lease,
    init: Arc<SessionInit>,
    upkeep: Upkeep,
    /// It takes no more bytes.
    up_closed: bool,
    /// It sends no more bytes; the cause, if the socket failed.
    down_closed: Option<Option<io::Error>>,
    /// It said something that nobody asked for, and is lent to nobody any more.
    spent: bool,
    /// What it has of its sequences is another session's, of the same identity.
    foreign: bool,
}

impl Session {
    pub(crate) fn new(id: u64, mode: PoolMode, remembered: Remembered, statements: Statements) -> Self {
        Self {
            id,
            mode,
            remembered,
            statements,
            known: None,
            progress: Progress::default(),
            bound: BTreeMap::new(),
            long: None,
            copy_waits: false,
            listening: true,
            terminated: false,
            cancelled: Cancelled::Nothing,
        }
    }

    /// The client may bind this statement under this name, though it has not prepared it. What is longer than
    /// [`LONGEST_SHARED`] it had better prepare as the unnamed one, which stays on no server. Only in transaction mode.
    ///
    /// [`LONGEST_SHARED`]: crate::statements::LONGEST_SHARED
    pub(crate) fn knows(&mut self, name: &str, query: &CStr) {
        let effects = self.prepared(effect::effects(query.to_bytes()));
        self.statements.knows(name, query, effects);
    }

    /// This is prepared: what it will do when it is executed.
    fn prepared(&mut self, mut effects: Effects) -> Effects {
        self.remembered.prepared(&effects);
        // A statement with several commands is none.
        effects.changes.truncate(1);
        effects
    }

    /// Whether the client has to keep the server it has.
    fn keeps_server(&self) -> bool {
        self.mode == PoolMode::Session || self.remembered.is_pinned() || self.statements.bind_to_server()
    }
}

impl Relay {
    /// Begins with a client that has not been told anything yet.
    pub(crate) fn new(client: Stream, session: Session) -> Self {
        let (up, down) = (Lane::default(), Lane::default());
        Self { client, up, down, owed: Owed::default(), session, link: None, error_told: false }
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Whether there is a server.
    pub(crate) fn has_server(&self) -> bool {
        self.link.is_some()
    }

    /// Whether a request of the client's is under way, or a transaction open.
    pub(crate) fn is_busy(&self) -> bool {
        !self.owed.is_idle()
    }

    /// What the session does at the moment.
    pub(crate) fn standing(&self) -> Standing {
        Standing::of(&self.owed, self.session.progress)
    }

    /// Whether the client has been told that it is in.
    pub(crate) fn is_in(&self) -> bool {
        self.session.known.is_some()
    }

    /// The server, if there is one, and for whom it works.
    pub(crate) fn works(&self) -> Option<(&Arc<CancelTarget>, WorksFor)> {
        let link = self.link.as_ref()?;
        let works = match () {
            () if link.upkeep.is_switching() => WorksFor::UsFirst,
            () if link.upkeep.is_ours() => WorksFor::Us,
            () => WorksFor::Client,
        };
        Some((&link.lease.cancel, works))
    }

    /// Tells the client that it is in.
    pub(crate) fn begin(&mut self, known: Reported, greeting: &[u8]) {
        self.session.known = Some(known);
        self.tell(greeting);
    }

    /// Begins to work with a server. What sets up the session on it, unless it holds it already, goes before all that
    /// the client has to say; `init` makes what is missing.
    pub(crate) fn attach<E>(
        &mut self,
        lease: Lease,
        init: impl FnOnce(&Lease) -> Result<Arc<SessionInit>, E>,
    ) -> Result<(), E> {
        let remembered = &self.session.remembered;
        let holds = lease.holds();
        if let Some(init) = lease.init.clone().filter(|_| holds == remembered.holds()) {
            self.link(lease, init, Upkeep::new(0));
            return Ok(());
        }
        let (mut lease, init) = lease.with(init)?;
        let former = (holds != Holds::Nothing).then(|| default_access(&lease.parameters));
        let flight = switch(former, &init, remembered.statements());
        lease.prepared.clear();
        lease.init = Some(init.clone());
        self.send(&flight);
        self.link(lease, init, Upkeep::new(flight.commits));
        Ok(())
    }

    fn link(&mut self, mut lease: Lease, init: Arc<SessionInit>, upkeep: Upkeep) {
        if !upkeep.is_switching() {
            let mut news = Vec::new();
            update(&mut self.session.known, &mut lease.parameters, &mut news);
            self.tell(&news);
        }
        let foreign = !upkeep.is_switching() && lease.session != self.session.id;
        if !foreign {
            lease.session = self.session.id;
        }
        self.link = Some(Link { lease, init, upkeep, up_closed: false, down_closed: None, spent: false, foreign });
    }

    /// Ends the work with a server that is idle, which can be lent to somebody else.
    pub(crate) fn detach(&mut self) {
        let holds = self.session.remembered.holds();
        match self.link.take() {
            Some(link) if link.spent => link.lease.retire(),
            Some(link) => link.lease.give_back(holds),
            None => {}
        }
    }

    /// Waits for the client's next request while there is no server.
    pub(crate) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        loop {
            let mut idle = Idle { session: &mut self.session, wanting: false, told: Vec::new() };
            self.up.scan_by(&mut idle).map_err(End::ClientBroke)?;
            let Idle { wanting, told, .. } = idle;
            self.tell(&told);
            if wanting {
                return Poll::Ready(Ok(()));
            }
            if !self.session.listening {
                return Poll::Ready(Err(End::Left));
            }
            // What is swallowed makes room.
            let _ = self.up.poll_drain(cx, &mut tokio::io::sink());
            ready!(self.poll_down(cx))?;
            // Whether there is something is asked last, so that we are woken for it.
            if !fill_up(&mut self.up, cx, &mut self.client, &mut self.session.listening)? && self.session.listening {
                return Poll::Pending;
            }
        }
    }

    /// The request for which there is no server yet was cancelled.
    pub(crate) fn cancel(&mut self) {
        self.session.cancelled = Cancelled::Next;
    }

    /// Whether a client that waits for a server has gone meanwhile. Reads on as far as there is room.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if let Poll::Ready(Err(end)) = self.poll_down(cx) {
            return Poll::Ready(end);
        }
        // One that has ended its side before waits for what it has asked.
        while self.session.listening {
            match ready!(self.up.poll_fill(cx, &mut self.client)) {
                // One that takes leave behind its request does not wait for the answer, but for the deed.
                Ok(0) if self.up.ends_with(TERMINATE) => self.session.listening = false,
                Ok(0) => return Poll::Ready(End::Left),
                Ok(_) => {}
                Err(error) => return Poll::Ready(End::ClientLost(error)),
            }
        }
        Poll::Pending
    }

    /// Tells the client something while it has no server.
    pub(crate) fn tell(&mut self, message: &[u8]) {
        if self.down.at_boundary() && !message.is_empty() {
            self.down.insert(message);
        }
    }

    /// Writes what is left for the client.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        self.down.poll_drain(cx, &mut self.client).map(|written| written.map(drop).map_err(End::ClientLost))
    }

    /// Relays until the server is idle and need not stay.
    pub(crate) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        self.pump(cx)?;
        if self.is_over() {
            return Poll::Ready(Ok(()));
        }
        self.has_left().map_or(Poll::Pending, |end| Poll::Ready(Err(end)))
    }

    /// The server is idle and need not stay.
    fn is_over(&self) -> bool {
        let lost = self.link.as_ref().is_some_and(|link| link.upkeep.has_lost());
        self.owed.is_idle() && self.is_quiet() && !self.session.keeps_server() && !lost
    }

    /// Nothing is half-way in either direction.
    fn is_quiet(&self) -> bool {
        self.up.at_boundary() && !self.up.has_output() && self.down.at_boundary() && !self.down.has_unseen()
    }

    /// The client is done, and so is the server, or it will not be without the client.
    fn has_left(&self) -> Option<End> {
        let waits = self.up.has_output() || self.down.has_output() || self.session.statements.is_waiting();
        if self.session.listening || waits {
            return None;
        }
        if !self.up.at_boundary() {
            // The server waits for the rest of a message, which will never come.
            return Some(End::ClientLost(io::ErrorKind::UnexpectedEof.into()));
        }
        // Of an account that is astray nobody knows whether anything is still to come.
        let over = self.owed.is_settled() || !self.owed.settles_unaided() || self.owed.is_astray();
        over.then_some(End::Left)
    }

    /// Parts the two: there is a last word for the client, and whatever is still to be done with the server. It can be
    /// lent to somebody else if it is idle, and nothing of it or for it is on its way.
    pub(crate) fn part(mut self) -> (Farewell, Option<Lease>) {
        let idle = self.owed.is_idle() && self.is_quiet();
        let returned = self.link.take_if(|link| idle && link.down_closed.is_none() && !link.spent);
        if let Some(link) = returned {
            // What has kept its server is still there.
            link.lease.clear_out();
        }
        (Farewell::new(self.client, self.down), self.link.map(|link| link.lease))
    }

    /// Puts a flight of ours before what the client says next.
    fn send(&mut self, flight: &Flight) {
        self.up.insert(&flight.bytes);
        flight.requests.iter().for_each(|tag| self.owed.sent(*tag, Answer::Swallow));
        self.session.statements.flight(&flight.requests);
    }
}

/// Tells a client that is in which values differ from those that it knows, and notes that it knows them now.
fn update(known: &mut Option<Reported>, reported: &mut Reported, out: &mut Vec<u8>) {
    let Some(known) = known.as_mut().filter(|known| !Arc::ptr_eq(known, reported)) else { return };
    if known == reported {
        // From now on the two share one list, which is found equal at a glance.
        *reported = known.clone();
        return;
    }
    let differ = reported.iter().filter(|pair| !known.contains(pair));
    differ.for_each(|(name, value)| message::parameter_status(out, name, value));
    *known = reported.clone();
}

#[cfg(test)]
mod tests {
    use upstream::Parameters;

    use super::*;
    use crate::statement::Registry;

    #[test]
    fn what_a_statement_pins_is_known_before_it_is_made() {
        for (query, keeps_server) in [(c"SELECT 1", false), (c"LISTEN here", true), (c"", false)] {
            let remembered = Remembered::new([7; 32], &Parameters::default());
            let statements = Statements::new(Arc::new(Registry::default()), [7; 32], PoolMode::Transaction);
            let mut session = Session::new(1, PoolMode::Transaction, remembered, statements);
            session.knows("s", query);
            assert_eq!(session.keeps_server(), keeps_server, "{query:?}");
        }
    }
}
