//! A byte stream to a peer: TCP or a Unix socket, in clear or under TLS. It is an enum rather than a
//! trait object, so that the relay's reads and writes are a `match` and a system call. Nothing here
//! reads ahead: whatever the peer sent in clear can never surface as if it had come through TLS.
//!
//! A [`Tunnel`] is a stream without a socket: what it carries comes out of another protocol, in this process.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, CommonState, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

pub use socket::{Socket, this_thread};
pub use tunnel::{FarEnd, Tunnel, tunnel};

mod socket;
mod tunnel;
mod unix;

/// The first byte of every TLS connection: the record type "handshake" (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// A connection to a client or a server.
#[derive(Debug)]
pub enum Stream {
    /// In clear.
    Plain(Socket),
    /// Under TLS. Boxed, because a TLS session is some kilobytes large.
    Tls(Box<TlsStream<Socket>>),
    /// Inside another protocol.
    Tunnel(Box<Tunnel>),
}

impl Stream {
    /// Whether TLS is on, here or on the connection that carries a tunnel.
    pub fn is_tls(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(_) => true,
            Self::Tunnel(tunnel) => tunnel.is_tls(),
        }
    }

    /// Whether this is a tunnel, in which TLS is not for this side to begin.
    pub fn is_tunnel(&self) -> bool {
        matches!(self, Self::Tunnel(_))
    }

    /// Whether the peer is on this machine: a Unix socket, or TCP from a loopback address.
    pub fn is_local(&self) -> bool {
        match self.socket() {
            Some(socket) if socket.is_unix() => true,
            _ => self.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback()),
        }
    }

    /// The peer's address; none on a Unix socket, and none once a TCP peer has gone.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        match (self, self.socket()) {
            (Self::Tunnel(tunnel), _) => tunnel.peer_addr(),
            (_, Some(socket)) => socket.peer_addr(),
            _ => None,
        }
    }

    /// The protocol that both sides agreed on in the TLS handshake (ALPN), if any.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tls().and_then(CommonState::alpn_protocol)
    }

    /// The certificate that the peer proved to own in the TLS handshake, as DER.
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.tls()?.peer_certificates()?.first()
    }

    /// Waits for the peer's first byte and tells whether it opens TLS; the byte stays unread.
    ///
    /// Always `false` on a Unix socket, where Postgres knows no TLS, and inside TLS.
    pub async fn opens_with_tls(&self) -> io::Result<bool> {
        let Self::Plain(socket) = self else { return Ok(false) };
        Ok(socket.peek().await? == Some(TLS_HANDSHAKE))
    }

    /// Whether bytes lie unread in clear. One of them is consumed, so the only use of a `true` is to
    /// drop the connection: bytes behind an `SSLRequest`, or behind a server's `S`, come from
    /// somebody who wants them taken for bytes inside TLS (CVE-2021-23214, CVE-2021-23222).
    pub fn has_early_bytes(&self) -> io::Result<bool> {
        let Self::Plain(socket) = self else { return Ok(false) };
        match socket.try_read(&mut [0]) {
            Ok(read) => Ok(read > 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the peer has said nothing that is unread, and has not hung up, as far as the runtime knows. As long as
    /// it knows of nothing to read that costs no system call. The one use of a `false` is to drop the connection: a
    /// byte may be consumed. Under TLS what is no data, such as a session ticket, is taken in and no reason for it.
    pub fn is_quiet(&mut self) -> bool {
        if self.socket().is_some_and(|socket| !socket.may_have_bytes()) && !self.is_tls() {
            return true;
        }
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        let reading = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_read(cx, &mut byte));
        // A task that has used up its budget would be told that there is nothing to read.
        let reading = pin!(tokio::task::unconstrained(reading));
        reading.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Waits until there may be something to read, or the end. Costs less than a read that finds nothing, and needs no
    /// buffer.
    #[inline]
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Plain(socket) => socket.poll_readable(cx),
            // What they have, they have taken from below.
            Self::Tls(_) | Self::Tunnel(_) => Poll::Ready(()),
        }
    }

    /// Lets a TCP connection break when the peer's machine has acknowledged nothing for this long, not even a question
    /// whether it is there. One that has no room for what was sent is taken for silent too, so this is for who waits for
    /// nothing more than the end. The other end of a Unix socket is on this machine.
    pub fn give_up_after(&self, silence: Duration) -> io::Result<()> {
        self.socket().map_or(Ok(()), |socket| socket.give_up_after(silence))
    }

    /// Does the TLS handshake as the side that was connected to.
    pub async fn accept_tls(self, config: Arc<ServerConfig>) -> io::Result<Self> {
        let tls = TlsAcceptor::from(config).accept(self.into_plain()?).await?;
        Ok(Self::Tls(Box::new(tls.into())))
    }

    /// Does the TLS handshake as the side that connected, asking for `name`.
    pub async fn connect_tls(self, config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<Self> {
        let connector = TlsConnector::from(config);
        let tls = connector.connect(name, self.into_plain()?).await?;
        Ok(Self::Tls(Box::new(tls.into())))
    }

    fn into_plain(self) -> io::Result<Socket> {
        match self {
            Self::Plain(socket) => Ok(socket),
            Self::Tls(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "TLS is already on")),
            Self::Tunnel(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "TLS is not for a tunnel to begin")),
        }
    }

    fn socket(&self) -> Option<&Socket> {
        match self {
            Self::Plain(socket) => Some(socket),
            Self::Tls(tls) => Some(tls.get_ref().0),
            Self::Tunnel(_) => None,
        }
    }

    fn tls(&self) -> Option<&CommonState> {
        match self {
            Self::Plain(_) | Self::Tunnel(_) => None,
            Self::Tls(tls) => Some(tls.get_ref().1),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Self::Plain(tcp.into())
    }
}

impl TryFrom<UnixStream> for Stream {
    type Error = io::Error;

    fn try_from(unix: UnixStream) -> io::Result<Self> {
        unix.try_into().map(Self::Plain)
    }
}

/// Forwards tokio's two traits to whichever variant it is.
macro_rules! forward_io {
    ($type:ident { $($variant:ident),+ }) => {
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(io) => Pin::new(io).poll_read(cx, buf),)+
                }
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(io) => Pin::new(io).poll_write(cx, buf),)+
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(io) => Pin::new(io).poll_write_vectored(cx, bufs),)+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $(Self::$variant(io) => io.is_write_vectored(),)+
                }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(io) => Pin::new(io).poll_flush(cx),)+
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(io) => Pin::new(io).poll_shutdown(cx),)+
                }
            }
        }
    };
}

forward_io!(Stream { Plain, Tls, Tunnel });

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn tcp_pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, peer) = tokio::join!(listener.accept(), peer);
        (accepted.unwrap().0.into(), peer.unwrap())
    }

    #[tokio::test]
    async fn a_direct_tls_hello_is_told_apart_and_left_unread() {
        let (mut stream, mut peer) = tcp_pair().await;

        peer.write_all(&[TLS_HANDSHAKE, 3]).await.unwrap();

        assert!(stream.opens_with_tls().await.unwrap());
        assert_eq!(stream.read_u16().await.unwrap(), 0x1603);
    }

    #[tokio::test]
    async fn a_startup_packet_does_not_open_tls() {
        let (stream, mut peer) = tcp_pair().await;

        peer.write_all(&[0, 0, 0, 8]).await.unwrap();

        assert!(!stream.opens_with_tls().await.unwrap());
    }

    #[tokio::test]
    async fn bytes_behind_the_one_that_was_read_are_early_bytes() {
        let (mut stream, mut peer) = tcp_pair().await;

        peer.write_all(b"S").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'S');
        assert!(!stream.has_early_bytes().unwrap());

        peer.write_all(b"SE").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'S');
        assert!(stream.has_early_bytes().unwrap());
    }

    #[tokio::test]
    async fn early_bytes_on_a_unix_socket_are_seen_too() {
        let (near, mut peer) = UnixStream::pair().unwrap();
        let mut stream = Stream::try_from(near).unwrap();

        peer.write_all(b"SE").await.unwrap();

        assert_eq!(stream.read_u8().await.unwrap(), b'S');
        assert!(stream.has_early_bytes().unwrap());
    }

    #[tokio::test]
    async fn a_peer_that_speaks_or_hangs_up_is_not_quiet() {
        let (mut speaks, mut peer) = tcp_pair().await;
        let (mut gone, other) = tcp_pair().await;
        assert!(speaks.is_quiet() && gone.is_quiet());

        peer.write_all(b"E").await.unwrap();
        drop(other);

        for stream in [&mut speaks, &mut gone] {
            let Stream::Plain(socket) = &*stream else { panic!("in clear") };
            socket.readable().await.unwrap();
            assert!(!stream.is_quiet());
        }
    }

    #[tokio::test]
    async fn a_task_without_budget_still_hears_the_peer() {
        let (near, mut peer) = UnixStream::pair().unwrap();
        let mut stream = Stream::try_from(near).unwrap();
        peer.write_all(b"E").await.unwrap();
        let Stream::Plain(socket) = &stream else { panic!("in clear") };
        socket.readable().await.unwrap();

        while tokio::task::coop::has_budget_remaining() {
            tokio::task::coop::consume_budget().await;
        }

        assert!(!stream.is_quiet());
    }

    #[tokio::test]
    async fn loopback_and_unix_peers_are_local() {
        let (tcp, peer) = tcp_pair().await;
        let (unix, _other) = UnixStream::pair().unwrap();
        let unix = Stream::try_from(unix).unwrap();

        assert!(tcp.is_local() && unix.is_local());
        assert_eq!(tcp.peer_addr(), peer.local_addr().ok());
        assert_eq!(unix.peer_addr(), None);
    }
}
