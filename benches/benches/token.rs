//! What a token costs: when it comes for the first time and its signature is verified, and when it comes again, as with
//! every request over HTTP.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use identity::{Algorithm, KeySource, ProviderConfig, Verifier};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, crypto};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

const ROLE: &str = "authenticated";

/// An issuer with one key.
struct Issuer {
    algorithm: Algorithm,
    key: EncodingKey,
    public: Value,
    tokens: u64,
}

impl Issuer {
    fn new(algorithm: Algorithm) -> Self {
        let kind = match algorithm {
            Algorithm::ES256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Algorithm::EdDSA => &rcgen::PKCS_ED25519,
            _ => &rcgen::PKCS_RSA_SHA256,
        };
        let pair = rcgen::KeyPair::generate_for(kind).expect("a key");
        let key = match algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_der(pair.serialized_der()),
            Algorithm::EdDSA => EncodingKey::from_ed_der(pair.serialized_der()),
            _ => EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).expect("rcgen writes PEM"),
        };
        let mut public = match algorithm {
            Algorithm::EdDSA => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(pair.public_key_raw())})
            }
            _ => json!(Jwk::from_encoding_key(&key, algorithm).expect("a public half")),
        };
        public["kid"] = json!("k1");
        Self { algorithm, key, public, tokens: 0 }
    }

    /// Another token, with the claims that Auth0 puts in.
    fn token(&mut self) -> String {
        self.tokens += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = json!({
            "iss": "https://tenant.auth0.com/",
            "sub": "auth0|65f1a2b3c4d5e6f708192a3b",
            "aud": ["https://api.example.com", "https://tenant.auth0.com/userinfo"],
            "iat": now,
            "exp": now + 86_400,
            "scope": "openid profile email offline_access",
            "azp": "mY1CliEnTiDxxxxxxxxxxxxxxxxxxxxx",
            "jti": self.tokens,
        });
        let header = json!({"alg": self.algorithm, "typ": "JWT", "kid": "k1"});
        let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = crypto::sign(signed.as_bytes(), &self.key, self.algorithm).expect("a signature");
        format!("{signed}.{signature}")
    }

    /// A verifier that has loaded the key.
    fn verifier(&self, runtime: &Runtime) -> Verifier {
        let name = format!("pgusher-bench-{}-{:?}.json", std::process::id(), self.algorithm);
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, json!({"keys": [&self.public]}).to_string()).expect("a file");
        let mut config = ProviderConfig::new("auth0", "https://tenant.auth0.com/", KeySource::JwksFile(file.clone()));
        config.roles = vec![ROLE.to_owned()];
        config.audience = vec!["https://api.example.com".to_owned()];
        let (verifier, renewal) = Verifier::new(&[config]).expect("a sound configuration");
        runtime.spawn(renewal.run(|_| ()));
        assert!(runtime.block_on(verifier.ready()).is_empty());
        std::fs::remove_file(file).expect("the file is there");
        verifier
    }
}

fn token(c: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let mut issuer = Issuer::new(algorithm);
        let verifier = issuer.verifier(&runtime);
        let verify = async |token: &str| drop(verifier.verify(token, ROLE).await.expect("an identity"));
        let mut group = c.benchmark_group(format!("token {algorithm:?}"));
        // Each first one is signed for it, which takes RSA far longer than what is measured.
        group.measurement_time(Duration::from_secs(1)).sample_size(20);
        group.bench_function("first", |b| {
            b.iter_batched(|| issuer.token(), |token| runtime.block_on(verify(&token)), BatchSize::SmallInput);
        });
        let token = issuer.token();
        group.bench_function("again", |b| b.iter(|| runtime.block_on(verify(&token))));
        group.finish();
    }
}

criterion_group!(benches, token);
criterion_main!(benches);
