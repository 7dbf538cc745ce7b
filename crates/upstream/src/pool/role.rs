//! The pool of one role: its idle servers, its places, its line.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::effect::{Effect, Instead};
use super::line::Line;
use super::pick::pick;
use super::{Happened, Reuse, Tenant};
use crate::error::Error;
use crate::login::Login;
use crate::parting::Parting;
use crate::server::Server;

/// How full a pool is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// The database.
    pub database: Arc<str>,
    /// The role.
    pub role: Arc<str>,
    /// Servers that nobody has.
    pub idle: usize,
    /// Servers that somebody has.
    pub lent: usize,
    /// Servers that are being opened.
    pub opening: usize,
    /// Servers that were told to go and have not gone yet.
    pub closing: usize,
    /// How many wait for a server.
    pub waiting: usize,
}

/// What a place is taken for, if not for an idle server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Somebody has the server.
    Lent,
    /// The server is being opened.
    Opening,
    /// The server was told to go and has not gone yet.
    Closing,
    /// The server could not be opened, and what is left of it has not gone yet.
    Left,
}

pub(super) struct Pool {
    pub(super) role: Arc<str>,
    pub(super) login: Login,
    /// The one that came back last is the last.
    pub(super) idle: VecDeque<Box<Server>>,
    /// Servers, whether idle or in any [`Use`](super::books::Use).
    pub(super) places: usize,
    pub(super) opening: usize,
    pub(super) closing: usize,
    /// Of those that close, the ones that could not be opened.
    pub(super) left: usize,
    pub(super) line: Line,
    pub(super) failure: Option<Failure>,
    /// Whether `min_pool_size` holds: the database is one in which we were once.
    pub(super) known: bool,
    /// How its last server is told whose session it is, where that was for the database to say.
    pub(super) mode: Option<&'static str>,
}

/// Why the last server could not be opened.
pub(super) struct Failure {
    pub(super) error: Arc<Error>,
    /// Before that it would only come again.
    pub(super) until: Instant,
}

impl Failure {
    fn holds(&self) -> bool {
        Instant::now() < self.until
    }
}

impl Pool {
    pub(super) fn new(role: &str, login: &Login) -> Self {
        Self {
            role: role.into(),
            login: login.clone(),
            idle: VecDeque::new(),
            places: 0,
            opening: 0,
            closing: 0,
            left: 0,
            line: Line::default(),
            failure: None,
            known: false,
            mode: None,
        }
    }

    /// Servers that are lent, or could be.
    pub(super) fn in_service(&self) -> usize {
        self.places - self.opening - self.closing
    }

    pub(super) fn counts(&self, database: &Arc<str>) -> Counts {
        Counts {
            database: Arc::clone(database),
            role: Arc::clone(&self.role),
            idle: self.idle.len(),
            lent: self.in_service() - self.idle.len(),
            opening: self.opening,
            closing: self.closing,
            waiting: self.line.standing.len() + self.line.beside.len(),
        }
    }

    /// Whether it is too early for another attempt.
    pub(super) fn has_just_failed(&self) -> bool {
        self.failure.as_ref().is_some_and(Failure::holds)
    }

    /// Whether this failure is all there is to say to who wants a server: there is none, and it is too early for another
    /// attempt, or what is left of others takes the places that one would need.
    pub(super) fn is_down(&self, failure: &Failure, size: usize) -> bool {
        self.in_service() == 0 && (failure.holds() || self.left >= size)
    }

    /// Takes the best idle server that is still as it was left. Who is not is closed: whatever it has to say was meant
    /// for nobody who comes now.
    pub(super) fn take(
        &mut self,
        tenant: &Tenant,
        thread: ThreadId,
        reuse: Reuse,
        effects: &mut Vec<Effect>,
    ) -> Option<Box<Server>> {
        while let Some(mut server) = pick(&self.idle, tenant, thread, reuse).and_then(|index| self.idle.remove(index)) {
            if server.stream.is_quiet() {
                return Some(server);
            }
            self.lose(server, effects);
        }
        None
    }

    pub(super) fn lose(&mut self, server: Box<Server>, effects: &mut Vec<Effect>) {
        let what = Happened::Lost { pid: server.cancel.pid() };
        effects.push(Effect::Report { role: Arc::clone(&self.role), what });
        self.close(server.part(), effects);
    }

    pub(super) fn close(&mut self, parting: Box<Parting>, effects: &mut Vec<Effect>) {
        self.see_off(parting, Use::Closing, effects);
    }

    /// Waits for the end of what is left of a server that could not be opened.
    pub(super) fn clear(&mut self, parting: Box<Parting>, effects: &mut Vec<Effect>) {
        self.left += 1;
        self.see_off(parting, Use::Left, effects);
    }

    fn see_off(&mut self, parting: Box<Parting>, of: Use, effects: &mut Vec<Effect>) {
        self.closing += 1;
        effects.push(Effect::Close { role: Arc::clone(&self.role), parting, of });
    }

    /// Closes idle servers that are dead.
    pub(super) fn close_lost(&mut self, effects: &mut Vec<Effect>) {
        for mut server in std::mem::take(&mut self.idle) {
            if server.stream.is_quiet() {
                self.idle.push_back(server);
            } else {
                self.lose(server, effects);
            }
        }
    }

    /// Closes those idle servers that are condemned, the least recently used first. Who judges is told how many servers
    /// there are still.
    pub(super) fn close_idle(&mut self, effects: &mut Vec<Effect>, condemned: impl Fn(&Server, usize) -> bool) {
        for server in std::mem::take(&mut self.idle) {
            if condemned(&server, self.places - self.closing) {
                self.close(server.part(), effects);
            } else {
                self.idle.push_back(server);
            }
        }
    }

    pub(super) fn open(&mut self, instead_of: Option<Instead>, effects: &mut Vec<Effect>) {
        self.opening += 1;
        effects.push(Effect::Open { role: Arc::clone(&self.role), login: self.login.clone(), instead_of });
    }
}

/// Whether something has lasted for longer than it may; a limit of 0 is none.
pub(super) fn is_older(since: Instant, limit: Duration, now: Instant) -> bool {
    !limit.is_zero() && now.duration_since(since) > limit
}
