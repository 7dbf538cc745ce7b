//! A session's client for the length of one request: frames go into the pipe, JSON comes out of it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;
use wire::owed::TxStatus;
use wire::stream::FarEnd;

use super::error::SqlError;
use super::frames;
use super::results::{Progress, Results};

/// Bytes that are read at once.
const PART: usize = 16 * 1024;

/// A ReadyForQuery outside of a transaction.
const IDLE: &[u8] = b"Z\0\0\0\x05I";

/// What came of a request. The database's refusal has been appended to an answer that is made of lines.
pub(super) type Outcome = Result<(), Box<SqlError>>;

/// A request on its way through a session. To drop it before there is an outcome breaks the pipe.
#[derive(Debug)]
pub(super) struct Exchange {
    far: FarEnd,
    /// What is still to be sent, in pieces.
    frames: VecDeque<Bytes>,
    results: Results,
    /// What was read last.
    part: Vec<u8>,
    /// The outcome, while a transaction is rolled back that the request has left open; and the end of what came of that.
    tidying: Option<(Outcome, Vec<u8>)>,
}

impl Exchange {
    pub(super) fn new(far: FarEnd, frames: VecDeque<Bytes>, results: Results) -> Self {
        Self { far, frames, results, part: Vec::with_capacity(PART), tidying: None }
    }

    /// Whether something may have been committed.
    pub(super) fn has_committed(&self) -> bool {
        self.results.has_committed()
    }

    /// Goes on until there is more of the answer, which is appended to `out`, or until there is an outcome: then all of the
    /// answer is there, and the session is over.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Option<Outcome>> {
        let before = out.len();
        while out.len() == before {
            self.send(cx);
            self.part.clear();
            // A pipe does not fail, it ends.
            let _ = ready!(poll_read_buf(Pin::new(&mut self.far), cx, &mut self.part));
            let outcome = if self.tidying.is_some() { self.tidied() } else { self.answered(out) };
            if let Some(outcome) = outcome {
                // There is nothing under way in it that could be waited for.
                let _ = Pin::new(&mut self.far).poll_shutdown(cx);
                return Poll::Ready(Some(outcome));
            }
        }
        Poll::Ready(None)
    }

    fn send(&mut self, cx: &mut Context<'_>) {
        while let Some(piece) = self.frames.front_mut() {
            match Pin::new(&mut self.far).poll_write(cx, piece) {
                Poll::Ready(Ok(count)) => {
                    piece.advance(count);
                    self.frames.pop_front_if(|piece| piece.is_empty());
                }
                // The session is over. What it has said of that is still to be read.
                Poll::Ready(Err(_)) => self.frames.clear(),
                Poll::Pending => return,
            }
        }
    }

    /// A part of the answer has come, or its end.
    fn answered(&mut self, out: &mut Vec<u8>) -> Option<Outcome> {
        if self.part.is_empty() {
            return Some(Err(self.results.broken_off(out)));
        }
        let (status, outcome) = match self.results.read(&self.part, out) {
            Ok(Progress::More) => return None,
            Ok(Progress::Done(status)) => (status, Ok(())),
            Ok(Progress::Failed(status, error)) => (status, Err(error)),
            // The server is in the midst of something: it is left there.
            Err(failure) => return Some(Err(Box::new(failure.into()))),
        };
        if status == TxStatus::Idle {
            return Some(outcome);
        }
        let mut rollback = BytesMut::new();
        frames::rollback(&mut rollback);
        self.frames = VecDeque::from([rollback.freeze()]);
        self.tidying = Some((outcome, Vec::new()));
        None
    }

    /// The transaction is being rolled back, and something has come of that.
    fn tidied(&mut self) -> Option<Outcome> {
        let (_, end) = self.tidying.as_mut()?;
        end.extend_from_slice(&self.part);
        end.drain(..end.len().saturating_sub(IDLE.len()));
        let over = self.part.is_empty() || *end == IDLE;
        self.tidying.take_if(|_| over).map(|(outcome, _)| outcome)
    }
}
