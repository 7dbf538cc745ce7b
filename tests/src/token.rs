//! Tokens for tests: good ones, and each with one thing wrong.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, Header};
use pgusher::demo::keys::SigningKey;
use serde_json::{Map, Value, json};

use crate::stage::Stage;

/// The audience that proxies of the tests demand.
pub const AUDIENCE: &str = "pgusher-tests";

/// A token in the making. Its `Display` signs it, each time anew: where it has to be the same token twice, keep the
/// text.
#[derive(Clone)]
pub struct Token<'a> {
    stage: &'a Stage,
    key: &'a SigningKey,
    header: Header,
    claims: Map<String, Value>,
}

impl<'a> Token<'a> {
    pub(crate) fn new(stage: &'a Stage, subject: &str) -> Self {
        let claims = json!({
            "iss": stage.issuer.url(), "aud": AUDIENCE, "sub": subject, "role": "authenticated",
            "iat": now(), "exp": now() + 600,
        });
        let Value::Object(claims) = claims else { unreachable!("an object") };
        let key = stage.key(Algorithm::ES256);
        Self { stage, key, header: key.header(), claims }
    }

    /// Signed by the issuer's key of this algorithm.
    #[must_use]
    pub fn signed_by(self, algorithm: Algorithm) -> Self {
        let key = self.stage.key(algorithm);
        self.signed_as(key, key.header())
    }

    /// Signed by this key, with this header.
    #[must_use]
    pub fn signed_as(mut self, key: &'a SigningKey, header: Header) -> Self {
        (self.key, self.header) = (key, header);
        self
    }

    /// With another or one more claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Without a claim.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Valid for so many more seconds; below zero it has expired.
    #[must_use]
    pub fn expires_in(self, seconds: i64) -> Self {
        self.claim("exp", now() + seconds)
    }

    /// Expired, beyond any leeway.
    #[must_use]
    pub fn expired(self) -> Self {
        self.expires_in(-3600)
    }

    /// From another issuer.
    #[must_use]
    pub fn issued_by(self, issuer: &str, key: &'a SigningKey) -> Self {
        self.signed_as(key, key.header()).claim("iss", issuer)
    }

    /// Its payload as the signature covers it.
    pub fn payload(&self) -> String {
        Value::from(self.claims.clone()).to_string()
    }

    /// At least this many bytes long, by a claim that means nothing.
    #[must_use]
    pub fn of_size(self, bytes: usize) -> Self {
        let missing = bytes.saturating_sub(self.to_string().len());
        self.claim("padding", "x".repeat(missing * 3 / 4 + 4))
    }
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key.sign_as(&self.header, &self.claims).map_err(|_| fmt::Error)?)
    }
}

/// Unix seconds.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_secs()).expect("before the year 292 billion")
}
