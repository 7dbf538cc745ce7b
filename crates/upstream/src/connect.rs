//! A stream to a server: an address, then TLS as `sslmode` says.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use wire::stream::Stream;

use crate::address::{Address, connect_tcp};
use crate::error::{Error, TlsError};
use crate::tls::Attempt;

/// The very server behind an address, of which a name may have several.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Peer {
    pub(crate) fn of(stream: &Stream, address: &Address) -> std::io::Result<Self> {
        match address {
            Address::Unix(path) => Ok(Self::Unix(path.clone())),
            Address::Tcp { .. } => {
                stream.peer_addr().map(Self::Tcp).ok_or_else(|| std::io::ErrorKind::NotConnected.into())
            }
        }
    }

    pub(crate) async fn connect(&self) -> std::io::Result<Stream> {
        match self {
            Self::Tcp(address) => connect_tcp(*address).await,
            Self::Unix(path) => UnixStream::connect(path).await.map(Stream::from),
        }
    }
}

/// Brings TLS onto a fresh connection, as far as the attempt asks for it. On a Unix socket Postgres knows none.
pub(crate) async fn encrypt(stream: Stream, attempt: &Attempt, address: &Address) -> Result<Stream, Error> {
    let Address::Tcp { host, .. } = address else { return Ok(stream) };
    match attempt {
        Attempt::Plain => Ok(stream),
        Attempt::Offered(config) => match request_tls(stream).await? {
            (stream, TlsAnswer::Yes) => handshake(stream, config, host).await,
            (stream, TlsAnswer::No) => Ok(stream),
        },
        Attempt::Demanded(config) => match request_tls(stream).await? {
            (stream, TlsAnswer::Yes) => handshake(stream, config, host).await,
            (_, TlsAnswer::No) => Err(TlsError::NotOffered.into()),
        },
    }
}

enum TlsAnswer {
    Yes,
    No,
}

/// Asks for TLS. The answer is one byte, and behind a yes the server must wait for our hello.
async fn request_tls(mut stream: Stream) -> Result<(Stream, TlsAnswer), Error> {
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await.map_err(Error::Lost)?;
    match stream.read_u8().await.map_err(Error::Lost)? {
        b'S' if stream.has_early_bytes().map_err(Error::Lost)? => Err(TlsError::EarlyBytes.into()),
        b'S' => Ok((stream, TlsAnswer::Yes)),
        b'N' => Ok((stream, TlsAnswer::No)),
        b'E' => Err(TlsError::Errored.into()),
        byte => Err(TlsError::Answer(byte).into()),
    }
}

async fn handshake(stream: Stream, config: &Arc<ClientConfig>, host: &str) -> Result<Stream, Error> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.to_owned()))?;
    let stream = stream.connect_tls(Arc::clone(config), name).await.map_err(TlsError::Handshake)?;
    Ok(stream)
}
