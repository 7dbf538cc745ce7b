//! Our own cancel keys, and the way from one to the server that works for its session at the moment.
//!
//! A client never learns its server's key. It gets a process id and a key of ours, from a CSPRNG, and a CancelRequest
//! that brings both back reaches the server that the session has then, or nobody. While that server runs what is ours,
//! to set the session up, a cancel waits: it is meant for what comes after. Where the client's request has gone out
//! behind ours, the server says nothing before it has something to say to that, and meanwhile nobody knows which of the
//! two it works at. There a cancel waits for [`PATIENCE`], far longer than ours takes. A session that is still in line for a
//! server is told itself.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aws_lc_rs::constant_time;
use aws_lc_rs::rand;
use tokio::sync::oneshot;
use tokio::time::timeout;
use upstream::{CancelTarget, CancelTicket};
use wire::startup::{CancelRequest, Version};

/// Bytes of a key in protocol 3.2, as many as Postgres's own.
const KEY: usize = 32;

/// Bytes of a key before that.
const SHORT_KEY: usize = 4;

/// How long a cancel waits for a server to have set a session up, if the client's request is behind that. If it takes
/// longer, because it waits for a lock perhaps, the cancel ends it and the session with it.
const PATIENCE: Duration = Duration::from_millis(100);

/// The sessions that can be cancelled.
#[derive(Debug, Default)]
pub(crate) struct Cancels {
    sessions: Mutex<HashMap<u32, Session>>,
}

#[derive(Debug)]
struct Session {
    key: Key,
    server: Arc<Server>,
}

/// Whom a cancel of this session reaches. A ticket is issued under this lock, so that whoever takes the server out knows
/// that every cancel of this session has one.
type Server = Mutex<Reach>;

#[derive(Debug, Default)]
pub(crate) enum Reach {
    /// There is no server.
    #[default]
    Nobody,
    /// The client waits for one.
    InLine { cancelled: bool, waker: Waker },
    /// The server works for us, or is not known to have done so; these wait until it works for the session. If the
    /// client's request has gone out behind ours: the server.
    Later { waiting: Vec<oneshot::Sender<CancelTicket>>, behind: Option<Arc<CancelTarget>> },
    /// This one.
    Now(Arc<CancelTarget>),
}

/// What a client shows to cancel.
#[derive(Clone, Copy)]
struct Key {
    bytes: [u8; KEY],
    size: usize,
}

/// A session's entry; dropping it takes the entry out.
#[derive(Debug)]
pub(crate) struct Registration {
    cancels: Arc<Cancels>,
    /// What the client is told as its server's process id.
    pub(crate) process_id: u32,
    key: Key,
    server: Arc<Server>,
}

/// The right to cancel, now or later.
#[derive(Debug)]
pub(crate) enum Found {
    Now(CancelTicket),
    Later(oneshot::Receiver<CancelTicket>, Arc<Server>),
    /// It was told to the session itself.
    Told,
}

impl Found {
    /// Waits for the right, unless the session has no server any more.
    pub(crate) async fn ticket(self) -> Option<CancelTicket> {
        let (mut later, session) = match self {
            Self::Now(ticket) => return Some(ticket),
            Self::Later(later, session) => (later, session),
            Self::Told => return None,
        };
        if let Ok(ticket) = timeout(PATIENCE, &mut later).await {
            return ticket.ok();
        }
        let overdue = match &*lock(&session) {
            Reach::Later { behind, .. } => behind.as_ref().map(CancelTarget::ticket),
            // Then the ticket has come meanwhile, or nobody is there to send it.
            Reach::Nobody | Reach::InLine { .. } | Reach::Now(_) => None,
        };
        match overdue {
            Some(ticket) => Some(ticket),
            None => later.await.ok(),
        }
    }
}

impl Cancels {
    /// Makes a key for a session whose client speaks this version.
    pub(crate) fn register(self: &Arc<Self>, version: Version) -> Registration {
        let mut bytes = [0; KEY];
        random(&mut bytes);
        let key = Key { bytes, size: if version >= Version::V3_2 { KEY } else { SHORT_KEY } };
        let server = Arc::<Server>::default();
        let mut sessions = lock(&self.sessions);
        loop {
            // Drivers read it as a positive number.
            let mut id = [0; 4];
            random(&mut id);
            let process_id = u32::from_be_bytes(id) >> 1;
            if let (1.., Entry::Vacant(free)) = (process_id, sessions.entry(process_id)) {
                free.insert(Session { key, server: server.clone() });
                return Registration { cancels: self.clone(), process_id, key, server };
            }
        }
    }

    /// For a session whose client is told no key.
    pub(crate) fn unlisted(self: &Arc<Self>) -> Registration {
        // Nobody has the process id 0, and so it is no entry's either.
        let key = Key { bytes: [0; KEY], size: KEY };
        Registration { cancels: self.clone(), process_id: 0, key, server: Arc::default() }
    }

    /// The right to cancel what a request is about. A wrong key finds nothing, and takes as long as a right one to find
    /// it.
    pub(crate) fn find(&self, request: &CancelRequest) -> Option<Found> {
        let sessions = lock(&self.sessions);
        let session = sessions.get(&request.process_id);
        let nobodys = Key { bytes: [0; KEY], size: request.key.len().min(KEY) };
        let key = session.map_or(&nobodys, |session| &session.key);
        let matches = constant_time::verify_slices_are_equal(key.as_slice(), &request.key).is_ok();
        let server = session.filter(|_| matches)?.server.clone();
        drop(sessions);
        match &mut *lock(&server) {
            Reach::Nobody => None,
            Reach::InLine { cancelled, waker } => {
                *cancelled = true;
                waker.wake_by_ref();
                Some(Found::Told)
            }
            Reach::Now(server) => Some(Found::Now(server.ticket())),
            Reach::Later { waiting, .. } => {
                let (later, ticket) = oneshot::channel();
                waiting.retain(|waiting| !waiting.is_closed());
                waiting.push(later);
                Some(Found::Later(ticket, Arc::clone(&server)))
            }
        }
    }
}

impl Registration {
    /// What the client is told as its secret key.
    pub(crate) fn key(&self) -> &[u8] {
        self.key.as_slice()
    }

    /// The session works with this server from now on.
    pub(crate) fn begin(&self, server: &Arc<CancelTarget>) {
        let before = std::mem::replace(&mut *lock(&self.server), Reach::Now(server.clone()));
        if let Reach::Later { waiting, .. } = before {
            // One that has gone meanwhile drops its ticket.
            waiting.into_iter().for_each(|waiting| drop(waiting.send(server.ticket())));
        }
    }

    /// The session has a server, which does something for us first. `behind`: on this one the client's request has gone out
    /// behind that.
    pub(crate) fn suspend(&self, behind: Option<&Arc<CancelTarget>>) {
        let mut reach = lock(&self.server);
        let waiting = match &mut *reach {
            Reach::Later { waiting, .. } => std::mem::take(waiting),
            Reach::Nobody | Reach::InLine { .. } | Reach::Now(_) => Vec::new(),
        };
        *reach = Reach::Later { waiting, behind: behind.cloned() };
    }

    /// The session waits for a server: whether its request was cancelled meanwhile.
    pub(crate) fn poll_cancelled(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut reach = lock(&self.server);
        match &mut *reach {
            Reach::InLine { cancelled: true, .. } => {
                *reach = Reach::Nobody;
                return Poll::Ready(());
            }
            Reach::InLine { waker, .. } => waker.clone_from(cx.waker()),
            _ => *reach = Reach::InLine { cancelled: false, waker: cx.waker().clone() },
        }
        Poll::Pending
    }

    /// The session need not wait any longer: whether its request was cancelled. If not, a cancel waits from now on until the
    /// server works for it; else there is nothing that one could be for.
    pub(crate) fn leave_line(&self) -> bool {
        let mut reach = lock(&self.server);
        let cancelled = matches!(*reach, Reach::InLine { cancelled: true, .. });
        *reach = if cancelled { Reach::Nobody } else { Reach::Later { waiting: Vec::new(), behind: None } };
        cancelled
    }

    /// The session has no server any more. Before that server is lent to somebody else, the tickets that were issued
    /// for it are settled.
    pub(crate) fn end(&self) {
        *lock(&self.server) = Reach::Nobody;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.end();
        lock(&self.cancels.sessions).remove(&self.process_id);
    }
}

impl Key {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.size]
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({} bytes)", self.size)
    }
}

/// Nothing that is done under these locks can panic half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn random(bytes: &mut [u8]) {
    rand::fill(bytes).expect("the system has a random number generator");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_cancel_in_line_is_not_for_the_request_behind_the_first() {
        let cancels = Arc::<Cancels>::default();
        let session = cancels.register(Version::V3_2);
        let request = CancelRequest { process_id: session.process_id, key: session.key().to_vec().into() };
        let find = || cancels.find(&request);
        assert!(session.poll_cancelled(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(matches!(find(), Some(Found::Told)));

        assert!(session.leave_line());

        assert!(find().is_none());
        assert!(session.poll_cancelled(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(!session.leave_line());
        assert!(matches!(find(), Some(Found::Later(..))));
    }
}
