//! The keys of one provider: which algorithms each may verify, and which key a token means.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, crypto};
use serde::Deserialize;
use serde_json::Value;

use crate::token::MAX_KEY_ID;

/// The most keys that one provider may have. Issuers have two or three.
const MAX_KEYS: usize = 100;

/// The sizes of RSA keys that are used, in bits: not too weak, and not so large that checking one
/// signature is an attack.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A key that verifies.
pub(crate) struct Key {
    id: Option<String>,
    /// What it may verify: what its type can, narrowed by its own `alg`.
    algorithms: Vec<Algorithm>,
    material: DecodingKey,
    /// SHA-256 of all that the issuer said about it.
    fingerprint: Vec<u8>,
}

/// The keys of a provider at one time.
pub(crate) struct KeySet {
    keys: Vec<Arc<Key>>,
    /// Why others of the document are not among them.
    skipped: Vec<String>,
}

/// Why no key was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// None has this id, or none suits a token without id. A newer set may have one.
    Unknown,
    /// There is one of this id, and it is not for this algorithm.
    Mismatch,
    /// Several would do.
    Ambiguous,
}

impl KeySet {
    /// Reads a JWKS document (RFC 7517 §5). A key that cannot be used is left out; the others stay.
    ///
    /// # Errors
    /// When the document is none, or holds too many keys.
    pub(crate) fn from_jwks(document: &[u8]) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let Ok(Document { keys: found }) = serde_json::from_slice(document) else {
            return Err("not a JWKS document");
        };
        if found.len() > MAX_KEYS {
            return Err("more than 100 keys in the JWKS document");
        }
        let mut set = Self { keys: Vec::new(), skipped: Vec::new() };
        for (position, value) in found.into_iter().enumerate() {
            match Key::from_jwk(value) {
                Ok(key) => set.keys.push(Arc::new(key)),
                Err(reason) => set.skipped.push(format!("key {}: {reason}", position + 1)),
            }
        }
        Ok(set)
    }

    /// The one key of a provider that shares a secret with us.
    pub(crate) fn from_secret(secret: &[u8]) -> Self {
        Self { keys: vec![Arc::new(Key::from_secret(secret))], skipped: Vec::new() }
    }

    /// The key that a token means by `key_id` and `algorithm`.
    pub(crate) fn find(&self, key_id: Option<&str>, algorithm: Algorithm) -> Result<&Arc<Key>, NoKey> {
        let named = |key: &&Arc<Key>| key_id.is_none() || key.id.as_deref() == key_id;
        let mut suitable = self.keys.iter().filter(named).filter(|key| key.verifies(algorithm));
        match (suitable.next(), suitable.next()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(NoKey::Ambiguous),
            (None, _) if key_id.is_some() && self.keys.iter().any(|key| named(&key)) => Err(NoKey::Mismatch),
            (None, _) => Err(NoKey::Unknown),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn skipped(&self) -> &[String] {
        &self.skipped
    }
}

impl Key {
    fn from_jwk(value: Value) -> Result<Self, &'static str> {
        let fingerprint = fingerprint(value.to_string().as_bytes());
        let jwk: Jwk = serde_json::from_value(value).map_err(|_| "not a JWK")?;
        check_purpose(&jwk)?;
        let material = DecodingKey::from_jwk(&jwk).map_err(|_| "unsupported type or encoding")?;
        let possible = possible_algorithms(&jwk.algorithm, &material)?;
        Ok(Self {
            algorithms: narrowed(possible, jwk.common.key_algorithm)?,
            id: jwk.common.key_id,
            material,
            fingerprint,
        })
    }

    fn from_secret(secret: &[u8]) -> Self {
        Self {
            id: None,
            algorithms: secret_algorithms(secret),
            material: DecodingKey::from_secret(secret),
            fingerprint: fingerprint(secret),
        }
    }

    /// Did this key sign `signed`? `signature` is in base64url.
    pub(crate) fn signed(&self, signed: &str, signature: &str, algorithm: Algorithm) -> bool {
        self.verifies(algorithm)
            && crypto::verify(signature, signed.as_bytes(), &self.material, algorithm).unwrap_or(false)
    }

    /// Is it the same, in all that the issuer says about it?
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }

    fn verifies(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }
}

/// What a shared secret may verify: RFC 7518 §3.2 wants it at least as long as the hash.
pub(crate) fn secret_algorithms(secret: &[u8]) -> Vec<Algorithm> {
    let sizes = [(32, Algorithm::HS256), (48, Algorithm::HS384), (64, Algorithm::HS512)];
    sizes.into_iter().filter(|(size, _)| secret.len() >= *size).map(|(_, algorithm)| algorithm).collect()
}

fn fingerprint(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

/// A key for anything but verifying signatures is not ours to use.
fn check_purpose(jwk: &Jwk) -> Result<(), &'static str> {
    let common = &jwk.common;
    if common.key_id.as_ref().is_some_and(|id| id.len() > MAX_KEY_ID) {
        return Err("its id is too long");
    }
    if common.public_key_use.as_ref().is_some_and(|to| *to != PublicKeyUse::Signature) {
        return Err("its use is not \"sig\"");
    }
    if common.key_operations.as_ref().is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
        return Err("its key_ops lack \"verify\"");
    }
    Ok(())
}

/// What a key of this type and curve can verify, if it is sound. A symmetric key is never one: who
/// publishes it lets everybody sign.
fn possible_algorithms(
    parameters: &AlgorithmParameters,
    material: &DecodingKey,
) -> Result<&'static [Algorithm], &'static str> {
    match parameters {
        AlgorithmParameters::RSA(_) => sound_rsa(material).map(|()| RSA_ALGORITHMS),
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => {
                sound_point(material, &signature::ECDSA_P256_SHA256_FIXED).map(|()| &[Algorithm::ES256][..])
            }
            EllipticCurve::P384 => {
                sound_point(material, &signature::ECDSA_P384_SHA384_FIXED).map(|()| &[Algorithm::ES384][..])
            }
            _ => Err("unsupported curve"),
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            sound_point(material, &signature::ED25519).map(|()| &[Algorithm::EdDSA][..])
        }
        AlgorithmParameters::OctetKey(_) => Err("a symmetric key in a published set"),
        _ => Err("unsupported type or curve"),
    }
}

const RSA_ALGORITHMS: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// Modulus within the bounds; exponent odd, above 1 and within 33 bits, as the library demands.
fn sound_rsa(material: &DecodingKey) -> Result<(), &'static str> {
    let DecodingKeyKind::RsaModulusExponent { n, e } = material.kind() else {
        return Err("not an RSA key");
    };
    if !RSA_BITS.contains(&bits(n)) {
        return Err("its RSA modulus has not 2048 to 8192 bits");
    }
    let odd = e.last().is_some_and(|byte| byte % 2 == 1);
    if !odd || !(2..=33).contains(&bits(e)) {
        return Err("its RSA exponent is unsound");
    }
    Ok(())
}

fn bits(number: &[u8]) -> usize {
    let leading = number.iter().take_while(|byte| **byte == 0).count();
    let number = &number[leading..];
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

fn sound_point(material: &DecodingKey, algorithm: &'static dyn VerificationAlgorithm) -> Result<(), &'static str> {
    let bytes = material.try_get_as_bytes().map_err(|_| "not a point")?;
    match ParsedPublicKey::new(algorithm, bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err("not a point of its curve"),
    }
}

fn narrowed(possible: &'static [Algorithm], to: Option<KeyAlgorithm>) -> Result<Vec<Algorithm>, &'static str> {
    let Some(to) = to else { return Ok(possible.to_vec()) };
    match possible.iter().find(|algorithm| KeyAlgorithm::from(**algorithm) == to) {
        Some(algorithm) => Ok(vec![*algorithm]),
        None => Err("its alg does not suit its type"),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    /// RFC 7517, appendix A.1.
    fn rsa() -> Value {
        json!({"kty": "RSA", "kid": "rsa", "e": "AQAB", "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"})
    }

    fn p256() -> Value {
        json!({"kty": "EC", "crv": "P-256", "kid": "ec",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"})
    }

    /// RFC 8037, appendix A.2.
    fn ed25519() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    fn set(keys: &[Value]) -> KeySet {
        KeySet::from_jwks(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    fn algorithms(key: Value) -> Vec<Algorithm> {
        Key::from_jwk(key).map_or_else(|_| Vec::new(), |key| key.algorithms)
    }

    #[test]
    fn the_type_of_a_key_says_what_it_verifies() {
        assert_eq!(algorithms(rsa()), RSA_ALGORITHMS);
        assert_eq!(algorithms(p256()), [Algorithm::ES256]);
        assert_eq!(algorithms(ed25519()), [Algorithm::EdDSA]);
    }

    #[test]
    fn the_alg_of_a_key_narrows_that_to_one() {
        assert_eq!(algorithms(with(rsa(), "alg", json!("PS384"))), [Algorithm::PS384]);
        assert_eq!(algorithms(with(p256(), "alg", json!("ES256"))), [Algorithm::ES256]);
        for misfit in ["ES384", "RS256", "HS256", "EdDSA", "RSA-OAEP", "none"] {
            assert_eq!(algorithms(with(p256(), "alg", json!(misfit))), []);
        }
    }

    #[test]
    fn a_bad_key_is_skipped_and_the_others_stay() {
        let modulus = |zeros, ones| json!(URL_SAFE_NO_PAD.encode([vec![0; zeros], vec![255; ones]].concat()));
        let rsa_bits = "its RSA modulus has not 2048 to 8192 bits";
        let bad = [
            (json!({"kty": "oct", "k": "c2VjcmV0", "kid": "a"}), "a symmetric key in a published set"),
            (with(rsa(), "use", json!("enc")), "its use is not \"sig\""),
            (with(rsa(), "key_ops", json!(["encrypt"])), "its key_ops lack \"verify\""),
            (with(rsa(), "n", modulus(0, 255)), rsa_bits),
            (with(rsa(), "n", modulus(9, 255)), rsa_bits),
            (with(rsa(), "n", modulus(0, 1025)), rsa_bits),
            (with(rsa(), "e", json!("AQ")), "its RSA exponent is unsound"),
            (with(rsa(), "e", json!("BA")), "its RSA exponent is unsound"),
            (with(rsa(), "e", json!("AQAAAAAB")), "its RSA exponent is unsound"),
            (with(p256(), "x", p256()["y"].clone()), "not a point of its curve"),
            (with(p256(), "crv", json!("P-521")), "unsupported curve"),
            (with(p256(), "crv", json!("Ed25519")), "unsupported curve"),
            (with(ed25519(), "crv", json!("P-256")), "unsupported type or curve"),
            (with(ed25519(), "crv", json!("Ed448")), "unsupported type or encoding"),
            (with(p256(), "kid", json!("k".repeat(257))), "its id is too long"),
            (with(p256(), "kid", json!(7)), "not a JWK"),
            (json!("key"), "not a JWK"),
        ];
        for (key, reason) in bad {
            let set = set(&[key.clone(), ed25519()]);
            assert_eq!(set.skipped(), [format!("key 1: {reason}")], "{key}");
            assert!(set.find(Some("ed"), Algorithm::EdDSA).is_ok());
        }
    }

    #[test]
    fn a_document_is_a_set_of_at_most_100_keys() {
        for document in ["", "{}", "[]", r#"{"keys":{}}"#, "<html>"] {
            assert!(KeySet::from_jwks(document.as_bytes()).is_err(), "{document}");
        }
        let many = |count| json!({"keys": vec![p256(); count]}).to_string();
        assert!(KeySet::from_jwks(many(100).as_bytes()).is_ok());
        assert!(KeySet::from_jwks(many(101).as_bytes()).is_err());
    }

    #[test]
    fn a_key_is_found_by_id_and_algorithm() {
        let set = set(&[rsa(), p256()]);
        let fault = |id, algorithm| set.find(id, algorithm).err();

        assert_eq!(fault(Some("ec"), Algorithm::ES256), None);
        assert_eq!(fault(Some("ec"), Algorithm::RS256), Some(NoKey::Mismatch));
        assert_eq!(fault(Some("ed"), Algorithm::EdDSA), Some(NoKey::Unknown));
    }

    #[test]
    fn without_an_id_exactly_one_key_must_suit() {
        let set = set(&[rsa(), p256(), with(p256(), "kid", json!("ec2"))]);
        let fault = |algorithm| set.find(None, algorithm).err();

        assert_eq!(fault(Algorithm::RS256), None);
        assert_eq!(fault(Algorithm::ES256), Some(NoKey::Ambiguous));
        assert_eq!(fault(Algorithm::EdDSA), Some(NoKey::Unknown));
    }

    #[test]
    fn keys_of_different_types_may_share_an_id() {
        let set = set(&[with(rsa(), "kid", json!("ec")), p256(), p256()]);

        assert!(set.find(Some("ec"), Algorithm::RS256).is_ok());
        assert_eq!(set.find(Some("ec"), Algorithm::ES256).err(), Some(NoKey::Ambiguous));
    }

    #[test]
    fn a_secret_is_as_long_as_the_hash() {
        let algorithms = |size| secret_algorithms(&vec![7; size]).len();

        assert_eq!([31, 32, 48, 64].map(algorithms), [0, 1, 2, 3]);
    }

    #[test]
    fn a_changed_key_is_another_key() {
        let found = |keys: &[Value]| set(keys).find(None, Algorithm::ES256).unwrap().clone();
        let key = found(&[p256()]);

        assert!(key.is(&found(&[rsa(), p256()])));
        assert!(!key.is(&found(&[with(p256(), "use", json!("sig"))])));
    }
}
