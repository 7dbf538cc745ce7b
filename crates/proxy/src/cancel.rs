//! Our own cancel keys, and the way from one to the server that works for its session.
//!
//! A client never learns its server's key. It gets a process id and a key of ours, from a CSPRNG, and a CancelRequest
//! that brings both back reaches the server of that session for as long as there is one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time;
use aws_lc_rs::rand;
use upstream::CancelTarget;
use wire::startup::{CancelRequest, Version};

/// Bytes of a key in protocol 3.2, as many as Postgres's own.
const KEY: usize = 32;

/// Bytes of a key before that.
const SHORT_KEY: usize = 4;

/// The sessions that can be cancelled.
#[derive(Debug, Default)]
pub(crate) struct Cancels {
    sessions: Mutex<HashMap<u32, Session>>,
}

#[derive(Debug)]
struct Session {
    key: Key,
    server: CancelTarget,
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
}

impl Cancels {
    /// Makes a key for a session whose client speaks this version, and whose server is cancelled like this.
    pub(crate) fn register(self: &Arc<Self>, version: Version, server: CancelTarget) -> Registration {
        let mut bytes = [0; KEY];
        random(&mut bytes);
        let key = Key { bytes, size: if version >= Version::V3_2 { KEY } else { SHORT_KEY } };
        let mut sessions = self.lock();
        loop {
            // Drivers read it as a positive number.
            let mut id = [0; 4];
            random(&mut id);
            let process_id = u32::from_be_bytes(id) >> 1;
            if let (1.., Entry::Vacant(free)) = (process_id, sessions.entry(process_id)) {
                free.insert(Session { key, server });
                return Registration { cancels: self.clone(), process_id, key };
            }
        }
    }

    /// The server that a request may cancel. A wrong key finds nothing, and takes as long as a right one to find it.
    pub(crate) fn find(&self, request: &CancelRequest) -> Option<CancelTarget> {
        let sessions = self.lock();
        let session = sessions.get(&request.process_id);
        let nobodys = Key { bytes: [0; KEY], size: request.key.len().min(KEY) };
        let key = session.map_or(&nobodys, |session| &session.key);
        let matches = constant_time::verify_slices_are_equal(key.as_slice(), &request.key).is_ok();
        session.filter(|_| matches).map(|session| session.server.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Session>> {
        // Nothing in here can panic half-way through a change.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// What the client is told as its secret key.
    pub(crate) fn key(&self) -> &[u8] {
        self.key.as_slice()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.cancels.lock().remove(&self.process_id);
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

fn random(bytes: &mut [u8]) {
    rand::fill(bytes).expect("the system has a random number generator");
}
