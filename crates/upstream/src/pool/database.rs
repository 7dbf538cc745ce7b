//! One database: its books under their lock, and the carrying out of what the books say.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::books::Books;
use super::effect::{Effect, Instead};
use super::lease::{Lease, Place, Waiting};
use super::open::open;
use super::role::{Counts, Use};
use super::{Common, Event, Happened, Limit, Pools, Want};

pub(super) struct Database {
    pub(super) name: Arc<str>,
    pub(super) common: Arc<Common>,
    pools: Weak<Pools>,
    books: Mutex<Books>,
}

/// A step that was taken in the books, and what is yet to follow from it.
#[must_use]
pub(super) struct Step<T> {
    pub(super) outcome: T,
    effects: Vec<Effect>,
    /// Whether the books are empty.
    empty: bool,
}

impl<T> Step<T> {
    /// Nothing follows from it.
    pub(super) fn is_all(&self) -> bool {
        self.effects.is_empty() && !self.empty
    }

    fn map<U>(self, to: impl FnOnce(T) -> U) -> Step<U> {
        Step { outcome: to(self.outcome), effects: self.effects, empty: self.empty }
    }
}

impl Database {
    pub(super) fn new(name: Arc<str>, common: Arc<Common>, pools: Weak<Pools>) -> Arc<Self> {
        let books = Mutex::new(Books::new(common.config));
        Arc::new(Self { name, common, pools, books })
    }

    pub(super) fn try_lease(self: &Arc<Self>, want: &Want<'_>) -> Step<Option<Lease>> {
        self.step(|books| books.try_lend(want)).map(|lent| {
            let (role, server) = lent?;
            Some(Lease::new(server, Place::new(self, role, want.holder, Use::Lent)))
        })
    }

    pub(super) fn join(self: &Arc<Self>, want: &Want<'_>) -> Step<Waiting> {
        let (to, handed) = oneshot::channel();
        let joined = self.step(|books| books.join(want, to));
        joined.map(|(role, ticket)| Waiting::new(self, role, ticket, handed))
    }

    /// Tells every idle server to go.
    pub(super) fn close(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        let Step { effects, .. } = self.step(Books::drain);
        effects.into_iter().filter_map(|effect| self.carry_out(effect)).collect()
    }

    pub(super) fn limit(&self, want: &Want<'_>) -> Limit {
        self.lock().limit(want)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(super) fn counts(&self) -> Vec<Counts> {
        self.lock().counts(&self.name)
    }

    /// Takes a step and does what follows.
    pub(super) fn act<T>(self: &Arc<Self>, change: impl FnOnce(&mut Books) -> T) -> T {
        self.finish(self.step(change))
    }

    pub(super) fn step<T>(&self, change: impl FnOnce(&mut Books) -> T) -> Step<T> {
        let mut books = self.lock();
        let outcome = change(&mut books);
        Step { outcome, effects: books.settle(), empty: books.is_empty() }
    }

    /// Does what follows from a step. There must be no lock.
    pub(super) fn finish<T>(self: &Arc<Self>, step: Step<T>) -> T {
        for effect in step.effects {
            self.carry_out(effect);
        }
        if step.empty
            && let Some(pools) = self.pools.upgrade()
        {
            pools.forget(&self.name);
        }
        step.outcome
    }

    fn carry_out(self: &Arc<Self>, effect: Effect) -> Option<JoinHandle<()>> {
        match effect {
            Effect::Lend { to, role, holder, server } => {
                let place = Place::new(self, role, holder, Use::Lent);
                // Who has left the line meanwhile did not touch it.
                if let Err(Ok(lease)) = to.send(Ok(Lease::new(server, place))) {
                    lease.hand_on();
                }
                None
            }
            Effect::Refuse { to, error } => {
                let _ = to.send(Err(error));
                None
            }
            Effect::Open { role, login, instead_of } => {
                let closing = |role| Place::new(self, role, None, Use::Closing);
                let instead_of = instead_of.map(|Instead { parting, of }| (parting, of.map(closing)));
                spawn(open(Place::new(self, role, None, Use::Opening), login, instead_of))
            }
            Effect::Close { role, parting, of } => spawn(Place::new(self, role, None, of).keep(parting)),
            Effect::Report { role, what } => {
                self.report(&role, what);
                None
            }
        }
    }

    pub(super) fn report(&self, role: &str, what: Happened<'_>) {
        (self.common.report)(Event { database: &self.name, role, what });
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        // Servers are moved, never shared: a step that panicked can have miscounted, but not lent one twice.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does in the background what takes time. Without a runtime, which is when the process ends, it is only dropped: that
/// closes sockets and frees places.
pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Option<JoinHandle<()>> {
    Handle::try_current().ok().map(|runtime| runtime.spawn(work))
}
