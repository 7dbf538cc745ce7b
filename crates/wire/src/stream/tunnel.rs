//! A stream in memory: one end is a [`Stream`](super::Stream) like any other, the other is held by whoever takes the bytes
//! out of the protocol that carries them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

use super::Stream;

/// Bytes that may be under way in each direction: as many as a lane reads at once.
const CAPACITY: usize = crate::lane::CHUNK;

/// The near end of a tunnel.
#[derive(Debug)]
pub struct Tunnel {
    pipe: DuplexStream,
    /// Whether the far end was closed and not just dropped.
    closed: Arc<AtomicBool>,
    tls: bool,
    peer: Option<SocketAddr>,
}

/// The far end of a tunnel. To [close](tokio::io::AsyncWriteExt::shutdown) it is the end of the stream; to drop it without
/// that breaks the stream, as a reset breaks a connection.
#[derive(Debug)]
pub struct FarEnd {
    pipe: DuplexStream,
    closed: Arc<AtomicBool>,
}

/// Makes a tunnel. `tls` and `peer` are those of the connection that carries it.
#[must_use]
pub fn tunnel(tls: bool, peer: Option<SocketAddr>) -> (Stream, FarEnd) {
    let (near, far) = duplex(CAPACITY);
    let closed = Arc::new(AtomicBool::new(false));
    let tunnel = Tunnel { pipe: near, closed: closed.clone(), tls, peer };
    (Stream::Tunnel(Box::new(tunnel)), FarEnd { pipe: far, closed })
}

impl Tunnel {
    pub(super) fn is_tls(&self) -> bool {
        self.tls
    }

    pub(super) fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.pipe).poll_read(cx, buf))?;
        let ended = buf.filled().len() == before && buf.remaining() > 0;
        if ended && !self.closed.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

impl AsyncRead for FarEnd {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, buf)
    }
}

impl AsyncWrite for FarEnd {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.closed.store(true, Ordering::Release);
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_far_end_that_is_closed_ends_the_stream() {
        let (mut near, mut far) = tunnel(true, None);
        far.write_all(b"all").await.unwrap();
        far.shutdown().await.unwrap();
        let mut read = Vec::new();
        near.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"all");
        near.write_all(b"answer").await.unwrap();
        drop(near);
        read.clear();
        far.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"answer");
    }

    #[tokio::test]
    async fn a_far_end_that_is_dropped_breaks_the_stream_behind_what_it_sent() {
        let (mut near, mut far) = tunnel(false, None);
        far.write_all(b"half").await.unwrap();
        drop(far);
        let mut read = Vec::new();
        let broken = near.read_to_end(&mut read).await.unwrap_err();
        assert_eq!((broken.kind(), &*read), (io::ErrorKind::ConnectionReset, &b"half"[..]));
        assert_eq!(near.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn it_is_as_private_as_what_carries_it() {
        let (near, far) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([192, 0, 2, 1], 1)));
        for (tls, peer, local) in [(true, far, false), (false, far, false), (false, near, true)] {
            let (stream, _far) = tunnel(tls, Some(peer));
            assert_eq!((stream.is_tls(), stream.is_local(), stream.peer_addr()), (tls, local, Some(peer)));
        }
        assert!(!tunnel(false, None).0.is_local(), "nobody knows");
    }
}
