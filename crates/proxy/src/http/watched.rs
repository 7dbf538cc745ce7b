//! An HTTP/2 connection whose peer has to ask or to read: there, a stream waits for its own window and not for the socket,
//! so that neither HTTP/1.1's timer for heads nor the limit to a write sees one that has stopped.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::timeout;

/// How much of an answer a stream is given at once; what is given is kept until the peer has room for it.
const PART: usize = 64 * 1024;

/// How much is being done for the requests of a connection.
#[derive(Clone)]
pub(super) struct Watch(Arc<watch::Sender<usize>>);

impl Watch {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// Something is being done from now on.
    pub(super) fn work(&self) -> Working {
        self.0.send_modify(|count| *count += 1);
        Working(self.clone())
    }

    /// What waits for the peer to do something.
    pub(super) fn idle(&self) -> Idle {
        Idle(self.0.subscribe())
    }
}

/// While this lives, the connection's peer is not waited for.
pub(super) struct Working(Watch);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// Waits for the peer to do something.
pub(super) struct Idle(watch::Receiver<usize>);

impl Idle {
    /// Returns when the peer has neither asked nor taken a part of an answer for so long, and nothing was being done for it.
    pub(super) async fn lasts(&mut self, limit: Duration) {
        // It fails when nobody can ask any more, and then there is only the end to wait for.
        while self.0.wait_for(|count| *count == 0).await.is_ok() {
            match timeout(limit, self.0.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => break,
                Err(_) => return,
            }
        }
        std::future::pending().await
    }
}

/// An answer's body: when it is asked for a part and has none yet, it works; when it has given one, the peer has to.
pub(super) struct Watched {
    body: Body,
    /// What of the last part has not been given yet.
    rest: Bytes,
    watch: Watch,
    working: Option<Working>,
}

impl Watched {
    /// `working`: what made the answer.
    pub(super) fn new(body: Body, watch: Watch, working: Working) -> Self {
        Self { body, rest: Bytes::new(), watch, working: Some(working) }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.working.is_none() {
            this.working = Some(this.watch.work());
        }
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)).transpose()?.map(Frame::into_data) {
                Some(Ok(part)) => this.rest = part,
                other => {
                    this.working = None;
                    return Poll::Ready(other.and_then(Result::err).map(Ok));
                }
            }
        }
        this.working = None;
        let part = this.rest.split_to(this.rest.len().min(PART));
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
