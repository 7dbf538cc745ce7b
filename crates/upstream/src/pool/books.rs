//! The books of one database: who has which place, who waits, which servers are idle. Everything here happens under
//! one lock and at once; what takes time is noted as an [`Effect`].

mod limits;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;
use wire::stream::this_thread;

use super::effect::{Answer, Effect, Instead};
use super::line::{Holders, Ticket, Waiter};
use super::pick::is_lendable;
use super::role::{Counts, Failure, Pool, Use, is_older};
use super::{Happened, Holder, PoolConfig, Want};
use crate::error::Error;
use crate::login::Login;
use crate::parting::Parting;
use crate::server::Server;

pub(super) struct Books {
    config: PoolConfig,
    pools: BTreeMap<Arc<str>, Pool>,
    holders: Holders,
    next_ticket: Ticket,
    /// Pools for whose lines something may have changed.
    stirred: VecDeque<Arc<str>>,
    effects: Vec<Effect>,
}

/// What others call. Each is followed by [`settle`](Books::settle).
impl Books {
    pub(super) fn new(config: PoolConfig) -> Self {
        Self {
            holders: Holders::new(config.max_identity_servers),
            config,
            pools: BTreeMap::new(),
            next_ticket: 0,
            stirred: VecDeque::new(),
            effects: Vec::new(),
        }
    }

    /// Lends an idle server, unless somebody waits.
    pub(super) fn try_lend(&mut self, want: &Want<'_>) -> Option<(Arc<str>, Box<Server>)> {
        let pool = self.pools.get_mut(want.role)?;
        if !pool.line.standing.is_empty() || pool.idle.is_empty() || !self.holders.claim(want.holder) {
            return None;
        }
        match pool.take(&want.tenant, this_thread(), self.config.reuse, &mut self.effects) {
            Some(server) => Some((Arc::clone(&pool.role), server)),
            None => {
                self.release(want.holder);
                None
            }
        }
    }

    /// Puts somebody at the end of the line.
    pub(super) fn join(&mut self, want: &Want<'_>, to: oneshot::Sender<Answer>) -> (Arc<str>, Ticket) {
        let Want { tenant, holder, .. } = *want;
        let waiter = Waiter { tenant, holder, thread: this_thread(), pressed: false, to };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let granted = self.holders.claim(holder);
        let pool = self.pool(want.role, want.login);
        let role = Arc::clone(&pool.role);
        if granted {
            pool.line.standing.insert(ticket, waiter);
        } else {
            pool.line.beside.insert(ticket, waiter);
            self.holders.wait(holder, ticket, &role);
        }
        self.stir(&role);
        (role, ticket)
    }

    /// Somebody leaves the line, if they are still in it.
    pub(super) fn leave(&mut self, role: &Arc<str>, ticket: Ticket) {
        let Some(Pool { line, .. }) = self.pools.get_mut(role) else { return };
        if let Some(waiter) = line.beside.remove(&ticket) {
            self.holders.leave(waiter.holder, ticket);
            self.stir(role);
        } else if let Some(waiter) = line.standing.remove(&ticket) {
            self.release(waiter.holder);
            self.stir(role);
        }
    }

    /// Somebody has waited long enough for the reserve.
    pub(super) fn press(&mut self, role: &Arc<str>, ticket: Ticket) {
        let Some(Pool { line, .. }) = self.pools.get_mut(role) else { return };
        if let Some(waiter) = line.standing.get_mut(&ticket).or_else(|| line.beside.get_mut(&ticket)) {
            waiter.pressed = true;
            self.stir(role);
        }
    }

    /// A server comes back. The place is its own until it is lent or gone.
    pub(super) fn take_back(&mut self, role: &Arc<str>, holder: Option<Holder>, mut server: Box<Server>) {
        self.release(holder);
        let (now, lifetime, reuse) = (Instant::now(), self.config.server_lifetime, self.config.reuse);
        let pool = Self::entered(&mut self.pools, role);
        let worn = server.cancel.is_astray() || is_older(server.opened, lifetime, now);
        if worn || !is_lendable(&server, reuse) {
            pool.close(server.part(), &mut self.effects);
        } else {
            server.since = now;
            pool.idle.push_back(server);
            self.stir_about(role);
        }
    }

    /// A server that was lent is told to go.
    pub(super) fn retire(&mut self, role: &Arc<str>) {
        Self::entered(&mut self.pools, role).closing += 1;
    }

    /// A place in which a server was to be opened is not free yet, and nobody knows when it will be. Who counted on it may
    /// get another.
    pub(super) fn delay(&mut self, role: &Arc<str>) {
        let pool = Self::entered(&mut self.pools, role);
        pool.opening -= 1;
        pool.closing += 1;
        self.stir(role);
    }

    /// The same of one that was to come free in another pool: the place is given up.
    pub(super) fn cede(&mut self, role: &Arc<str>) {
        let pool = Self::entered(&mut self.pools, role);
        pool.opening -= 1;
        pool.places -= 1;
        self.stir(role);
    }

    /// A place is free.
    pub(super) fn vacate(&mut self, role: &Arc<str>, holder: Option<Holder>, of: Use) {
        let pool = Self::entered(&mut self.pools, role);
        pool.places -= 1;
        match of {
            Use::Lent => {}
            Use::Closing => pool.closing -= 1,
            Use::Left => {
                pool.closing -= 1;
                pool.left -= 1;
            }
            // Nobody tried, for the runtime is going. To try again now would be to try for ever.
            Use::Opening => {
                pool.opening -= 1;
                return self.forget_if_empty(role);
            }
        }
        self.release(holder);
        self.stir(role);
        self.stir_about(role);
    }

    /// A server was opened.
    pub(super) fn opened(&mut self, role: &Arc<str>, mut server: Box<Server>) {
        server.since = Instant::now();
        let pool = Self::entered(&mut self.pools, role);
        pool.opening -= 1;
        (pool.known, pool.failure) = (true, None);
        pool.idle.push_back(server);
        self.stir_about(role);
    }

    /// The database said how the server is told whose session it is. That is worth saying once.
    pub(super) fn settled(&mut self, role: &Arc<str>, mode: &'static str) {
        let pool = Self::entered(&mut self.pools, role);
        if pool.mode.replace(mode) != Some(mode) {
            self.effects.push(Effect::Report { role: Arc::clone(role), what: Happened::Settled { mode } });
        }
    }

    /// A server could not be opened; what is left of it keeps the place until it is gone. Tells whether that is
    /// remembered, and so has to be [looked at](Books::stir) again.
    pub(super) fn failed(&mut self, role: &Arc<str>, error: &Arc<Error>, left: Option<Box<Parting>>) -> bool {
        let pool = Self::entered(&mut self.pools, role);
        pool.opening -= 1;
        match left {
            Some(parting) => pool.clear(parting, &mut self.effects),
            None => pool.places -= 1,
        }
        let alone = pool.in_service() == 0;
        let theirs = error.for_client().is_some() && (alone || !error.is_passing());
        if theirs {
            // A database that is gone is not asked for any more.
            pool.known &= !alone || error.is_passing();
        } else {
            let until = Instant::now() + self.config.server_login_retry;
            pool.failure = Some(Failure { error: Arc::clone(error), until });
        }
        if theirs || alone {
            self.refuse_all(role, error);
        }
        self.stir(role);
        self.stir_about(role);
        !theirs
    }

    pub(super) fn warm(&mut self, role: &str, login: &Login) {
        let pool = self.pool(role, login);
        pool.known = true;
        let role = Arc::clone(&pool.role);
        self.fill(&role);
        self.stir(&role);
    }

    /// Looks after idle servers.
    pub(super) fn round(&mut self) {
        let (now, PoolConfig { server_lifetime, server_idle_timeout, min_pool_size, .. }) =
            (Instant::now(), self.config);
        let roles: Vec<_> = self.pools.keys().cloned().collect();
        for role in &roles {
            let pool = Self::entered(&mut self.pools, role);
            pool.close_lost(&mut self.effects);
            pool.close_idle(&mut self.effects, |server, places| {
                let unwanted = places > min_pool_size && is_older(server.since, server_idle_timeout, now);
                unwanted || is_older(server.opened, server_lifetime, now)
            });
            self.fill(role);
            self.stir(role);
        }
    }

    /// Closes every idle server.
    pub(super) fn drain(&mut self) {
        for pool in self.pools.values_mut() {
            pool.known = false;
            pool.close_idle(&mut self.effects, |_, _| true);
        }
    }

    /// Asks for a look at a pool's line.
    pub(super) fn stir(&mut self, role: &Arc<str>) {
        self.stirred.push_back(Arc::clone(role));
    }

    /// Serves whoever can be served now, and returns what follows from all that happened.
    pub(super) fn settle(&mut self) -> Vec<Effect> {
        while let Some(role) = self.stirred.pop_front() {
            self.serve(&role);
            self.forget_if_empty(&role);
        }
        std::mem::take(&mut self.effects)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    pub(super) fn counts(&self, database: &Arc<str>) -> Vec<Counts> {
        self.pools.values().map(|pool| pool.counts(database)).collect()
    }
}

/// What the steps above are made of.
impl Books {
    fn pool(&mut self, role: &str, login: &Login) -> &mut Pool {
        if !self.pools.contains_key(role) {
            let pool = Pool::new(role, login);
            self.pools.insert(Arc::clone(&pool.role), pool);
        }
        self.pools.get_mut(role).expect("it was there or is there now")
    }

    /// The pool of a place that is taken.
    fn entered<'a>(pools: &'a mut BTreeMap<Arc<str>, Pool>, role: &Arc<str>) -> &'a mut Pool {
        pools.get_mut(role).expect("a pool is there as long as one of its places is taken")
    }

    /// Hands servers to the line and has new ones opened, as many as it needs. Who can use none of the idle servers,
    /// and waits for one that is being opened, is passed over by whoever can.
    fn serve(&mut self, role: &Arc<str>) {
        let Some(pool) = self.pools.get(role).filter(|pool| !pool.line.standing.is_empty()) else { return };
        if let Some(failure) = pool.failure.as_ref().filter(|failure| pool.is_down(failure, self.size())) {
            return self.refuse_all(role, &Arc::clone(&failure.error));
        }
        let (mut coming, mut passed) = (pool.opening, None);
        loop {
            let pool = Self::entered(&mut self.pools, role);
            let Some((ticket, waiter)) = pool.line.next(passed) else { return };
            let (tenant, thread, pressed) = (waiter.tenant, waiter.thread, waiter.pressed);
            if let Some(server) = pool.take(&tenant, thread, self.config.reuse, &mut self.effects) {
                let Waiter { to, holder, .. } = pool.line.standing.remove(&ticket).expect("it is next in line");
                self.effects.push(Effect::Lend { to, role: Arc::clone(role), holder, server });
                continue;
            }
            if coming > 0 {
                coming -= 1;
            } else if !self.open(role, pressed) && self.pools[role].idle.is_empty() {
                return;
            }
            passed = Some(ticket);
        }
    }

    /// Opens a server for somebody whom none of the idle ones suits, if the limits leave room or one of the idle can
    /// make room.
    fn open(&mut self, role: &Arc<str>, pressed: bool) -> bool {
        let full = self.is_full();
        let size = self.config.default_pool_size + if pressed { self.config.reserve_pool_size } else { 0 };
        let pool = Self::entered(&mut self.pools, role);
        if pool.has_just_failed() {
            return false;
        }
        let has_room = pool.places < size;
        if has_room && !full {
            pool.places += 1;
            pool.open(None, &mut self.effects);
        } else if let Some(unfit) = pool.idle.pop_front() {
            pool.open(Some(Instead { parting: unfit.part(), of: None }), &mut self.effects);
        } else if has_room && let Some(evicted) = self.evict() {
            let pool = Self::entered(&mut self.pools, role);
            pool.places += 1;
            pool.open(Some(evicted), &mut self.effects);
        } else {
            return false;
        }
        true
    }

    /// Has the server go that has been idle for the longest time, from a pool that can spare it. It has its place there until
    /// it is gone.
    fn evict(&mut self) -> Option<Instead> {
        let spare = self.pools.values_mut().filter(|pool| pool.places - pool.closing > self.config.min_pool_size);
        let idle = spare.filter_map(|pool| Some((pool.idle.front()?.since, pool)));
        let (_, pool) = idle.min_by_key(|(since, _)| *since)?;
        let evicted = pool.idle.pop_front()?;
        pool.closing += 1;
        Some(Instead { parting: evicted.part(), of: Some(Arc::clone(&pool.role)) })
    }

    /// Opens one server if the pool is short of `min_pool_size`; one at a time is soon enough.
    fn fill(&mut self, role: &Arc<str>) {
        let full = self.is_full();
        let pool = Self::entered(&mut self.pools, role);
        let short = pool.known && pool.places < self.config.min_pool_size.min(self.config.default_pool_size);
        if short && pool.opening == 0 && !full && !pool.has_just_failed() {
            pool.places += 1;
            pool.open(None, &mut self.effects);
        }
    }

    fn refuse_all(&mut self, role: &Arc<str>, error: &Arc<Error>) {
        let line = std::mem::take(&mut Self::entered(&mut self.pools, role).line);
        for (ticket, Waiter { holder, to, .. }) in line.beside {
            self.holders.leave(holder, ticket);
            self.effects.push(Effect::Refuse { to, error: Arc::clone(error) });
        }
        for Waiter { holder, to, .. } in line.standing.into_values() {
            self.release(holder);
            self.effects.push(Effect::Refuse { to, error: Arc::clone(error) });
        }
    }

    /// One server less for a holder; who waited beside a line for that is in it again.
    fn release(&mut self, holder: Option<Holder>) {
        let Some((ticket, role)) = self.holders.release(holder) else { return };
        let line = &mut Self::entered(&mut self.pools, &role).line;
        let waiter = line.beside.remove(&ticket).expect("who waits beside a line is in the pool's books too");
        line.standing.insert(ticket, waiter);
        self.stir(&role);
    }

    /// Looks at the line of a pool in which something came free, and, where pools share a limit, at the others', those
    /// first who came first.
    fn stir_about(&mut self, role: &Arc<str>) {
        if self.config.max_db_connections == 0 {
            if !Self::entered(&mut self.pools, role).line.standing.is_empty() {
                self.stir(role);
            }
            return;
        }
        let first = |pool: &Pool| Some((pool.line.next(None)?.0, Arc::clone(&pool.role)));
        let mut lines: Vec<_> = self.pools.values().filter_map(first).collect();
        lines.sort_unstable();
        self.stirred.extend(lines.into_iter().map(|(_, role)| role));
    }

    /// An error is kept as long as it holds, a pool that was once open for its `min_pool_size`.
    fn forget_if_empty(&mut self, role: &Arc<str>) {
        let min = self.config.min_pool_size;
        let empty = |pool: &Pool| {
            pool.places == 0 && pool.line.is_empty() && !pool.has_just_failed() && !(pool.known && min > 0)
        };
        if self.pools.get(role).is_some_and(empty) {
            self.pools.remove(role);
        }
    }
}
