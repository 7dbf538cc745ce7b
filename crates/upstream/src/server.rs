//! One connection of ours to Postgres, logged in and with its identity set.

use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use wire::stream::Stream;

use crate::address::Address;
use crate::answer::Answers;
use crate::cancel::CancelTarget;
use crate::claims::Claims;
use crate::connect::{Peer, encrypt};
use crate::error::{Error, Step, TlsError};
use crate::init::{DefaultAccess, SessionInit};
use crate::login::{Login, Rules, Session, authenticate, finish_init, start_session};
use crate::startup::Startup;
use crate::tls::{Attempt, Tls};

/// Where the servers are and what is asked of them.
#[derive(Clone, Debug)]
pub struct ConnectConfig {
    /// The address.
    pub address: Address,
    /// Whether and how to speak TLS. A Unix socket has none.
    pub tls: Tls,
    /// Whether a server may ask for MD5 authentication.
    pub allow_md5: bool,
    /// How long name resolution, connection and TLS handshake may take.
    pub connect_timeout: Duration,
    /// How long authentication, session start and session init may take. Also a cancel request.
    pub login_timeout: Duration,
}

/// A server connection that is ready for its first request. Holding one proves that its identity is set.
#[derive(Debug)]
pub struct Server {
    /// The connection; nothing of the server's is unread.
    pub stream: Stream,
    /// What the server reported of its settings (ParameterStatus), in its order.
    pub parameters: Vec<(String, String)>,
    /// What sets the identity again after a reset; none for an identity without claims.
    pub init: Option<SessionInit>,
    /// What cancels a request that runs on this connection.
    pub cancel: CancelTarget,
}

impl Server {
    /// Connects, logs in and sets the claims. Without claims there is no session init: the role is all the identity.
    ///
    /// # Errors
    /// [`Error`] says who was wrong. No connection is left behind.
    pub async fn open(
        config: &ConnectConfig,
        login: &Login,
        startup: &Startup<'_>,
        claims: Option<&Claims<'_>>,
    ) -> Result<Self, Error> {
        let packet = startup.packet(&login.user)?;
        let plan = Plan { config, login, packet: &packet, claims };
        let second = match config.address {
            Address::Tcp { .. } => config.tls.second.as_ref(),
            Address::Unix(_) => None,
        };
        let opened = match (plan.run(&config.tls.first).await, second) {
            (Err(Failure { curable: true, .. }), Some(second)) => plan.run(second).await,
            (opened, _) => opened,
        };
        opened.map_err(|failure| failure.error)
    }

    /// Takes leave of the server, so that it logs no lost connection.
    pub async fn terminate(mut self) {
        let mut goodbye = BytesMut::new();
        frontend::terminate(&mut goodbye);
        // A server that is already gone needs no goodbye.
        if self.stream.write_all(&goodbye).await.is_ok() {
            let _ = self.stream.shutdown().await;
        }
    }
}

/// Whether the default of transactions is to write, as the server last reported it.
#[must_use]
pub fn default_access(parameters: &[(String, String)]) -> DefaultAccess {
    match parameters.iter().find(|(name, _)| name == "default_transaction_read_only") {
        Some((_, value)) if value == "on" => DefaultAccess::ReadOnly,
        _ => DefaultAccess::ReadWrite,
    }
}

struct Plan<'a> {
    config: &'a ConnectConfig,
    login: &'a Login,
    packet: &'a [u8],
    claims: Option<&'a Claims<'a>>,
}

struct Failure {
    error: Error,
    /// Whether another choice of TLS may do better, as libpq sees it: the handshake failed, or the server refused the
    /// login on a connection that has what the attempt asked for.
    curable: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { curable: matches!(error, Error::Tls(TlsError::Handshake(_))), error }
    }
}

impl Plan<'_> {
    async fn run(&self, attempt: &Attempt) -> Result<Server, Failure> {
        let connecting = timeout(self.config.connect_timeout, self.connect(attempt));
        let (mut stream, peer) = connecting.await.map_err(|_| Error::TimedOut(Step::Connect))??;
        let logging_in = timeout(self.config.login_timeout, self.log_in(&mut stream));
        let entered = logging_in.await.map_err(|_| Error::TimedOut(Step::Login))?;
        let (session, init) = entered.map_err(|error| {
            let as_asked = stream.is_tls() != matches!(attempt, Attempt::Plain);
            Failure { curable: matches!(error, Error::Login(_)) && as_asked, error }
        })?;
        let cancel = CancelTarget {
            peer,
            address: self.config.address.clone(),
            attempt: attempt.as_settled(&stream),
            pid: session.pid,
            secret: session.secret,
            timeout: self.config.login_timeout,
        };
        Ok(Server { stream, parameters: session.parameters, init, cancel })
    }

    async fn connect(&self, attempt: &Attempt) -> Result<(Stream, Peer), Error> {
        let address = &self.config.address;
        let unreachable = |source| Error::Unreachable { address: address.clone(), source };
        let stream = address.connect().await.map_err(unreachable)?;
        let peer = Peer::of(&stream, address).map_err(unreachable)?;
        Ok((encrypt(stream, attempt, address).await?, peer))
    }

    async fn log_in(&self, stream: &mut Stream) -> Result<(Session, Option<SessionInit>), Error> {
        send(stream, self.packet).await?;
        let rules = Rules { allow_md5: self.config.allow_md5, verified: stream.is_tls() && self.config.tls.verifies() };
        let mut answers = Answers::new(stream);
        authenticate(&mut answers, self.login, rules).await?;
        let mut session = start_session(&mut answers).await?;
        let Some(claims) = self.claims else { return Ok((session, None)) };

        // The proof in it is about this backend, so it cannot go out before the server has told its pid.
        let init = SessionInit::new(claims, &session)?;
        send(answers.stream(), &init.flight(default_access(&session.parameters)).bytes).await?;
        finish_init(&mut answers, &mut session).await?;
        Ok((session, Some(init)))
    }
}

async fn send(stream: &mut Stream, bytes: &[u8]) -> Result<(), Error> {
    stream.write_all(bytes).await.map_err(Error::Lost)?;
    stream.flush().await.map_err(Error::Lost)
}
