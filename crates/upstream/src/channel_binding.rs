//! `tls-server-end-point` of RFC 5929, section 4.1: SCRAM signs the hash of the server's certificate, so that who
//! stands in between with another certificate cannot pass the exchange on.

use std::str::FromStr;

use aws_lc_rs::digest::{self, Algorithm, SHA256, SHA384, SHA512};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;

/// libpq's `channel_binding`: whether a password is only good with a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// None is made.
    Disable,
    /// One is made where server and certificate can have it.
    Prefer,
    /// One is made, or there is no login.
    Require,
}

impl FromStr for Binding {
    type Err = UnknownBinding;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "disable" => Ok(Self::Disable),
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            _ => Err(UnknownBinding(word.to_owned())),
        }
    }
}

/// A word that is no `channel_binding`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a channel_binding: disable, prefer, require")]
pub struct UnknownBinding(pub String);

/// Signature algorithms with the hash that binds: the algorithm's own, but SHA-256 for MD5 and SHA-1. Ed25519 and
/// RSASSA-PSS are not here; Postgres before 16 has no binding for them, the RFC none for the first.
const HASHES: [(ObjectIdentifier, &Algorithm); 11] = [
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"), &SHA256), // md5WithRSAEncryption
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"), &SHA256), // sha1WithRSAEncryption
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"), &SHA256), // sha256WithRSAEncryption
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12"), &SHA384), // sha384WithRSAEncryption
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13"), &SHA512), // sha512WithRSAEncryption
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"), &SHA256),    // ecdsa-with-SHA1
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"), &SHA256),  // ecdsa-with-SHA256
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3"), &SHA384),  // ecdsa-with-SHA384
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4"), &SHA512),  // ecdsa-with-SHA512
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.14"), &digest::SHA224), // sha224WithRSAEncryption
    (ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.1"), &digest::SHA224), // ecdsa-with-SHA224
];

/// The binding to a certificate (DER), if its signature algorithm has one.
pub(crate) fn tls_server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = Certificate::from_der(certificate).ok()?.signature_algorithm().oid;
    let (_, hash) = HASHES.iter().find(|(oid, _)| *oid == algorithm)?;
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};

    fn binding(algorithm: &'static SignatureAlgorithm) -> Option<usize> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = CertificateParams::new(vec!["db".to_owned()]).unwrap().self_signed(&key).unwrap();
        tls_server_end_point(certificate.der()).map(|hash| hash.len())
    }

    #[test]
    fn the_hash_is_the_one_of_the_signature() {
        assert_eq!(binding(&rcgen::PKCS_ECDSA_P256_SHA256), Some(32));
        assert_eq!(binding(&rcgen::PKCS_ECDSA_P384_SHA384), Some(48));
        assert_eq!(binding(&rcgen::PKCS_RSA_SHA512), Some(64));
    }

    #[test]
    fn ed25519_and_what_is_no_certificate_have_no_binding() {
        assert_eq!(binding(&rcgen::PKCS_ED25519), None);
        assert_eq!(tls_server_end_point(b"no certificate"), None);
    }
}
