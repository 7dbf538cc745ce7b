//! Keys that sign tokens: made here, kept as PEM, published as a JWK. One for each algorithm that tokens may use, so that
//! a development issuer can stand in for any real one.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

/// A private key with the one algorithm that it signs by.
#[derive(Clone)]
pub struct SigningKey {
    algorithm: Algorithm,
    pem: String,
    private: EncodingKey,
    public: Jwk,
}

/// A key cannot be made or read, or does not sign.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The shared-secret algorithms have no key to publish.
    #[error("{0:?} has no public key")]
    Symmetric(Algorithm),
    /// No key could be generated.
    #[error("no key could be generated")]
    Generate(#[from] Unspecified),
    /// The key does not fit its algorithm, or signing failed.
    #[error("the signing key is unusable: {0}")]
    Unusable(#[from] jsonwebtoken::errors::Error),
}

impl SigningKey {
    /// A new key: RSA of 2048 bits, the curve that `algorithm` is for, or Ed25519.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let der = match algorithm {
            Algorithm::ES256 => elliptic(&ECDSA_P256_SHA256_FIXED_SIGNING)?,
            Algorithm::ES384 => elliptic(&ECDSA_P384_SHA384_FIXED_SIGNING)?,
            // Version 1: the form without a public key is the only one that jsonwebtoken reads.
            Algorithm::EdDSA => Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new())?.as_ref().into(),
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                return Err(KeyError::Symmetric(algorithm));
            }
            _ => rsa()?,
        };
        let body = BASE64_STANDARD.encode(der);
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        Self::from_pem(algorithm, pem)
    }

    /// Reads what [`Self::pem`] gave.
    pub fn from_pem(algorithm: Algorithm, pem: String) -> Result<Self, KeyError> {
        let private = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem.as_bytes())?,
            Algorithm::EdDSA => EncodingKey::from_ed_pem(pem.as_bytes())?,
            _ => EncodingKey::from_rsa_pem(pem.as_bytes())?,
        };
        let mut public = Jwk::from_encoding_key(&private, algorithm)?;
        public.common.key_id = Some(public.thumbprint(ThumbprintHash::SHA256)?);
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { algorithm, pem, private, public })
    }

    /// The algorithm that it signs by.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The private key as PKCS#8 in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The public half, with `kid` (its RFC 7638 thumbprint), `alg` and `use`.
    pub fn public(&self) -> &Jwk {
        &self.public
    }

    /// The header of its tokens: `alg`, `typ` and `kid`.
    pub fn header(&self) -> Header {
        Header { kid: self.public.common.key_id.clone(), ..Header::new(self.algorithm) }
    }

    /// A token with these claims, which are not looked at.
    pub fn sign<T: Serialize>(&self, claims: &T) -> Result<String, KeyError> {
        self.sign_as(&self.header(), claims)
    }

    /// A token with a header that says something else of its key than is true, such as another key's `kid`.
    pub fn sign_as<T: Serialize>(&self, header: &Header, claims: &T) -> Result<String, KeyError> {
        Ok(encode(header, claims, &self.private)?)
    }
}

fn elliptic(curve: &'static EcdsaSigningAlgorithm) -> Result<Vec<u8>, Unspecified> {
    let document = EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new())?;
    Ok(document.as_ref().into())
}

fn rsa() -> Result<Vec<u8>, Unspecified> {
    let der: Pkcs8V1Der<'static> = RsaKeyPair::generate(KeySize::Rsa2048)?.as_der()?;
    Ok(der.as_ref().into())
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
    use serde_json::{Value, json};

    use super::*;

    fn verifies(token: &str, key: &SigningKey) -> bool {
        let public = DecodingKey::from_jwk(key.public()).unwrap();
        let mut rules = Validation::new(key.algorithm());
        rules.required_spec_claims.clear();
        rules.validate_exp = false;
        decode::<Value>(token, &public, &rules).is_ok()
    }

    #[test]
    fn a_key_of_every_algorithm_signs_what_its_published_half_verifies() {
        for algorithm in [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
            let key = SigningKey::generate(algorithm).unwrap();
            let token = key.sign(&json!({"sub": "alice"})).unwrap();
            assert!(verifies(&token, &key), "{algorithm:?}");
        }
    }

    #[test]
    fn a_key_read_back_is_the_same_key() {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        let again = SigningKey::from_pem(Algorithm::ES256, key.pem().into()).unwrap();
        assert_eq!(again.public(), key.public());
    }

    #[test]
    fn a_stranger_can_claim_a_kid_but_not_sign_for_it() {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        let stranger = SigningKey::generate(Algorithm::ES256).unwrap();
        let token = stranger.sign_as(&key.header(), &json!({})).unwrap();
        assert_eq!(decode_header(&token).unwrap().kid, key.header().kid);
        assert!(!verifies(&token, &key));
    }

    #[test]
    fn a_shared_secret_is_no_signing_key() {
        let refused = SigningKey::generate(Algorithm::HS256);
        assert!(matches!(refused, Err(KeyError::Symmetric(_))));
    }
}
