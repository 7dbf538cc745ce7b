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

/// Who admits.
#[derive(Debug)]
pub(crate) struct Admission {
    max_logins: usize,
    logins: Arc<Semaphore>,
    /// Of the logins, those that WebSockets may have.
    websockets: Arc<Semaphore>,
    clients: Seats,
}

impl Admission {
    /// With so many logins, clients, and clients of one identity; of the last, 0 is no limit.
    pub(crate) fn new(max_logins: usize, max_client_conn: usize, max_identity_conn: usize) -> Self {
        Self {
            max_logins,
            logins: Arc::new(Semaphore::new(max_logins)),
            websockets: Arc::new(Semaphore::new((max_logins * 3).div_ceil(4))),
            clients: Seats::new(max_client_conn, max_identity_conn),
        }
    }

    /// Begins a login.
    ///
    /// # Errors
    /// [`Error::TooManyLogins`]
    pub(crate) fn login(&self) -> Result<LoginPermit, Error> {
        let _of_all = self.permit(&self.logins)?;
        Ok(LoginPermit { _of_all, _of_websockets: None })
    }

    /// Begins a login in a WebSocket. They leave some to those who come by TCP.
    ///
    /// # Errors
    /// [`Error::TooManyLogins`]
    pub(crate) fn login_in_websocket(&self) -> Result<LoginPermit, Error> {
        let of_websockets = self.permit(&self.websockets)?;
        Ok(LoginPermit { _of_websockets: Some(of_websockets), ..self.login()? })
    }

    fn permit(&self, of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
        of.clone().try_acquire_owned().map_err(|_| Error::TooManyLogins(self.max_logins))
    }

    /// How many clients there are.
    pub(crate) fn clients(&self) -> usize {
        self.clients.taken()
    }

    /// Takes a client in.
    ///
    /// # Errors
    /// [`Error::TooManyClients`]
    pub(crate) fn seat(&self) -> Result<Seat, Error> {
        self.clients.take().map_err(Error::TooManyClients)
    }
}

/// Provider and subject.
type Somebody = (String, String);

/// So many seats, of which one identity may have so many.
#[derive(Clone, Debug)]
pub(crate) struct Seats(Arc<Rows>);

#[derive(Debug)]
struct Rows {
    most: usize,
    most_of_identity: usize,
    free: Arc<Semaphore>,
    /// How many each identity has, where that is limited.
    taken: Mutex<HashMap<Somebody, usize>>,
}

/// One of them, held until its holder has gone.
#[derive(Debug)]
pub(crate) struct Seat {
    _permit: OwnedSemaphorePermit,
    rows: Arc<Rows>,
    somebody: Option<Somebody>,
}

impl Seats {
    /// `most_of_identity`: 0 is no limit.
    pub(crate) fn new(most: usize, most_of_identity: usize) -> Self {
        let free = Arc::new(Semaphore::new(most));
        Self(Arc::new(Rows { most, most_of_identity, free, taken: Mutex::default() }))
    }

    /// How many have been taken.
    pub(crate) fn taken(&self) -> usize {
        self.0.most - self.0.free.available_permits()
    }

    /// Takes one.
    ///
    /// # Errors
    /// How many there are, if there is none.
    pub(crate) fn take(&self) -> Result<Seat, usize> {
        let permit = self.0.free.clone().try_acquire_owned().map_err(|_| self.0.most)?;
        Ok(Seat { _permit: permit, rows: self.0.clone(), somebody: None })
    }
}

impl Seat {
    /// Notes whose it is, once that is known. Clients without a token are nobody in particular.
    ///
    /// # Errors
    /// How many one identity may have, if this one has as many.
    pub(crate) fn belongs_to(&mut self, identity: &Identity) -> Result<(), usize> {
        let limit = self.rows.most_of_identity;
        let Some(provider) = identity.provider().filter(|_| limit > 0) else { return Ok(()) };
        let somebody = (provider.to_owned(), identity.subject().unwrap_or_default().to_owned());
        let mut taken = self.rows.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(somebody.clone()).or_default();
        if *count >= limit {
            return Err(limit);
        }
        *count += 1;
        self.somebody = Some(somebody);
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(somebody) = self.somebody.take() else { return };
        let mut taken = self.rows.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&somebody) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&somebody);
            }
        }
    }
}
