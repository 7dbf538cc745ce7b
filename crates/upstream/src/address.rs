//! Where a server is: libpq's rule that a host which begins with a slash is a Unix socket's directory.

use std::fmt;
use std::io;
use std::path::PathBuf;

use tokio::net::{TcpSocket, UnixStream, lookup_host};
use wire::stream::Stream;

/// A server as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host name or an IP address.
    Tcp {
        /// The name, which is also what a certificate is compared with.
        host: String,
        /// The port.
        port: u16,
    },
    /// The Unix socket itself.
    Unix(PathBuf),
}

impl Address {
    /// Reads a host as libpq does: with a slash in front it is the directory of the socket `.s.PGSQL.port`.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        if host.starts_with('/') {
            Self::Unix(PathBuf::from(host).join(format!(".s.PGSQL.{port}")))
        } else {
            Self::Tcp { host: host.to_owned(), port }
        }
    }

    /// Connects to the first address that answers. A name may have several.
    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        let (host, port) = match self {
            Self::Unix(path) => return UnixStream::connect(path).await.and_then(Stream::try_from),
            Self::Tcp { host, port } => (host.as_str(), *port),
        };
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host((host, port)).await? {
            match connect_tcp(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// Without TCP_NODELAY a small request waits for the acknowledgement of the one before; without keep-alive a server
/// that vanished is never missed.
pub(crate) async fn connect_tcp(address: std::net::SocketAddr) -> io::Result<Stream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    socket.set_keepalive(true)?;
    socket.connect(address).await.map(Stream::from)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_a_slash_in_front_is_a_socket_directory() {
        assert_eq!(Address::new("/run/postgresql", 5433).to_string(), "/run/postgresql/.s.PGSQL.5433");
        assert_eq!(Address::new("db.example.com", 5432).to_string(), "db.example.com:5432");
        assert_eq!(Address::new("::1", 5432).to_string(), "[::1]:5432");
    }
}
