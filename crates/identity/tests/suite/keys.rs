//! How keys come, change and go, as an issuer publishes them over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use pgusher_identity::{Algorithm, Fault, KeySource, LoadError, ProviderConfig, Rejection, Renewed, Verifier};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::support::{Answer, ISSUER, Issuer, ROLE, Signer, encode, now, provider, refusal, verifier};

fn signer(kid: &'static str) -> Signer {
    Signer::new(kid, Algorithm::ES256)
}

/// A verifier, and what its renewal reports.
fn observed(config: ProviderConfig) -> (Arc<Verifier>, mpsc::UnboundedReceiver<Renewed>) {
    let (verifier, renewal) = Verifier::new(&[config]).unwrap();
    let (report, reports) = mpsc::unbounded_channel();
    tokio::spawn(renewal.run(move |renewed| drop(report.send(renewed))));
    (Arc::new(verifier), reports)
}

/// Why the first load of this provider's keys fails.
async fn fault(config: ProviderConfig) -> Arc<LoadError> {
    let unready = verifier(&[config]).ready().await;
    unready.into_iter().next().expect("a failed load").error
}

#[tokio::test]
async fn a_hundred_first_logins_share_one_load() {
    let key = signer("k1");
    let issuer = Issuer::publishing(vec![key.jwk()]).await;
    let (verifier, renewal) = Verifier::new(&[issuer.provider()]).unwrap();
    let verifier = Arc::new(verifier);
    let mut logins = JoinSet::new();
    for login in 0..100 {
        let (verifier, token) = (Arc::clone(&verifier), key.token(json!({"jti": login})));
        logins.spawn(async move { verifier.verify(&token, ROLE).await });
    }

    tokio::spawn(renewal.run(|_| ()));

    assert!(logins.join_all().await.iter().all(Result::is_ok));
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test]
async fn a_new_key_is_fetched_once_for_all_who_need_it() {
    let (old, new) = (signer("old"), signer("new"));
    let issuer = Issuer::publishing(vec![old.jwk()]).await;
    let verifier = verifier(&[issuer.provider()]);
    assert!(verifier.ready().await.is_empty());
    issuer.publish("/jwks", Answer::Keys(vec![old.jwk(), new.jwk()]));

    let mut logins = JoinSet::new();
    for login in 0..100 {
        let (verifier, token) = (Arc::clone(&verifier), new.token(json!({"jti": login})));
        logins.spawn(async move { verifier.verify(&token, ROLE).await });
    }

    assert!(logins.join_all().await.iter().all(Result::is_ok));
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_costs_the_issuer_one_request() {
    let key = signer("k1");
    let issuer = Issuer::publishing(vec![key.jwk()]).await;
    let verifier = verifier(&[issuer.provider()]);
    assert!(verifier.ready().await.is_empty());

    for attempt in 0..200 {
        let header = json!({"alg": "ES256", "kid": format!("k{attempt}x")});
        let token = key.sign(&header, &json!({"iss": ISSUER, "exp": now() + 60}).to_string());
        assert!(matches!(refusal(&verifier, &token).await, Rejection::UnknownKey { .. }));
    }

    assert_eq!(issuer.requests(), 2);
}

#[tokio::test]
async fn a_token_without_a_chance_never_makes_us_ask() {
    let key = signer("k1");
    let issuer = Issuer::publishing(vec![key.jwk()]).await;
    let verifier = verifier(&[issuer.provider()]);
    assert!(verifier.ready().await.is_empty());
    let unknown = signer("unknown");

    let expired = unknown.token(json!({"exp": now() - 600}));
    let endless = unknown.sign(&json!({"alg": "ES256", "kid": "u"}), &json!({"iss": ISSUER}).to_string());
    let mismatch = format!("{}.{}.AAAA", encode(r#"{"alg":"RS256","kid":"k1"}"#), encode(&payload()));
    for token in [expired, endless, mismatch] {
        refusal(&verifier, &token).await;
    }

    assert_eq!(issuer.requests(), 1);
}

#[tokio::test]
async fn who_has_a_known_key_never_waits_for_others() {
    let key = signer("k1");
    let issuer = Issuer::publishing(vec![key.jwk()]).await;
    let verifier = verifier(&[issuer.provider()]);
    assert!(verifier.ready().await.is_empty());
    issuer.hold();
    let (waiting, unknown) = (Arc::clone(&verifier), signer("unknown").token(json!({})));
    let waiting = tokio::spawn(async move { waiting.verify(&unknown, ROLE).await });
    issuer.requested(2).await;

    assert!(verifier.verify(&key.token(json!({})), ROLE).await.is_ok());

    assert!(!waiting.is_finished());
    issuer.release();
    assert!(matches!(waiting.await.unwrap(), Err(Rejection::UnknownKey { .. })));
}

#[tokio::test]
async fn a_login_that_gives_up_takes_no_load_with_it() {
    let (old, new) = (signer("old"), signer("new"));
    let issuer = Issuer::publishing(vec![old.jwk()]).await;
    let verifier = verifier(&[issuer.provider()]);
    assert!(verifier.ready().await.is_empty());
    issuer.publish("/jwks", Answer::Keys(vec![new.jwk()]));
    issuer.hold();
    let (leaving, token) = (Arc::clone(&verifier), new.token(json!({})));
    let leaving = tokio::spawn(async move { leaving.verify(&token, ROLE).await });
    issuer.requested(2).await;

    leaving.abort();
    issuer.release();

    assert!(verifier.verify(&new.token(json!({})), ROLE).await.is_ok());
    assert_eq!(issuer.requests(), 2);
}

#[tokio::test]
async fn a_revoked_key_verifies_nothing_not_even_what_it_did_before() {
    let (old, new) = (signer("old"), signer("new"));
    let issuer = Issuer::publishing(vec![old.jwk()]).await;
    let verifier = verifier(&[issuer.provider()]);
    let token = old.token(json!({}));
    assert!(verifier.verify(&token, ROLE).await.is_ok());

    issuer.publish("/jwks", Answer::Keys(vec![new.jwk()]));
    assert!(verifier.verify(&new.token(json!({})), ROLE).await.is_ok());

    assert!(matches!(refusal(&verifier, &token).await, Rejection::UnknownKey { .. }));
}

#[tokio::test]
async fn a_revoked_key_verifies_what_another_provider_has_it_for() {
    let key = signer("shared");
    let issuers = (Issuer::publishing(vec![key.jwk()]).await, Issuer::publishing(vec![key.jwk()]).await);
    let mut other = issuers.1.provider();
    (other.name, other.issuer) = ("other".to_owned(), "https://other.example/".to_owned());
    let verifier = verifier(&[issuers.0.provider(), other]);
    let tokens = [key.token(json!({})), key.token(json!({"iss": "https://other.example/"}))];
    for token in &tokens {
        assert!(verifier.verify(token, ROLE).await.is_ok());
    }

    issuers.0.publish("/jwks", Answer::Keys(Vec::new()));
    refusal(&verifier, &signer("unknown").token(json!({}))).await;

    assert!(matches!(refusal(&verifier, &tokens[0]).await, Rejection::UnknownKey { .. }));
    assert!(verifier.verify(&tokens[1], ROLE).await.is_ok());
}

#[tokio::test]
async fn an_outage_leaves_people_with_known_keys_in_peace() {
    let key = signer("k1");
    let issuer = Issuer::publishing(vec![key.jwk()]).await;
    let (verifier, mut reports) = observed(issuer.provider());
    assert!(matches!(reports.recv().await, Some(Renewed::Keys { usable: 1, .. })));

    issuer.publish("/jwks", Answer::Status(503));
    let rejection = refusal(&verifier, &signer("unknown").token(json!({}))).await;

    assert!(matches!(rejection, Rejection::UnknownKey { .. }));
    let Some(Renewed::Failed { error, .. }) = reports.recv().await else { panic!("a failed load") };
    assert!(matches!(error.fault(), LoadError::Status(503)));
    assert!(verifier.verify(&key.token(json!({})), ROLE).await.is_ok());
}

#[tokio::test]
async fn without_any_keys_a_login_is_told_to_come_again() {
    let issuer = Issuer::publishing(Vec::new()).await;
    issuer.publish("/jwks", Answer::Status(500));
    let verifier = verifier(&[issuer.provider()]);

    let rejection = refusal(&verifier, &signer("k1").token(json!({}))).await;

    assert_eq!(rejection, Rejection::KeysUnavailable { provider: "acme".to_owned() });
    assert_eq!(rejection.fault(), Fault::Keys);
}

#[tokio::test]
async fn without_its_renewal_a_verifier_refuses_instead_of_waiting() {
    let issuer = Issuer::publishing(Vec::new()).await;
    let (verifier, renewal) = Verifier::new(&[issuer.provider()]).unwrap();

    drop(renewal);

    assert_eq!(refusal(&verifier, &signer("k1").token(json!({}))).await.fault(), Fault::Keys);
    assert_eq!(verifier.ready().await.len(), 1);
}

#[tokio::test]
async fn an_answer_without_a_key_set_is_a_failed_load() {
    let issuer = Issuer::publishing(Vec::new()).await;
    issuer.publish("/jwks", Answer::Json(json!({"error": "maintenance"})));

    assert!(matches!(fault(issuer.provider()).await.fault(), LoadError::Keys(_)));
}

#[tokio::test]
async fn an_answer_longer_than_a_mebibyte_is_not_read() {
    let issuer = Issuer::publishing(Vec::new()).await;
    issuer.publish("/jwks", Answer::Bytes(1024 * 1024 + 1));

    assert!(matches!(fault(issuer.provider()).await.fault(), LoadError::TooLarge));
}

#[tokio::test]
async fn a_redirect_stays_on_its_host() {
    let key = signer("k1");
    let (issuer, other) = (Issuer::publishing(Vec::new()).await, Issuer::publishing(vec![key.jwk()]).await);
    issuer.publish("/jwks", Answer::Redirect("/moved".to_owned()));
    issuer.publish("/moved", Answer::Keys(vec![key.jwk()]));
    assert!(verifier(&[issuer.provider()]).ready().await.is_empty());

    issuer.publish("/jwks", Answer::Redirect(other.url("/jwks").to_string()));

    let error = fault(issuer.provider()).await.to_string();
    assert!(error.contains("a redirect to another host"), "{error}");
    assert_eq!(other.requests(), 0);
}

#[tokio::test]
async fn endless_redirects_end() {
    let issuer = Issuer::publishing(Vec::new()).await;
    issuer.publish("/jwks", Answer::Redirect("/jwks".to_owned()));

    assert!(fault(issuer.provider()).await.to_string().contains("too many redirects"));
    assert_eq!(issuer.requests(), 4);
}

#[tokio::test]
async fn a_bad_key_is_reported_and_the_set_is_used() {
    let key = signer("k1");
    let issuer = Issuer::publishing(vec![json!({"kty": "oct", "k": "c2VjcmV0", "kid": "s"}), key.jwk()]).await;

    let (verifier, mut reports) = observed(issuer.provider());

    let Some(Renewed::Keys { provider, usable, skipped }) = reports.recv().await else { panic!("keys") };
    assert_eq!((provider.as_str(), usable), ("acme", 1));
    assert_eq!(skipped, ["key 1: a symmetric key in a published set"]);
    assert!(verifier.verify(&key.token(json!({})), ROLE).await.is_ok());
}

#[tokio::test]
async fn a_published_symmetric_key_verifies_nothing() {
    let secret = Signer::with_secret(&[7; 32], Algorithm::HS256);
    let issuer =
        Issuer::publishing(vec![json!({"kty": "oct", "k": encode(&"\u{7}".repeat(32)), "kid": "secret"})]).await;

    let rejection = refusal(&verifier(&[issuer.provider()]), &secret.token(json!({}))).await;

    assert!(matches!(rejection, Rejection::AlgorithmNotAllowed { .. }));
}

#[tokio::test]
async fn discovery_finds_the_keys_of_its_issuer() {
    let key = signer("k1");
    let issuer = Issuer::publishing(vec![key.jwk()]).await;
    let config = discovering(&issuer, issuer.url("/").as_str());

    let verifier = verifier(&[config]);

    let token = key.token(json!({"iss": issuer.url("/").as_str()}));
    assert!(verifier.verify(&token, ROLE).await.is_ok());
}

#[tokio::test]
async fn discovery_believes_no_other_issuer() {
    let issuer = Issuer::publishing(Vec::new()).await;
    let (configured, url) = (issuer.url("/"), issuer.url("/.well-known/openid-configuration"));
    let found = configured.as_str().trim_end_matches('/');

    let error = fault(discovering(&issuer, found)).await;

    let words = format!("{url}: the discovered issuer is \"{found}\", and the configured one \"{configured}\"");
    assert_eq!(error.to_string(), words);
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_configured_and_only_there() {
    let key = signer("k1");
    let (listener, authority) = TlsListener::bind().await;
    let issuer = Issuer::behind(listener, vec![key.jwk()]);
    let url = format!("https://localhost:{}/jwks", issuer.port()).parse().unwrap();
    let mut config = provider(KeySource::Jwks(url));
    assert!(matches!(fault(config.clone()).await.fault(), LoadError::Request(_)));

    config.jwks_ca_file = Some(authority.0.clone());

    assert!(verifier(&[config]).verify(&key.token(json!({})), ROLE).await.is_ok());
}

/// A provider that discovers its keys from `issuer`, which calls itself `announced`.
fn discovering(issuer: &Issuer, announced: &str) -> ProviderConfig {
    let document = json!({"issuer": announced, "jwks_uri": issuer.url("/jwks").as_str()});
    issuer.publish("/.well-known/openid-configuration", Answer::Json(document));
    let mut config = provider(KeySource::Discovery);
    config.issuer = issuer.url("/").to_string();
    config
}

fn payload() -> String {
    json!({"iss": ISSUER, "exp": now() + 60}).to_string()
}

/// A file that is gone when its test is.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// TLS with a certificate that no system trusts.
struct TlsListener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl TlsListener {
    async fn bind() -> (Self, Temporary) {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let file = format!("pgusher-authority-{}.pem", tcp.local_addr().unwrap().port());
        let authority = Temporary(std::env::temp_dir().join(file));
        std::fs::write(&authority.0, certified.cert.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = certified.signing_key.serialize_der().try_into().unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        (Self { tcp, tls: Arc::new(config).into() }, authority)
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, peer) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
