//! The line of a pool, and who may stand in it: a holder that has all the servers it may have waits beside the line
//! and keeps its place.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::thread::ThreadId;

use tokio::sync::oneshot;

use super::effect::Answer;
use super::{Holder, Tenant};

/// The order in which people came, over all pools of a database.
pub(super) type Ticket = u64;

/// Somebody who waits.
pub(super) struct Waiter {
    pub(super) tenant: Tenant,
    pub(super) holder: Option<Holder>,
    /// The thread on which the server will be used.
    pub(super) thread: ThreadId,
    /// Whether it has waited long enough for the reserve.
    pub(super) pressed: bool,
    pub(super) to: oneshot::Sender<Answer>,
}

/// Who waits for a server of one pool.
#[derive(Default)]
pub(super) struct Line {
    /// Those who take the next server. Each already counts as one who has it.
    pub(super) standing: BTreeMap<Ticket, Waiter>,
    /// Those who have as many as they may.
    pub(super) beside: BTreeMap<Ticket, Waiter>,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.standing.is_empty() && self.beside.is_empty()
    }

    /// The first in line behind a ticket.
    pub(super) fn next(&self, behind: Option<Ticket>) -> Option<(Ticket, &Waiter)> {
        let next = match behind {
            None => self.standing.first_key_value(),
            Some(ticket) => self.standing.range(ticket + 1..).next(),
        };
        next.map(|(ticket, waiter)| (*ticket, waiter))
    }
}

/// How many servers each holder has or is next to get, in one database.
pub(super) struct Holders {
    limit: usize,
    held: HashMap<Holder, Held>,
}

#[derive(Default)]
struct Held {
    count: usize,
    /// Who waits beside the line of which pool.
    beside: BTreeMap<Ticket, Arc<str>>,
}

impl Holders {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, held: HashMap::new() }
    }

    /// Counts one more server, if the holder may have it.
    pub(super) fn claim(&mut self, holder: Option<Holder>) -> bool {
        let Some(holder) = self.counted(holder) else { return true };
        let held = self.held.entry(holder).or_default();
        let granted = held.count < self.limit;
        held.count += usize::from(granted);
        granted
    }

    /// Remembers somebody who was not granted a server and waits for one of the holder's own.
    pub(super) fn wait(&mut self, holder: Option<Holder>, ticket: Ticket, role: &Arc<str>) {
        if let Some(holder) = self.counted(holder) {
            self.held.entry(holder).or_default().beside.insert(ticket, Arc::clone(role));
        }
    }

    /// Forgets somebody who waited beside the line.
    pub(super) fn leave(&mut self, holder: Option<Holder>, ticket: Ticket) {
        let Some(holder) = self.counted(holder) else { return };
        if let Entry::Occupied(mut held) = self.held.entry(holder) {
            held.get_mut().beside.remove(&ticket);
            Self::forget_if_empty(held);
        }
    }

    /// Gives one back. If somebody waits for it, it is theirs at once, and they are named.
    pub(super) fn release(&mut self, holder: Option<Holder>) -> Option<(Ticket, Arc<str>)> {
        let Entry::Occupied(mut held) = self.held.entry(self.counted(holder)?) else { return None };
        let next = held.get_mut().beside.pop_first();
        if next.is_none() {
            held.get_mut().count -= 1;
            Self::forget_if_empty(held);
        }
        next
    }

    fn counted(&self, holder: Option<Holder>) -> Option<Holder> {
        holder.filter(|_| self.limit > 0)
    }

    fn forget_if_empty(held: std::collections::hash_map::OccupiedEntry<'_, Holder, Held>) {
        if held.get().count == 0 && held.get().beside.is_empty() {
            held.remove();
        }
    }
}
