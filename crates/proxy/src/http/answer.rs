//! Every failure of a request, and the one table from cause to status.
//!
//! The body is the same for all: what Postgres says of an error, as JSON, with the names that Neon's driver reads. That
//! driver reads it from the status 400 alone, so its requests get that for whatever is wrong with SQL or token; others
//! get what HTTP has for it (RFC 6750, section 3; RFC 9110, section 15; RFC 6585, section 4).

use axum::Json;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use identity::{Fault, Rejection};

use super::sql::SqlError;
use crate::error::{Error, Refusal};

/// After how many seconds to come back when there was no room.
const COME_BACK: u64 = 1;

/// How a token is sent.
const SEND_A_TOKEN: &str =
    "Send a signed JWT as \"Authorization: Bearer …\", or as the password in Neon-Connection-String.";

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Whoever asks does not get in, or there is no server to be had.
    #[error(transparent)]
    Refused(#[from] Error),
    /// A rule of ours is broken by what was sent, or by what came of it.
    #[error("{}", .1.message)]
    Request(StatusCode, Box<SqlError>),
    /// The database says so, or the session that worked for the request.
    #[error("{}: {}", .0.code, .0.message)]
    Database(Box<SqlError>),
}

impl Failure {
    /// A request that breaks a rule of ours; SQLSTATE `protocol_violation`.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::request(StatusCode::BAD_REQUEST, "08P01", message)
    }

    /// A header that is not to be understood.
    pub(super) fn header(name: &HeaderName, reason: impl std::fmt::Display) -> Self {
        Self::malformed(format!("header {name}: {reason}"))
    }

    /// A failure with a status of its own.
    pub(super) fn request(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self::Request(status, Box::new(SqlError::new(code, message)))
    }

    /// With advice.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Request(status, error) => {
                Self::Request(status, Box::new(SqlError { hint: Some(hint.into()), ..*error }))
            }
            other => other,
        }
    }

    /// The answer. `neon`: the request is one of Neon's driver. `id` is the number under which the log knows the request.
    pub(super) fn answer(self, neon: bool, auth_detail: bool, id: u64) -> Response {
        let (status, headers, error) = match self {
            Self::Refused(error) => {
                let (status, headers) = refused(&error);
                let told = error.refusal(auth_detail, id).map(|refusal| in_words_of_http(&error, refusal).into());
                (status, headers, told.unwrap_or_else(|| SqlError::new("08006", error.to_string())))
            }
            Self::Request(status, error) => (status, HeaderMap::new(), *error),
            Self::Database(error) => {
                let status = status_of(&error);
                (status, come_back_if(status), *error)
            }
        };
        // What is not about SQL or the token has a meaning to whatever stands between.
        let has_own = matches!(status.as_u16(), 408 | 413 | 415 | 429 | 500..);
        let status = if neon && !has_own { StatusCode::BAD_REQUEST } else { status };
        (status, headers, Json(error)).into_response()
    }
}

impl From<Refusal> for SqlError {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, message, detail, hint } = refusal;
        Self { detail, hint: hint.map(Into::into), ..Self::new(code, message) }
    }
}

/// The same refusal, where it tells a Postgres client what to send.
fn in_words_of_http(error: &Error, refusal: Refusal) -> Refusal {
    let hint = match error {
        Error::NoUser => "Name the role in Pgusher-Role, or as the user in Neon-Connection-String.",
        Error::NameTooLong => SEND_A_TOKEN,
        Error::TlsRequired { available: true } => "Ask by https.",
        Error::TlsRequired { available: false } => {
            "Configure [tls], or [http] trusted_proxies for where TLS ends, which has to say so in X-Forwarded-Proto."
        }
        // Unless advice is not to be given.
        Error::Token(_) if refusal.hint.is_none() => return refusal,
        Error::Token(Rejection::Empty | Rejection::NotAJwt(_)) => SEND_A_TOKEN,
        Error::Token(Rejection::Truncated) => {
            "A terminal cuts typed lines at 4095 characters: let the token come from a variable or a file."
        }
        _ => return refusal,
    };
    let message = if matches!(error, Error::NoUser) { error.to_string().into() } else { refusal.message };
    Refusal { message, hint: Some(hint.into()), ..refusal }
}

/// The status for a refusal of ours, and the headers that go with it.
fn refused(error: &Error) -> (StatusCode, HeaderMap) {
    match error {
        Error::Token(rejection) => token_refused(rejection),
        Error::LoginRefused(error) if error.sqlstate.starts_with("28") => (StatusCode::UNAUTHORIZED, challenge(None)),
        Error::TlsRequired { .. } => (StatusCode::FORBIDDEN, HeaderMap::new()),
        Error::Expired => (StatusCode::UNAUTHORIZED, challenge(Some("invalid_token"))),
        Error::TooFast { retry_after, .. } => (StatusCode::TOO_MANY_REQUESTS, come_back(retry_after.as_secs())),
        Error::TooManyOfIdentity(_) | Error::TooManyRequestsOfIdentity(_) => {
            (StatusCode::TOO_MANY_REQUESTS, come_back(COME_BACK))
        }
        // For whoever sent it there is no room, however few they have sent themselves.
        Error::TooManyRequests(_) | Error::TooManyRequestsOfAnyone(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, come_back(COME_BACK))
        }
        Error::TooManyLogins(_) | Error::TooManyClients(_) => (StatusCode::SERVICE_UNAVAILABLE, come_back(COME_BACK)),
        Error::PoolFull { .. } | Error::Shutdown => (StatusCode::SERVICE_UNAVAILABLE, come_back(COME_BACK)),
        Error::TooManyPassthrough(_) | Error::Upstream(_) | Error::Pool(_) | Error::NoRole(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, come_back(COME_BACK))
        }
        _ => (StatusCode::BAD_REQUEST, HeaderMap::new()),
    }
}

fn token_refused(rejection: &Rejection) -> (StatusCode, HeaderMap) {
    match (rejection, rejection.fault()) {
        // Who has sent none is not told an error code (RFC 6750, section 3).
        (Rejection::Empty, _) => (StatusCode::UNAUTHORIZED, challenge(None)),
        (_, Fault::Token) => (StatusCode::UNAUTHORIZED, challenge(Some("invalid_token"))),
        (_, Fault::Role) => (StatusCode::FORBIDDEN, challenge(Some("insufficient_scope"))),
        (_, Fault::Keys) => (StatusCode::SERVICE_UNAVAILABLE, come_back(COME_BACK)),
    }
}

/// The status for an error that came as a message: one that ends its session is ours, or that of a server that goes.
fn status_of(error: &SqlError) -> StatusCode {
    match (&*error.severity, error.code.get(..2)) {
        ("FATAL" | "PANIC", Some("53" | "57" | "08")) => StatusCode::SERVICE_UNAVAILABLE,
        ("FATAL", Some("28")) => StatusCode::UNAUTHORIZED,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn challenge(error: Option<&str>) -> HeaderMap {
    let text = error.map_or_else(|| "Bearer".to_owned(), |error| format!("Bearer error=\"{error}\""));
    single(header::WWW_AUTHENTICATE, &text)
}

fn come_back_if(status: StatusCode) -> HeaderMap {
    if status == StatusCode::SERVICE_UNAVAILABLE { come_back(COME_BACK) } else { HeaderMap::new() }
}

fn come_back(seconds: u64) -> HeaderMap {
    single(header::RETRY_AFTER, &seconds.to_string())
}

fn single(name: HeaderName, value: &str) -> HeaderMap {
    let value = HeaderValue::from_str(value).expect("words and numbers");
    HeaderMap::from_iter([(name, value)])
}
