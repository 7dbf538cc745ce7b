//! The rules that a token must pass, one test each, against a real key server.

use crate::support::{ISSUER, Issuer, ROLE, Signer, encode, now, provider, refusal, verifier};
use pgusher_identity::{Algorithm, Fault, Hint, Identity, KeySource, ProviderConfig, Rejection, Verifier};
use serde_json::{Value, json};

/// One provider with one key.
async fn world() -> (Signer, std::sync::Arc<Verifier>) {
    world_with(|_| ()).await
}

async fn world_with(configure: impl FnOnce(&mut ProviderConfig)) -> (Signer, std::sync::Arc<Verifier>) {
    let signer = Signer::new("k1", Algorithm::ES256);
    let issuer = Issuer::publishing(vec![signer.jwk()]).await;
    let mut config = issuer.provider();
    configure(&mut config);
    (signer, verifier(&[config]))
}

#[tokio::test]
async fn every_public_key_algorithm_is_verified() {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let signers = [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA].map(|a| Signer::new("k", a));

    for signer in signers {
        let issuer = Issuer::publishing(vec![signer.jwk()]).await;
        let identity = verifier(&[issuer.provider()]).verify(&signer.token(json!({})), ROLE).await.unwrap();
        assert_eq!(identity.algorithm(), Some(signer.algorithm));
    }
}

#[tokio::test]
async fn an_identity_says_who_and_until_when() {
    let (signer, verifier) = world().await;
    let exp = now() + 60;
    let payload = format!(r#"{{"sub":"zoë","iss":"{ISSUER}","exp":{exp},"hush":1,"a":2}}"#);
    let token = signer.sign(&json!({"alg": "ES256", "kid": "k1"}), &payload);

    let identity = verifier.verify(&token, ROLE).await.unwrap();

    assert_eq!((identity.provider(), identity.subject()), (Some("acme"), Some("zoë")));
    assert_eq!((identity.role(), identity.key_id()), (ROLE, Some("k1")));
    assert_eq!(identity.claims(), Some(payload.replace('ë', "\\u00eb").as_str()));
    assert_eq!(identity.token_expires(), i64::try_from(exp).ok());
    assert_eq!(identity.expires(), i64::try_from(exp + 30).ok());
    assert!(!format!("{identity:?}").contains("hush"));
}

#[tokio::test]
async fn the_algorithm_none_is_refused() {
    let (_, verifier) = world().await;
    let payload = json!({"iss": ISSUER, "exp": now() + 60}).to_string();
    for (name, signature) in [("none", ""), ("None", "AAAA"), ("ES512", "AAAA"), ("", "AAAA")] {
        let header = json!({"alg": name, "kid": "k1"}).to_string();
        let token = format!("{}.{}.{signature}", encode(&header), encode(&payload));
        assert_eq!(refusal(&verifier, &token).await, Rejection::UnsupportedAlgorithm { algorithm: name.to_owned() });
    }
}

#[tokio::test]
async fn a_public_key_is_never_a_secret() {
    let (signer, verifier) = world().await;
    let public = signer.jwk().to_string();
    let forger = Signer::with_secret(public.as_bytes(), Algorithm::HS256);

    let token = forger.sign(&json!({"alg": "HS256", "kid": "k1"}), &payload_of(&signer.token(json!({}))));

    assert!(matches!(refusal(&verifier, &token).await, Rejection::AlgorithmNotAllowed { .. }));
}

#[tokio::test]
async fn a_secret_verifies_hmac_and_nothing_else() {
    let secret = [7; 64];
    let verifier = verifier(&[provider(KeySource::Secret(secret.to_vec()))]);
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let token = Signer::with_secret(&secret, algorithm).token(json!({}));
        assert!(verifier.verify(&token, ROLE).await.is_ok());
    }

    let forged = Signer::with_secret(&[8; 64], Algorithm::HS256).token(json!({}));
    let other = Signer::new("k1", Algorithm::ES256).token(json!({}));

    assert!(matches!(refusal(&verifier, &forged).await, Rejection::BadSignature { .. }));
    assert!(matches!(refusal(&verifier, &other).await, Rejection::AlgorithmNotAllowed { .. }));
}

#[tokio::test]
async fn a_short_secret_verifies_no_long_hash() {
    let verifier = verifier(&[provider(KeySource::Secret(vec![7; 32]))]);

    let token = Signer::with_secret(&[7; 32], Algorithm::HS512).token(json!({}));

    assert!(matches!(refusal(&verifier, &token).await, Rejection::AlgorithmNotAllowed { .. }));
}

#[tokio::test]
async fn the_configuration_narrows_the_algorithms() {
    let rsa = Signer::new("k1", Algorithm::RS256);
    let issuer = Issuer::publishing(vec![rsa.jwk()]).await;
    let mut config = issuer.provider();
    config.algorithms = Some(vec![Algorithm::ES256]);

    let rejection = refusal(&verifier(&[config]), &rsa.token(json!({}))).await;

    assert_eq!(
        rejection,
        Rejection::AlgorithmNotAllowed { provider: "acme".to_owned(), algorithm: "RS256".to_owned() }
    );
}

#[tokio::test]
async fn a_key_verifies_its_own_algorithm_only() {
    let (ec, rsa) = (Signer::new("k1", Algorithm::ES256), Signer::new("k2", Algorithm::RS256));
    let issuer = Issuer::publishing(vec![ec.jwk(), rsa.jwk()]).await;
    let verifier = verifier(&[issuer.provider()]);

    let token = rsa.sign(&json!({"alg": "RS256", "kid": "k1"}), &payload_of(&rsa.token(json!({}))));

    assert!(matches!(refusal(&verifier, &token).await, Rejection::KeyMismatch { .. }));
}

#[tokio::test]
async fn a_token_cannot_bring_its_own_key() {
    let (_, verifier) = world().await;
    let stranger = Signer::new("k1", Algorithm::ES256);
    let header = json!({"alg": "ES256", "kid": "k1", "jwk": stranger.jwk(), "jku": "http://127.0.0.1:1/"});

    let token = stranger.sign(&header, &payload_of(&stranger.token(json!({}))));

    assert!(matches!(refusal(&verifier, &token).await, Rejection::BadSignature { .. }));
}

#[tokio::test]
async fn a_changed_payload_is_refused() {
    let (signer, verifier) = world().await;
    let token = signer.token(json!({"sub": "alice"}));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();

    let payload = payload_of(&token).replace("alice", "mally");
    let forged = format!("{header}.{}.{signature}", encode(&payload));

    assert!(matches!(refusal(&verifier, &forged).await, Rejection::BadSignature { .. }));
}

#[tokio::test]
async fn a_remembered_payload_vouches_for_no_other_signature() {
    let (signer, verifier) = world().await;
    let (token, other) = (signer.token(json!({"sub": "alice"})), signer.token(json!({"sub": "mally"})));
    assert!(verifier.verify(&token, ROLE).await.is_ok());
    assert!(verifier.verify(&other, ROLE).await.is_ok());
    let (signed, _) = token.rsplit_once('.').unwrap();
    let (_, foreign) = other.rsplit_once('.').unwrap();

    for signature in [foreign, &encode(&"x".repeat(64))] {
        let forged = format!("{signed}.{signature}");
        assert!(matches!(refusal(&verifier, &forged).await, Rejection::BadSignature { .. }));
    }
}

#[tokio::test]
async fn without_a_key_id_the_only_key_that_suits_is_meant() {
    let (signer, verifier) = world().await;

    let token = signer.sign(&json!({"alg": "ES256"}), &payload_of(&signer.token(json!({}))));

    assert!(verifier.verify(&token, ROLE).await.is_ok());
}

#[tokio::test]
async fn the_issuer_must_match_exactly() {
    let (signer, verifier) = world().await;
    for issuer in ["https://issuer.example", "https://ISSUER.example/", "https://issuer.example//", ""] {
        let rejection = refusal(&verifier, &signer.token(json!({"iss": issuer}))).await;
        assert_eq!(rejection, Rejection::UnknownIssuer { issuer: issuer.to_owned() });
    }
    let rejection = refusal(&verifier, &signer.token(json!({"iss": [ISSUER]}))).await;
    assert_eq!(rejection, Rejection::MalformedClaim("iss"));
}

#[tokio::test]
async fn a_key_signs_for_its_own_provider_only() {
    let (first, second) = (Signer::new("same", Algorithm::ES256), Signer::new("same", Algorithm::ES256));
    let issuers = (Issuer::publishing(vec![first.jwk()]).await, Issuer::publishing(vec![second.jwk()]).await);
    let mut other = issuers.1.provider();
    (other.name, other.issuer) = ("other".to_owned(), "https://other.example/".to_owned());
    let verifier = verifier(&[issuers.0.provider(), other]);

    let token = second.token(json!({"iss": ISSUER}));

    assert!(matches!(refusal(&verifier, &token).await, Rejection::BadSignature { .. }));
    let own = second.token(json!({"iss": "https://other.example/"}));
    assert_eq!(verifier.verify(&own, ROLE).await.unwrap().provider(), Some("other"));
}

#[tokio::test]
async fn times_are_checked() {
    let (signer, verifier) = world().await;
    let refused = |claims: Value| {
        let token = signer.token(claims);
        let verifier = &verifier;
        async move { refusal(verifier, &token).await }
    };

    assert!(matches!(refused(json!({"exp": now() - 40})).await, Rejection::Expired { .. }));
    assert!(matches!(refused(json!({"nbf": now() + 90})).await, Rejection::NotYetValid { claim: "nbf", .. }));
    assert!(matches!(refused(json!({"iat": now() + 90})).await, Rejection::NotYetValid { claim: "iat", .. }));
    assert_eq!(refused(json!({"exp": "9999999999"})).await, Rejection::MalformedClaim("exp"));
    let recent = signer.token(json!({"exp": now() - 5, "nbf": now() + 5, "iat": now() + 5}));
    assert!(verifier.verify(&recent, ROLE).await.is_ok());
}

#[tokio::test]
async fn a_token_without_exp_is_refused() {
    let (signer, verifier) = world().await;

    let token = signer.sign(&json!({"alg": "ES256", "kid": "k1"}), &json!({"iss": ISSUER}).to_string());

    assert_eq!(refusal(&verifier, &token).await, Rejection::MissingClaim("exp"));
}

#[tokio::test]
async fn a_token_for_another_audience_is_refused_with_a_hint() {
    let (signer, verifier) = world_with(|config| config.audience = vec!["api".to_owned()]).await;

    let rejection = refusal(&verifier, &signer.token(json!({"aud": "client-id"}))).await;

    assert_eq!(rejection.hint(), Some(Hint::SendTheAccessToken));
    assert_eq!(rejection.to_string(), r#"the token is for the audience ["client-id"], not for ["api"]"#);
    let good = signer.token(json!({"aud": ["client-id", "api"]}));
    assert!(verifier.verify(&good, ROLE).await.is_ok());
}

#[tokio::test]
async fn only_a_granted_role_is_given() {
    let (signer, verifier) = world().await;
    let token = signer.token(json!({"role": "postgres"}));
    assert!(verifier.verify(&token, ROLE).await.is_ok());

    for role in ["postgres", "", "Authenticated", "authenticated "] {
        let rejection = verifier.verify(&token, role).await.unwrap_err();
        assert_eq!(rejection.fault(), Fault::Role);
    }
}

#[tokio::test]
async fn with_a_role_claim_the_token_must_name_the_role() {
    let path = "$['https://acme.example/roles']".parse().unwrap();
    let (signer, verifier) = world_with(|config| config.role_claim = Some(path)).await;
    let with = |roles: Value| signer.token(json!({"https://acme.example/roles": roles}));

    for named in [json!(ROLE), json!(["x", ROLE])] {
        assert!(verifier.verify(&with(named), ROLE).await.is_ok());
    }
    for named in [json!("x"), json!([]), json!([[ROLE]]), json!({"a": ROLE}), json!(null), json!(true)] {
        let rejection = refusal(&verifier, &with(named)).await;
        assert_eq!(rejection, Rejection::RoleNotInToken { role: ROLE.to_owned() });
    }
    assert_eq!(refusal(&verifier, &signer.token(json!({}))).await.fault(), Fault::Role);
}

#[tokio::test]
async fn a_remembered_token_still_gets_only_its_roles() {
    let path = "$.roles".parse().unwrap();
    let (signer, verifier) = world_with(|config| {
        config.roles = vec!["reader".to_owned(), "writer".to_owned()];
        config.role_claim = Some(path);
    })
    .await;
    let token = signer.token(json!({"roles": ["reader"]}));
    assert!(verifier.verify(&token, "reader").await.is_ok());

    let rejection = verifier.verify(&token, "writer").await.unwrap_err();

    assert_eq!(rejection, Rejection::RoleNotInToken { role: "writer".to_owned() });
}

#[tokio::test]
async fn a_token_cut_by_a_terminal_is_recognised() {
    let (signer, verifier) = world().await;
    let token = signer.token(json!({"sub": "a".repeat(5000)}));

    let rejection = refusal(&verifier, &token[..4095]).await;

    assert_eq!(rejection.hint(), Some(Hint::PastedAtAPrompt));
    assert!(!matches!(refusal(&verifier, &token[..4094]).await, Rejection::Truncated));
}

#[tokio::test]
async fn no_second_text_is_the_same_token() {
    let (signer, verifier) = world().await;
    let token = signer.token(json!({}));
    assert!(verifier.verify(&token, ROLE).await.is_ok());

    // 64 bytes of signature leave four bits in the last character that belong to none of them.
    let last = token.chars().last().unwrap();
    let twin = char::from(last as u8 + 1);
    let text = format!("{}{twin}", &token[..token.len() - 1]);

    assert!(matches!(refusal(&verifier, &text).await, Rejection::NotAJwt(_)));
}

#[tokio::test]
async fn an_explanation_names_what_was_found() {
    let path = "$.roles".parse().unwrap();
    let (signer, verifier) = world_with(|config| {
        config.roles = vec!["reader".to_owned(), "writer".to_owned()];
        config.role_claim = Some(path);
    })
    .await;

    let found = verifier.explain(&signer.token(json!({"roles": ["writer", "root"], "exp": 9_999_999_999_u64}))).await;

    assert_eq!(found.rejection, None);
    assert_eq!((found.provider.as_deref(), found.issuer.as_deref()), (Some("acme"), Some(ISSUER)));
    assert_eq!((found.algorithm.as_deref(), found.key_id.as_deref()), (Some("ES256"), Some("k1")));
    assert_eq!((found.roles, found.expires), (vec!["writer".to_owned()], Some(9_999_999_999)));
    assert!(found.claims.unwrap().contains("root"));
}

#[tokio::test]
async fn an_explanation_of_a_refused_token_has_the_rule_and_no_roles() {
    let (_, verifier) = world().await;
    let stranger = Signer::new("k1", Algorithm::ES256);

    let found = verifier.explain(&stranger.token(json!({}))).await;

    assert!(matches!(found.rejection, Some(Rejection::BadSignature { .. })));
    assert_eq!((found.provider.as_deref(), found.roles.len()), (Some("acme"), 0));
    assert_eq!(verifier.explain("x").await.rejection.unwrap().hint(), Some(Hint::SendAToken));
}

#[test]
fn an_anonymous_identity_has_a_role_and_nothing_else() {
    let identity = Identity::anonymous("anonymous");

    assert_eq!(identity.role(), "anonymous");
    assert_eq!((identity.provider(), identity.subject(), identity.claims()), (None, None, None));
    assert_eq!(identity.expires(), None);
}

#[test]
fn all_faults_of_a_configuration_are_told_at_once() {
    let mut first = provider(KeySource::Jwks("http://keys.example/jwks".parse().unwrap()));
    first.algorithms = Some(vec![Algorithm::HS256]);
    let mut second = provider(KeySource::Secret(b"short".to_vec()));
    second.roles.clear();
    second.jwks_ca_file = Some("ca.pem".into());
    let mut third = ProviderConfig::new("third", "no url", KeySource::Discovery);
    third.roles = vec![ROLE.to_owned()];

    let faults = Verifier::new(&[first, second, third]).err().unwrap();

    let keys: Vec<_> = faults.iter().map(|fault| fault.key).collect();
    assert_eq!(keys, ["algorithms", "jwks_url", "name", "issuer", "roles", "jwks_ca_file", "secret_file", "issuer"]);
}

fn payload_of(token: &str) -> String {
    use base64::Engine;
    let payload = token.split('.').nth(1).unwrap();
    String::from_utf8(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
