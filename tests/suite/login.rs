//! Who gets in, and as whom.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pgusher::demo::issuer::Issuer;
use pgusher::demo::keys::SigningKey;
use pgusher_tests::{AUDIENCE, Proxy, Stage, now};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// The subject, the role and the login of a session, as the database sees them.
async fn who(client: &Client) -> (Option<String>, String, String) {
    let sql = "SELECT auth.user_id(), current_user::text, session_user::text";
    let row = client.query_one(sql, &[]).await.expect("a row");
    (row.get(0), row.get(1), row.get(2))
}

/// Another `[[provider]]` whose tokens may be `authenticated`, with its source of keys as a line of TOML.
pub(crate) fn provider(name: &str, issuer: &str, keys: &str) -> String {
    format!(
        "[[provider]]\nname = \"{name}\"\nissuer = \"{issuer}\"\n{keys}\naudience = [\"{AUDIENCE}\"]\n\
         roles = [\"authenticated\"]\n"
    )
}

#[tokio::test]
async fn a_token_as_the_password_shows_its_subject_their_rows_and_nobody_elses() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for (subject, rows) in [("alice", 3), ("bob", 2), ("carol", 0)] {
        let client = proxy.connect(&stage.token(subject)).await;
        let owners = client.query("SELECT user_id FROM todos", &[]).await.expect("rows");
        assert_eq!(owners.len(), rows);
        assert!(owners.iter().all(|row| row.get::<_, String>(0) == subject));
    }
}

#[tokio::test]
async fn a_key_of_every_algorithm_lets_its_owner_in() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for key in &stage.keys {
        let client = proxy.connect(&stage.token("alice").signed_by(key.algorithm())).await;
        let (subject, role, login) = who(&client).await;
        let identity = (subject.as_deref(), role.as_str(), login.as_str());
        assert_eq!(identity, (Some("alice"), "authenticated", "pgusher_authenticated"), "{:?}", key.algorithm());
    }
}

#[tokio::test]
async fn a_token_of_any_size_up_to_64_kib_lets_in_and_all_of_it_arrives() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for size in [1_000, 8_000, 20_000, 65_000] {
        let token = stage.token("alice").of_size(size);
        let client = proxy.connect(&token).await;
        let row = client.query_one("SELECT auth.session()::text", &[]).await.expect("claims");
        let claims: Value = serde_json::from_str(row.get(0)).expect("JSON");
        assert_eq!(Some(claims), serde_json::from_str(&token.payload()).ok(), "{size}");
    }
}

#[tokio::test]
async fn a_subject_of_any_script_arrives_as_it_is() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for subject in ["Zoë 😀", "o'brien\"; --", "auth0|5f\\u0041", "\u{202e}line\nbreak"] {
        let client = proxy.connect(&stage.token(subject)).await;
        assert_eq!(who(&client).await.0.as_deref(), Some(subject));
    }
}

#[tokio::test]
async fn one_of_several_audiences_is_enough() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let token = stage.token("alice").claim("aud", vec!["https://elsewhere.example", AUDIENCE]);
    assert_eq!(who(&proxy.connect(&token).await).await.0.as_deref(), Some("alice"));
}

#[tokio::test]
async fn clocks_may_differ_by_the_leeway() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("provider.0.leeway", "5min").start().await;
    let alice = || stage.token("alice");
    for token in [alice().expires_in(-120), alice().claim("nbf", now() + 120), alice().claim("iat", now() + 120)] {
        assert_eq!(who(&proxy.connect(&token).await).await.0.as_deref(), Some("alice"));
    }
}

#[tokio::test]
async fn without_a_key_id_the_only_key_that_suits_is_meant() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let token = stage.token("alice").signed_as(stage.key(Algorithm::ES256), Header::new(Algorithm::ES256));
    assert_eq!(who(&proxy.connect(&token).await).await.0.as_deref(), Some("alice"));
}

#[tokio::test]
async fn the_role_claim_may_be_a_string_or_an_array_that_has_the_role() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("provider.0.role_claim", "$.realm_access.roles").start().await;
    for roles in [json!("authenticated"), json!(["offline_access", "authenticated"])] {
        let token = stage.token("alice").claim("realm_access", json!({ "roles": roles }));
        assert_eq!(who(&proxy.connect(&token).await).await.1, "authenticated");
    }
}

#[tokio::test]
async fn tokens_of_several_providers_are_told_apart_by_their_issuer() {
    let stage = Stage::get();
    let key = SigningKey::generate(Algorithm::EdDSA).expect("a key");
    let other = Issuer::start(0, vec![key.public().clone()]).await.expect("an issuer");
    let second = provider("other", other.url(), &format!("jwks_url = \"{}\"", other.jwks_url()));
    let proxy = Proxy::builder(stage).tables(&second).start().await;

    let theirs = proxy.connect(&stage.token("dora").issued_by(other.url(), &key)).await;
    let ours = proxy.connect(&stage.token("alice")).await;

    assert_eq!(who(&theirs).await.0.as_deref(), Some("dora"));
    assert_eq!(who(&ours).await.0.as_deref(), Some("alice"));
    assert!(proxy.logs("dora").await.contains("\"provider\":\"other\""));
    let borrowed = proxy.refused(&stage.token("dora").issued_by(stage.issuer.url(), &key)).await;
    assert!(borrowed.detail().is_some_and(|detail| detail.starts_with("provider issuer: no key with id")));
}

#[tokio::test]
async fn a_provider_with_a_shared_secret_takes_that_and_no_other_key() {
    let stage = Stage::get();
    let (issuer, secret) = ("https://shared.example/", "a secret of thirty-two bytes or more");
    let file = stage.files().join("shared.secret");
    pgusher::demo::home::write_private(&file, secret).expect("a file");
    let table = provider("shared", issuer, &format!("secret_file = \"{}\"", file.display()));
    let proxy = Proxy::builder(stage).tables(&table).start().await;
    let token = stage.token("alice").claim("iss", issuer);
    let signed_with = |secret: &str| {
        let claims: Value = serde_json::from_str(&token.payload()).expect("JSON");
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).expect("a token")
    };

    assert_eq!(who(&proxy.connect(&signed_with(secret)).await).await.0.as_deref(), Some("alice"));

    let guessed = proxy.refused(&signed_with("another secret of thirty-two bytes")).await;
    assert!(guessed.detail().is_some_and(|detail| detail.starts_with("provider shared: the signature does not match")));
    let signed_by_a_key = proxy.refused(&token).await;
    assert_eq!(signed_by_a_key.detail(), Some("provider shared: the algorithm ES256 is not allowed"));
}

#[tokio::test]
async fn anyone_may_be_anonymous_without_a_password_and_without_claims() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(proxy.port()).user("anonymous").dbname("neondb");

    let client = proxy.connect_with(&config).await;

    assert_eq!(who(&client).await, (None, "anonymous".to_owned(), "pgusher_anonymous".to_owned()));
    let row = client.query_one("SELECT auth.session()::text, auth.jwt()::text, auth.uid()::text", &[]).await;
    let row = row.expect("a row");
    assert_eq!((row.get(0), row.get(1), row.get(2)), ("null", "null", None::<&str>));
    let seen = client.query_one("SELECT (SELECT count(*) FROM posts), (SELECT count(*) FROM todos)", &[]).await;
    let seen: (i64, i64) = seen.map(|row| (row.get(0), row.get(1))).expect("counts");
    assert!(seen.0 > 0 && seen.1 == 0, "{seen:?}");
}

#[tokio::test]
async fn a_token_is_no_use_for_being_anonymous() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let client = proxy.connect_with(proxy.config(&stage.token("alice")).user("anonymous")).await;
    assert_eq!(who(&client).await.0, None);
}
