//! From a startup message to an identity: what is asked for, is it to be had here, and who asks.

use bytes::Bytes;
use identity::{Identity, MAX_TOKEN};
use tokio::io::AsyncWriteExt;
use upstream::{ParameterError, Parameters};
use wire::frame::{ReadError, frontend, read_frame};
use wire::message;
use wire::startup::{Startup, Version};
use wire::stream::Stream;

use crate::error::Error;
use crate::proxy::Proxy;

/// The longest name of a role or a database (Postgres's `NAMEDATALEN`, less its terminator).
pub(crate) const LONGEST_NAME: usize = 63;

/// The names that protocol options begin with.
const PROTOCOL_OPTION: &str = "_pq_.";

/// What a client asks for, allowed as far as that can be said without knowing who it is.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The version that is spoken from here on.
    pub(crate) version: Version,
    /// Its `user`: the role asked for.
    pub(crate) role: String,
    /// The database asked for.
    pub(crate) database: String,
    /// The settings asked for.
    pub(crate) parameters: Parameters,
}

impl Request {
    /// What is asked for by these names; without a database it is the one that has the role's name, as in libpq.
    ///
    /// # Errors
    /// [`Error`] for what cannot be had here by anyone.
    pub(crate) fn new<'a>(
        version: Version,
        role: Option<&str>,
        database: Option<&str>,
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Error> {
        let parameters = Parameters::parse(parameters).map_err(|error| match error {
            ParameterError::Replication => Error::Replication,
            error => Error::Parameter(error),
        })?;
        let role = role.filter(|role| !role.is_empty()).ok_or(Error::NoUser)?;
        let database = database.filter(|name| !name.is_empty()).unwrap_or(role);
        if role.len().max(database.len()) > LONGEST_NAME {
            return Err(Error::NameTooLong);
        }
        Ok(Self { version, role: role.to_owned(), database: database.to_owned(), parameters })
    }
}

/// Reads what the client asks for, and tells it which parts of a newer protocol we do not speak.
///
/// # Errors
/// [`Error`] for what cannot be had here by anyone.
pub(crate) async fn requested(client: &mut Stream, startup: &Startup) -> Result<Request, Error> {
    if startup.version.major != Version::V3_0.major {
        return Err(Error::Version(startup.version));
    }
    let version = negotiate(client, startup).await?;
    let parameters = startup.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Request::new(version, startup.get("user"), startup.get("database"), parameters)
}

/// Answers with NegotiateProtocolVersion where the client asks for more than 3.2, or for options of the protocol.
async fn negotiate(client: &mut Stream, startup: &Startup) -> Result<Version, Error> {
    let newest = Version::V3_2;
    let names = startup.parameters.iter().map(|(name, _)| name.as_str());
    let unknown: Vec<_> = names.filter(|name| name.starts_with(PROTOCOL_OPTION)).collect();
    if startup.version > newest || !unknown.is_empty() {
        let mut out = Vec::new();
        message::negotiate_protocol_version(&mut out, newest.min(startup.version), &unknown);
        client.write_all(&out).await.map_err(Error::ClientGone)?;
    }
    Ok(newest.min(startup.version))
}

/// Finds out who asks, whichever way the token comes. The anonymous role is anyone's; for any other there has to be a token
/// that grants it. `private`: nobody can listen in. The `token` is not asked for where there is no use for it.
///
/// # Errors
/// [`Error`] if this client does not get in.
pub(crate) async fn authenticate(
    private: bool,
    request: &Request,
    proxy: &Proxy,
    token: impl Future<Output = Result<String, Error>>,
) -> Result<Identity, Error> {
    if !private {
        return Err(Error::TlsRequired { available: proxy.tls.is_some() });
    }
    let identity = if proxy.is_anonymous(&request.role) {
        Identity::anonymous(&*request.role)
    } else {
        let token = token.await?;
        proxy.verifier.verify(&token, &request.role).await.map_err(Error::Token)?
    };
    // Only now: which databases there are is not for strangers.
    if proxy.upstream.databases.allows(&request.database) {
        Ok(identity)
    } else {
        Err(Error::Database(request.database.clone()))
    }
}

/// Asks a Postgres client for its token, as for a password in clear.
///
/// # Errors
/// [`Error`] for whatever is no password.
pub(crate) async fn ask_for_token(client: &mut Stream) -> Result<String, Error> {
    let mut out = Vec::new();
    message::ask_for_password(&mut out);
    match ask(client, &out).await?.split_last() {
        Some((0, token)) if !token.contains(&0) => String::from_utf8(token.to_vec()).map_err(|_| Error::PasswordLayout),
        _ => Err(Error::PasswordLayout),
    }
}

/// Sends an authentication request, and waits for the body of the answer to it: one frame, and not a byte of what may be
/// behind it.
///
/// # Errors
/// [`Error`] for another message, and for one that is longer than a token.
pub(crate) async fn ask(client: &mut Stream, request: &[u8]) -> Result<Bytes, Error> {
    client.write_all(request).await.map_err(Error::ClientGone)?;
    client.flush().await.map_err(Error::ClientGone)?;
    let frame = read_frame(client, MAX_TOKEN as u32 + 1).await.map_err(|error| match error {
        ReadError::Io(error) => Error::ClientGone(error),
        ReadError::Length(bad) => Error::ClientBroke(bad.into()),
        ReadError::TooLarge { tag: frontend::PASSWORD, size } => Error::PasswordTooLong(size),
        ReadError::TooLarge { tag, .. } => Error::NoPassword(tag),
    })?;
    if frame.tag == frontend::PASSWORD { Ok(frame.body) } else { Err(Error::NoPassword(frame.tag)) }
}
