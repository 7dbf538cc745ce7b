//! Tokens for tests: good ones, and each with one thing wrong.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, Header};
use pgusher::demo::keys::SigningKey;
use serde_json::{Map, Value, json};

use crate::stage::Stage;

/// The audience that proxies of the tests demand.
pub(crate) const AUDIENCE: &str = "pgusher-tests";

/// A token in the making. Its `Display` is the signed token.
#[derive(Clone)]
pub struct Token<'a> {
    key: &'a SigningKey,
    keys: &'a [SigningKey],
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
        let key = &stage.keys[0];
        Self { key, keys: &stage.keys, header: key.header(), claims }.signed_by(Algorithm::ES256)
    }

    /// Signed by the issuer's key of this algorithm.
    #[must_use]
    pub fn signed_by(mut self, algorithm: Algorithm) -> Self {
        let key = self.keys.iter().find(|key| key.algorithm() == algorithm);
        self.key = key.expect("the issuer has a key of this algorithm");
        self.header = self.key.header();
        self
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
pub(crate) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_secs()).expect("before the year 292 billion")
}
