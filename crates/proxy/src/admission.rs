//! How many may be here at once: logins in progress, clients, and clients of each identity.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use identity::Identity;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;

/// One of `max_logins`, held until a client is in.
#[derive(Debug)]
pub(crate) struct LoginPermit {
    _of_all: OwnedSemaphorePermit,
    _of_websockets: Option<OwnedSemaphorePermit>,
}

/// One of `max_client_conn`, and of its identity's `max_identity_conn`, held until a client has gone.
#[derive(Debug)]
pub(crate) struct Seat {
    _permit: OwnedSemaphorePermit,
    doorkeeper: Arc<Doorkeeper>,
    somebody: Option<Somebody>,
}

/// Who admits.
#[derive(Clone, Debug)]
pub(crate) struct Admission(Arc<Doorkeeper>);

/// Provider and subject.
type Somebody = (String, String);

#[derive(Debug)]
struct Doorkeeper {
    max_logins: usize,
    max_client_conn: usize,
    max_identity_conn: usize,
    logins: Arc<Semaphore>,
    /// Of the logins, those that WebSockets may have.
    websockets: Arc<Semaphore>,
    seats: Arc<Semaphore>,
    /// How many seats each identity has, where that is limited.
    taken: Mutex<HashMap<Somebody, usize>>,
}

impl Admission {
    /// With so many logins, clients, and clients of one identity; of the last, 0 is no limit.
    pub(crate) fn new(max_logins: usize, max_client_conn: usize, max_identity_conn: usize) -> Self {
        Self(Arc::new(Doorkeeper {
            max_logins,
            max_client_conn,
            max_identity_conn,
            logins: Arc::new(Semaphore::new(max_logins)),
            websockets: Arc::new(Semaphore::new((max_logins * 3).div_ceil(4))),
            seats: Arc::new(Semaphore::new(max_client_conn)),
            taken: Mutex::default(),
        }))
    }

    /// Begins a login.
    ///
    /// # Errors
    /// [`Error::TooManyLogins`]
    pub(crate) fn login(&self) -> Result<LoginPermit, Error> {
        let _of_all = self.permit(&self.0.logins)?;
        Ok(LoginPermit { _of_all, _of_websockets: None })
    }

    /// Begins a login in a WebSocket. They leave some to those who come by TCP.
    ///
    /// # Errors
    /// [`Error::TooManyLogins`]
    pub(crate) fn login_in_websocket(&self) -> Result<LoginPermit, Error> {
        let of_websockets = self.permit(&self.0.websockets)?;
        Ok(LoginPermit { _of_websockets: Some(of_websockets), ..self.login()? })
    }

    fn permit(&self, of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
        of.clone().try_acquire_owned().map_err(|_| Error::TooManyLogins(self.0.max_logins))
    }

    /// How many clients there are.
    pub(crate) fn clients(&self) -> usize {
        self.0.max_client_conn - self.0.seats.available_permits()
    }

    /// Takes a client in.
    ///
    /// # Errors
    /// [`Error::TooManyClients`]
    pub(crate) fn seat(&self) -> Result<Seat, Error> {
        let permit = self.0.seats.clone().try_acquire_owned();
        let permit = permit.map_err(|_| Error::TooManyClients(self.0.max_client_conn))?;
        Ok(Seat { _permit: permit, doorkeeper: self.0.clone(), somebody: None })
    }
}

impl Seat {
    /// Notes whose it is, once that is known. Clients without a token are nobody in particular.
    ///
    /// # Errors
    /// [`Error::TooManyOfIdentity`]
    pub(crate) fn belongs_to(&mut self, identity: &Identity) -> Result<(), Error> {
        let limit = self.doorkeeper.max_identity_conn;
        let Some(provider) = identity.provider().filter(|_| limit > 0) else { return Ok(()) };
        let somebody = (provider.to_owned(), identity.subject().unwrap_or_default().to_owned());
        let mut taken = self.doorkeeper.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(somebody.clone()).or_default();
        if *count >= limit {
            return Err(Error::TooManyOfIdentity(limit));
        }
        *count += 1;
        self.somebody = Some(somebody);
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(somebody) = self.somebody.take() else { return };
        let mut taken = self.doorkeeper.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&somebody) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&somebody);
            }
        }
    }
}
