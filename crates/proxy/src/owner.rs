//! Connections of an operator's commands: as the owner of a database, whom a URL names, or as the login of a served role.
//!
//! They connect and log in as the proxy's own servers do, so that `sslmode` and `sslrootcert` mean the same, the channel
//! is bound to the password, and no server gets a password in clear that has not proved who it is. What comes out is a
//! client of `tokio-postgres`.

use std::future::poll_fn;

use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls};
use upstream::{ClaimsMode, Login, MethodError, Parameters, Server, Settings, Startup, TlsSetupError};

use crate::config::Upstream;
use logged_in::LoggedIn;

mod logged_in;
mod passfile;
mod url;

pub use url::{Owner, UrlError};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// The URL says nothing that can be connected to.
    #[error("--url: {0}")]
    Url(#[from] UrlError),
    /// A certificate that the URL names is not what it should be.
    #[error("--url: {0}")]
    Tls(#[from] TlsSetupError),
    /// The database cannot be reached, or refuses the login.
    #[error("login {login}: {cause}")]
    Login {
        /// The login tried.
        login: String,
        /// What happened.
        cause: Box<upstream::Error>,
    },
    /// The database asks for a password, and there is none.
    #[error(
        "login {login}: the server asks for a password, and there is none in the URL, in PGPASSWORD or in ~/.pgpass, which \
         nobody else may be able to read"
    )]
    NoPassword {
        /// The login tried.
        login: String,
    },
    /// The connection broke before its first statement.
    #[error("login {login}: {cause}")]
    Lost {
        /// The login tried.
        login: String,
        /// What happened.
        cause: tokio_postgres::Error,
    },
}

/// Connects as the owner of a database. Notices of the server go to `on_notice` as they come.
///
/// # Errors
/// [`OwnerError`] says who was wrong.
pub async fn connect(owner: &Owner, on_notice: impl FnMut(DbError) + Send + 'static) -> Result<Client, OwnerError> {
    let login = &owner.login;
    // Whatever the owner made a default of its sessions, `role` among it, these run as the owner.
    let settings = Settings::default();
    let startup = Startup {
        database: &owner.database,
        role: &login.user,
        settings: &settings,
        parameters: &owner.parameters,
        claims: &ClaimsMode::Claims,
    };
    match open(&owner.connect, login, &startup, on_notice).await {
        Err(OwnerError::Login { login, cause })
            if matches!(*cause, upstream::Error::Method(MethodError::NoPassword)) =>
        {
            Err(OwnerError::NoPassword { login })
        }
        opened => opened,
    }
}

/// Connects as the login of a served role, with that role set: what a session of the proxy has, less its claims. One that
/// cannot be told of claims there is let in all the same: it is what an audit wants to look at.
///
/// # Errors
/// [`OwnerError`] says who was wrong.
pub async fn connect_as(
    role: &str,
    login: &Login,
    database: &str,
    upstream: &Upstream,
    claims: &ClaimsMode,
) -> Result<Client, OwnerError> {
    let parameters = Parameters::default();
    let startup = Startup { database, role, settings: &upstream.settings, parameters: &parameters, claims };
    match open(&upstream.connect, login, &startup, |_| {}).await {
        Err(OwnerError::Login { cause, .. }) if matches!(*cause, upstream::Error::Means(_)) => {
            let startup = Startup { claims: &ClaimsMode::Claims, ..startup };
            open(&upstream.connect, login, &startup, |_| {}).await
        }
        opened => opened,
    }
}

/// Has the login of a served role begin a session with claims, as the proxy's own would.
///
/// # Errors
/// Why it does not begin.
pub async fn try_claims(
    role: &str,
    login: &Login,
    database: &str,
    upstream: &Upstream,
    claims: &ClaimsMode,
) -> Result<(), upstream::Error> {
    let parameters = Parameters::default();
    let startup = Startup { database, role, settings: &upstream.settings, parameters: &parameters, claims };
    let mut server = Server::open(&upstream.connect, login, &startup).await?;
    let tried = server.try_claims().await;
    server.terminate().await;
    tried
}

async fn open(
    config: &upstream::ConnectConfig,
    login: &Login,
    startup: &Startup<'_>,
    on_notice: impl FnMut(DbError) + Send + 'static,
) -> Result<Client, OwnerError> {
    let opened = Server::open(config, login, startup).await;
    let server = opened.map_err(|cause| OwnerError::Login { login: login.user.clone(), cause: Box::new(cause) })?;
    let connected = Config::new().user(&login.user).connect_raw(LoggedIn::new(server), NoTls).await;
    let (client, connection) = connected.map_err(|cause| OwnerError::Lost { login: login.user.clone(), cause })?;
    tokio::spawn(drive(connection, on_notice));
    Ok(client)
}

/// Runs the connection until its client is dropped. An error is what the client's next call returns.
async fn drive<S>(mut connection: Connection<LoggedIn, S>, mut on_notice: impl FnMut(DbError))
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
        if let AsyncMessage::Notice(notice) = message {
            on_notice(notice);
        }
    }
}
