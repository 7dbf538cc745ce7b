//! What a session and its client say, carried between a tunnel and a WebSocket until one of the two ends.
//!
//! Each direction has one buffer. What the other side does not take stays there, and no more is read meanwhile: a frame of
//! 10 MB and a flood of pings cost what an idle WebSocket does.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use wire::stream::FarEnd;

use super::frame::{Incoming, Part, Violation};
use crate::client;
use outgoing::Outgoing;

mod outgoing;

/// Bytes that are read from the client at once: much more than what is taken apart whole.
const CHUNK: usize = 16 * 1024;

/// How long a client may say nothing before it is asked whether it is there, and then until it says so.
const SILENCE: Duration = Duration::from_secs(30);

/// How a WebSocket ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// With this code.
    #[error("the client closed it")]
    Closed(Option<CloseCode>),
    #[error("its session is over")]
    Session,
    #[error("the client broke it: {0}")]
    Broken(Violation),
    #[error("the client is gone: {0}")]
    Lost(io::Error),
}

/// A WebSocket, and the far end of the tunnel to its session.
#[derive(Debug)]
pub(super) struct Carriage<S> {
    socket: S,
    far: FarEnd,
    incoming: Incoming,
    /// What has been read from the client.
    read: Box<[u8; CHUNK]>,
    /// Of that, what goes to the session.
    data: Range<usize>,
    /// Of that, what has not been taken apart.
    rest: Range<usize>,
    outgoing: Outgoing,
    /// What the client's last ping wants to have back. A ping that comes before is not answered (section 5.5.3).
    pong: Option<Box<[u8]>>,
    /// Why nothing is read any more.
    ended: Option<End>,
    heard: Instant,
    silence: Pin<Box<Sleep>>,
    ping: Ping,
}

/// Whether a silent client has been asked if it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ping {
    Unasked,
    Due,
    Asked,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Carriage<S> {
    pub(super) fn new(socket: S, far: FarEnd) -> Self {
        Self {
            socket,
            far,
            incoming: Incoming::default(),
            read: Box::new([0; CHUNK]),
            data: 0..0,
            rest: 0..0,
            outgoing: Outgoing::default(),
            pong: None,
            ended: None,
            heard: Instant::now(),
            silence: Box::pin(sleep(SILENCE)),
            ping: Ping::Unasked,
        }
    }

    /// Carries to the end, and closes the WebSocket. `going`: a session that ends does so because pgusher goes.
    pub(super) async fn run(mut self, going: &CancellationToken) -> End {
        let end = std::future::poll_fn(|cx| self.poll(cx)).await;
        let code = match &end {
            // What it was told is of no use to it, and what it has said is valid: the end, not a break.
            End::Closed(code) => {
                // The pipe takes what is in it and does not fail.
                let _ = self.far.shutdown().await;
                *code
            }
            End::Session if going.is_cancelled() => Some(CloseCode::Away),
            End::Session => Some(CloseCode::Normal),
            End::Broken(violation) => Some(violation.code),
            // To drop the far end breaks it.
            End::Lost(_) => return end,
        };
        let Self { mut socket, far, .. } = self;
        drop(far);
        let code = code.map(|code| u16::from(code).to_be_bytes());
        let mut goodbye = Outgoing::default();
        goodbye.put(OpCode::Control(Control::Close), code.as_ref().map_or(&[], |code| &code[..]));
        if std::future::poll_fn(|cx| goodbye.poll_send(cx, &mut socket)).await.is_ok() {
            client::close(socket).await;
        }
        end
    }

    /// Goes on until there is an end, and what was under way to the client has got there.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.ended.is_none() {
            // First, because what a client sends without end uses up all that a task may do at one time.
            if let Poll::Ready(end) = self.poll_down(cx) {
                return Poll::Ready(end);
            }
            match self.poll_up(cx) {
                Poll::Ready(end) => self.ended = Some(end),
                Poll::Pending if self.pong.is_some() || self.ping == Ping::Due => return self.poll_down(cx),
                Poll::Pending => return Poll::Pending,
            }
        }
        if !matches!(self.ended, Some(End::Lost(_))) {
            // The frame that is under way has to be whole.
            if let Err(error) = ready!(self.outgoing.poll_send(cx, &mut self.socket)) {
                return Poll::Ready(End::Lost(error));
            }
        }
        Poll::Ready(self.ended.take().expect("it has ended"))
    }

    /// From the client to the session, until there is an end.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            while !self.data.is_empty() {
                match ready!(Pin::new(&mut self.far).poll_write(cx, &self.read[self.data.clone()])) {
                    Ok(length) => self.data.start += length,
                    // The session is over. What it has said of that is still under way.
                    Err(_) => self.data = 0..0,
                }
            }
            let (taken, part) = match self.incoming.next(&mut self.read[self.rest.clone()]) {
                Ok(next) => next,
                Err(violation) => return Poll::Ready(End::Broken(violation)),
            };
            self.rest.start += taken;
            match part {
                Some(Part::Data(length)) => self.data = self.rest.start - length..self.rest.start,
                Some(Part::Ping(payload)) => self.pong = Some(payload),
                Some(Part::Pong) => {}
                Some(Part::Close(code)) => return Poll::Ready(End::Closed(code)),
                None => {
                    if let Err(error) = ready!(self.poll_read(cx)) {
                        return Poll::Ready(End::Lost(error));
                    }
                }
            }
        }
    }

    /// Reads more from the client, or finds out that it is not there.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // It is the begin of a header, or of a frame of control.
        self.read.copy_within(self.rest.clone(), 0);
        self.rest = 0..self.rest.len();
        let mut space = ReadBuf::new(&mut self.read[self.rest.end..]);
        match Pin::new(&mut self.socket).poll_read(cx, &mut space) {
            Poll::Ready(Ok(())) if space.filled().is_empty() => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(())) => {
                self.rest.end += space.filled().len();
                self.heard = Instant::now();
                self.ping = Ping::Unasked;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_silence(cx).map(Err),
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        while self.silence.as_mut().poll(cx).is_ready() {
            let mut until = self.heard + SILENCE;
            if until <= Instant::now() {
                match self.ping {
                    Ping::Asked if !self.outgoing.is_under_way() => {
                        return Poll::Ready(io::ErrorKind::TimedOut.into());
                    }
                    // How long it may read nothing is another limit.
                    Ping::Due | Ping::Asked => {}
                    Ping::Unasked => self.ping = Ping::Due,
                }
                until = Instant::now() + SILENCE;
            }
            self.silence.as_mut().reset(until);
        }
        Poll::Pending
    }

    /// From the session to the client, until the session is over.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if let Err(error) = ready!(self.outgoing.poll_send(cx, &mut self.socket)) {
                return Poll::Ready(End::Lost(error));
            }
            if let Some(payload) = self.pong.take() {
                self.outgoing.put(OpCode::Control(Control::Pong), &payload);
            } else if self.ping == Ping::Due {
                self.ping = Ping::Asked;
                self.outgoing.put(OpCode::Control(Control::Ping), &[]);
            } else {
                let mut space = ReadBuf::new(self.outgoing.space());
                // A pipe does not fail, it ends.
                let _ = ready!(Pin::new(&mut self.far).poll_read(cx, &mut space));
                let length = space.filled().len();
                if length == 0 {
                    return Poll::Ready(End::Session);
                }
                self.outgoing.frame(OpCode::Data(Data::Binary), length);
            }
        }
    }
}

#[cfg(test)]
mod tests;
