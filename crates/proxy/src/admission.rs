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
            clients: Seats::new(max_client_conn, max_identity_conn, 0),
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

/// Whose a seat is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Holder {
    /// Provider and subject.
    Identity(String, String),
    /// Somebody without a token, who is nobody in particular.
    Anyone,
}

/// So many seats, of which one identity may have so many, and all who have no token so many together.
#[derive(Clone, Debug)]
pub(crate) struct Seats(Arc<Rows>);

#[derive(Debug)]
struct Rows {
    most: usize,
    most_of_identity: usize,
    most_of_anyone: usize,
    free: Arc<Semaphore>,
    /// How many each has, where that is limited.
    taken: Mutex<HashMap<Holder, usize>>,
}

/// One of them, held until its holder has gone.
#[derive(Debug)]
pub(crate) struct Seat {
    _permit: OwnedSemaphorePermit,
    rows: Arc<Rows>,
    holder: Option<Holder>,
}

impl Seats {
    /// `most_of_identity`, `most_of_anyone`: 0 is no limit.
    pub(crate) fn new(most: usize, most_of_identity: usize, most_of_anyone: usize) -> Self {
        let free = Arc::new(Semaphore::new(most));
        Self(Arc::new(Rows { most, most_of_identity, most_of_anyone, free, taken: Mutex::default() }))
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
        Ok(Seat { _permit: permit, rows: self.0.clone(), holder: None })
    }
}

impl Seat {
    /// Notes whose it is, once that is known.
    ///
    /// # Errors
    /// How many its holder may have, if they have as many.
    pub(crate) fn belongs_to(&mut self, identity: &Identity) -> Result<(), usize> {
        let provider = identity.provider();
        let limit = if provider.is_some() { self.rows.most_of_identity } else { self.rows.most_of_anyone };
        if limit == 0 {
            return Ok(());
        }
        let subject = || identity.subject().unwrap_or_default().to_owned();
        let holder = provider.map_or(Holder::Anyone, |provider| Holder::Identity(provider.to_owned(), subject()));
        let mut taken = self.rows.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(holder.clone()).or_default();
        if *count >= limit {
            return Err(limit);
        }
        *count += 1;
        self.holder = Some(holder);
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(holder) = self.holder.take() else { return };
        let mut taken = self.rows.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&holder) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&holder);
            }
        }
    }
}
