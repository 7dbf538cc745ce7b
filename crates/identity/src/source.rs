//! Where a provider's keys come from, and how one load of them goes.

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, StatusCode, Url, redirect};
use serde::Deserialize;

use crate::key::KeySet;
use crate::rejection::shown;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For a whole load, discovery included.
const LOAD_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_DOCUMENT: usize = 1024 * 1024;
const MAX_REDIRECTS: usize = 3;

/// Where keys are loaded from, again and again.
pub(crate) enum Source {
    Jwks { http: Client, url: Url },
    Discovery { http: Client, issuer: String, url: Url },
    File(PathBuf),
}

/// Why a load failed. `Display` is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The issuer did not answer, or not as HTTP.
    #[error("the request failed: {0}")]
    Request(String),
    /// The issuer answered with something else than 200.
    #[error("the answer has status {0}")]
    Status(u16),
    /// Longer than 1 MiB.
    #[error("the document is longer than 1 MiB")]
    TooLarge,
    /// Not done within five seconds.
    #[error("no complete answer within 5 s")]
    TimedOut,
    /// The file cannot be read.
    #[error("cannot read the key file: {0}")]
    File(#[from] std::io::Error),
    /// The document is no JWKS, or one beyond our limits.
    #[error("{0}")]
    Keys(&'static str),
    /// The discovery document is not what it must be.
    #[error("{0}")]
    Discovery(&'static str),
    /// The discovery document is another issuer's.
    #[error("the discovered issuer is {found:?}, and the configured one {configured:?}")]
    OtherIssuer {
        /// What the document says.
        found: String,
        /// What the configuration says.
        configured: String,
    },
    /// One of these, and where.
    #[error("{place}: {fault}")]
    At {
        /// A URL without what may be secret in it, or a file.
        place: String,
        /// What is wrong there.
        fault: Box<Self>,
    },
}

impl LoadError {
    /// What is wrong, wherever it is.
    #[must_use]
    pub fn fault(&self) -> &Self {
        if let Self::At { fault, .. } = self { fault } else { self }
    }

    /// The same, with its place, if it has none yet.
    fn at(self, place: String) -> Self {
        match self {
            Self::At { .. } => self,
            fault => Self::At { place, fault: Box::new(fault) },
        }
    }
}

impl From<reqwest::Error> for LoadError {
    /// Keeps the causes, which say more than the error itself, and drops the URL, which may hold
    /// credentials.
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::Request(text)
    }
}

impl Source {
    /// Loads the keys once.
    pub(crate) async fn load(&self) -> Result<KeySet, LoadError> {
        self.fetch().await?.keys()
    }

    /// The JWKS document.
    pub(crate) async fn fetch(&self) -> Result<Fetched, LoadError> {
        let place = match self {
            Self::Jwks { url, .. } | Self::Discovery { url, .. } => shown_url(url),
            Self::File(path) => path.display().to_string(),
        };
        within_time(self.document()).await.map_err(|error| error.at(place))
    }

    /// The same, in whatever time it takes.
    async fn document(&self) -> Result<Fetched, LoadError> {
        match self {
            Self::Jwks { http, url } => get(http, url).await,
            Self::Discovery { http, issuer, url } => {
                let configuration = get(http, url).await?;
                get(http, &discovered(&configuration.document, issuer, url)?).await
            }
            Self::File(path) => {
                let (place, path) = (path.display().to_string(), path.clone());
                let read = tokio::task::spawn_blocking(move || read(&path));
                let document = read.await.map_err(|_| LoadError::Keys("the read was cancelled"))??;
                Ok(Fetched { document, date: None, place })
            }
        }
    }
}

/// A document, when its server says that it sent it, and where it is.
pub(crate) struct Fetched {
    pub(crate) document: Vec<u8>,
    pub(crate) date: Option<String>,
    place: String,
}

impl Fetched {
    /// The keys in it.
    pub(crate) fn keys(self) -> Result<KeySet, LoadError> {
        KeySet::from_jwks(&self.document).map_err(|fault| LoadError::Keys(fault).at(self.place))
    }
}

/// What is needed of an OpenID configuration.
#[derive(Deserialize)]
pub(crate) struct Configuration {
    pub(crate) issuer: String,
    pub(crate) jwks_uri: String,
}

/// A load, but not for longer than one may take.
pub(crate) async fn within_time<T>(load: impl Future<Output = Result<T, LoadError>>) -> Result<T, LoadError> {
    tokio::time::timeout(LOAD_TIMEOUT, load).await.unwrap_or(Err(LoadError::TimedOut))
}

/// A client for the documents at `url`, which is known to be [`acceptable`].
///
/// # Errors
/// When `extra_roots` hold no certificates, or the system has none.
pub(crate) fn client(url: &Url, extra_roots: Vec<reqwest::Certificate>) -> reqwest::Result<Client> {
    let builder = Client::builder()
        .user_agent(concat!("pgusher/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(redirect::Policy::custom(within_origin));
    if url.scheme() == "http" {
        // Loopback: keys in clear must not travel to a proxy, and no root certificate is needed.
        return builder.no_proxy().tls_certs_only([]).build();
    }
    builder.tls_certs_merge(extra_roots).https_only(true).build()
}

/// HTTPS, or HTTP to this machine.
pub(crate) fn acceptable(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.has_host(),
        "http" => url.host_str().is_some_and(is_loopback),
        _ => false,
    }
}

/// Where OIDC Discovery 1.0 §4 puts an issuer's configuration.
pub(crate) fn discovery_url(issuer: &str) -> Option<Url> {
    let base = issuer.trim_end_matches('/');
    Url::parse(&format!("{base}/.well-known/openid-configuration")).ok()
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// Follows a redirect only to where the first request went: an issuer must not be able to point us
/// at machines that only we can reach.
fn within_origin(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let first = attempt.previous().first().map(Url::origin);
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("too many redirects")
    } else if first == Some(attempt.url().origin()) {
        attempt.follow()
    } else {
        attempt.error("a redirect to another host")
    }
}

/// A URL for logs. There may be credentials in front of the host or behind the path.
fn shown_url(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Only a URL without a host has no place for these.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url.to_string()
}

/// A document by HTTP.
pub(crate) async fn get(http: &Client, url: &Url) -> Result<Fetched, LoadError> {
    let (document, date) = read_answer(http, url).await.map_err(|error| error.at(shown_url(url)))?;
    Ok(Fetched { document, date, place: shown_url(url) })
}

/// Reads piece by piece, so that an endless answer costs no more than the limit.
async fn read_answer(http: &Client, url: &Url) -> Result<(Vec<u8>, Option<String>), LoadError> {
    let request = http.get(url.clone()).header("accept", "application/json");
    let mut response = request.send().await?;
    if response.status() != StatusCode::OK {
        return Err(LoadError::Status(response.status().as_u16()));
    }
    let date = response.headers().get("date").and_then(|date| date.to_str().ok()).map(str::to_owned);
    let mut document = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if document.len() + piece.len() > MAX_DOCUMENT {
            return Err(LoadError::TooLarge);
        }
        document.extend_from_slice(&piece);
    }
    Ok((document, date))
}

/// The `jwks_uri` of a discovery document, if the document is this issuer's own.
fn discovered(document: &[u8], issuer: &str, from: &Url) -> Result<Url, LoadError> {
    let Ok(found) = serde_json::from_slice::<Configuration>(document) else {
        return Err(LoadError::Discovery("not an OpenID configuration with issuer and jwks_uri"));
    };
    if found.issuer != issuer {
        return Err(LoadError::OtherIssuer { found: shown(&found.issuer), configured: issuer.to_owned() });
    }
    // An issuer on HTTPS must not send us to plain HTTP on our own machine.
    let safe = |url: &Url| acceptable(url) && (url.scheme() == "https" || from.scheme() == "http");
    let url = Url::parse(&found.jwks_uri).ok().filter(safe);
    url.ok_or(LoadError::Discovery("the discovered jwks_uri is not https"))
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let mut document = Vec::new();
    File::open(path)?.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut document)?;
    if document.len() > MAX_DOCUMENT {
        return Err(LoadError::TooLarge);
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for good in ["https://a.example/k", "http://localhost:1/k", "http://127.8.8.8/k", "http://[::1]:1/k"] {
            assert!(acceptable(&url(good)), "{good}");
        }
        for bad in [
            "http://a.example/k",
            "http://10.0.0.1/k",
            "http://localhost.a.example/k",
            "file:///k",
            "ftp://localhost/k",
        ] {
            assert!(!acceptable(&url(bad)), "{bad}");
        }
    }

    #[test]
    fn discovery_is_below_the_issuer_with_or_without_its_slash() {
        for (issuer, expected) in [
            ("https://a.example/", "https://a.example/.well-known/openid-configuration"),
            ("https://a.example/t1", "https://a.example/t1/.well-known/openid-configuration"),
        ] {
            assert_eq!(discovery_url(issuer), Some(url(expected)));
        }
        assert_eq!(discovery_url("not a url"), None);
    }

    #[test]
    fn a_configuration_speaks_for_its_own_issuer_only() {
        let from = url("https://a.example/.well-known/openid-configuration");
        let document = br#"{"issuer":"https://a.example","jwks_uri":"https://keys.example/k"}"#;

        let found = discovered(document, "https://a.example", &from);

        assert_eq!(found.unwrap(), url("https://keys.example/k"));
        for other in ["https://a.example/", "https://A.example", "https://b.example"] {
            assert!(matches!(discovered(document, other, &from), Err(LoadError::OtherIssuer { .. })));
        }
    }

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        for text in ["https://a.example:8443/k?token=s", "https://u:p@a.example:8443/k", "https://a.example:8443/k#s"] {
            assert_eq!(shown_url(&url(text)), "https://a.example:8443/k");
        }
        assert_eq!(shown_url(&url("http://[::1]:1/k")), "http://[::1]:1/k");
    }

    #[test]
    fn a_configuration_cannot_send_us_from_https_to_our_own_machine() {
        let document = br#"{"issuer":"i","jwks_uri":"http://127.0.0.1/k"}"#;

        assert!(discovered(document, "i", &url("https://a.example/")).is_err());
        assert!(discovered(document, "i", &url("http://localhost/")).is_ok());
    }
}
