//! Cancelling what a server runs: a connection of its own, to the same server, in clear or under TLS as the one it is
//! about, that says whom to interrupt and gets no answer.

use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::address::Address;
use crate::connect::{Peer, encrypt};
use crate::error::{Error, Step};
use crate::tls::Attempt;

/// Whom to interrupt, and how to say so.
#[derive(Clone)]
pub struct CancelTarget {
    pub(crate) peer: Peer,
    pub(crate) address: Address,
    pub(crate) attempt: Attempt,
    pub(crate) pid: i32,
    pub(crate) secret: i32,
    pub(crate) timeout: Duration,
}

impl CancelTarget {
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
        timeout(self.timeout, self.deliver()).await.map_err(|_| Error::TimedOut(Step::Cancel))?
    }

    async fn deliver(&self) -> Result<(), Error> {
        let unreachable = |source| Error::Unreachable { address: self.address.clone(), source };
        let stream = self.peer.connect().await.map_err(unreachable)?;
        let mut stream = encrypt(stream, &self.attempt, &self.address).await?;
        let mut request = BytesMut::new();
        frontend::cancel_request(self.pid, self.secret, &mut request);
        stream.write_all(&request).await.map_err(Error::Lost)?;
        stream.flush().await.map_err(Error::Lost)?;
        // It hangs up without the ceremonies of TLS, which is an error to rustls but not here.
        while matches!(stream.read(&mut [0; 64]).await, Ok(read) if read > 0) {}
        Ok(())
    }
}

/// The secret is nobody's to read.
impl std::fmt::Debug for CancelTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelTarget").field("peer", &self.peer).field("pid", &self.pid).finish_non_exhaustive()
    }
}
