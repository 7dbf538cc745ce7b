//! What the headers of a request say: who asks, for which role and database, and in which form the answer is wanted.

use axum::http::HeaderMap;
use axum::http::header::{self, HeaderName};
use wire::startup::Version;

use super::answer::Failure;
use super::connection_string::ConnectionString;
use super::sql::{Isolation, Transaction};
use crate::authenticate::Request;
use crate::config::Http;

const CONNECTION_STRING: HeaderName = HeaderName::from_static("neon-connection-string");
const RAW_TEXT_OUTPUT: HeaderName = HeaderName::from_static("neon-raw-text-output");
const ARRAY_MODE: HeaderName = HeaderName::from_static("neon-array-mode");
/// Sent by older drivers. Every request comes from a pool here.
const POOL_OPT_IN: HeaderName = HeaderName::from_static("neon-pool-opt-in");
const ISOLATION_LEVEL: HeaderName = HeaderName::from_static("neon-batch-isolation-level");
const READ_ONLY: HeaderName = HeaderName::from_static("neon-batch-read-only");
const DEFERRABLE: HeaderName = HeaderName::from_static("neon-batch-deferrable");

/// The role and the database of a request without a connection string.
const ROLE: HeaderName = HeaderName::from_static("pgusher-role");
const DATABASE: HeaderName = HeaderName::from_static("pgusher-database");

/// The media type of streamed answers (<https://github.com/ndjson/ndjson-spec>).
pub(super) const LINES: &str = "application/x-ndjson";

/// Every header that a client may send for us to read.
pub(super) fn headers() -> Vec<HeaderName> {
    let neon = [CONNECTION_STRING, RAW_TEXT_OUTPUT, ARRAY_MODE, POOL_OPT_IN, ISOLATION_LEVEL, READ_ONLY, DEFERRABLE];
    [header::AUTHORIZATION, header::CONTENT_TYPE, header::ACCEPT, ROLE, DATABASE].into_iter().chain(neon).collect()
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    /// Of `Authorization`.
    token: Token,
    /// Of the connection string.
    password: Token,
    pub(super) form: Form,
    /// How a batch is to be run.
    pub(super) transaction: Transaction,
    /// The headers that say so, which are sent back, as Neon does.
    pub(super) echo: HeaderMap,
}

impl Asked {
    /// The token: what was sent as such, or else as a password.
    pub(super) fn take_token(&mut self) -> Option<String> {
        self.token.0.take().or_else(|| self.password.0.take())
    }

    /// The password, as which no token will do.
    pub(super) fn take_password(&mut self) -> Option<String> {
        self.password.0.take()
    }
}

/// What was sent as a token or a password; nothing prints it.
struct Token(Option<String>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// In which form the answer is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    /// Values as Postgres writes them, each a string.
    pub(super) raw_text: bool,
    /// Rows as arrays, where a query does not say otherwise.
    pub(super) array_mode: bool,
    /// Line by line, as rows come.
    pub(super) lines: bool,
}

/// Whether a request is one of Neon's driver, which reads errors from the status 400 alone.
pub(super) fn is_neon(headers: &HeaderMap) -> bool {
    headers.contains_key(CONNECTION_STRING)
}

/// Reads the headers of a request.
///
/// # Errors
/// For what is not to be understood, and for what nobody may ask for.
pub(super) fn read(headers: &HeaderMap, config: &Http) -> Result<Asked, Failure> {
    let connection = match text(headers, &CONNECTION_STRING)? {
        Some(text) => {
            let parsed = ConnectionString::parse(text);
            Some(parsed.map_err(|malformed| Failure::header(&CONNECTION_STRING, malformed.to_string()))?)
        }
        None => None,
    };
    let (user, password, database, parameters) = match connection {
        Some(ConnectionString { user, password, database, parameters }) => (user, password, database, parameters),
        None => {
            let named = |name| Ok::<_, Failure>(text(headers, name)?.map(str::to_owned));
            (named(&ROLE)?, None, named(&DATABASE)?, Vec::new())
        }
    };
    let role = user.or_else(|| config.default_role.clone());
    let database = database.or_else(|| config.default_database.clone());
    // JSON is Unicode, so that is what the session speaks.
    let parameters = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let parameters = parameters.chain([("client_encoding", "UTF8")]);
    Ok(Asked {
        request: Request::new(Version::V3_0, role.as_deref(), database.as_deref(), parameters)?,
        token: Token(bearer(headers)?),
        password: Token(password),
        form: form(headers)?,
        transaction: transaction(headers)?,
        echo: echo(headers),
    })
}

/// The token of `Authorization: Bearer` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(text) = text(headers, &header::AUTHORIZATION)? else { return Ok(None) };
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(Failure::header(&header::AUTHORIZATION, "the scheme Bearer is expected"));
    }
    Ok(Some(token.trim().to_owned()))
}

fn form(headers: &HeaderMap) -> Result<Form, Failure> {
    let lines = headers.get_all(header::ACCEPT).iter().any(|accept| accept.as_bytes().starts_with(LINES.as_bytes()));
    Ok(Form { raw_text: flag(headers, &RAW_TEXT_OUTPUT)?, array_mode: flag(headers, &ARRAY_MODE)?, lines })
}

fn transaction(headers: &HeaderMap) -> Result<Transaction, Failure> {
    let isolation = match text(headers, &ISOLATION_LEVEL)? {
        None => None,
        Some(name) => Some(Isolation::of(name).ok_or_else(|| {
            let expected = "ReadUncommitted, ReadCommitted, RepeatableRead or Serializable is expected";
            Failure::header(&ISOLATION_LEVEL, expected)
        })?),
    };
    let (read_only, deferrable) = (flag(headers, &READ_ONLY)?, flag(headers, &DEFERRABLE)?);
    Ok(Transaction { isolation, read_only, deferrable })
}

fn echo(headers: &HeaderMap) -> HeaderMap {
    let pair = |name| headers.get(&name).map(|value| (name, value.clone()));
    [ISOLATION_LEVEL, READ_ONLY, DEFERRABLE].into_iter().filter_map(pair).collect()
}

/// As with Neon, only the very word `true` is a yes.
fn flag(headers: &HeaderMap, name: &HeaderName) -> Result<bool, Failure> {
    Ok(text(headers, name)? == Some("true"))
}

/// The value of a header that comes once, if at all: of two, a proxy in front may have looked at the other.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Failure> {
    let mut values = headers.get_all(name).iter();
    let (value, more) = (values.next(), values.next());
    if more.is_some() {
        return Err(Failure::header(name, "it comes more than once"));
    }
    let text = value.map(|value| std::str::from_utf8(value.as_bytes())).transpose();
    text.map_err(|_| Failure::header(name, "it is not UTF-8"))
}
