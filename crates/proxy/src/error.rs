//! Everything that ends a connection, and the one table from cause to what the client is told.
//!
//! The causes say who was wrong. [`Refusal`] is all that a client sees of them, and here their SQLSTATEs are written.
//! Causes that speak of our own login to the database are for the log, and the client gets the number under which they
//! are found there.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use identity::{Fault, Hint, Rejection};
use wire::frame::Tag;
use wire::startup::{MAX_STARTUP_PACKET, StartupError, Version};

use crate::authenticate::LONGEST_NAME;
use crate::http::rate::Pace;
use crate::relay::{Broken, End};

mod ongoing;
mod refusal;

use ongoing::RESULT_CHANGED;
pub(crate) use ongoing::{canceled, is_result_changed, notice_of_waiting, result_changed, too_many_statements};
pub(crate) use refusal::Refusal;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The client has taken leave.
    #[error("client left")]
    Left,
    /// The server closed the connection and told the client why.
    #[error("the server closed the connection")]
    ServerClosed,
    /// Nobody is there any more.
    #[error("the client is gone: {0}")]
    ClientGone(#[source] io::Error),
    /// The first packet is none.
    #[error("no startup packet: {0:?}")]
    Startup(StartupError),
    /// Bytes in clear behind an SSLRequest or a GSSENCRequest (CVE-2021-23214).
    #[error("received unencrypted data after an encryption request")]
    EarlyBytes,
    /// A second SSLRequest or GSSENCRequest, or one inside TLS.
    #[error("encryption was negotiated twice")]
    NegotiatedTwice,
    /// The TLS handshake failed; there is no way to answer.
    #[error("TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    /// TLS from the first byte on, without the ALPN protocol `postgresql` that makes it safe.
    #[error("direct TLS without ALPN protocol \"postgresql\"")]
    NoAlpn,
    /// TLS from the first byte on, and none to be had.
    #[error("direct TLS, but there is no certificate")]
    NoCertificate,
    /// A major version that is not 3.
    #[error("unsupported frontend protocol {}.{}", .0.major, .0.minor)]
    Version(Version),
    /// A replication connection.
    #[error("replication connections are not supported")]
    Replication,
    /// No `user`.
    #[error("no role was asked for")]
    NoUser,
    /// A role or database whose name is longer than Postgres has any: a token, perhaps, so it is not told.
    #[error("a role or database name of more than {LONGEST_NAME} bytes")]
    NameTooLong,
    /// A token or password may not travel in clear.
    #[error("TLS is required")]
    TlsRequired {
        /// Whether there is a certificate to do it with.
        available: bool,
    },
    /// A startup parameter that is not the client's to set.
    #[error(transparent)]
    Parameter(upstream::ParameterError),
    /// A database that is not served.
    #[error("database \"{0}\" is not served")]
    Database(String),
    /// Another message where the password was expected.
    #[error("expected a password, got message type {0:?}")]
    NoPassword(Tag),
    /// A password longer than any token may be.
    #[error("the password message has {0} bytes")]
    PasswordTooLong(u32),
    /// A password that is not one zero-terminated UTF-8 string.
    #[error("the password is not one zero-terminated UTF-8 string")]
    PasswordLayout,
    /// The token does not get this client in.
    #[error("{0}")]
    Token(Rejection),
    /// The database does not let a role in that logs in with a password of its own.
    #[error("login refused: {0}")]
    LoginRefused(upstream::DatabaseError),
    /// The database lets such a role in without asking for a password.
    #[error("the database asks for no password")]
    NotAsked,
    /// Such a role's client insists on channel binding, or the database does.
    #[error("channel binding was asked for")]
    ChannelBinding,
    /// `[passthrough] max_conn` is reached.
    #[error("more than passthrough.max_conn = {0} clients with a password")]
    TooManyPassthrough(usize),
    /// A role that no login reaches.
    #[error("role \"{0}\" is not served")]
    NoRole(String),
    /// The login took too long.
    #[error("the login took longer than {0:?}")]
    LoginTimeout(Duration),
    /// `max_client_conn` is reached.
    #[error("more than max_client_conn = {0} clients")]
    TooManyClients(usize),
    /// `max_requests` is reached.
    #[error("more than http.max_requests = {0} requests")]
    TooManyRequests(usize),
    /// One identity has all of them that it may have.
    #[error("more than {0} requests of one identity, a quarter of http.max_requests")]
    TooManyRequestsOfIdentity(usize),
    /// Those without a token have all of them that they may have.
    #[error("more than {0} requests without a token, three quarters of http.max_requests")]
    TooManyRequestsOfAnyone(usize),
    /// `max_identity_conn` is reached.
    #[error("more than max_identity_conn = {0} clients of one identity")]
    TooManyOfIdentity(usize),
    /// `max_logins` is reached.
    #[error("more than max_logins = {0} logins in progress")]
    TooManyLogins(usize),
    /// There are too many requests a second, or too many tokens that are refused.
    #[error("more than {pace}")]
    TooFast {
        /// The limit.
        pace: Pace,
        /// When to come back: whole seconds, and at least one.
        retry_after: Duration,
    },
    /// No server became free in time.
    #[error("no server within query_wait_timeout = {waited:?}: {} = {} are in use", .limit.0, .limit.1)]
    PoolFull {
        /// The key of the limit, and its value.
        limit: (&'static str, usize),
        /// `query_wait_timeout`.
        waited: Duration,
    },
    /// There is no server connection to be had.
    #[error("{0}")]
    Upstream(#[from] upstream::Error),
    /// The same, told to all who waited for one.
    #[error("{0}")]
    Pool(Arc<upstream::Error>),
    /// The client sent what is not a message.
    #[error("the client broke the protocol: {0:?}")]
    ClientBroke(Broken),
    /// The server sent what is not a message.
    #[error("the server broke the protocol: {0:?}")]
    ServerBroke(Broken),
    /// The server went without a word.
    #[error("the server connection was lost")]
    ServerLost,
    /// The session could not be set up on a server, or not again after the client reset it.
    #[error("the session could not be set up on its server: {0}")]
    IdentityLost(String),
    /// A statement was prepared again, and its result is another than the client knows.
    #[error("the result of a prepared statement has changed")]
    ResultChanged,
    /// Something took longer than it may.
    #[error("{0}")]
    TimedOut(TimedOut),
    /// The token's time is over.
    #[error("session token expired")]
    Expired,
    /// pgusher goes.
    #[error("shutting down")]
    Shutdown,
}

/// What took longer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TimedOut {
    /// A request.
    #[error("query_timeout = {0:?}")]
    Query(Duration),
    /// A transaction.
    #[error("transaction_timeout = {0:?}")]
    Transaction(Duration),
    /// A client in a transaction.
    #[error("idle_transaction_timeout = {0:?}")]
    IdleTransaction(Duration),
    /// A client outside of one.
    #[error("client_idle_timeout = {0:?}")]
    ClientIdle(Duration),
}

impl From<End> for Error {
    fn from(end: End) -> Self {
        match end {
            End::Left => Self::Left,
            End::ServerClosed => Self::ServerClosed,
            End::ClientLost(error) => Self::ClientGone(error),
            End::ServerLost(_) => Self::ServerLost,
            End::ClientBroke(broken) => Self::ClientBroke(broken),
            End::ServerBroke(broken) => Self::ServerBroke(broken),
            End::IdentityLost(reason) => Self::IdentityLost(reason),
            End::ResultChanged => Self::ResultChanged,
        }
    }
}

/// What the first four bytes of a Terminate are as the length of a first packet: a client leaves before it has begun.
/// Postgres does not answer either, and some drivers do not expect an error then.
const TERMINATE: u32 = u32::from_be_bytes(*b"X\0\0\0");

impl Error {
    /// What to tell the client; nothing where nobody could read it. `auth_detail` allows to say which rule refused
    /// a token; `connection` is the number that the log knows this connection by.
    pub(crate) fn refusal(&self, auth_detail: bool, connection: u64) -> Option<Refusal> {
        let refusal = match self {
            Self::Left | Self::ServerClosed => return None,
            Self::ClientGone(_) | Self::Tls(_) | Self::NoCertificate | Self::Startup(StartupError::Io(_)) => {
                return None;
            }
            Self::Startup(StartupError::Length(TERMINATE)) => return None,
            Self::Startup(error) => Refusal::new("08P01", "invalid startup packet").detail(startup_detail(error)),
            Self::EarlyBytes => Refusal::new("08P01", "received unencrypted data after an encryption request")
                .detail("This could be an attempted man-in-the-middle attack."),
            Self::NegotiatedTwice => Refusal::new("08P01", "encryption can be negotiated only once"),
            Self::NoAlpn => Refusal::new("08P01", "direct TLS needs the ALPN protocol \"postgresql\""),
            Self::Version(_) => Refusal::new("0A000", self.to_string()).detail("Protocol version 3 is supported."),
            Self::Replication => Refusal::new("0A000", self.to_string()),
            Self::NoUser => Refusal::new("28000", "no role specified in the startup packet")
                .hint("Give the role to connect as for the user name."),
            Self::NameTooLong => Refusal::new("42622", "role or database name too long")
                .detail(format!("Names have at most {LONGEST_NAME} bytes."))
                .hint("Send the token as the password."),
            Self::TlsRequired { available } => tls_required(*available),
            // Some drivers show the message alone, and take each word of a URL that they do not know for a parameter.
            Self::Parameter(error) => Refusal::new("42501", error.to_string()),
            Self::Database(name) => Refusal::new("3D000", format!("database \"{name}\" does not exist")),
            Self::NoPassword(Tag(tag)) => Refusal::new("08P01", "expected a password message")
                .detail(format!("Got message type {:?}.", char::from(*tag))),
            Self::PasswordTooLong(size) => Refusal::new("08P01", "password too long")
                .detail(format!("It has {size} bytes; the limit is {} bytes.", identity::MAX_TOKEN)),
            Self::PasswordLayout => Refusal::new("08P01", "invalid password message"),
            Self::Token(rejection) => token_refused(rejection, auth_detail, connection),
            Self::LoginRefused(error) => {
                let code = LOGIN_CODES.into_iter().find(|code| *code == error.sqlstate);
                Refusal::new(code.unwrap_or("28000"), error.message.clone())
            }
            Self::NotAsked => Refusal::new("28000", "the database asks this role for no password")
                .detail("It would let in whoever reaches the proxy.")
                .hint("Have pg_hba.conf ask for one (scram-sha-256), also of connections from the proxy."),
            Self::ChannelBinding => Refusal::new("28000", "channel binding does not reach through the proxy")
                .detail(
                    "The database, which speaks TLS with the proxy, would take the password's exchange for an attack.",
                )
                .hint("Connect with channel_binding=disable."),
            Self::TooManyPassthrough(limit) => too_many("clients with a password", "passthrough.max_conn", *limit),
            Self::NoRole(_) => Refusal::new("28000", self.to_string()),
            Self::LoginTimeout(limit) => Refusal::new("57014", "canceling authentication due to timeout")
                .detail(format!("client_login_timeout is {}.", seconds(*limit))),
            Self::TooManyClients(limit) => too_many("clients", "max_client_conn", *limit),
            Self::TooManyRequests(limit) => too_many("requests", "http.max_requests", *limit),
            Self::TooManyRequestsOfIdentity(limit) => {
                too_many("requests of this identity", "A quarter of http.max_requests", *limit)
            }
            Self::TooManyRequestsOfAnyone(limit) => too_many("anonymous requests", "3/4 of http.max_requests", *limit),
            Self::TooManyOfIdentity(limit) => too_many("clients of this identity", "max_identity_conn", *limit),
            Self::TooManyLogins(limit) => too_many("logins in progress", "max_logins", *limit),
            Self::TooFast { pace, retry_after } => Refusal::new("53400", "too many requests")
                .detail(format!("{pace}."))
                .hint(format!("Try again in {}.", seconds(*retry_after))),
            Self::PoolFull { limit, waited } => pool_full(*limit, *waited),
            Self::Upstream(error) => upstream_failed(error, connection),
            Self::Pool(error) => upstream_failed(error, connection),
            Self::ClientBroke(broken) => {
                Refusal::new("08P01", "invalid frontend message").detail(broken_detail(*broken))
            }
            Self::ServerBroke(_) | Self::ServerLost => Refusal::new("08006", "the connection to the database was lost")
                .detail("A statement that was under way may or may not have been committed.")
                .hint("Connect again."),
            Self::IdentityLost(_) => Refusal::new("28000", "the session could not be set up on its server connection")
                .detail(format!("Nothing was done. {}", in_the_log(connection)))
                .hint("Connect again."),
            Self::ResultChanged => Refusal::new(RESULT_CHANGED.0, RESULT_CHANGED.1)
                .detail("The statement that was under way may or may not have been committed.")
                .hint("Connect again."),
            Self::TimedOut(what) => timed_out(*what),
            Self::Expired => {
                Refusal::new("28000", "session token expired").hint("Fetch a new token and connect again.")
            }
            Self::Shutdown => {
                Refusal::new("57P01", "terminating connection because pgusher is shutting down").hint("Connect again.")
            }
        };
        Some(refusal)
    }

    /// The same as an ErrorResponse. What the database said of a login is its own, byte for byte.
    pub(crate) fn to_message(&self, auth_detail: bool, connection: u64) -> Option<Vec<u8>> {
        match self {
            Self::LoginRefused(error) => Some(error.frame.to_vec()),
            _ => self.refusal(auth_detail, connection).map(|refusal| refusal.to_message()),
        }
    }
}

fn tls_required(available: bool) -> Refusal {
    let refusal = Refusal::new("28000", "a token or password may not be sent in clear");
    if available {
        refusal.detail("This connection is not encrypted.").hint("Connect with sslmode=require, or verify-full.")
    } else {
        refusal
            .detail("This connection is not encrypted, and the proxy has no certificate.")
            .hint("Configure [tls], or connect from the proxy's own host.")
    }
}

fn token_refused(rejection: &Rejection, auth_detail: bool, connection: u64) -> Refusal {
    let refusal = match rejection.fault() {
        Fault::Token => Refusal::new("28P01", "token refused"),
        Fault::Role => Refusal::new("28000", "role not permitted for this token"),
        Fault::Keys => Refusal::new("57P03", "the issuer's keys are not available"),
    };
    if !auth_detail {
        return refusal.detail(in_the_log(connection));
    }
    let refusal = refusal.detail(rejection.to_string());
    match rejection.hint().as_ref().map(Hint::to_string) {
        Some(hint) => refusal.hint(hint),
        None => refusal,
    }
}

/// Where whoever runs pgusher finds the reason.
fn in_the_log(connection: u64) -> String {
    format!("The proxy's log has the reason, under connection {connection}.")
}

fn upstream_failed(error: &upstream::Error, connection: u64) -> Refusal {
    let reason = in_the_log(connection);
    match error.for_client().map(|database| (known_code(&database.sqlstate), database)) {
        Some((Some(code), database)) => Refusal::new(code, database.message.clone()),
        // Nothing that passes by itself.
        _ if matches!(error, upstream::Error::Key(_)) => {
            Refusal::new("28000", "the session could not be set up on its server connection").detail(reason)
        }
        _ => Refusal::new("57P03", "the database is not available").detail(reason).hint("Try again later."),
    }
}

/// The codes that a database most often refuses the login of a role with.
const LOGIN_CODES: [&str; 6] = ["28P01", "28000", "3D000", "42501", "53300", "57P03"];

/// The codes that a database refuses a session with because of what the client asked for.
fn known_code(sqlstate: &str) -> Option<&'static str> {
    const CODES: [&str; 10] =
        ["22023", "22007", "22008", "22P02", "3D000", "42501", "42704", "53300", "55P02", "57P03"];
    CODES.into_iter().find(|code| *code == sqlstate)
}

fn timed_out(what: TimedOut) -> Refusal {
    let (code, message) = match what {
        TimedOut::Query(_) => ("57014", "canceling statement due to query timeout"),
        TimedOut::Transaction(_) => ("25P04", "terminating connection due to transaction timeout"),
        TimedOut::IdleTransaction(_) => ("25P03", "terminating connection due to idle-in-transaction timeout"),
        TimedOut::ClientIdle(_) => ("57P05", "terminating connection due to idle-session timeout"),
    };
    Refusal::new(code, message).detail(format!("{what}.")).hint("Connect again.")
}

fn pool_full((key, value): (&str, usize), waited: Duration) -> Refusal {
    Refusal::new("53300", "no server connection became free in time")
        .detail(format!("{key} is {value}, query_wait_timeout is {}.", seconds(waited)))
        .hint(format!("End transactions that are idle, or raise {key}."))
}

fn too_many(what: &str, key: &str, limit: usize) -> Refusal {
    Refusal::new("53300", format!("sorry, too many {what} already")).detail(format!("{key} is {limit}."))
}

fn startup_detail(error: &StartupError) -> String {
    match error {
        StartupError::Io(error) => error.to_string(),
        StartupError::Length(length) => {
            format!("Its length is {length}; it may be 8 to {MAX_STARTUP_PACKET} bytes.")
        }
        StartupError::Layout => "Its parameters are not pairs of zero-terminated UTF-8 strings.".to_owned(),
        StartupError::CancelKey(size) => format!("It asks to cancel with a key of {size} bytes."),
    }
}

fn broken_detail(broken: Broken) -> String {
    match broken {
        Broken::Length(bad) => format!("Message type {:?} has the length {}.", char::from(bad.tag.0), bad.length),
        Broken::Name(Tag(tag)) => format!("A name in message type {:?} is too long.", char::from(tag)),
        Broken::Tag(Tag(tag)) => format!("Message type {:?} is not expected here.", char::from(tag)),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
