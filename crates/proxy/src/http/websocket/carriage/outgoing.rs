//! One frame at a time on its way to the client.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tungstenite::protocol::frame::coding::OpCode;

use crate::http::websocket::frame::{HEADER, write_header};

/// Bytes of the largest frame with its header: what TLS puts into one record (RFC 8446, section 5.1).
const FRAME: usize = 16 * 1024;

/// A frame on its way.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Room for a header, and the payload behind it.
    space: Box<[u8; FRAME]>,
    /// Of that, what is still to be written.
    left: Range<usize>,
    unflushed: bool,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self { space: Box::new([0; FRAME]), left: 0..0, unflushed: false }
    }
}

impl Outgoing {
    /// Whether something has not been sent.
    pub(super) fn is_under_way(&self) -> bool {
        !self.left.is_empty() || self.unflushed
    }

    /// Sends all there is.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while !self.left.is_empty() {
            let length = ready!(Pin::new(&mut *socket).poll_write(cx, &self.space[self.left.clone()]))?;
            if length == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.left.start += length;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(socket).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Where the payload of the next frame goes. Nothing may be under way.
    pub(super) fn space(&mut self) -> &mut [u8] {
        debug_assert!(!self.is_under_way());
        &mut self.space[HEADER..]
    }

    /// Makes a frame of so many bytes of the payload.
    pub(super) fn frame(&mut self, opcode: OpCode, length: usize) {
        let header = self.space.first_chunk_mut().expect("it is larger than a header");
        self.left = write_header(opcode, length, header)..HEADER + length;
    }

    /// Makes a frame of a payload that is there.
    pub(super) fn put(&mut self, opcode: OpCode, payload: &[u8]) {
        self.space()[..payload.len()].copy_from_slice(payload);
        self.frame(opcode, payload.len());
    }
}
