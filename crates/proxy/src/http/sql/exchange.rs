//! A session's client for the length of one request: frames go into the pipe, JSON comes out of it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio::task::JoinHandle;
use tokio_util::io::poll_read_buf;
use wire::owed::TxStatus;
use wire::stream::FarEnd;

use super::error::SqlError;
use super::frames;
use super::results::{Progress, Results};
use crate::admission::Seat;

/// Bytes that are read at once.
const PART: usize = 16 * 1024;

/// A ReadyForQuery outside of a transaction.
const IDLE: &[u8] = b"Z\0\0\0\x05I";

/// What came of a request. The database's refusal has been appended to an answer that is made of lines.
pub(super) type Outcome = Result<(), Box<SqlError>>;

/// The end of an exchange.
#[derive(Debug)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    /// That of the session, unless that was left in the midst of something.
    pub(super) seat: Option<Seat>,
}

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
    session: JoinHandle<Seat>,
    /// The outcome, while the session takes its leave.
    leaving: Option<Outcome>,
}

impl Exchange {
    /// With a session at the other end of the pipe, which gives its seat back at its end.
    pub(super) fn new(far: FarEnd, frames: VecDeque<Bytes>, results: Results, session: JoinHandle<Seat>) -> Self {
        Self { far, frames, results, part: Vec::with_capacity(PART), tidying: None, session, leaving: None }
    }

    /// Whether something may have been committed.
    pub(super) fn has_committed(&self) -> bool {
        self.results.has_committed()
    }

    /// Goes on until there is more of the answer, which is appended to `out`, or until the end: then all of the answer is
    /// there, and the session is over, so that whoever asks next, having read this, is not one too many. Until it is, the
    /// last of the answer may be in `out` already.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Option<End>> {
        let before = out.len();
        while self.leaving.is_none() {
            if out.len() > before {
                return Poll::Ready(None);
            }
            self.send(cx);
            self.part.clear();
            // A pipe does not fail, it ends.
            let _ = ready!(poll_read_buf(Pin::new(&mut self.far), cx, &mut self.part));
            let came = if self.tidying.is_some() { Ok(self.tidied()) } else { self.answered(out) };
            match came {
                Ok(outcome) => self.leaving = outcome,
                Err(failure) => {
                    self.leave(cx);
                    return Poll::Ready(Some(End { outcome: Err(failure), seat: None }));
                }
            }
        }
        self.leave(cx);
        let seat = ready!(self.poll_over(cx));
        Poll::Ready(self.leaving.take().map(|outcome| End { outcome, seat: Some(seat) }))
    }

    /// Ends the pipe, on which there is nothing under way that could be waited for.
    fn leave(&mut self, cx: &mut Context<'_>) {
        let _ = Pin::new(&mut self.far).poll_shutdown(cx);
    }

    /// Waits until the session has gone. It may have more to say than was asked for, notifications for instance, and does
    /// not go before it is rid of that.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Seat> {
        loop {
            self.part.clear();
            match poll_read_buf(Pin::new(&mut self.far), cx, &mut self.part) {
                Poll::Ready(Ok(1..)) => {}
                _ => break,
            }
        }
        Pin::new(&mut self.session).poll(cx).map(|seat| seat.expect("a session does not panic"))
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

    /// A part of the answer has come, or its end. An error, if the server is in the midst of something and is left there.
    fn answered(&mut self, out: &mut Vec<u8>) -> Result<Option<Outcome>, Box<SqlError>> {
        if self.part.is_empty() {
            return Ok(Some(Err(self.results.broken_off(out))));
        }
        let (status, outcome) = match self.results.read(&self.part, out).map_err(|failure| Box::new(failure.into()))? {
            Progress::More => return Ok(None),
            Progress::Done(status) => (status, Ok(())),
            Progress::Failed(status, error) => (status, Err(error)),
        };
        if status == TxStatus::Idle {
            return Ok(Some(outcome));
        }
        let mut rollback = BytesMut::new();
        frames::rollback(&mut rollback);
        self.frames = VecDeque::from([rollback.freeze()]);
        self.tidying = Some((outcome, Vec::new()));
        Ok(None)
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
