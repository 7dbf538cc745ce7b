//! One connection of ours to Postgres, logged in.

use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::AsyncWriteExt;
use wire::stream::Stream;

use crate::address::Address;
use crate::answer::Answers;
use crate::cancel::CancelTarget;
use crate::channel_binding::Binding;
use crate::claims::Claims;
use crate::connect::{Failure, attempts, connect};
use crate::error::{Error, Step};
use crate::init::{Backend, DefaultAccess, Flight, SessionInit, switch};
use crate::login::{Login, Rules, Session, authenticate, finish, start_session};
use crate::means::{Means, settle};
use crate::parting::{Parting, say_goodbye};
use crate::pool::Holds;
use crate::prepared::Prepared;
use crate::startup::Startup;
use crate::tls::{Attempt, Tls};

/// How long the claims hold that are tried.
const TRIAL: Duration = Duration::from_secs(60 * 60);

/// Where the servers are and what is asked of them.
#[derive(Clone, Debug)]
pub struct ConnectConfig {
    /// The address.
    pub address: Address,
    /// Whether and how to speak TLS. A Unix socket has none.
    pub tls: Tls,
    /// Whether a server may ask for MD5 authentication.
    pub allow_md5: bool,
    /// Whether the password has to be bound to the TLS connection.
    pub binding: Binding,
    /// How long name resolution, connection and TLS handshake may take.
    pub connect_timeout: Duration,
    /// How long authentication, session start and session init may take. Also a cancel request.
    pub login_timeout: Duration,
}

/// A server connection that is logged in.
#[derive(Debug)]
pub struct Server {
    /// The connection; nothing of the server's is unread.
    pub stream: Stream,
    /// What the server reported of its settings (ParameterStatus), in its order.
    pub parameters: Arc<Vec<(String, String)>>,
    /// What has set up the session that it holds, or was sent to.
    pub init: Option<Arc<SessionInit>>,
    /// Which of those that have one identity had it last, by a number that they give themselves; 0 is nobody's. Of
    /// another's sequences it would tell by `currval`.
    pub session: u64,
    /// The statements that were prepared in that session.
    pub prepared: Prepared,
    /// What cancels a request that runs on this connection.
    pub cancel: Arc<CancelTarget>,
    /// How it is told whose session it is.
    pub means: Means,
    /// Whether a reset leaves nothing behind, so that another identity may have it. False until somebody has looked.
    pub reusable: bool,
    /// When it was logged in.
    pub opened: Instant,
    /// Where it was opened. Its socket wakes that thread's runtime.
    pub thread: ThreadId,
    /// What its session holds, as the last who had it has told the pool.
    pub(crate) holds: Holds,
    /// When it was given back last, or came into the pool.
    pub(crate) since: Instant,
}

impl Server {
    /// Connects, logs in, and settles how it is told of claims. The session is nobody's yet: it has the role and none.
    ///
    /// # Errors
    /// [`Error`] says who was wrong. No connection is left behind, unless the server keeps it for longer than a login may
    /// take.
    pub async fn open(config: &ConnectConfig, login: &Login, startup: &Startup<'_>) -> Result<Self, Error> {
        match Self::enter(config, login, startup).await {
            Ok(server) => Ok(server),
            Err(failure) => Err(failure.over(config.login_timeout).await),
        }
    }

    /// The same, and leaves it to the caller to wait for what is left of one that failed.
    pub(crate) async fn enter(config: &ConnectConfig, login: &Login, startup: &Startup<'_>) -> Result<Self, Failure> {
        let key = startup.key();
        let packet = startup.packet(&login.user, key.as_ref())?;
        let plan = Plan { config, login, packet: &packet };
        let mut server = attempts(config, |attempt| plan.run(attempt)).await?;
        let parameters = Arc::make_mut(&mut server.parameters);
        let settling = settle(startup.claims, key, &mut server.stream, parameters);
        let settled = Step::Login.within(config.login_timeout, settling).await;
        let (server, means) = server.or_part(settled)?;
        Ok(Self { means, ..server })
    }

    /// The server with what came of a step of its login, or the end if that has failed.
    #[expect(clippy::result_large_err, reason = "moved once, at a failed login")]
    pub(crate) fn or_part<T>(self, outcome: Result<T, Error>) -> Result<(Self, T), Failure> {
        match outcome {
            Ok(value) => Ok((self, value)),
            Err(error) => Err(Failure::of_server(error, self.part())),
        }
    }

    /// The backend, for a session init.
    #[must_use]
    pub fn backend(&self) -> Backend<'_> {
        let standby = reports(&self.parameters, "in_hot_standby");
        Backend { pid: self.cancel.pid(), standby, means: &self.means }
    }

    /// Begins a session, after the one before was done away with (`reset`), and waits until it has begun.
    ///
    /// # Errors
    /// [`Error::Setting`] if it is what the client asks for that the server refuses, [`Error::Init`] or [`Error::Key`] if
    /// it is the rest. The connection is of no use then.
    pub async fn begin(&mut self, reset: bool, init: Arc<SessionInit>) -> Result<(), Error> {
        let former = reset.then(|| default_access(&self.parameters));
        let mut flight = switch(former, &init, std::iter::empty());
        // Nothing comes behind it, and a Sync makes the server answer.
        flight.sync();
        self.prepared.clear();
        self.init = Some(init);
        let limit = self.cancel.timeout;
        Step::Login.within(limit, self.fly(&flight)).await.map_err(|error| self.means.explained(error))
    }

    /// Begins a session of nobody's, with claims that have nothing in them: whether the database takes those is only known
    /// when somebody brings some.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub async fn try_claims(&mut self) -> Result<(), Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // However much the clocks differ.
        let expires = i64::try_from((now + TRIAL).as_secs()).unwrap_or(i64::MAX);
        let init = SessionInit::new(Some(&Claims { json: "{}", expires }), Arc::default(), self.backend())?;
        self.begin(false, Arc::new(init)).await
    }

    /// Does away with the session, and waits until it is gone.
    ///
    /// # Errors
    /// The connection is of no use then.
    pub(crate) async fn discard(&mut self) -> Result<(), Error> {
        let mut discard = BytesMut::new();
        frontend::query("DISCARD ALL", &mut discard).expect("SQL without a zero byte");
        let flight = Flight { bytes: discard.freeze(), requests: Vec::new(), commits: 0, ours: usize::MAX };
        let limit = self.cancel.timeout;
        Step::Login.within(limit, self.fly(&flight)).await
    }

    async fn fly(&mut self, flight: &Flight) -> Result<(), Error> {
        send(&mut self.stream, &flight.bytes).await?;
        let parameters = Arc::make_mut(&mut self.parameters);
        finish(&mut Answers::new(&mut self.stream), flight.ours, parameters).await
    }

    /// Takes leave of the server, and does not wait until it is gone.
    pub async fn terminate(mut self) {
        say_goodbye(&mut self.stream).await;
        let _ = self.stream.shutdown().await;
    }

    /// The end of a server that waits for a request, or soon will.
    pub(crate) fn part(self) -> Box<Parting> {
        Box::new(Parting::politely(self.stream, self.cancel))
    }
}

/// Whether the default of transactions is to write, as the server last reported it.
#[must_use]
pub fn default_access(parameters: &[(String, String)]) -> DefaultAccess {
    if reports(parameters, "default_transaction_read_only") {
        DefaultAccess::ReadOnly
    } else {
        DefaultAccess::ReadWrite
    }
}

/// Whether the server reported that this is on.
fn reports(parameters: &[(String, String)], wanted: &str) -> bool {
    parameters.iter().any(|(name, value)| name == wanted && value == "on")
}

struct Plan<'a> {
    config: &'a ConnectConfig,
    login: &'a Login,
    packet: &'a [u8],
}

impl Plan<'_> {
    async fn run(&self, attempt: &Attempt) -> Result<Server, Failure> {
        let (mut stream, route) = connect(self.config, attempt).await?;
        let session = match Step::Login.within(self.config.login_timeout, self.log_in(&mut stream)).await {
            Ok(session) => session,
            Err(error) => return Err(Failure::of_login(error, (stream, route), attempt)),
        };
        let now = Instant::now();
        let cancel = CancelTarget::new(route, session.pid, session.secret, self.config.login_timeout);
        Ok(Server {
            stream,
            parameters: Arc::new(session.parameters),
            init: None,
            session: 0,
            prepared: Prepared::new(usize::MAX),
            cancel: Arc::new(cancel),
            // The least that there is, until it is settled.
            means: Means::Claims,
            reusable: false,
            opened: now,
            thread: thread::current().id(),
            holds: Holds::Nothing,
            since: now,
        })
    }

    async fn log_in(&self, stream: &mut Stream) -> Result<Session, Error> {
        send(stream, self.packet).await?;
        let rules = Rules::of(self.config, stream);
        let mut answers = Answers::new(stream);
        // That it was asked for no password is as the operator wants it: these are pgusher's own logins.
        authenticate(&mut answers, self.login, rules).await?;
        start_session(&mut answers).await
    }
}

pub(crate) async fn send(stream: &mut Stream, bytes: &[u8]) -> Result<(), Error> {
    stream.write_all(bytes).await.map_err(Error::Lost)?;
    stream.flush().await.map_err(Error::Lost)
}
