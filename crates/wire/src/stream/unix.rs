//! A Unix socket that is woken for what there is to read alone.
//!
//! Who watches a socket with tokio's `UnixStream` hears of room to write as well, and a Unix socket has some more each
//! time its peer reads: to be told so is a wake-up for nothing in each exchange. Here room is watched while there is none.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::task::coop::poll_proceed;

#[derive(Debug)]
pub(super) struct UnixSocket {
    io: AsyncFd<UnixStream>,
    /// The same socket, watched for room, from the first write that found none to the next flush.
    room: Option<AsyncFd<UnixStream>>,
}

impl UnixSocket {
    /// Watches a socket that does not block.
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        Ok(Self { io: watch(socket, Interest::READABLE)?, room: None })
    }

    /// Reads what is there, without a look at what the runtime knows.
    pub(super) fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        self.io.get_ref().read(into)
    }

    /// As [`tokio::net::UnixStream::try_io`].
    pub(super) fn try_io<T>(&self, interest: Interest, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.io.try_io(interest, |_| call())
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_read_ready(cx).map_ok(drop)
    }

    #[cfg(test)]
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.io.readable().await.map(drop)
    }
}

#[expect(
    deprecated,
    reason = "unsound for types that may change their descriptor, which a UnixStream does not; what replaces it is unsafe"
)]
fn watch(socket: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(socket, interest)
}

/// Ready with anything but that there is nothing, or no room.
fn unless_would_block<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

impl AsyncRead for UnixSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let into = buf.initialize_unfilled();
        let count = loop {
            let mut ready = ready!(self.io.poll_read_ready(cx))?;
            let read = unless_would_block(self.io.get_ref().read(into));
            // Less than there was room for, and the socket has no more; so does tokio's own.
            if read.is_pending() || matches!(read, Poll::Ready(Ok(count)) if (1..into.len()).contains(&count)) {
                ready.clear_ready();
            }
            if let Poll::Ready(count) = read {
                break count?;
            }
        };
        buf.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for UnixSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Self { io, room } = self.get_mut();
        let coop = ready!(poll_proceed(cx));
        loop {
            let mut ready = match room {
                Some(room) => Some(ready!(room.poll_write_ready(cx))?),
                None => None,
            };
            if let Poll::Ready(written) = unless_would_block(io.get_ref().write(buf)) {
                coop.made_progress();
                return Poll::Ready(written);
            }
            match &mut ready {
                Some(ready) => ready.clear_ready(),
                None => *room = Some(watch(io.get_ref().try_clone()?, Interest::WRITABLE)?),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().room = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.io.get_ref().shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pair() -> (UnixSocket, UnixSocket) {
        let (one, other) = UnixStream::pair().unwrap();
        for socket in [&one, &other] {
            socket.set_nonblocking(true).unwrap();
        }
        (UnixSocket::new(one).unwrap(), UnixSocket::new(other).unwrap())
    }

    #[tokio::test]
    async fn more_than_fits_arrives_whole_and_in_order() {
        let (mut near, mut far) = pair();
        let sent: Vec<u8> = (0..4 << 20).map(|index: u32| index.to_le_bytes()[index as usize % 3]).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            near.write_all(&sent).await.unwrap();
            let watched = near.room.is_some();
            near.flush().await.unwrap();
            (watched, near.room.is_some(), near)
        });
        let mut received = vec![0; expected.len()];
        far.read_exact(&mut received).await.unwrap();
        assert_eq!(received, expected);
        let (watched, watches, mut near) = writing.await.unwrap();
        assert!(watched && !watches);

        near.shutdown().await.unwrap();
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
        // Its own side is open still.
        far.write_all(b"last").await.unwrap();
        let mut last = [0; 4];
        near.read_exact(&mut last).await.unwrap();
        assert_eq!(&last, b"last");
    }

    #[tokio::test]
    async fn a_peer_that_has_gone_is_an_error_to_write_to_and_the_end_to_read() {
        let (mut near, far) = pair();
        drop(far);
        assert_eq!(near.write(b"a").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn who_waits_for_room_hears_that_the_peer_has_gone() {
        let (mut near, far) = pair();
        let writing = tokio::spawn(async move { near.write_all(&vec![0; 4 << 20]).await });
        tokio::task::yield_now().await;
        drop(far);
        assert_eq!(writing.await.unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
