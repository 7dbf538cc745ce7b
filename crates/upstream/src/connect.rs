//! A stream to a server: an address, then TLS as `sslmode` says.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use wire::stream::Stream;

use crate::address::{Address, connect_tcp};
use crate::error::{Error, Step, TlsError};
use crate::parting::Parting;
use crate::server::ConnectConfig;
use crate::tls::Attempt;

/// The very server behind an address, of which a name may have several.
#[derive(Clone, Debug)]
enum Peer {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Peer {
    fn of(stream: &Stream, address: &Address) -> std::io::Result<Self> {
        match address {
            Address::Unix(path) => Ok(Self::Unix(path.clone())),
            Address::Tcp { .. } => {
                stream.peer_addr().map(Self::Tcp).ok_or_else(|| std::io::ErrorKind::NotConnected.into())
            }
        }
    }

    async fn connect(&self) -> std::io::Result<Stream> {
        match self {
            Self::Tcp(address) => connect_tcp(*address).await,
            Self::Unix(path) => UnixStream::connect(path).await.and_then(Stream::try_from),
        }
    }
}

/// The way that a connection took: to which server, and under TLS or not. Another one can take it too.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    peer: Peer,
    address: Address,
    attempt: Attempt,
}

impl Route {
    /// Connects to the same server in the same way.
    pub(crate) async fn connect(&self) -> Result<Stream, Error> {
        let stream = self.peer.connect().await.map_err(|source| unreachable(&self.address, source))?;
        encrypt(stream, &self.attempt, &self.address).await
    }

    /// Whether a server answers there. Postgres does to who asks for TLS, whether it has it or not.
    pub(crate) async fn answers(&self) -> bool {
        let Ok(mut stream) = self.peer.connect().await else { return false };
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        stream.write_all(&request).await.is_ok() && stream.read_u8().await.is_ok()
    }
}

/// Why there is no server, and what is left of one.
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// Whether another choice of TLS may do better, as libpq sees it: the handshake failed, or the server refused the
    /// login on a connection that has what the attempt asked for.
    curable: bool,
    /// What may have a backend still.
    pub(crate) parting: Option<Box<Parting>>,
}

impl Failure {
    /// What became of a login on this connection.
    pub(crate) fn of_login(error: Error, (stream, route): (Stream, Route), attempt: &Attempt) -> Self {
        let as_asked = stream.is_tls() != matches!(attempt, Attempt::Plain);
        let curable = matches!(error, Error::Login(_)) && as_asked;
        Self { error, curable, parting: Some(Box::new(Parting::of_login(stream, route))) }
    }

    /// The error, when what is left of the server is gone, or after this long.
    pub(crate) async fn over(self, limit: Duration) -> Error {
        if let Some(parting) = self.parting {
            let _ = timeout(limit, parting.gone()).await;
        }
        self.error
    }

    /// What became of a server that was logged in.
    pub(crate) fn of_server(error: Error, parting: Box<Parting>) -> Self {
        Self { error, curable: false, parting: Some(parting) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { curable: matches!(error, Error::Tls(TlsError::Handshake(_))), error, parting: None }
    }
}

/// Does with the first choice of TLS what leads into a server, and once more with the second, if there is one, where that
/// may do better.
pub(crate) async fn attempts<'a, T, F>(
    config: &'a ConnectConfig,
    enter: impl Fn(&'a Attempt) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let second = match config.address {
        Address::Tcp { .. } => config.tls.second.as_ref(),
        Address::Unix(_) => None,
    };
    let failure = match enter(&config.tls.first).await {
        Ok(entered) => return Ok(entered),
        Err(failure) => failure,
    };
    match second.filter(|_| failure.curable) {
        Some(second) => {
            // It was refused, and is on its way out.
            drop(failure);
            enter(second).await
        }
        None => Err(failure),
    }
}

/// A connection on which nothing has been said, and the way it took.
pub(crate) async fn connect(config: &ConnectConfig, attempt: &Attempt) -> Result<(Stream, Route), Error> {
    Step::Connect.within(config.connect_timeout, open(&config.address, attempt)).await
}

async fn open(address: &Address, attempt: &Attempt) -> Result<(Stream, Route), Error> {
    let stream = address.connect().await.map_err(|source| unreachable(address, source))?;
    let peer = Peer::of(&stream, address).map_err(|source| unreachable(address, source))?;
    let stream = encrypt(stream, attempt, address).await?;
    let route = Route { peer, address: address.clone(), attempt: attempt.as_settled(&stream) };
    Ok((stream, route))
}

fn unreachable(address: &Address, source: std::io::Error) -> Error {
    Error::Unreachable { address: address.clone(), source }
}

/// Brings TLS onto a fresh connection, as far as the attempt asks for it. On a Unix socket Postgres knows none.
async fn encrypt(stream: Stream, attempt: &Attempt, address: &Address) -> Result<Stream, Error> {
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
