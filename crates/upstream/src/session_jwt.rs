//! Claims for the extension `pg_session_jwt`: a key pair for each server, and tokens signed with it.
//!
//! The extension takes the public key from the startup packet, which no SQL can change, and believes a token that the
//! private half has signed. So a token is worth nothing on any other server. On its own it would be worth something to
//! whoever comes next, for tokens may be read and given away by their owners; hence the extension takes one only if its
//! `jti` is higher than that of the last. It keeps the last token that it took, through `DISCARD ALL` and rollbacks, and
//! takes that one again without a further look. That is what lets a client's reset be made good with the same bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::value::{RawValue, to_raw_value};

use crate::claims::Claims;
use crate::error::Error;

/// The setting that holds the public key. Only a startup packet can set it.
pub(crate) const JWK: &str = "pg_session_jwt.jwk";

/// The setting that holds the token.
pub(crate) const JWT: &str = "pg_session_jwt.jwt";

const HEADER: &str = r#"{"alg":"EdDSA"}"#;

const JSON: &str = "numbers and text are JSON";

/// The key of one server, drawn for it, and the number of the last token that was signed with it.
pub struct SessionKey {
    pair: Ed25519KeyPair,
    jti: AtomicI64,
}

impl SessionKey {
    pub(crate) fn draw() -> Self {
        let pair = Ed25519KeyPair::generate().expect("the system has random bytes");
        Self { pair, jti: AtomicI64::new(0) }
    }

    /// The public half, as the startup packet has it.
    pub(crate) fn jwk(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#)
    }

    /// The claims in a token that goes before all that were signed with this key. Their own `jti` goes as `orig_jti`, times
    /// as whole seconds, which is all that the extension takes; `exp` is never later than the token's own.
    ///
    /// # Errors
    /// [`Error::Claims`]
    pub(crate) fn token(&self, claims: &Claims<'_>) -> Result<String, Error> {
        let mut payload: BTreeMap<String, &RawValue> = serde_json::from_str(claims.json).map_err(|_| Error::Claims)?;
        let own = payload.get("exp").and_then(|exp| whole_seconds(exp)).unwrap_or(i64::MAX);
        let expires = to_raw_value(&own.min(claims.expires)).expect(JSON);
        payload.insert("exp".to_owned(), &expires);
        let not_before = payload.get("nbf").and_then(|nbf| whole_seconds(nbf));
        let not_before = not_before.map(|seconds| to_raw_value(&seconds).expect(JSON));
        if let Some(seconds) = &not_before {
            payload.insert("nbf".to_owned(), seconds);
        }
        // What the token itself calls so is not what pgusher means by it.
        payload.remove("orig_jti");
        if let Some(jti) = payload.remove("jti") {
            payload.insert("orig_jti".to_owned(), jti);
        }
        Ok(self.sign(payload))
    }

    /// A token of nobody. It takes the place of the last one that the extension keeps.
    pub(crate) fn nobody(&self) -> String {
        self.sign(BTreeMap::new())
    }

    fn sign(&self, payload: BTreeMap<String, &RawValue>) -> String {
        let jti = to_raw_value(&(self.jti.fetch_add(1, Ordering::Relaxed) + 1)).expect(JSON);
        // As long as all of its values live, this one included.
        let mut payload: BTreeMap<String, &RawValue> = payload;
        payload.insert("jti".to_owned(), &jti);
        let payload = serde_json::to_string(&payload).expect(JSON);
        let body = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(body.as_bytes()));
        format!("{body}.{signature}")
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKey").field("jwk", &self.jwk()).finish_non_exhaustive()
    }
}

/// A time in seconds, rounded down; fractions are allowed in a token.
fn whole_seconds(time: &RawValue) -> Option<i64> {
    let text = time.get();
    // A float that is out of range becomes the nearest integer that is not.
    text.parse().ok().or_else(|| text.parse::<f64>().ok().map(|seconds| seconds.floor() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    use serde_json::{Value, json};

    const EXPIRES: i64 = 1_700_000_030;

    fn decoded(part: &str) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    fn payload(token: &str) -> Value {
        decoded(token.split('.').nth(1).unwrap())
    }

    fn payload_of(json: &str) -> Value {
        payload(&SessionKey::draw().token(&Claims { json, expires: EXPIRES }).unwrap())
    }

    #[test]
    fn a_token_is_signed_with_the_key_in_the_jwk() {
        let key = SessionKey::draw();
        let jwk: Value = serde_json::from_str(&key.jwk()).unwrap();
        assert_eq!((&jwk["kty"], &jwk["crv"]), (&json!("OKP"), &json!("Ed25519")));
        let public = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();

        let token = key.token(&Claims { json: r#"{"sub":"alice"}"#, expires: EXPIRES }).unwrap();

        let (body, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&ED25519, public).verify(body.as_bytes(), &signature).unwrap();
        assert_eq!(decoded(body.split('.').next().unwrap()), json!({"alg": "EdDSA"}));
    }

    #[test]
    fn every_token_of_a_key_has_a_higher_number() {
        let key = SessionKey::draw();
        let claims = Claims { json: r#"{"jti":"x"}"#, expires: EXPIRES };
        let tokens = [key.token(&claims).unwrap(), key.nobody(), key.token(&claims).unwrap()];

        assert_eq!(tokens.map(|token| payload(&token)["jti"].clone()), [json!(1), json!(2), json!(3)]);
    }

    #[test]
    fn the_tokens_own_number_is_kept_under_another_name() {
        assert_eq!(payload_of(r#"{"jti":"a\"b","orig_jti":7}"#)["orig_jti"], json!("a\"b"));
        assert_eq!(payload_of(r#"{"\u006ati":[1]}"#), json!({"jti": 1, "orig_jti": [1], "exp": EXPIRES}));
        assert_eq!(payload_of(r#"{"orig_jti":"forged"}"#), json!({"jti": 1, "exp": EXPIRES}));
    }

    #[test]
    fn the_tokens_own_expiry_holds_if_it_is_earlier() {
        for (exp, expected) in [
            ("1700000000", 1_700_000_000),
            ("1700000000.9", 1_700_000_000),
            ("17e8", 1_700_000_000),
            ("1800000000", EXPIRES),
            ("1e300", EXPIRES),
        ] {
            assert_eq!(payload_of(&format!(r#"{{"exp":{exp}}}"#))["exp"], json!(expected), "{exp}");
        }
    }

    #[test]
    fn all_else_goes_as_it_came() {
        let json = r#"{"sub":"alice","nbf":1.5,"id":12345678901234567890123,"o":{"jti":1},"name":"Zo\u00eb"}"#;
        let token = SessionKey::draw().token(&Claims { json, expires: EXPIRES }).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();

        let text = String::from_utf8(bytes).unwrap();

        for part in [r#""id":12345678901234567890123"#, r#""o":{"jti":1}"#, r#""nbf":1,"#, r#""name":"Zo\u00eb""#] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn debug_tells_the_public_half_alone() {
        let key = SessionKey::draw();
        assert_eq!(format!("{key:?}"), format!("SessionKey {{ jwk: {:?}, .. }}", key.jwk()));
    }
}
