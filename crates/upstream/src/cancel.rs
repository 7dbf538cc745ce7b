//! Cancelling what a server runs: a connection of its own, to the same server, in clear or under TLS as the one it is
//! about, that says whom to interrupt and gets no answer.
//!
//! A cancel that is late hits whatever its backend runs by then. So those of other people's asking go by a
//! [`CancelTicket`], and a server is lent again only when all tickets of its own are settled.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use crate::connect::Route;
use crate::error::{Error, Step};

/// Whom to interrupt, and how to say so.
pub struct CancelTarget {
    route: Route,
    pid: i32,
    secret: i32,
    pub(crate) timeout: Duration,
    tickets: Tickets,
}

/// What became of the tickets of one target.
#[derive(Debug, Default)]
struct Tickets {
    /// Those that may yet be sent, or are under way.
    open: AtomicUsize,
    /// Whether one of them may still arrive, nobody knows when.
    lost: AtomicBool,
    /// The last that was open is not any more.
    settled: Notify,
}

/// The right to send one cancel request. From its issue on the server is not lent to anybody else; dropped before it
/// was sent it leaves no trace.
#[derive(Debug)]
pub struct CancelTicket {
    target: Arc<CancelTarget>,
    state: TicketState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TicketState {
    Unsent,
    UnderWay,
    Arrived,
}

impl CancelTicket {
    /// [`CancelTarget::send`], within what the pool knows of. If it fails, or is given up half-way, the server is
    /// never lent again.
    ///
    /// # Errors
    /// [`Error`] if the request may not have arrived.
    pub async fn send(mut self) -> Result<(), Error> {
        self.state = TicketState::UnderWay;
        self.target.send().await?;
        self.state = TicketState::Arrived;
        Ok(())
    }
}

impl Drop for CancelTicket {
    fn drop(&mut self) {
        let Tickets { open, lost, settled } = &self.target.tickets;
        if self.state == TicketState::UnderWay {
            lost.store(true, Ordering::Release);
        }
        if open.fetch_sub(1, Ordering::AcqRel) == 1 {
            settled.notify_waiters();
        }
    }
}

impl CancelTarget {
    /// What a server said of itself (BackendKeyData), and the way to it.
    pub(crate) fn new(route: Route, pid: i32, secret: i32, timeout: Duration) -> Self {
        Self { route, pid, secret, timeout, tickets: Tickets::default() }
    }

    /// The way to the server.
    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    /// The process id of the backend.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Delivers a cancel request and waits until the server hangs up: by then the signal was sent. Only after that may
    /// the connection be given to somebody else, or the cancel could hit their request.
    ///
    /// # Errors
    /// [`Error`] if the request may not have arrived.
    pub async fn send(&self) -> Result<(), Error> {
        Step::Cancel.within(self.timeout, self.deliver()).await
    }

    /// Issues a ticket. Who orders this call before the server is given back can be sure that the cancel hits nobody
    /// else.
    #[must_use]
    pub fn ticket(self: &Arc<Self>) -> CancelTicket {
        self.tickets.open.fetch_add(1, Ordering::AcqRel);
        CancelTicket { target: Arc::clone(self), state: TicketState::Unsent }
    }

    /// Whether a ticket is open.
    pub(crate) fn is_due(&self) -> bool {
        self.tickets.open.load(Ordering::Acquire) > 0
    }

    /// Whether a request may still arrive, nobody knows when.
    pub(crate) fn is_astray(&self) -> bool {
        self.tickets.lost.load(Ordering::Acquire)
    }

    /// Waits until no ticket is open.
    pub(crate) async fn settled(&self) {
        loop {
            // Before the look: it hears of all that happens from here on.
            let settled = self.tickets.settled.notified();
            if !self.is_due() {
                return;
            }
            settled.await;
        }
    }

    async fn deliver(&self) -> Result<(), Error> {
        let mut stream = self.route.connect().await?;
        let mut request = BytesMut::new();
        frontend::cancel_request(self.pid, self.secret, &mut request);
        stream.write_all(&request).await.map_err(Error::Lost)?;
        stream.flush().await.map_err(Error::Lost)?;
        loop {
            match stream.read(&mut [0; 64]).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // It hangs up without the ceremonies of TLS.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                // Somebody in between has, who may have found no server to hand the request to.
                Err(error) => return Err(Error::Lost(error)),
            }
        }
    }
}

/// The secret is nobody's to read.
impl std::fmt::Debug for CancelTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelTarget").field("route", &self.route).field("pid", &self.pid).finish_non_exhaustive()
    }
}
