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
