//! What those are told who do not get in: SQLSTATE, DETAIL and HINT of every rule for tokens, word for word.

use std::fmt::Display;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pgusher::demo::issuer::Issuer;
use pgusher::demo::keys::SigningKey;
use pgusher_tests::{Proxy, Stage, now};
use serde_json::json;
use tokio_postgres::error::DbError;

/// An answer in one line.
fn words(error: &DbError) -> String {
    assert_eq!(error.severity(), "FATAL");
    let [detail, hint] = [error.detail(), error.hint()].map(Option::unwrap_or_default);
    format!("{} {} | {detail} | {hint}", error.code().code(), error.message())
}

/// What the owner of this token is told, if it is that the token is refused: DETAIL and HINT.
async fn told(proxy: &Proxy, token: &impl Display) -> String {
    let words = words(&proxy.refused(token).await);
    words.strip_prefix("28P01 token refused | ").unwrap_or_else(|| panic!("{words}")).to_owned()
}

/// A token of this header and payload, signed by the issuer's ES256 key whatever they say.
fn signed(stage: &Stage, header: &str, payload: &str) -> String {
    let message = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let key = EncodingKey::from_ec_pem(stage.key(Algorithm::ES256).pem().as_bytes()).expect("a key");
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::ES256).expect("a signature");
    format!("{message}.{signature}")
}

/// The `kid` of the issuer's key of this algorithm.
fn kid(stage: &Stage, algorithm: Algorithm) -> String {
    stage.key(algorithm).header().kid.expect("a published key has an id")
}

#[tokio::test]
async fn a_password_that_is_no_token_is_refused_with_the_usual_mistake() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let token = stage.token("alice");
    let no_jwt = |why| format!("not a JWT: {why} | Send a signed JWT as the password.");
    for (password, answer) in [
        ("secret".to_owned(), no_jwt("it has not three parts separated by dots")),
        (format!("{token}\n"), no_jwt("the signature is not base64url")),
        (format!(" {token}"), no_jwt("the header is not base64url")),
        (
            format!("Bearer {token}"),
            r#"the token starts with "Bearer " | Send the token alone, without the word "Bearer"."#.to_owned(),
        ),
        (
            "a.b.c.d.e".to_owned(),
            "the token is encrypted (JWE), not signed | Request the access token for an API (audience), so that the \
             issuer signs it and does not encrypt it."
                .to_owned(),
        ),
        (String::new(), "no token was sent | Send a signed JWT as the password.".to_owned()),
    ] {
        assert_eq!(told(&proxy, &password).await, answer);
    }
}

#[tokio::test]
async fn a_token_that_a_terminal_cut_is_recognised() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let token = stage.token("alice").of_size(5000).to_string();
    let answer = "the token is not valid and ends after exactly 4095 bytes | A terminal cuts typed lines at 4095 \
                  characters: give the token in PGPASSWORD or a password file.";
    assert_eq!(told(&proxy, &&token[..4095]).await, answer);
    assert!(!told(&proxy, &&token[..4094]).await.contains("4095"));
}

#[tokio::test]
async fn only_the_issuers_own_signature_counts() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let stranger = SigningKey::generate(Algorithm::ES256).expect("a key");
    let (alice, bob) = (stage.token("alice").to_string(), stage.token("bob").to_string());
    let [alice, bob] = [&alice, &bob].map(|token| token.rsplit_once('.').expect("three parts"));
    let own_key = Header { jwk: Some(stranger.public().clone()), ..stage.key(Algorithm::ES256).header() };
    for token in [
        stage.token("alice").signed_as(&stranger, stage.key(Algorithm::ES256).header()).to_string(),
        stage.token("alice").signed_as(&stranger, own_key).to_string(),
        format!("{}.{}", alice.0, bob.1),
        format!("{}.", alice.0),
    ] {
        let key = kid(stage, Algorithm::ES256);
        let answer = format!("provider issuer: the signature does not match the key with id {key:?} | ");
        assert_eq!(told(&proxy, &token).await, answer);
    }
}

#[tokio::test]
async fn a_token_does_not_choose_how_it_is_verified() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let token = stage.token("alice");
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let header = json!({"alg": none, "typ": "JWT"}).to_string();
        let [header, payload] = [&header, &token.payload()].map(|part| URL_SAFE_NO_PAD.encode(part));
        let unsigned = told(&proxy, &format!("{header}.{payload}.")).await;
        assert_eq!(unsigned, format!("the algorithm {none:?} is not supported | "));
    }
    let public = serde_json::to_vec(stage.key(Algorithm::ES256).public()).expect("JSON");
    let claims: serde_json::Value = serde_json::from_str(&token.payload()).expect("JSON");
    let header = Header { alg: Algorithm::HS256, ..stage.key(Algorithm::ES256).header() };
    let public_as_secret = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&public)).expect("a token");
    let answer = told(&proxy, &public_as_secret).await;
    assert_eq!(answer, "provider issuer: the algorithm HS256 is not allowed | ");
}

#[tokio::test]
async fn a_key_verifies_its_own_algorithm_only() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for (signer, meant) in [(Algorithm::ES256, Algorithm::RS256), (Algorithm::RS512, Algorithm::PS512)] {
        let header = Header { kid: Some(kid(stage, meant)), ..Header::new(signer) };
        let token = stage.token("alice").signed_as(stage.key(signer), header);
        let answer = format!("provider issuer: the key with id {:?} is not for {signer:?} | ", kid(stage, meant));
        assert_eq!(told(&proxy, &token).await, answer);
    }
}

#[tokio::test]
async fn the_configuration_narrows_the_algorithms() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("provider.0.algorithms", "RS256,EdDSA").start().await;
    let refused = told(&proxy, &stage.token("alice")).await;
    assert_eq!(refused, "provider issuer: the algorithm ES256 is not allowed | ");
    proxy.connect(&stage.token("alice").signed_by(Algorithm::EdDSA)).await;
}

#[tokio::test]
async fn a_token_holds_in_its_time() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let expired = now() - 3600;
    let answer = told(&proxy, &stage.token("alice").claim("exp", expired)).await;
    assert!(answer.starts_with(&format!("the token expired at {expired} (Unix time), 36")), "{answer}");
    assert!(answer.ends_with("| Fetch a new token; if this one is new, compare the clocks of issuer and proxy."));
    for claim in ["nbf", "iat"] {
        let answer = told(&proxy, &stage.token("alice").claim(claim, now() + 3600)).await;
        assert!(answer.starts_with(&format!("the claim {claim:?} lies 3")), "{answer}");
        assert!(answer.ends_with(" s in the future | Compare the clocks of issuer and proxy."), "{answer}");
    }
}

#[tokio::test]
async fn a_token_without_an_end_is_refused() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    assert_eq!(told(&proxy, &stage.token("alice").without("exp")).await, "the claim \"exp\" is missing | ");
    for date in [json!("4102444800"), json!(null), json!([now() + 600]), json!(1e300), json!(-1)] {
        let token = stage.token("alice").claim("exp", date);
        assert_eq!(told(&proxy, &token).await, "the claim \"exp\" is malformed | ");
    }
}

#[tokio::test]
async fn the_issuer_is_compared_to_the_letter() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    assert_eq!(told(&proxy, &stage.token("alice").without("iss")).await, "the claim \"iss\" is missing | ");
    let url = stage.issuer.url();
    for other in [format!("{url}/"), url.to_uppercase(), "https://stranger.example".to_owned(), "x".repeat(100)] {
        let answer = told(&proxy, &stage.token("alice").claim("iss", other.as_str())).await;
        assert_eq!(answer, format!("no provider has the issuer {other:?} | "));
    }
}

#[tokio::test]
async fn a_token_for_somebody_else_is_refused_with_a_hint_at_id_tokens() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let answer = |found: &str| {
        format!(
            "the token is for the audience {found}, not for [\"pgusher-tests\"] | Send the access token for this \
             audience; an ID token is made for the application that asked for it."
        )
    };
    for (audience, found) in
        [(json!("client-id"), r#"["client-id"]"#), (json!(["a", "b"]), r#"["a", "b"]"#), (json!([]), "[]")]
    {
        assert_eq!(told(&proxy, &stage.token("alice").claim("aud", audience)).await, answer(found));
    }
    assert_eq!(told(&proxy, &stage.token("alice").without("aud")).await, answer("[]"));
}

#[tokio::test]
async fn demands_that_nobody_understands_and_names_that_come_twice_are_refused() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let header = json!({"alg": "ES256", "kid": kid(stage, Algorithm::ES256)});
    let payload = stage.token("alice").payload();
    let critical = json!({"alg": "ES256", "crit": ["exp"], "kid": header["kid"]}).to_string();
    assert_eq!(
        told(&proxy, &signed(stage, &critical, &payload)).await,
        "the token's header demands extensions (\"crit\") | "
    );
    let doubled = payload.replacen('{', r#"{"sub":"bob","#, 1);
    let answer = told(&proxy, &signed(stage, &header.to_string(), &doubled)).await;
    assert!(answer.starts_with("the token's payload is refused: a member name occurs twice"), "{answer}");
    let answer = told(&proxy, &signed(stage, r#"{"alg":"none","alg":"ES256"}"#, &payload)).await;
    assert!(answer.starts_with("the token's header is refused: a member name occurs twice"), "{answer}");
}

#[tokio::test]
async fn claims_that_no_jsonb_can_hold_are_refused_at_the_door() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let answer = told(&proxy, &stage.token("alice\0")).await;
    assert!(answer.starts_with("the token's payload is refused: the character U+0000 in a string"), "{answer}");
    let nested = format!("{{\"a\":{}{},{}", "[".repeat(5000), "]".repeat(5000), &stage.token("alice").payload()[1..]);
    let header = json!({"alg": "ES256", "kid": kid(stage, Algorithm::ES256)}).to_string();
    let answer = told(&proxy, &signed(stage, &header, &nested)).await;
    assert!(answer.starts_with("the token's payload is refused: nested more than 32 deep"), "{answer}");
}

#[tokio::test]
async fn a_key_must_be_known_and_without_an_id_the_only_one() {
    let stage = Stage::get();
    let keys = [(); 2].map(|()| SigningKey::generate(Algorithm::ES256).expect("a key"));
    let issuer = Issuer::start(0, keys.iter().map(|key| key.public().clone()).collect()).await.expect("an issuer");
    let proxy = Proxy::builder(stage).set("provider.0.issuer", issuer.url()).start().await;
    let token = |header| stage.token("alice").claim("iss", issuer.url()).signed_as(&keys[0], header);

    let unknown = told(&proxy, &token(Header { kid: Some("unheard-of".to_owned()), ..keys[0].header() })).await;
    let ambiguous = told(&proxy, &token(Header { kid: None, ..keys[0].header() })).await;

    assert_eq!(unknown, "provider issuer: no key with id \"unheard-of\" | ");
    assert_eq!(ambiguous, "provider issuer: several keys for a token without key id | ");
    proxy.connect(&token(keys[0].header())).await;
}

#[tokio::test]
async fn a_good_token_gets_no_role_that_its_provider_does_not_grant() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).without_anonymous().start().await;
    for role in ["anonymous", "postgres", "pgusher_authenticated", "Authenticated", "authenticated ", "nobody"] {
        let mut config = proxy.config(&stage.token("alice"));
        let answer = words(&proxy.refused_with(config.user(role)).await);
        let detail = format!("provider issuer does not grant the role {role:?}");
        assert_eq!(answer, format!("28000 role not permitted for this token | {detail} | "));
    }
}

#[tokio::test]
async fn with_a_role_claim_the_token_must_name_the_role() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("provider.0.role_claim", "$.role").start().await;
    let alice = || stage.token("alice");
    let named = ["admin", "authenticated ", "authenticated,admin"].map(|role| alice().claim("role", role));
    let listed = [json!([]), json!(["admin", ["authenticated"]]), json!({"authenticated": true})];
    let listed = listed.map(|roles| alice().claim("role", roles));
    for token in named.into_iter().chain(listed).chain([alice().without("role")]) {
        let answer = words(&proxy.refused(&token).await);
        let detail = "the token does not name the role \"authenticated\"";
        assert_eq!(answer, format!("28000 role not permitted for this token | {detail} | "));
    }
}

#[tokio::test]
async fn without_an_anonymous_role_everybody_is_asked_for_a_token() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).without_anonymous().start().await;
    let mut client = proxy.raw().await;
    client.startup(&[("user", "anonymous"), ("database", "neondb")]).await;
    let asked = client.receive().await.expect("a request");
    assert_eq!((asked.tag, &asked.body[..]), (b'R', &[0, 0, 0, 3][..]));
}

#[tokio::test]
async fn a_password_longer_than_any_token_is_not_read() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let answer = words(&proxy.refused(&"x".repeat(70_000)).await);
    assert_eq!(answer, "08P01 password too long | It has 70001 bytes; the limit is 65536 bytes. | ");
    let longest = told(&proxy, &"x".repeat(65_536)).await;
    assert!(longest.starts_with("not a JWT"), "{longest}");
}

/// Asserts that a refusal tells where its reason is and nothing of it, and that it is there.
async fn assert_in_the_log(proxy: &Proxy, refused: &DbError, expected: &str) {
    let told = words(refused);
    let id = told
        .strip_prefix(expected)
        .and_then(|rest| rest.strip_prefix(" | The proxy's log has the reason, under connection "))
        .and_then(|rest| rest.strip_suffix(". | "))
        .unwrap_or_else(|| panic!("{told}"));
    let line = proxy.logs(&format!("\"id\":{id},")).await;
    assert!(line.contains("connection refused") && line.contains("\"reason\":\""), "{line}");
}

#[tokio::test]
async fn without_auth_error_detail_every_refused_token_is_answered_alike() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("session.auth_error_detail", false).start().await;
    for token in
        [stage.token("alice").expired(), stage.token("alice").claim("aud", "x"), stage.token("a").without("exp")]
    {
        assert_in_the_log(&proxy, &proxy.refused(&token).await, "28P01 token refused").await;
    }
    proxy.logs("the claim \\\"exp\\\" is missing").await;
    let answer = proxy.refused_with(proxy.config(&stage.token("alice")).user("postgres")).await;
    assert_in_the_log(&proxy, &answer, "28000 role not permitted for this token").await;
}

#[tokio::test]
async fn psql_shows_all_of_it() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let conninfo = format!("host=127.0.0.1 port={} user=authenticated dbname=neondb", proxy.port());
    let psql = tokio::process::Command::new("psql").arg(conninfo).env("PGPASSWORD", "secret").output().await;
    let psql = psql.expect("psql runs");
    assert_eq!(psql.status.code(), Some(2));
    let shown = String::from_utf8_lossy(&psql.stderr);
    let answer = "FATAL:  token refused\nDETAIL:  not a JWT: it has not three parts separated by dots\n\
                  HINT:  Send a signed JWT as the password.\n";
    assert!(shown.ends_with(answer), "{shown}");
}
