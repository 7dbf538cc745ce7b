//! Issuers, against one that answers what it is told to.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use identity::{KeySource, ProviderConfig};
use pgusher_audit::{Finding, issuers};
use rcgen::{KeyPair, PKCS_ED25519};

/// What the issuer answers: a body, or a status; and its date.
#[derive(Default)]
struct Answers {
    configuration: Option<String>,
    keys: Option<String>,
    date: Option<&'static str>,
}

/// An issuer on loopback. Its documents have its URL where these have `{}`.
async fn issuer(answers: Answers) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let state = Arc::new((url.clone(), answers));
    let router = axum::Router::new().fallback(answer).with_state(state);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn answer(State(state): State<Arc<(String, Answers)>>, uri: Uri) -> Response {
    let (url, answers) = &*state;
    let body = match uri.path() {
        "/.well-known/openid-configuration" => &answers.configuration,
        "/jwks" => &answers.keys,
        _ => &None,
    };
    let Some(body) = body else { return StatusCode::NOT_FOUND.into_response() };
    let body = body.replace("{}", url);
    match answers.date {
        Some(date) => ([(header::DATE, date)], body).into_response(),
        None => body.into_response(),
    }
}

/// One key, of another type if that is given.
fn keys(kty: &str) -> Option<String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    // Base64url of the 32 bytes: three at a time.
    let encode = |bytes: &[u8]| {
        let number = bytes.iter().chain([&0, &0]).take(3).fold(0, |number, byte| number << 8 | usize::from(*byte));
        let digits = [18, 12, 6, 0].map(|shift| char::from(DIGITS[number >> shift & 63]));
        digits.into_iter().take(bytes.len() + 1).collect::<String>()
    };
    let x: String = key.public_key_raw().chunks(3).map(encode).collect();
    Some(format!(r#"{{"keys":[{{"kty":"{kty}","crv":"Ed25519","kid":"k1","x":"{x}"}}]}}"#))
}

fn configuration(issuer: &str, jwks_uri: &str) -> Option<String> {
    Some(format!(r#"{{"issuer":"{issuer}","jwks_uri":"{jwks_uri}"}}"#))
}

fn provider(issuer: &str, keys: KeySource) -> ProviderConfig {
    let mut provider = ProviderConfig::new("acme", issuer, keys);
    provider.audience = vec!["https://api.example.com".into()];
    provider
}

fn by_url(url: &str) -> ProviderConfig {
    provider(url, KeySource::Jwks(format!("{url}/jwks").parse().unwrap()))
}

/// The only finding.
async fn only(provider: ProviderConfig) -> Finding {
    let mut findings = issuers(&[provider]).await;
    assert_eq!(findings.len(), 1, "{findings:#?}");
    let finding = findings.remove(0);
    assert_eq!(finding.subject, "provider acme");
    finding
}

#[tokio::test]
async fn an_issuer_that_is_as_configured_is_no_finding() {
    let url = issuer(Answers { configuration: configuration("{}", "{}/jwks"), keys: keys("OKP"), date: None }).await;
    let secret = provider("https://issuer.example", KeySource::Secret(vec![7; 32]));

    let findings = issuers(&[by_url(&url), provider(&url, KeySource::Discovery), secret]).await;

    assert!(findings.is_empty(), "{findings:#?}");
}

#[tokio::test]
async fn an_issuer_without_a_configuration_needs_none_where_the_keys_are_named() {
    let url = issuer(Answers { keys: keys("OKP"), ..Answers::default() }).await;
    assert!(issuers(&[by_url(&url)]).await.is_empty());
    assert_eq!(only(provider(&url, KeySource::Discovery)).await.rule.id, "issuer-unreachable");
}

#[tokio::test]
async fn keys_that_cannot_be_had_or_used_are_told() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    assert_eq!(only(by_url(&url)).await.rule.id, "issuer-unreachable");

    for (keys, rule, evidence) in [
        (None, "issuer-unreachable", "404"),
        (Some("<html>".into()), "issuer-unreachable", "not a JWKS document"),
        (Some(r#"{"keys":[]}"#.into()), "issuer-without-keys", "empty"),
        (keys("oct"), "issuer-without-keys", "key 1: "),
        (Some(keys("OKP").unwrap().replace("[", r#"[{"kty":"oct"},"#)), "issuer-key-unusable", "key 1: "),
    ] {
        let url = issuer(Answers { keys, ..Answers::default() }).await;
        let finding = only(by_url(&url)).await;
        assert_eq!(finding.rule.id, rule);
        assert!(finding.evidence.contains(evidence), "{}", finding.evidence);
    }
}

#[tokio::test]
async fn an_issuer_of_another_name_is_told_once() {
    let answers = || Answers { configuration: configuration("{}/", "{}/jwks"), keys: keys("OKP"), date: None };
    let url = issuer(answers()).await;
    for provider in [by_url(&url), provider(&url, KeySource::Discovery)] {
        let finding = only(provider).await;
        assert_eq!(finding.rule.id, "issuer-mismatch");
        assert!(finding.evidence.contains(&format!("{url}/\"")), "{}", finding.evidence);
    }
}

#[tokio::test]
async fn keys_that_the_issuer_publishes_elsewhere_are_told() {
    let url = issuer(Answers { configuration: configuration("{}", "{}/new"), keys: keys("OKP"), date: None }).await;
    let finding = only(by_url(&url)).await;
    assert_eq!(finding.rule.id, "issuer-other-jwks");
    assert!(finding.evidence.contains("/new"), "{}", finding.evidence);
}

#[tokio::test]
async fn a_clock_that_differs_by_more_than_the_leeway_is_told() {
    for (date, direction) in
        [("Fri, 01 Jan 2010 00:00:00 GMT", "behind ours"), ("Fri, 01 Jan 2100 00:00:00 GMT", "ahead of ours")]
    {
        let url = issuer(Answers { keys: keys("OKP"), date: Some(date), ..Answers::default() }).await;
        let finding = only(by_url(&url)).await;
        assert_eq!(finding.rule.id, "issuer-clock");
        assert!(finding.evidence.contains(direction), "{}", finding.evidence);
    }
}

#[tokio::test]
async fn a_missing_audience_is_told_where_customers_share_the_keys() {
    for issuer in ["https://issuer.example", "https://accounts.google.com"] {
        let mut provider = provider(issuer, KeySource::Secret(vec![7; 32]));
        assert!(issuers(&[provider.clone()]).await.is_empty());
        provider.audience.clear();
        let told: Vec<_> = issuers(&[provider]).await.iter().map(|finding| finding.rule.id).collect();
        let shared = issuer.contains("google");
        assert_eq!(told, if shared { &["issuer-audience-missing"][..] } else { &[] }, "{issuer}");
    }
}
