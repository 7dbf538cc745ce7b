//! A development issuer: an HTTP server on a loopback port with an OpenID discovery document and a JSON Web Key Set. Who
//! holds its key signs; given a key to sign with, it is an OpenID provider, whose login asks for a name and nothing else.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::State;
use axum::http::{HeaderValue, Method, header, request};
use axum::routing::get;
use axum::{Json, Router};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower_http::cors::{AllowOrigin, CorsLayer};
use url::Url;

use super::token::Minter;

mod authorization;
mod codes;
mod login;
mod page;
mod parameters;

use login::Login;

/// The `client_id` of the one application that logs people in here. It is public: it has no secret.
pub const CLIENT: &str = "todos";

/// A running issuer. It stops when dropped.
#[derive(Debug)]
pub struct Issuer {
    documents: Arc<Documents>,
    _stop: DropGuard,
}

/// What it serves.
#[derive(Debug)]
struct Documents {
    discovery: Value,
    url: String,
    keys: RwLock<JwkSet>,
}

impl Issuer {
    /// Starts on `port` of 127.0.0.1 (0: any free one) and publishes `keys`.
    pub async fn start(port: u16, keys: Vec<Jwk>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let url = url(listener.local_addr()?);
        let documents = Arc::new(Documents { discovery: discovery(&url), url, keys: RwLock::new(JwkSet { keys }) });
        Ok(Self::serve(listener, documents.clone(), published(documents)))
    }

    /// The same with a login: it publishes the minter's key, and signs with it for whoever a browser says it is.
    pub async fn with_login(port: u16, minter: Minter) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let url = url(listener.local_addr()?);
        let mut discovery = discovery(&url);
        login::describe(&url, &mut discovery);
        let keys = RwLock::new(JwkSet { keys: vec![minter.key().public().clone()] });
        let login = login::routes(Login::new(&url, minter), pages_of_this_machine());
        let documents = Arc::new(Documents { discovery, url, keys });
        Ok(Self::serve(listener, documents.clone(), published(documents).merge(login)))
    }

    fn serve(listener: TcpListener, documents: Arc<Documents>, routes: Router) -> Self {
        let stop = CancellationToken::new();
        let server = axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::spawn(server.into_future());
        Self { documents, _stop: stop.drop_guard() }
    }

    /// Its identifier, the `iss` of its tokens, to the letter: `http://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.documents.url
    }

    /// Where its keys are.
    pub fn jwks_url(&self) -> String {
        jwks_url(self.url())
    }

    /// Publishes these keys from now on, in place of those before.
    pub fn publish(&self, keys: Vec<Jwk>) {
        let published = self.documents.keys.write();
        *published.unwrap_or_else(PoisonError::into_inner) = JwkSet { keys };
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn jwks_url(issuer: &str) -> String {
    format!("{issuer}/.well-known/jwks.json")
}

fn discovery(issuer: &str) -> Value {
    json!({"issuer": issuer, "jwks_uri": jwks_url(issuer)})
}

fn published(documents: Arc<Documents>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(tell_discovery))
        .route("/.well-known/jwks.json", get(tell_keys))
        .layer(pages_of_this_machine())
        .with_state(documents)
}

/// Pages that this machine serves to itself may ask; nobody else's may.
fn pages_of_this_machine() -> CorsLayer {
    let ours = |origin: &HeaderValue, _: &request::Parts| {
        origin.to_str().ok().and_then(|text| Url::parse(text).ok()).is_some_and(|url| is_of_this_machine(&url))
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(ours))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE])
}

/// Whether a URL is one of a server on this machine, by HTTP.
fn is_of_this_machine(url: &Url) -> bool {
    let here = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    here && matches!(url.scheme(), "http" | "https")
}

async fn tell_discovery(State(documents): State<Arc<Documents>>) -> Json<Value> {
    Json(documents.discovery.clone())
}

async fn tell_keys(State(documents): State<Arc<Documents>>) -> Json<JwkSet> {
    let published = documents.keys.read();
    Json(published.unwrap_or_else(PoisonError::into_inner).clone())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::demo::keys::SigningKey;

    /// The head and the body of an answer to a page of `origin`.
    async fn ask(issuer: &Issuer, path: &str, origin: &str) -> (String, Value) {
        let host = issuer.url().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), serde_json::from_str(body).unwrap())
    }

    async fn fetch(issuer: &Issuer, path: &str) -> Value {
        ask(issuer, path, "http://localhost:3000").await.1
    }

    fn key() -> Jwk {
        SigningKey::generate(jsonwebtoken::Algorithm::EdDSA).unwrap().public().clone()
    }

    #[tokio::test]
    async fn discovery_names_the_issuer_to_the_letter_and_its_keys() {
        let issuer = Issuer::start(0, Vec::new()).await.unwrap();
        let document = fetch(&issuer, "/.well-known/openid-configuration").await;
        assert_eq!(document, json!({"issuer": issuer.url(), "jwks_uri": issuer.jwks_url()}));
    }

    #[tokio::test]
    async fn published_keys_replace_those_before() {
        let (old, new) = (key(), key());
        let issuer = Issuer::start(0, vec![old.clone()]).await.unwrap();
        assert_eq!(fetch(&issuer, "/.well-known/jwks.json").await, json!({"keys": [old]}));

        issuer.publish(vec![new.clone()]);

        assert_eq!(fetch(&issuer, "/.well-known/jwks.json").await, json!({"keys": [new]}));
    }

    #[tokio::test]
    async fn pages_of_this_machine_may_ask_and_no_others() {
        let issuer = Issuer::start(0, Vec::new()).await.unwrap();
        for (origin, allowed) in [
            ("http://127.0.0.1:3000", true),
            ("http://localhost:3000", true),
            ("http://[::1]:3000", true),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("https://example.com", false),
            ("null", false),
        ] {
            let (head, _) = ask(&issuer, "/.well-known/jwks.json", origin).await;
            assert_eq!(head.contains(&format!("access-control-allow-origin: {origin}")), allowed, "{head}");
            assert_eq!(head.contains("access-control-allow-origin"), allowed, "{head}");
        }
    }
}
