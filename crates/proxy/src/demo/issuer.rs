//! A development issuer: an HTTP server on a loopback port with an OpenID discovery document and a JSON Web Key Set. It
//! has no login and no token endpoint; who holds its key signs.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running issuer. It stops when dropped.
#[derive(Debug)]
pub struct Issuer {
    documents: Arc<Documents>,
    _stop: DropGuard,
}

/// What it serves.
#[derive(Debug)]
struct Documents {
    url: String,
    keys: RwLock<JwkSet>,
}

impl Issuer {
    /// Starts on `port` of 127.0.0.1 (0: any free one) and publishes `keys`.
    pub async fn start(port: u16, keys: Vec<Jwk>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let documents = Arc::new(Documents { url: url(listener.local_addr()?), keys: RwLock::new(JwkSet { keys }) });
        let stop = CancellationToken::new();
        let server =
            axum::serve(listener, router(documents.clone())).with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::spawn(server.into_future());
        Ok(Self { documents, _stop: stop.drop_guard() })
    }

    /// Its identifier, the `iss` of its tokens, to the letter: `http://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.documents.url
    }

    /// Where its keys are.
    pub fn jwks_url(&self) -> String {
        self.documents.jwks_url()
    }

    /// Publishes these keys from now on, in place of those before.
    pub fn publish(&self, keys: Vec<Jwk>) {
        let published = self.documents.keys.write();
        *published.unwrap_or_else(PoisonError::into_inner) = JwkSet { keys };
    }
}

impl Documents {
    fn jwks_url(&self) -> String {
        format!("{}/.well-known/jwks.json", self.url)
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn router(documents: Arc<Documents>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/.well-known/jwks.json", get(keys))
        .with_state(documents)
}

async fn discovery(State(documents): State<Arc<Documents>>) -> Json<Value> {
    Json(json!({"issuer": documents.url, "jwks_uri": documents.jwks_url()}))
}

async fn keys(State(documents): State<Arc<Documents>>) -> Json<JwkSet> {
    let published = documents.keys.read();
    Json(published.unwrap_or_else(PoisonError::into_inner).clone())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::demo::keys::SigningKey;

    async fn fetch(issuer: &Issuer, path: &str) -> Value {
        let host = issuer.url().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        let (_, body) = response.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
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
}
