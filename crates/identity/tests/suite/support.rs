//! An issuer to test against: keys that sign, and a web server that publishes what it is told to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{AlgorithmFamily, EncodingKey, crypto};
use pgusher_identity::{Algorithm, KeySource, ProviderConfig, Rejection, Url, Verifier};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

pub(crate) const ISSUER: &str = "https://issuer.example/";
pub(crate) const ROLE: &str = "authenticated";

/// A private key and its public half.
pub(crate) struct Signer {
    pub(crate) kid: &'static str,
    pub(crate) algorithm: Algorithm,
    key: EncodingKey,
    public: Value,
}

impl Signer {
    pub(crate) fn new(kid: &'static str, algorithm: Algorithm) -> Self {
        let pair = match algorithm {
            Algorithm::ES256 => rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Algorithm::ES384 => rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            Algorithm::EdDSA => rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519),
            _ => rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256),
        }
        .unwrap();
        let raw = pair.public_key_raw();
        let (key, public) = match algorithm {
            Algorithm::ES256 => (EncodingKey::from_ec_der(pair.serialized_der()), point("P-256", &raw[1..])),
            Algorithm::ES384 => (EncodingKey::from_ec_der(pair.serialized_der()), point("P-384", &raw[1..])),
            Algorithm::EdDSA => (
                EncodingKey::from_ed_der(pair.serialized_der()),
                json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(raw)}),
            ),
            _ => {
                let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
                let public = serde_json::to_value(Jwk::from_encoding_key(&key, algorithm).unwrap()).unwrap();
                (key, public)
            }
        };
        Self { kid, algorithm, key, public }
    }

    pub(crate) fn with_secret(secret: &[u8], algorithm: Algorithm) -> Self {
        assert_eq!(algorithm.family(), AlgorithmFamily::Hmac);
        Self { kid: "secret", algorithm, key: EncodingKey::from_secret(secret), public: Value::Null }
    }

    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = self.public.clone();
        jwk["kid"] = json!(self.kid);
        jwk
    }

    /// A token with these claims, which get an issuer and an expiry if they have none.
    pub(crate) fn token(&self, mut claims: Value) -> String {
        let members = claims.as_object_mut().unwrap();
        members.entry("iss").or_insert_with(|| json!(ISSUER));
        members.entry("exp").or_insert_with(|| json!(now() + 600));
        self.sign(&json!({"alg": self.algorithm, "kid": self.kid}), &claims.to_string())
    }

    pub(crate) fn sign(&self, header: &Value, payload: &str) -> String {
        let signed = format!("{}.{}", encode(&header.to_string()), encode(payload));
        let signature = crypto::sign(signed.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{signed}.{signature}")
    }
}

/// What the web server answers at a path.
#[derive(Clone)]
pub(crate) enum Answer {
    Keys(Vec<Value>),
    Json(Value),
    Status(u16),
    Bytes(usize),
    Redirect(String),
}

/// A web server on loopback.
pub(crate) struct Issuer {
    address: SocketAddr,
    state: Arc<Published>,
}

struct Published {
    answers: Mutex<HashMap<&'static str, Answer>>,
    requests: watch::Sender<usize>,
    gate: Semaphore,
}

impl Issuer {
    /// Publishes these keys at `/jwks`.
    pub(crate) async fn publishing(keys: Vec<Value>) -> Self {
        Self::behind(TcpListener::bind("127.0.0.1:0").await.unwrap(), keys)
    }

    /// The same behind a listener of another kind.
    pub(crate) fn behind<L: Listener<Addr = SocketAddr>>(listener: L, keys: Vec<Value>) -> Self {
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Published {
            answers: Mutex::default(),
            requests: watch::Sender::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let issuer = Self { address, state };
        issuer.publish("/jwks", Answer::Keys(keys));
        issuer
    }

    pub(crate) fn publish(&self, path: &'static str, answer: Answer) {
        self.state.answers.lock().unwrap().insert(path, answer);
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn requests(&self) -> usize {
        *self.state.requests.borrow()
    }

    pub(crate) async fn requested(&self, times: usize) {
        let mut requests = self.state.requests.subscribe();
        requests.wait_for(|count| *count >= times).await.unwrap();
    }

    /// From now on requests arrive and get no answer until [`Self::release`].
    pub(crate) fn hold(&self) {
        self.state.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn release(&self) {
        self.state.gate.add_permits(1000);
    }

    /// A provider with the keys at `/jwks`.
    pub(crate) fn provider(&self) -> ProviderConfig {
        provider(KeySource::Jwks(self.url("/jwks")))
    }
}

pub(crate) fn provider(keys: KeySource) -> ProviderConfig {
    let mut config = ProviderConfig::new("acme", ISSUER, keys);
    config.roles = vec![ROLE.to_owned()];
    config
}

/// A verifier whose renewal runs.
pub(crate) fn verifier(configs: &[ProviderConfig]) -> Arc<Verifier> {
    let (verifier, renewal) = Verifier::new(configs).map_err(|faults| format!("{faults:?}")).unwrap();
    tokio::spawn(renewal.run(|_| ()));
    Arc::new(verifier)
}

/// The rejection of a token that asks for [`ROLE`].
pub(crate) async fn refusal(verifier: &Verifier, token: &str) -> Rejection {
    verifier.verify(token, ROLE).await.expect_err("a refused token")
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn point(curve: &str, coordinates: &[u8]) -> Value {
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    json!({"kty": "EC", "crv": curve, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
}

async fn answer(State(state): State<Arc<Published>>, uri: Uri) -> Response {
    state.requests.send_modify(|count| *count += 1);
    let _pass = state.gate.acquire().await.unwrap();
    let answer = state.answers.lock().unwrap().get(uri.path()).cloned();
    match answer {
        Some(Answer::Keys(keys)) => axum::Json(json!({ "keys": keys })).into_response(),
        Some(Answer::Json(value)) => axum::Json(value).into_response(),
        Some(Answer::Status(code)) => StatusCode::from_u16(code).unwrap().into_response(),
        Some(Answer::Bytes(length)) => vec![b' '; length].into_response(),
        Some(Answer::Redirect(to)) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
