//! What somebody holds who has a server, or waits for one.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::books::Books;
use super::database::{Database, spawn};
use super::effect::Answer;
use super::line::Ticket;
use super::role::Use;
use super::{Happened, Holder, Holds, PoolConfig};
use crate::error::Error;
use crate::init::SessionInit;
use crate::parting::{Outcome, Parting};
use crate::server::Server;

/// A server that is lent. Dropped it is closed, and its place is free at once; whoever can should say how it ends.
pub struct Lease {
    server: Box<Server>,
    /// Behind the server: the socket is closed when the place is free.
    place: Place,
}

impl Lease {
    pub(super) fn new(server: Box<Server>, place: Place) -> Self {
        Self { server, place }
    }

    /// What the server held when it was lent.
    #[must_use]
    pub fn holds(&self) -> Holds {
        self.server.holds
    }

    /// Begins the session of a tenant on it, and waits until it has begun. A server on which it has not is told to go.
    ///
    /// # Errors
    /// As [`Server::begin`](crate::Server::begin).
    pub async fn move_in(mut self, init: Arc<SessionInit>, holds: Holds) -> Result<Self, Error> {
        let reset = std::mem::replace(&mut self.server.holds, holds) != Holds::Nothing;
        match self.server.begin(reset, init).await {
            Ok(()) => Ok(self),
            Err(error) => {
                self.retire();
                Err(error)
            }
        }
    }

    /// Gives the server back. It must be idle, outside a transaction and with no answer unread, and hold what it is said
    /// to hold. It goes to the next only when no cancel request can hit it any more, and never if one may be astray.
    pub fn give_back(self, holds: Holds) {
        let Self { mut server, place } = self;
        server.holds = holds;
        if !server.cancel.is_due() {
            return place.settle(|books, role, holder| books.take_back(role, holder, server));
        }
        spawn(async move {
            server.cancel.settled().await;
            place.settle(|books, role, holder| books.take_back(role, holder, server));
        });
    }

    /// Gives the server back when what its session has left is discarded: locks, listening, temporary objects, which would
    /// else be there until somebody needs it. It must be idle.
    pub fn clear_out(mut self) {
        spawn(async move {
            match self.server.discard().await {
                Ok(()) => self.give_back(Holds::Unknown),
                Err(_) => self.retire(),
            }
        });
    }

    /// Hangs up, wherever the server stands. It may run something that no cancel request ends; as long as it does, and
    /// there is a sign that it lives, it has its place in the pool.
    pub fn retire(self) {
        let Self { server, mut place } = self;
        place.database.act(|books| books.retire(&place.role));
        place.of = Some(Use::Closing);
        spawn(async move {
            place.keep(Box::new(Parting::anyhow(server.stream, server.cancel))).await;
        });
    }

    /// The lease and what can be made for it, such as a session init. If nothing can, it is given back unused.
    ///
    /// # Errors
    /// Why it could not be made.
    pub fn with<T, E>(self, make: impl FnOnce(&Self) -> Result<T, E>) -> Result<(Self, T), E> {
        match make(&self) {
            Ok(made) => Ok((self, made)),
            Err(error) => {
                self.hand_on();
                Err(error)
            }
        }
    }

    /// Gives it back unused.
    pub fn hand_on(self) {
        let holds = self.holds();
        self.give_back(holds);
    }
}

impl Deref for Lease {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("server", &self.server).finish_non_exhaustive()
    }
}

/// A place in a pool; dropping it frees it.
pub(super) struct Place {
    pub(super) database: Arc<Database>,
    pub(super) role: Arc<str>,
    holder: Option<Holder>,
    /// None: the books have it.
    of: Option<Use>,
}

impl Place {
    /// Holds a place that is already taken in the books.
    pub(super) fn new(database: &Arc<Database>, role: Arc<str>, holder: Option<Holder>, of: Use) -> Self {
        Self { database: Arc::clone(database), role, holder, of: Some(of) }
    }

    /// Keeps it until its server is gone.
    pub(super) async fn keep(self, parting: Box<Parting>) {
        self.outlast(parting).await;
    }

    /// Waits until a server is gone that has this place.
    pub(super) fn outlast(&self, parting: Box<Parting>) -> impl Future<Output = ()> + Send + use<> {
        let (database, role, pid) = (Arc::clone(&self.database), Arc::clone(&self.role), parting.pid());
        async move {
            if parting.gone().await == Outcome::Silent {
                database.report(&role, Happened::Abandoned { pid });
            }
        }
    }

    /// It is not free yet for the server that was to be opened in it.
    pub(super) fn delay(&mut self) {
        self.database.act(|books| books.delay(&self.role));
        self.of = Some(Use::Closing);
    }

    /// The server that was to be opened in it may be opened in another sooner.
    pub(super) fn cede(mut self) {
        self.of = None;
        self.database.act(|books| books.cede(&self.role));
    }

    /// Leaves the place to the books, which are told in the same breath what became of its server.
    pub(super) fn settle<T>(mut self, change: impl FnOnce(&mut Books, &Arc<str>, Option<Holder>) -> T) -> T {
        self.of = None;
        let outcome = self.database.act(|books| change(books, &self.role, self.holder));
        if self.database.common.closed.load(Ordering::Relaxed) {
            // Nobody else is there to take leave of what has just become idle.
            drop(self.database.close());
        }
        outcome
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(of) = self.of {
            self.database.act(|books| books.vacate(&self.role, self.holder, of));
        }
    }
}

/// Somebody's place in the line.
pub(super) struct Waiting {
    database: Arc<Database>,
    role: Arc<str>,
    ticket: Ticket,
    handed: oneshot::Receiver<Answer>,
    /// The line has no place of ours any more.
    answered: bool,
}

impl Waiting {
    pub(super) fn new(
        database: &Arc<Database>,
        role: Arc<str>,
        ticket: Ticket,
        handed: oneshot::Receiver<Answer>,
    ) -> Self {
        Self { database: Arc::clone(database), role, ticket, handed, answered: false }
    }

    /// Waits for the turn.
    pub(super) async fn served(mut self) -> Answer {
        const ANSWERED: &str = "who does not leave the line gets an answer";

        let PoolConfig { reserve_pool_size, reserve_pool_timeout: patience, .. } = self.database.common.config;
        if reserve_pool_size > 0 && !patience.is_zero() {
            if let Ok(answer) = timeout(patience, &mut self.handed).await {
                self.answered = true;
                return answer.expect(ANSWERED);
            }
            self.database.act(|books| books.press(&self.role, self.ticket));
        }
        let answer = (&mut self.handed).await;
        self.answered = true;
        answer.expect(ANSWERED)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        self.database.act(|books| books.leave(&self.role, self.ticket));
        self.handed.close();
        if let Ok(Ok(lease)) = self.handed.try_recv() {
            lease.hand_on();
        }
    }
}
