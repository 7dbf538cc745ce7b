//! The pool: logged-in servers, lent to one after the other.
//!
//! There is one pool for each database and role. Who wants a server gets an idle one, the more it already holds of
//! what is wanted the sooner; else waits in line, first come first served, while new ones are opened up to the limits.
//! What a server holds of its last tenant is for the borrower to find ([`Lease::holds`]) and to say when it gives the
//! server back; the pool itself resets nothing. The words and meanings of the limits are PgBouncer's.
//! <https://www.pgbouncer.org/config.html>
//!
//! All pools of a database share one lock, because they share a limit and close each other's servers for it. It is
//! never held while anything is awaited, spawned or answered: a step changes the [books](books) and notes what follows
//! from it, which is carried out when the lock is free again.

mod books;
mod database;
mod effect;
mod lease;
mod line;
mod open;
mod pick;
mod role;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::timeout;

use crate::claims::ClaimsMode;
use crate::error::Error;
use crate::login::Login;
use crate::server::ConnectConfig;
use crate::startup::Settings;

use database::{Database, Step};
pub use lease::Lease;
use lease::Waiting;
pub use role::Counts;

/// How often idle servers are looked after.
const ROUND: Duration = Duration::from_millis(333);

/// Whose session state a server holds. For an equal tenant it can be used as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// A digest of the identity: claims, role, expiry. Others never see what this one leaves in a session.
    pub identity: [u8; 32],
    /// A digest of the settings that were made for it.
    pub state: [u8; 32],
}

/// What a server's session holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// What it was opened with; nobody has used it.
    Nothing,
    /// The state of a tenant and nothing else.
    Tenant(Tenant),
    /// Nobody knows. It must be reset.
    Unknown,
}

/// Whose servers are counted together for [`PoolConfig::max_identity_servers`]: a digest of the user's name.
pub type Holder = [u8; 32];

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Want<'a> {
    /// The database.
    pub database: &'a str,
    /// The role that is served.
    pub role: &'a str,
    /// The login by which the role is reached.
    pub login: &'a Login,
    /// Whose state is wanted.
    pub tenant: Tenant,
    /// With whose other servers this one counts; none where it counts alone.
    pub holder: Option<Holder>,
}

/// What keeps somebody waiting for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// [`PoolConfig::default_pool_size`].
    Pool,
    /// [`PoolConfig::max_db_connections`].
    Database,
    /// [`PoolConfig::max_identity_servers`].
    Identity,
}

/// Whether a server that one identity has used may be lent to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Yes: the borrower resets it, where a reset leaves nothing behind ([`Server::reusable`](crate::Server)).
    Switch,
    /// No: every identity has fresh servers.
    Never,
}

/// The limits of every pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Servers of a pool; at least 1.
    pub default_pool_size: usize,
    /// Servers of a pool that are kept open while nobody wants them, once one was.
    pub min_pool_size: usize,
    /// Servers beyond that size for who has waited `reserve_pool_timeout`.
    pub reserve_pool_size: usize,
    /// How long to wait for the reserve. 0: the reserve is not used.
    pub reserve_pool_timeout: Duration,
    /// Servers of all pools of a database. 0: as many as they come to.
    pub max_db_connections: usize,
    /// Servers of a database that one holder may have at a time. Who has as many is passed over in the line until one
    /// is back. 0: no limit.
    pub max_identity_servers: usize,
    /// The age at which a server is closed when nobody has it. 0: it does not age.
    pub server_lifetime: Duration,
    /// How long a server may be idle. 0: for ever.
    pub server_idle_timeout: Duration,
    /// How long to wait after a connection or login that failed.
    pub server_login_retry: Duration,
    /// Statements that are kept prepared on a server.
    pub max_prepared_statements: usize,
    /// Whether servers change their identity.
    pub reuse: Reuse,
}

/// PgBouncer's own defaults, but for `server_login_retry`: a database that was restarted is back in a second.
impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            default_pool_size: 20,
            min_pool_size: 0,
            reserve_pool_size: 0,
            reserve_pool_timeout: Duration::from_secs(5),
            max_db_connections: 0,
            max_identity_servers: 0,
            server_lifetime: Duration::from_secs(3600),
            server_idle_timeout: Duration::from_secs(600),
            server_login_retry: Duration::from_secs(1),
            max_prepared_statements: 200,
            reuse: Reuse::Switch,
        }
    }
}

/// What happened to a server that nobody had.
#[derive(Debug)]
pub enum Happened<'a> {
    /// It was opened.
    Opened {
        /// The process id of its backend.
        pid: i32,
        /// Whether it may change its identity; if not, the database keeps something that a reset does not reach.
        reusable: bool,
    },
    /// It is the first of its pool, or differs from those before, in how it is told whose session it is. Only where
    /// that is for the database to say ([`ClaimsMode::Auto`]).
    Settled {
        /// The name of the mode.
        mode: &'static str,
    },
    /// Its login had defaults, which any of its clients can have given it. They were taken away.
    Forgotten {
        /// Their names.
        settings: &'a str,
    },
    /// It could not be opened.
    Failed(&'a Error),
    /// It was told to go, and after a minute without a sign of it it is waited for no longer. If it is there, there may be
    /// more than the limits allow.
    Abandoned {
        /// The process id of its backend, if it has told.
        pid: Option<i32>,
    },
    /// It was idle and hung up, or said something.
    Lost {
        /// The process id of its backend.
        pid: i32,
    },
}

/// Something for a log.
#[derive(Debug)]
pub struct Event<'a> {
    /// The pool's database.
    pub database: &'a str,
    /// The pool's role.
    pub role: &'a str,
    /// What happened.
    pub what: Happened<'a>,
}

/// What all pools have in common.
struct Common {
    config: PoolConfig,
    connect: ConnectConfig,
    settings: Settings,
    claims: ClaimsMode,
    closed: AtomicBool,
    report: Box<dyn Fn(Event<'_>) + Send + Sync>,
}

/// All pools.
pub struct Pools {
    common: Arc<Common>,
    /// Those with a server, or with somebody who waits for one: a client may name any database. Most often they are
    /// few, and then a tree finds one sooner than a hash that withstands chosen names.
    databases: RwLock<BTreeMap<Arc<str>, Arc<Database>>>,
}

impl Pools {
    /// Pools without servers. `report` is called with what is worth a line in a log, never under a lock.
    #[must_use]
    pub fn new(
        config: PoolConfig,
        connect: ConnectConfig,
        settings: Settings,
        claims: ClaimsMode,
        report: impl Fn(Event<'_>) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (closed, report) = (AtomicBool::new(false), Box::new(report));
        let common = Common { config, connect, settings, claims, closed, report };
        Arc::new(Self { common: Arc::new(common), databases: RwLock::default() })
    }

    /// An idle server, if there is one that will do and nobody waits. Does not wait, and where the best case is the
    /// usual one neither allocates nor asks the system.
    pub fn try_lease(self: &Arc<Self>, want: &Want<'_>) -> Option<Lease> {
        let databases = self.databases.read().unwrap_or_else(PoisonError::into_inner);
        let database = databases.get(want.database)?;
        let tried = database.try_lease(want);
        if tried.is_all() {
            return tried.outcome;
        }
        let database = Arc::clone(database);
        drop(databases);
        database.finish(tried)
    }

    /// A server, as soon as there is one and the turn has come. May be dropped at any time: the place in the line, and
    /// a server that was already handed over, go to the next.
    ///
    /// # Errors
    /// Why none can be opened, to all who wait. While there are others in the pool they go on waiting for those, except
    /// where the error is about what was asked for.
    pub async fn lease(self: &Arc<Self>, want: &Want<'_>) -> Result<Lease, Arc<Error>> {
        self.join(want).served().await
    }

    fn join(self: &Arc<Self>, want: &Want<'_>) -> Waiting {
        let (database, joined) = self.step_in(want.database, |database| database.join(want));
        database.finish(joined)
    }

    /// What keeps somebody waiting who wants this.
    #[must_use]
    pub fn limit(&self, want: &Want<'_>) -> Limit {
        let databases = self.databases.read().unwrap_or_else(PoisonError::into_inner);
        databases.get(want.database).map_or(Limit::Pool, |database| database.limit(want))
    }

    /// Makes the pool one that was wanted, so that `min_pool_size` holds for it from now on.
    pub fn warm(self: &Arc<Self>, database: &str, role: &str, login: &Login) {
        let (database, warmed) = self.step_in(database, |database| database.step(|books| books.warm(role, login)));
        database.finish(warmed);
    }

    /// Looks after the servers that nobody has, until the pools are closed: closes those that are dead, too old or idle for too long, and
    /// opens what is short of `min_pool_size`.
    pub async fn maintain(self: Arc<Self>) {
        while !self.common.closed.load(Ordering::Relaxed) {
            for database in self.all() {
                database.act(|books| books.round());
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    /// Takes leave of all idle servers, and waits until they are gone, though no longer than a login may take. Who still
    /// needs one gets it, but from now on each is closed when it is given back.
    pub async fn close(&self) {
        self.common.closed.store(true, Ordering::Relaxed);
        let closing: Vec<_> = self.all().into_iter().flat_map(|database| database.close()).collect();
        let all_gone = async {
            for server in closing {
                // Of one that could not be waited for we have hung up as well.
                let _ = server.await;
            }
        };
        let _ = timeout(self.common.connect.login_timeout, all_gone).await;
    }

    /// How many servers each pool has, and how many wait; in no order.
    #[must_use]
    pub fn counts(&self) -> Vec<Counts> {
        self.all().iter().flat_map(|database| database.counts()).collect()
    }

    fn all(&self) -> Vec<Arc<Database>> {
        self.databases.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Takes a step in a database's books. It is kept from being forgotten meanwhile, and whoever takes its first step
    /// makes it.
    fn step_in<T>(
        self: &Arc<Self>,
        name: &str,
        step: impl FnOnce(&Arc<Database>) -> Step<T>,
    ) -> (Arc<Database>, Step<T>) {
        {
            let databases = self.databases.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(database) = databases.get(name) {
                return (Arc::clone(database), step(database));
            }
        }
        let mut databases = self.databases.write().unwrap_or_else(PoisonError::into_inner);
        let name: Arc<str> = name.into();
        let new = || Database::new(Arc::clone(&name), Arc::clone(&self.common), Arc::downgrade(self));
        let database = databases.entry(Arc::clone(&name)).or_insert_with(new);
        (Arc::clone(database), step(database))
    }

    /// Forgets a database that has nothing left in its books.
    fn forget(&self, name: &str) {
        let mut databases = self.databases.write().unwrap_or_else(PoisonError::into_inner);
        if databases.get(name).is_some_and(|database| database.is_empty()) {
            databases.remove(name);
        }
    }
}

/// Login passwords and settings are not for logs.
impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").field("config", &self.common.config).finish_non_exhaustive()
    }
}
