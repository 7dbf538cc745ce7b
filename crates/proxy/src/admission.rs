//! How many may be here at once: logins in progress, clients, and servers of each database and role.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::config::Pool;
use crate::error::Error;

/// One of `max_logins`, held until a client is in.
#[derive(Debug)]
pub(crate) struct LoginPermit(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

/// One of `max_client_conn`, held until a client has gone.
#[derive(Debug)]
pub(crate) struct Seat(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

/// One of `default_pool_size`, held as long as its server.
#[derive(Debug)]
pub(crate) struct ServerPermit(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

/// A database and a role.
type PoolKey = (String, String);

/// The doorkeeper.
#[derive(Debug)]
pub(crate) struct Admission {
    max_logins: usize,
    pool: Pool,
    logins: Arc<Semaphore>,
    seats: Arc<Semaphore>,
    /// Those that somebody has or waits for; a client may name any database, so no others are kept.
    servers: Mutex<HashMap<PoolKey, Arc<Semaphore>>>,
}

impl Admission {
    pub(crate) fn new(max_logins: usize, pool: Pool) -> Self {
        Self {
            max_logins,
            logins: Arc::new(Semaphore::new(max_logins)),
            seats: Arc::new(Semaphore::new(pool.max_client_conn)),
            servers: Mutex::default(),
            pool,
        }
    }

    /// Begins a login.
    ///
    /// # Errors
    /// [`Error::TooManyLogins`]
    pub(crate) fn login(&self) -> Result<LoginPermit, Error> {
        let permit = self.logins.clone().try_acquire_owned();
        permit.map(LoginPermit).map_err(|_| Error::TooManyLogins(self.max_logins))
    }

    /// Takes a client in.
    ///
    /// # Errors
    /// [`Error::TooManyClients`]
    pub(crate) fn seat(&self) -> Result<Seat, Error> {
        let permit = self.seats.clone().try_acquire_owned();
        permit.map(Seat).map_err(|_| Error::TooManyClients(self.pool.max_client_conn))
    }

    /// Waits for a server's place, first come first served.
    ///
    /// # Errors
    /// [`Error::PoolFull`] after `query_wait_timeout`.
    pub(crate) async fn server(&self, database: &str, role: &str) -> Result<ServerPermit, Error> {
        let Pool { default_pool_size: size, query_wait_timeout: waited, .. } = self.pool;
        let places = {
            let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
            servers.retain(|_, places| Arc::strong_count(places) > 1);
            let places = servers.entry((database.to_owned(), role.to_owned()));
            places.or_insert_with(|| Arc::new(Semaphore::new(size))).clone()
        };
        match timeout(waited, places.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(ServerPermit(permit)),
            _ => Err(Error::PoolFull { size, waited }),
        }
    }
}
