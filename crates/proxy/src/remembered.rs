//! What a client has set in its session, and why it may have to keep its server.
//!
//! Settings are remembered as the statements that made them, in order, and said again on the next server. They count
//! once their transaction has committed, as in Postgres; the command tags tell. Where the tags cannot tell, because of
//! savepoints or a text that was not understood, the client is pinned: what cannot be said again has to stay.

use std::collections::VecDeque;

use upstream::{Holds, Parameters, Tenant};
use wire::owed::TxStatus;

use crate::digest::{Digest, digest};
use crate::effect::{Cause, Change, Counts, Effects, Pins, mentions_temporary};

/// What is kept for one client. More pins it.
const MOST_SETTINGS: usize = 64;
const MOST_BYTES: usize = 16 * 1024;

/// How much of a command tag has to be seen.
pub(crate) const TAG_HEAD: usize = b"PREPARE TRANSACTION\0".len();

/// The state of a client's session, as far as it outlives a transaction.
#[derive(Debug)]
pub(crate) struct Remembered {
    /// Of the startup parameters.
    startup: Digest,
    settings: Vec<Setting>,
    /// The settings as they will be if the transaction commits that is open.
    working: Option<Vec<Setting>>,
    savepoints: bool,
    /// What was sent and has not completed yet, and in which turn.
    expected: VecDeque<(u64, Change)>,
    tenant: Tenant,
    pins: Pins,
    /// Those of the startup packet, to which every reset goes back.
    lasting: Pins,
    /// What was sent and gives up some of them, in which turn.
    releasing: Vec<(u64, Pins)>,
    /// What is given up if the transaction commits that is open.
    released: Pins,
    /// The last turn that was sent and draws from a sequence, until it is known whether a transaction is open behind it.
    drawing: Option<u64>,
    /// How often there was each reason in this session, for the log.
    counts: Counts,
}

#[derive(Clone, Debug)]
struct Setting {
    name: Box<[u8]>,
    statement: Box<[u8]>,
}

impl Remembered {
    /// A session that begins: nothing is set but by its startup packet.
    pub(crate) fn new(identity: Digest, startup: &Parameters) -> Self {
        let texts = startup.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        let state = digest(texts);
        let mut new = Self {
            startup: state,
            settings: Vec::new(),
            working: None,
            savepoints: false,
            expected: VecDeque::new(),
            tenant: Tenant { identity, state },
            pins: Pins::NONE,
            lasting: Pins::NONE,
            releasing: Vec::new(),
            released: Pins::NONE,
            drawing: None,
            counts: Counts::default(),
        };
        // Where backslashes mean something in every string, texts are read wrongly. By the other an idle server would end.
        if ["standard_conforming_strings", "idle_session_timeout"].iter().any(|name| startup.get(name).is_some()) {
            new.lasting.add(Cause::Setting);
        }
        if startup.get("search_path").is_some_and(|path| mentions_temporary(path.as_bytes())) {
            new.lasting.add(Cause::Temporary);
        }
        new.pin(new.lasting);
        new
    }

    /// Whose session state a server has to hold for this client.
    pub(crate) fn tenant(&self) -> Tenant {
        self.tenant
    }

    /// The same, as a server is said to hold it.
    pub(crate) fn holds(&self) -> Holds {
        Holds::Tenant(self.tenant)
    }

    /// The statements to say again on a server that is new to the session.
    pub(crate) fn statements(&self) -> impl Iterator<Item = &[u8]> {
        self.settings.iter().map(|setting| &*setting.statement)
    }

    /// The statements among those that set one of these, as things stand in the transaction that may be open.
    pub(crate) fn statements_for<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = &'a [u8]> {
        let settings = self.working.as_ref().unwrap_or(&self.settings);
        let chosen = settings.iter().filter(|setting| names.iter().any(|name| name.as_bytes() == &*setting.name));
        chosen.map(|setting| &*setting.statement)
    }

    /// Why the client has to keep its server.
    pub(crate) fn pins(&self) -> Pins {
        self.pins
    }

    /// How often it had to, and why.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(crate) fn pin(&mut self, pins: Pins) {
        if !pins.is_empty() {
            self.counts.add(pins);
            self.pin_again(pins);
        }
    }

    /// A statement was prepared that has these effects when it is run.
    pub(crate) fn prepared(&mut self, effects: &Effects) {
        self.pin(at_once(effects.pins));
    }

    /// A statement that was [prepared](Self::prepared) is run in this turn. What it pins was counted then, and may have been
    /// given up since.
    pub(crate) fn executed(&mut self, effects: Effects, turn: u64) {
        self.pin_again(at_once(effects.pins));
        self.follow(effects, turn);
    }

    /// For what has been counted.
    fn pin_again(&mut self, pins: Pins) {
        self.pins = self.pins.union(pins);
        // What gives up the same was sent before.
        self.released = self.released.without(pins);
        self.releasing.iter_mut().for_each(|(_, released)| *released = released.without(pins));
    }

    /// What was sent to the server in this turn and changes settings, in the order in which its command tags will come.
    pub(crate) fn sent(&mut self, effects: Effects, turn: u64) {
        self.pin(at_once(effects.pins));
        self.follow(effects, turn);
    }

    /// What is to come of it when it is answered.
    fn follow(&mut self, effects: Effects, turn: u64) {
        if effects.pins.contains(Cause::Nextval) {
            self.drawing = Some(turn);
        }
        // Most often there are none.
        if !effects.releases.is_empty() {
            self.releasing.push((turn, effects.releases));
        }
        if !effects.changes.is_empty() {
            self.expected.extend(effects.changes.into_iter().map(|change| (turn, change)));
        }
    }

    /// A command completed. Returns what it changed, if that is known. Of a SELECT it is told if one is
    /// [awaited](Self::awaits_call).
    pub(crate) fn completed(&mut self, tag: &[u8]) -> Option<Change> {
        let begins = |word: &[u8]| tag.starts_with(word);
        match tag.first() {
            Some(b'S') if begins(b"SET") || begins(b"SELECT") => self.changed(tag),
            Some(b'R') if begins(b"RESET") => self.changed(tag),
            Some(b'D') if begins(b"DISCARD") || begins(b"DEALLOCATE") => self.changed(tag),
            Some(b'C') if begins(b"COMMIT\0") => self.commit(),
            Some(b'P') if begins(b"PREPARE TRANSACTION") => self.commit(),
            Some(b'P') if begins(b"PREPARE\0") => self.unseen(Cause::Prepare),
            Some(b'L') if begins(b"LISTEN") => self.unseen(Cause::Listen),
            Some(b'L') if begins(b"LOAD") => self.unseen(Cause::Load),
            Some(b'S') if begins(b"SAVEPOINT") => {
                self.savepoints = true;
                None
            }
            Some(b'R') if begins(b"ROLLBACK\0") => {
                // What is behind it in the same turn is not told from what is before.
                self.releasing.clear();
                self.rolled_back()
            }
            _ => None,
        }
    }

    /// Whether a SELECT of this turn may be what makes the next change.
    pub(crate) fn awaits_call(&self, turn: u64) -> bool {
        matches!(self.expected.front(), Some((own, Change::Call { .. })) if *own == turn)
    }

    /// A request of this turn failed, and with it what is behind it in the same turn.
    pub(crate) fn failed(&mut self, failed: u64) {
        self.expected.retain(|(turn, _)| *turn > failed);
        self.releasing.retain(|(turn, _)| *turn > failed);
        // Outside of a transaction it takes back what was done since the last commit. Inside, its end will tell.
        self.rolled_back();
    }

    /// The server is ready for the next request, and has done with this turn.
    pub(crate) fn ready(&mut self, status: TxStatus, done: u64) {
        // Most often there is nothing.
        if !(self.expected.is_empty() && self.releasing.is_empty()) {
            self.done(done);
        }
        if let Some(last) = self.drawing {
            self.drawn(last, status, done);
        }
        if status == TxStatus::Idle {
            self.commit();
        }
    }

    fn done(&mut self, done: u64) {
        if self.expected.front().is_some_and(|(turn, _)| *turn <= done) {
            // The text was taken for something else than it is.
            self.expected.retain(|(turn, _)| *turn > done);
            self.pin(Cause::Setting.into());
        }
        let Self { releasing, released, .. } = self;
        releasing.retain(|(turn, releases)| {
            let over = *turn <= done;
            if over {
                *released = released.union(*releases);
            }
            !over
        });
    }

    /// What is drawn within a transaction is most often asked for there, if it is: mappers do the one and never the other.
    fn drawn(&mut self, last: u64, status: TxStatus, done: u64) {
        if status == TxStatus::Idle {
            self.pin(Cause::Nextval.into());
        }
        self.drawing = Some(last).filter(|last| *last > done);
    }

    fn changed(&mut self, tag: &[u8]) -> Option<Change> {
        let change = self.expected.pop_front().map(|(_, change)| change).filter(|change| fits(change, tag));
        match &change {
            Some(Change::Nothing | Change::DiscardPart | Change::Deallocate(_)) => {}
            Some(Change::DiscardAll) => {
                (self.settings, self.working) = (Vec::new(), None);
                self.settle();
            }
            Some(Change::ResetAll) => self.working = Some(Vec::new()),
            Some(Change::Reset { name }) => self.work(name, None),
            Some(Change::Set { name, statement } | Change::Call { name, statement }) => {
                self.work(name, Some(statement))
            }
            // A statement that was not understood when it was sent.
            None => self.pin(Cause::Setting.into()),
        }
        change
    }

    fn work(&mut self, name: &[u8], statement: Option<&[u8]>) {
        let settings = self.working.get_or_insert_with(|| self.settings.clone());
        // DateStyle has two halves that may be set one by one: only what is said again takes the place of the old.
        let adds = |old: &Setting| name == b"datestyle" && statement.is_some_and(|new| *old.statement != *new);
        settings.retain(|setting| *setting.name != *name || adds(setting));
        settings.extend(statement.map(|statement| Setting { name: name.into(), statement: statement.into() }));
        let bytes: usize = settings.iter().map(|setting| setting.statement.len()).sum();
        // In which encoding a text was sent is not known when it is said again.
        let foreign = statement.is_some_and(|statement| !statement.is_ascii());
        if settings.len() > MOST_SETTINGS || bytes > MOST_BYTES || foreign {
            settings.pop();
            self.pin(Cause::Setting.into());
        }
    }

    fn commit(&mut self) -> Option<Change> {
        self.savepoints = false;
        self.pins = self.pins.without(self.released).union(self.lasting);
        self.released = Pins::NONE;
        if let Some(settings) = self.working.take() {
            self.settings = settings;
            self.settle();
        }
        None
    }

    /// What was set is not, all of it or what came behind a savepoint.
    fn rolled_back(&mut self) -> Option<Change> {
        self.released = Pins::NONE;
        if self.working.take().is_some() && self.savepoints {
            self.pin(Cause::Setting.into());
        }
        None
    }

    /// A tag tells what the text may not have.
    fn unseen(&mut self, cause: Cause) -> Option<Change> {
        if self.pins.contains(cause) {
            self.pin_again(cause.into());
        } else {
            self.pin(cause.into());
        }
        None
    }

    fn settle(&mut self) {
        let statements = self.settings.iter().map(|setting| &*setting.statement);
        self.tenant.state = if self.settings.is_empty() {
            self.startup
        } else {
            digest([&self.startup[..]].into_iter().chain(statements))
        };
    }
}

/// What pins as soon as it is sent.
fn at_once(pins: Pins) -> Pins {
    pins.without(Cause::Nextval.into())
}

/// Whether a statement with this change has such a command tag.
fn fits(change: &Change, tag: &[u8]) -> bool {
    match change {
        Change::Set { .. } => tag.starts_with(b"SET\0"),
        Change::Call { .. } => tag.starts_with(b"SELECT 1\0"),
        Change::Reset { .. } => tag.starts_with(b"SET\0") || tag.starts_with(b"RESET"),
        Change::ResetAll => tag.starts_with(b"RESET"),
        Change::DiscardAll => tag.starts_with(b"DISCARD ALL"),
        Change::DiscardPart => tag.starts_with(b"DISCARD"),
        Change::Deallocate(_) => tag.starts_with(b"DEALLOCATE"),
        Change::Nothing => tag.starts_with(b"SET") || tag.starts_with(b"RESET"),
    }
}

#[cfg(test)]
mod tests;
