//! A server that is logged in already, for a library that wants to do that itself: its startup packet goes nowhere, and
//! what it reads first is the greeting that the server once gave.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use upstream::Server;
use wire::message;
use wire::owed::TxStatus;
use wire::stream::Stream;

/// See the module.
#[derive(Debug)]
pub(super) struct LoggedIn {
    stream: Stream,
    /// What is yet to be read of the greeting.
    greeting: Vec<u8>,
    /// Whether the startup packet has been swallowed.
    started: bool,
}

impl LoggedIn {
    /// Greets with the server's parameters. The key by which it is cancelled stays behind: the library would send it in
    /// clear.
    pub(super) fn new(server: Server) -> Self {
        let mut greeting = Vec::new();
        message::authentication_ok(&mut greeting);
        for (name, value) in server.parameters.iter() {
            message::parameter_status(&mut greeting, name, value);
        }
        message::ready_for_query(&mut greeting, TxStatus::Idle);
        Self { stream: server.stream, greeting, started: false }
    }
}

impl AsyncRead for LoggedIn {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.greeting.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = self.greeting.len().min(buf.remaining());
        buf.put_slice(&self.greeting[..length]);
        self.greeting.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LoggedIn {
    /// The first write is the startup packet, whole: nothing else is written before its answer has been read.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.started {
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        }
        let announced = bytes.first_chunk().map(|length| u32::from_be_bytes(*length) as usize);
        if announced != Some(bytes.len()) {
            return Poll::Ready(Err(io::Error::other("a startup packet is expected first")));
        }
        self.started = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
