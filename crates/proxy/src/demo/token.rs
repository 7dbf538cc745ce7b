//! The demo's tokens: who signs them, and what they say. What is needed to sign is kept in a file beside the proxy's
//! configuration, so that another process can mint tokens for a running demo.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::home::write_private;
use super::keys::{KeyError, SigningKey};

/// The role that a token names unless it is asked for another.
pub const ROLE: &str = "authenticated";

/// The `aud` of the demo's tokens.
pub const AUDIENCE: &str = "pgusher-demo";

/// The algorithm of the demo's key: its tokens are the shortest, so that they paste well.
const ALGORITHM: Algorithm = Algorithm::ES256;

/// Signs the demo's tokens.
#[derive(Clone)]
pub struct Minter {
    issuer: String,
    key: SigningKey,
}

/// A [`Minter`] in its file.
#[derive(Serialize, Deserialize)]
struct Stored {
    issuer: String,
    key: String,
}

/// What a token is to say.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The subject.
    pub sub: String,
    /// The claim `role`.
    pub role: String,
    /// When the token was made. Before this it is not valid.
    pub issued: SystemTime,
    /// How long it is valid after that.
    pub ttl: Duration,
    /// Further claims. One that a token has anyway is replaced, so that every refusal can be tried.
    pub claims: Vec<(String, Value)>,
}

/// Why a stored [`Minter`] cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MinterError {
    /// The file cannot be read.
    #[error("cannot read the issuer's key {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path} does not hold an issuer's key: {source}")]
    Malformed {
        /// The file.
        path: String,
        /// What was found.
        source: serde_json::Error,
    },
    /// The key in it cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Wish {
    /// A token for `sub` in the role [`ROLE`], valid for `ttl` from now on.
    pub fn new(sub: &str, ttl: Duration) -> Self {
        Self { sub: sub.into(), role: ROLE.into(), issued: SystemTime::now(), ttl, claims: Vec::new() }
    }
}

impl Minter {
    /// A minter with a new key, for an issuer that has no address yet.
    pub fn generate() -> Result<Self, KeyError> {
        let key = SigningKey::generate(ALGORITHM)?;
        let issuer = String::new();
        Ok(Self { issuer, key })
    }

    /// The same key under the `iss` of the running issuer.
    #[must_use]
    pub fn at(self, issuer: &str) -> Self {
        let issuer = issuer.into();
        Self { issuer, ..self }
    }

    /// Reads what [`Self::save`] wrote.
    pub fn load(path: &Path) -> Result<Self, MinterError> {
        let name = || path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| MinterError::Io { path: name(), source })?;
        let stored: Stored =
            serde_json::from_str(&text).map_err(|source| MinterError::Malformed { path: name(), source })?;
        let key = SigningKey::from_pem(ALGORITHM, stored.key)?;
        let issuer = stored.issuer;
        Ok(Self { issuer, key })
    }

    /// Writes it to a file that only its owner may read.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let stored = json!({"issuer": self.issuer, "key": self.key.pem()});
        write_private(path, &format!("{stored:#}\n"))
    }

    /// Its key.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// A token that says what is wished.
    pub fn mint(&self, wish: &Wish) -> Result<String, KeyError> {
        self.key.sign(&self.claims(wish))
    }

    /// The same, valid in form and with the same `kid`, but signed by a key that was made for the purpose.
    pub fn forge(&self, wish: &Wish) -> Result<String, KeyError> {
        SigningKey::generate(ALGORITHM)?.sign_as(&self.key.header(), &self.claims(wish))
    }

    fn claims(&self, wish: &Wish) -> Map<String, Value> {
        let issued = wish.issued.duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires = issued.saturating_add(wish.ttl);
        let standard = [
            ("iss", json!(self.issuer)),
            ("sub", json!(wish.sub)),
            ("aud", json!(AUDIENCE)),
            ("iat", json!(issued.as_secs())),
            ("exp", json!(expires.as_secs())),
            ("role", json!(wish.role)),
        ];
        let standard = standard.map(|(name, value)| (name.into(), value));
        standard.into_iter().chain(wish.claims.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::super::home::Scratch;
    use super::*;

    fn minter() -> Minter {
        Minter::generate().unwrap().at("http://127.0.0.1:1")
    }

    fn part(token: &str, index: usize) -> Value {
        let part = token.split('.').nth(index).unwrap();
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn a_token_says_who_for_whom_and_until_when() {
        let issued = UNIX_EPOCH + Duration::from_secs(1_000);
        let wish = Wish {
            issued,
            claims: vec![("tenant".into(), json!("acme"))],
            ..Wish::new("alice", Duration::from_secs(60))
        };

        let claims = part(&minter().mint(&wish).unwrap(), 1);

        let expected = json!({
            "iss": "http://127.0.0.1:1", "sub": "alice", "aud": AUDIENCE, "role": ROLE,
            "iat": 1_000, "exp": 1_060, "tenant": "acme",
        });
        assert_eq!(claims, expected);
    }

    #[test]
    fn a_further_claim_replaces_the_usual_one() {
        let wish = Wish { claims: vec![("aud".into(), json!(["elsewhere"]))], ..Wish::new("alice", Duration::ZERO) };
        let claims = part(&minter().mint(&wish).unwrap(), 1);
        assert_eq!(claims["aud"], json!(["elsewhere"]));
    }

    #[test]
    fn a_forged_token_differs_in_its_signature_only() {
        let minter = minter();
        let wish = Wish::new("alice", Duration::from_secs(60));
        let honest = minter.mint(&wish).unwrap();
        let forged = minter.forge(&wish).unwrap();
        assert_eq!(part(&honest, 0), part(&forged, 0));
        assert_eq!(part(&honest, 1), part(&forged, 1));
        assert_ne!(honest, forged);
    }

    #[test]
    fn another_process_mints_with_the_stored_key() {
        let scratch = Scratch::new("token").unwrap();
        let path = scratch.path().join("issuer.json");
        let minter = minter();
        minter.save(&path).unwrap();

        let loaded = Minter::load(&path).unwrap();

        assert_eq!(loaded.key().public(), minter.key().public());
        assert_eq!(loaded.issuer, minter.issuer);
    }
}
