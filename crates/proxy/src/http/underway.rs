//! What is under way on a connection, and whether its peer does its part: it asks for something, and takes what it has
//! asked for.
//!
//! In HTTP/1.1 the socket tells. In HTTP/2 each answer has a window of its own: a peer that opens none takes no answer,
//! though it reads all else and is there whenever it is asked.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

/// Bytes of an answer that are given away at once. The next are not made ready before these are taken.
const PART: usize = 16 * 1024;

/// The requests of a connection.
#[derive(Clone, Debug)]
pub(super) struct Underway(Arc<Mutex<Ledger>>);

#[derive(Debug)]
struct Ledger {
    /// How many requests there ever were.
    ever: u64,
    /// How many are not answered.
    requests: usize,
    /// Since when there is none, if there is none.
    idle: Instant,
    /// Since when a part is there to be taken, by the number of the request that it answers.
    untaken: HashMap<u64, Instant>,
}

impl Underway {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Ledger { ever: 0, requests: 0, idle: Instant::now(), untaken: HashMap::new() })))
    }

    /// A request has come.
    pub(super) fn begin(&self) -> Begun {
        let mut ledger = self.ledger();
        ledger.ever += 1;
        ledger.requests += 1;
        Begun { number: ledger.ever, underway: self.clone() }
    }

    /// Waits until there has been no request for so long.
    pub(super) async fn idle(&self, limit: Duration) {
        self.over(limit, |ledger| (ledger.requests == 0).then_some(ledger.idle)).await;
    }

    /// Waits until there is an answer of which nothing was taken for so long.
    pub(super) async fn stalled(&self, limit: Duration) {
        self.over(limit, |ledger| ledger.untaken.values().min().copied()).await;
    }

    /// Waits until something has been so for so long; `since` tells since when it is.
    async fn over(&self, limit: Duration, since: impl Fn(&Ledger) -> Option<Instant>) {
        loop {
            let now = Instant::now();
            let until = since(&self.ledger()).unwrap_or(now) + limit;
            if until <= now {
                return;
            }
            sleep_until(until).await;
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that has begun. It is over when this is dropped.
#[derive(Debug)]
pub(super) struct Begun {
    number: u64,
    underway: Underway,
}

impl Begun {
    /// Its answer.
    pub(super) fn answer(self, body: Body) -> Answer {
        Answer { body, rest: Bytes::new(), begun: self }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let mut ledger = self.underway.ledger();
        ledger.untaken.remove(&self.number);
        ledger.requests -= 1;
        ledger.idle = Instant::now();
    }
}

/// The body of an answer, in parts that are not larger than what is noted of their being taken.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    /// What has come of it and has not been given away.
    rest: Bytes,
    begun: Begun,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        // Who asks for more has taken what there was.
        this.begun.underway.ledger().untaken.remove(&this.begun.number);
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => this.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let part = this.rest.split_to(this.rest.len().min(PART));
        this.begun.underway.ledger().untaken.insert(this.begun.number, Instant::now());
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use hyper::body::Body as _;
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn an_answer_is_the_same_in_parts() {
        let bytes = Bytes::from_iter((0..3 * PART + 7).map(|number| number as u8));
        let mut answer = Underway::new().begin().answer(Body::from(bytes.clone()));
        assert_eq!(answer.size_hint().exact(), Some(bytes.len() as u64));
        let first = answer.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(answer.size_hint().exact(), Some((bytes.len() - first.len()) as u64));
        assert!(first.len() <= PART && !answer.is_end_stream());
        let rest = answer.collect().await.unwrap().to_bytes();
        assert_eq!([first, rest].concat(), bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_is_noticed_and_one_that_is_waited_for_is_not() {
        let underway = Underway::new();
        let _waiting = underway.begin();
        let mut answer = underway.begin().answer(Body::from(vec![0; 3 * PART]));
        let begun = Instant::now();
        answer.frame().await;
        sleep(LIMIT / 2).await;
        answer.frame().await;
        underway.stalled(LIMIT).await;
        assert_eq!(begun.elapsed(), LIMIT / 2 + LIMIT);
        drop(answer);
        assert!(tokio::time::timeout(LIMIT * 10, underway.stalled(LIMIT)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_from_its_last_request_on() {
        let (underway, begun) = (Underway::new(), Instant::now());
        let first = underway.begin();
        let asking = async {
            sleep(LIMIT * 3).await;
            drop(first);
            sleep(LIMIT / 2).await;
            drop(underway.begin());
        };
        tokio::join!(asking, underway.idle(LIMIT));
        assert_eq!(begun.elapsed(), LIMIT * 3 + LIMIT / 2 + LIMIT);
    }
}
