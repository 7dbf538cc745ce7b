//! An issuer's keys as they come, change and go, and what logins notice of it.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router};
use jsonwebtoken::{Algorithm, Header};
use pgusher::demo::issuer::Issuer;
use pgusher::demo::keys::SigningKey;
use pgusher_tests::{Proxy, ProxyBuilder, Stage, Token, wait};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The `iss` of tokens whose keys a [`KeyServer`] or a file has.
const ISSUER: &str = "https://issuer.example/";

/// How many loads of keys a test may cause: one at the start, and one in each half a minute of a slow machine.
const FEW: usize = 4;

/// A server of one key set that counts requests, and can be held up and out of order.
struct KeyServer {
    url: String,
    state: Arc<Published>,
}

struct Published {
    /// The document; none: out of order.
    document: Mutex<Option<Value>>,
    requests: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

impl KeyServer {
    async fn start(keys: &[&SigningKey]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/jwks", listener.local_addr().expect("an address"));
        let published = Published {
            document: Mutex::new(Some(document(keys))),
            requests: watch::Sender::new(0),
            open: watch::Sender::new(true),
        };
        let state = Arc::new(published);
        let router = Router::new().fallback(answer).with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, state }
    }

    fn publish(&self, document: Option<Value>) {
        *self.state.document.lock().unwrap_or_else(PoisonError::into_inner) = document;
    }

    async fn requested(&self, times: usize) {
        let mut requests = self.state.requests.subscribe();
        wait::within("requests", requests.wait_for(|count| *count >= times)).await.expect("a server");
    }

    fn requests(&self) -> usize {
        *self.state.requests.borrow()
    }
}

async fn answer(State(published): State<Arc<Published>>) -> Result<Json<Value>, StatusCode> {
    published.requests.send_modify(|count| *count += 1);
    let mut open = published.open.subscribe();
    let _ = open.wait_for(|open| *open).await;
    let document = published.document.lock().unwrap_or_else(PoisonError::into_inner).clone();
    document.map(Json).ok_or(StatusCode::SERVICE_UNAVAILABLE)
}

fn document(keys: &[&SigningKey]) -> Value {
    json!({ "keys": keys.iter().map(|key| json!(key.public())).collect::<Vec<_>>() })
}

fn new_key() -> SigningKey {
    SigningKey::generate(Algorithm::ES256).expect("a key")
}

/// A proxy for tokens of [`ISSUER`] with keys from this server.
fn proxy_of<'a>(stage: &'a Stage, server: &KeyServer) -> ProxyBuilder<'a> {
    Proxy::builder(stage).set("provider.0.issuer", ISSUER).set("provider.0.jwks_url", &server.url)
}

fn token<'a>(stage: &'a Stage, subject: &str, key: &'a SigningKey) -> Token<'a> {
    stage.token(subject).issued_by(ISSUER, key)
}

/// What an unsuccessful login is told.
async fn told(proxy: &Proxy, token: &impl Display) -> String {
    proxy.refused(token).await.detail().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_new_key_works_at_once_and_a_withdrawn_one_no_longer() {
    let stage = Stage::get();
    let (old, new) = (new_key(), new_key());
    let server = KeyServer::start(&[&old]).await;
    let proxy = proxy_of(stage, &server).start().await;
    let (before, after) = (token(stage, "alice", &old).to_string(), token(stage, "alice", &new));
    let session = proxy.connect(&before).await;

    server.publish(Some(document(&[&new])));

    proxy.connect(&after).await;
    assert!(told(&proxy, &before).await.starts_with("provider issuer: no key with id"));
    assert!((2..=FEW).contains(&server.requests()), "{}", server.requests());
    session.query_one("SELECT auth.user_id()", &[]).await.expect("who is in stays in");
}

#[tokio::test]
async fn at_sighup_keys_are_loaded_at_once_and_it_is_told_if_there_are_none() {
    let stage = Stage::get();
    let key = new_key();
    let server = KeyServer::start(&[&key]).await;
    let proxy = proxy_of(stage, &server).start().await;
    let alice = proxy.config(&token(stage, "alice", &key));
    let session = proxy.connect(&token(stage, "alice", &key)).await;

    server.publish(Some(document(&[])));
    proxy.signal("HUP").await;

    proxy.logs("the issuer has no usable key").await;
    wait::until("the end of a key", async || alice.connect(tokio_postgres::NoTls).await.is_err().then_some(())).await;
    session.query_one("SELECT auth.user_id()", &[]).await.expect("who is in stays in");
}

#[tokio::test]
async fn a_flood_of_unknown_keys_costs_the_issuer_next_to_nothing() {
    let stage = Stage::get();
    let key = new_key();
    let server = KeyServer::start(&[&key]).await;
    let proxy = Arc::new(proxy_of(stage, &server).start().await);
    let attempt = async |proxy: &Proxy, attempt: usize| {
        let header = Header { kid: Some(format!("k{attempt}")), ..stage.keys[0].header() };
        told(proxy, &stage.token("mallory").claim("iss", ISSUER).signed_as(&stage.keys[0], header)).await
    };
    let mut flood = JoinSet::new();
    for number in 0..50 {
        let proxy = proxy.clone();
        flood.spawn(async move { attempt(&proxy, number).await });
    }

    for subject in ["alice", "bob", "carol"] {
        proxy.connect(&token(stage, subject, &key)).await;
    }

    let mut answers = flood.join_all().await;
    for number in 50..60 {
        answers.push(attempt(&proxy, number).await);
    }
    assert!(answers.iter().all(|answer| answer.starts_with("provider issuer: no key with id \"k")), "{answers:?}");
    assert!((2..=FEW).contains(&server.requests()), "{}", server.requests());
}

#[tokio::test]
async fn who_has_a_known_key_does_not_wait_for_an_issuer_that_hangs() {
    let stage = Stage::get();
    let (key, unknown) = (new_key(), new_key());
    let server = KeyServer::start(&[&key]).await;
    let proxy = Arc::new(proxy_of(stage, &server).start().await);
    server.state.open.send_replace(false);
    let waiting = proxy.clone();
    let waiting = tokio::spawn(async move { told(&waiting, &token(stage, "mallory", &unknown)).await });
    server.requested(2).await;

    proxy.connect(&token(stage, "alice", &key)).await;

    server.state.open.send_replace(true);
    assert!(waiting.await.expect("an answer").starts_with("provider issuer: no key with id"));
}

#[tokio::test]
async fn an_outage_of_the_issuer_is_noticed_by_those_with_new_keys_only_and_ends_by_itself() {
    let stage = Stage::get();
    let (old, new) = (new_key(), new_key());
    let server = KeyServer::start(&[&old]).await;
    let proxy = proxy_of(stage, &server).start().await;

    server.publish(None);
    assert!(told(&proxy, &token(stage, "bob", &new)).await.starts_with("provider issuer: no key with id"));
    proxy.logs("keys not renewed").await;
    proxy.connect(&token(stage, "alice", &old)).await;

    server.publish(Some(document(&[&old, &new])));
    let bob = proxy.config(&token(stage, "bob", &new));
    wait::until("the new key", async || bob.connect(tokio_postgres::NoTls).await.is_ok().then_some(())).await;
}

#[tokio::test]
async fn a_bad_key_is_told_and_the_rest_of_the_set_is_used() {
    let stage = Stage::get();
    let key = new_key();
    let server = KeyServer::start(&[&key]).await;
    let mut keys = document(&[&key]);
    let bad = [json!({"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}), json!("nonsense")];
    keys["keys"].as_array_mut().expect("a set").extend(bad);
    server.publish(Some(keys));

    let proxy = proxy_of(stage, &server).start().await;

    proxy.connect(&token(stage, "alice", &key)).await;
    proxy.logs("key 2: a symmetric key in a published set").await;
    proxy.logs("key 3: not a JWK").await;
}

#[tokio::test]
async fn keys_may_come_from_a_file_which_is_read_again() {
    let stage = Stage::get();
    let (old, new) = (new_key(), new_key());
    let file = stage.files().join("rotated.jwks");
    std::fs::write(&file, document(&[&old]).to_string()).expect("a file");
    let builder = Proxy::builder(stage).set("provider.0.issuer", ISSUER);
    let proxy = builder.set("provider.0.jwks_file", file.display()).start().await;
    proxy.connect(&token(stage, "alice", &old)).await;

    std::fs::write(&file, document(&[&new]).to_string()).expect("a file");

    proxy.connect(&token(stage, "alice", &new)).await;
    assert!(told(&proxy, &token(stage, "alice", &old)).await.starts_with("provider issuer: no key with id"));
}

#[tokio::test]
async fn without_keys_the_proxy_does_not_start() {
    let stage = Stage::get();
    let server = KeyServer::start(&[]).await;
    server.publish(None);
    let mut proxy = proxy_of(stage, &server).spawn().await;
    assert_eq!(proxy.exit_code().await, Some(69));
    proxy.logs(&format!("error: provider issuer: {}: the answer has status 503", server.url)).await;
}

#[tokio::test]
async fn discovery_believes_the_configured_issuer_only() {
    let stage = Stage::get();
    let issuer = Issuer::start(0, Vec::new()).await.expect("an issuer");
    for other in [issuer.url().replace("127.0.0.1", "localhost"), format!("{}/", issuer.url())] {
        let mut proxy = Proxy::builder(stage).set("provider.0.issuer", &other).spawn().await;
        assert_eq!(proxy.exit_code().await, Some(69));
        let words = format!("the discovered issuer is {:?}, and the configured one {other:?}", issuer.url());
        assert!(proxy.logs(&words).await.starts_with("error: provider issuer: http://"));
    }
}
