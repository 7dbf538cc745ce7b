//! What a client has set in its session, and why it may have to keep its server.
//!
//! Settings are remembered as the statements that made them, in order, and said again on the next server. They count
//! once their transaction has committed, as in Postgres; the command tags tell. Where the tags cannot tell, because of
//! savepoints or a text that was not understood, the client is pinned: what cannot be said again has to stay.

mod pinned;

use std::collections::VecDeque;

use upstream::{Holds, Parameters, Tenant};
use wire::owed::TxStatus;

use self::pinned::Pinned;
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
    pinned: Pinned,
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
        Self {
            startup: state,
            settings: Vec::new(),
            working: None,
            savepoints: false,
            expected: VecDeque::new(),
            tenant: Tenant { identity, state },
            pinned: Pinned::new(pins_of(startup)),
        }
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

    /// Whether the client has to keep its server.
    pub(crate) fn is_pinned(&self) -> bool {
        !self.pinned.is_empty()
    }

    /// Whether SQL may have prepared a statement of this name.
    pub(crate) fn may_have_prepared(&self, name: &[u8]) -> bool {
        self.pinned.may_have_prepared(name)
    }

    /// Whether something was sent that asks what was drawn from a sequence.
    pub(crate) fn has_asked(&self) -> bool {
        self.pinned.counts().has(Cause::Currval)
    }

    /// How often it had to, and why.
    pub(crate) fn counts(&self) -> &Counts {
        self.pinned.counts()
    }

    pub(crate) fn pin(&mut self, pins: Pins) {
        self.pinned.pin(pins);
    }

    /// A statement was prepared that has these effects when it is run.
    pub(crate) fn prepared(&mut self, effects: &Effects) {
        self.pinned.prepared(effects);
    }

    /// A statement that was [prepared](Self::prepared) is run in this turn.
    pub(crate) fn executed(&mut self, effects: Effects, turn: u64) {
        self.pinned.executed(&effects, turn);
        self.expect(effects.changes, turn);
    }

    /// A text was sent to the server in this turn.
    pub(crate) fn sent(&mut self, effects: Effects, turn: u64) {
        self.pinned.sent(&effects, turn);
        self.expect(effects.changes, turn);
    }

    /// In the order in which their command tags will come.
    fn expect(&mut self, changes: Vec<Change>, turn: u64) {
        // Most often there are none.
        if !changes.is_empty() {
            self.expected.extend(changes.into_iter().map(|change| (turn, change)));
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
                self.pinned.taken_back();
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
        self.pinned.failed(failed);
        // Outside of a transaction it takes back what was done since the last commit. Inside, its end will tell.
        self.rolled_back();
    }

    /// The server is ready for the next request, and has done with this turn.
    pub(crate) fn ready(&mut self, status: TxStatus, done: u64) {
        // Most often there is nothing.
        if self.expected.front().is_some_and(|(turn, _)| *turn <= done) {
            // The text was taken for something else than it is.
            self.expected.retain(|(turn, _)| *turn > done);
            self.pin(Cause::Setting.into());
        }
        if !self.pinned.is_settled() {
            self.pinned.done(done, status);
        }
        if status == TxStatus::Idle {
            self.commit();
        }
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
        self.pinned.committed();
        if let Some(settings) = self.working.take() {
            self.settings = settings;
            self.settle();
        }
        None
    }

    /// What was set is not, all of it or what came behind a savepoint.
    fn rolled_back(&mut self) -> Option<Change> {
        self.pinned.rolled_back();
        if self.working.take().is_some() && self.savepoints {
            self.pin(Cause::Setting.into());
        }
        None
    }

    fn unseen(&mut self, cause: Cause) -> Option<Change> {
        self.pinned.unseen(cause);
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

/// What keeps a server from the startup packet on.
fn pins_of(startup: &Parameters) -> Pins {
    let mut pins = Pins::NONE;
    // Where backslashes mean something in every string, texts are read wrongly. By the other an idle server would end.
    if ["standard_conforming_strings", "idle_session_timeout"].iter().any(|name| startup.get(name).is_some()) {
        pins.add(Cause::Setting);
    }
    if startup.get("search_path").is_some_and(|path| mentions_temporary(path.as_bytes())) {
        pins.add(Cause::Temporary);
    }
    pins
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
