//! Everything that can go wrong on the way to a logged-in server, sorted by who was wrong. No variant
//! carries a password or claims.

use std::io;
use std::time::Duration;

use crate::address::Address;
use bytes::Bytes;
use tokio::time::timeout;

/// Why there is no server connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name does not resolve, or nobody answers at the address.
    #[error("cannot connect to {address}: {source}")]
    Unreachable {
        /// Where to.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke after it was made.
    #[error("the server connection broke: {0}")]
    Lost(#[source] io::Error),
    /// A step took longer than it may.
    #[error("{0} took too long")]
    TimedOut(Step),
    /// No TLS as `sslmode` demands it.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server asked for a way of authentication that is not acceptable here.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// The SCRAM exchange failed: above all, the server could not prove that it knows the password.
    #[error("SCRAM: {0}")]
    Scram(#[source] io::Error),
    /// The database refused the login.
    #[error("login refused: {0}")]
    Login(DatabaseError),
    /// The database took the login, but not what the session asks for: database, role, settings.
    #[error("session refused: {0}")]
    Session(DatabaseError),
    /// The database took the session, but not what its client has set at connecting.
    #[error("setting refused: {0}")]
    Setting(DatabaseError),
    /// The database refused the session init, so this connection has no identity.
    #[error("session init refused: {0}")]
    Init(DatabaseError),
    /// The same, because of the key that claims are signed with.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The server broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// The startup packet cannot be written: too long, or a zero byte in a value.
    #[error("startup packet: {0}")]
    Startup(String),
    /// The claims are not what session init carries: a JSON object in ASCII.
    #[error("the claims are not a JSON object in ASCII")]
    Claims,
    /// The login has defaults that any client can have given it, and keeps them.
    #[error("the login has defaults that any of its clients can give it ({settings}), and keeps them: {cause}")]
    Defaults {
        /// Their names.
        settings: String,
        /// Why they could not be taken away.
        cause: String,
    },
    /// The database has nothing that could take claims in the way that the configuration asks for.
    #[error(transparent)]
    Means(#[from] MeansError),
}

impl Error {
    /// What the database said, if it is the database that refused.
    #[must_use]
    pub fn database(&self) -> Option<&DatabaseError> {
        match self {
            Self::Login(error) | Self::Session(error) | Self::Setting(error) | Self::Init(error) => Some(error),
            _ => None,
        }
    }

    /// The database's error, if it concerns what the client itself asked for and so is the client's
    /// to see. All else speaks of our own login and is for the log.
    ///
    /// Errors of the session init are never the client's, whatever their SQLSTATE.
    #[must_use]
    pub fn for_client(&self) -> Option<&DatabaseError> {
        match self {
            Self::Login(error) | Self::Session(error) if error.is_for_client() => Some(error),
            Self::Setting(error) if error.is_for_client() || error.is_about_a_setting() => Some(error),
            _ => None,
        }
    }
}

impl Error {
    /// Whether the server may well do the same later: it is full, or it starts or stops.
    pub(crate) fn is_passing(&self) -> bool {
        self.database().is_some_and(|error| ["53300", "57P03"].contains(&error.sqlstate.as_str()))
    }
}

/// A step that is bounded in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Step {
    /// Name resolution, connection and TLS handshake.
    #[error("connecting to the server")]
    Connect,
    /// Authentication, session start and session init.
    #[error("logging in to the server")]
    Login,
    /// Delivery of a cancel request.
    #[error("delivering a cancel request")]
    Cancel,
}

impl Step {
    /// Takes the step, if it takes no longer than this.
    pub(crate) async fn within<T>(
        self,
        limit: Duration,
        taking: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        timeout(limit, taking).await.unwrap_or(Err(Error::TimedOut(self)))
    }
}

/// Why TLS did not come about.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The server has no TLS.
    #[error("the server does not offer TLS, but sslmode demands it")]
    NotOffered,
    /// The server answered the `SSLRequest` with an error. Its text is not read: in clear, anybody
    /// could have written it (CVE-2024-10977).
    #[error("the server answered the TLS request with an error")]
    Errored,
    /// The server answered the `SSLRequest` with a byte that means nothing.
    #[error("the server answered the TLS request with byte {0:#04x}")]
    Answer(u8),
    /// Bytes in clear behind the server's yes: somebody in between tries to have them taken for the
    /// server's (CVE-2021-23222).
    #[error("unencrypted bytes behind the server's answer to the TLS request")]
    EarlyBytes,
    /// The handshake failed; most often the certificate is not to be trusted.
    #[error("TLS handshake with the server: {0}")]
    Handshake(#[source] io::Error),
    /// The configured host cannot be the name in a certificate.
    #[error("\"{0}\" cannot be the name in a certificate")]
    Name(String),
}

/// The database does not go by the key that claims are signed with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the database does not go by the signing key {kid}, which is unknown there or retired: `pgusher setup --apply` gives \
     it the one of [claims], and --verify compares; if there is another by now, start pgusher again"
)]
pub struct KeyError {
    /// The name of the key.
    pub kid: String,
}

/// Why claims cannot reach a database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeansError {
    /// It does not have the extension.
    #[error(
        "claims mode \"pg_session_jwt\": the database does not have the extension pg_session_jwt; `pgusher setup --apply` \
         creates it where the server can have it"
    )]
    NoExtension,
    /// It has one of which nobody knows how it behaves.
    #[error("claims mode \"pg_session_jwt\": version {0} of the extension is not supported; 0.3 to 0.5 are")]
    Version(String),
    /// It was told a key and has another, or none.
    #[error("claims mode \"pg_session_jwt\": the extension did not take the key of the startup packet")]
    KeyNotTaken,
    /// It has neither the extension nor the schema.
    #[error(
        "claims mode \"auto\": the database has neither the extension pg_session_jwt nor pgusher's schema auth; `pgusher \
         setup --apply` makes it have one"
    )]
    Nothing,
    /// It has the schema, but there is no secret to sign with.
    #[error(
        "claims mode \"auto\": the database has pgusher's schema auth, for which claims are signed, and there is no \
         claims.secret_file"
    )]
    NoSecret,
}

/// A way of authentication that the server asked for and that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// MD5 is broken; config may allow it.
    #[error("the server asks for MD5 authentication, which is not allowed")]
    Md5,
    /// The password in clear goes only to a server whose certificate was verified.
    #[error("the server asks for the password in clear, which needs sslmode verify-ca or verify-full")]
    Cleartext,
    /// The server wants a password and none is configured.
    #[error("the server asks for a password, and none is configured")]
    NoPassword,
    /// Neither of the two SCRAM mechanisms is offered.
    #[error("the server offers no SASL mechanism that is known: {0}")]
    Mechanism(String),
    /// The server lets a role in that was to show its password, and asks for none: it goes by our address or our
    /// certificate, which are not the client's.
    #[error("the server does not ask for the password")]
    NotAsked,
    /// A client that could have bound its password to the TLS connection believes that the server could not. It could, and
    /// would take that for an attack: its offer did not get through, for to bind is possible between the two ends of one
    /// connection only.
    #[error("the client could do channel binding, which does not reach through a proxy, and the server insists on it")]
    ChannelBinding,
    /// The password is to be bound to the TLS connection, and there is none, or the server cannot do that or wants no SCRAM.
    #[error("channel_binding is \"require\", and the server offers none")]
    Unbound,
    /// Kerberos, SSPI and the like.
    #[error("the server asks for an authentication that is not supported")]
    Unsupported,
}

/// An ErrorResponse.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message} (SQLSTATE {sqlstate}){}{}", if detail.is_empty() { "" } else { ": " }, detail)]
pub struct DatabaseError {
    /// Five characters; see <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
    pub sqlstate: String,
    /// The primary message, in the server's language.
    pub message: String,
    /// The particulars; often empty.
    pub detail: String,
    /// The whole frame as it came, tag and length included.
    pub frame: Bytes,
}

impl DatabaseError {
    /// Whether the error concerns what a client itself asks for: a value of a setting (class 22), a database that
    /// does not exist, a setting that does not exist, too many connections, a database that starts or stops.
    fn is_for_client(&self) -> bool {
        self.sqlstate.starts_with("22") || ["3D000", "42704", "53300", "57P03"].contains(&self.sqlstate.as_str())
    }

    /// Whether it is not the role's to set, or not now. Of our own login the first would say that it lacks a right.
    fn is_about_a_setting(&self) -> bool {
        ["42501", "55P02"].contains(&self.sqlstate.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database_error(sqlstate: &str) -> DatabaseError {
        DatabaseError {
            sqlstate: sqlstate.to_owned(),
            message: "no".to_owned(),
            detail: String::new(),
            frame: Bytes::new(),
        }
    }

    #[test]
    fn a_client_sees_what_it_asked_for_wrongly() {
        for sqlstate in ["22023", "3D000", "42704", "53300", "57P03"] {
            assert!(Error::Session(database_error(sqlstate)).for_client().is_some(), "{sqlstate}");
            assert!(Error::Setting(database_error(sqlstate)).for_client().is_some(), "{sqlstate}");
        }
    }

    #[test]
    fn a_client_sees_that_a_setting_is_not_its_to_set() {
        for sqlstate in ["42501", "55P02"] {
            assert!(Error::Setting(database_error(sqlstate)).for_client().is_some(), "{sqlstate}");
            assert!(Error::Session(database_error(sqlstate)).for_client().is_none(), "{sqlstate}");
        }
    }

    #[test]
    fn a_client_never_sees_what_is_wrong_with_our_own_login() {
        for sqlstate in ["28000", "28P01", "42501", "XX000", ""] {
            let error = Error::Login(database_error(sqlstate));
            assert!(error.for_client().is_none() && error.database().is_some(), "{sqlstate}");
        }
        assert!(Error::Init(database_error("22023")).for_client().is_none());
    }
}
