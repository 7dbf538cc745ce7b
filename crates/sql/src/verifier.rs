//! A password as the database keeps it: the proof of somebody else's password can be checked with it, but not given.

use std::num::NonZeroU32;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postgres_protocol::password::scram_sha_256;

/// The SCRAM-SHA-256 verifier of a password, with a new salt at each call. PostgreSQL takes it in the place of a
/// password as it is.
#[must_use]
pub fn scram_verifier(password: &str) -> String {
    scram_sha_256(password.as_bytes())
}

/// Whether this is a SCRAM-SHA-256 verifier of this password; nobody knows if the password is not ASCII, for then there
/// are several ways to write it.
#[must_use]
pub fn scram_verifies(verifier: &str, password: &str) -> Option<bool> {
    password.is_ascii().then(|| verifies(verifier, password).unwrap_or(false))
}

/// By RFC 5802, section 3; the form is that of PostgreSQL, `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
fn verifies(verifier: &str, password: &str) -> Option<bool> {
    let (start, keys) = verifier.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
    let (iterations, salt) = start.split_once(':')?;
    let (stored, _) = keys.split_once(':')?;
    let iterations: NonZeroU32 = iterations.parse().ok()?;
    let [salt, stored] = [salt, stored].map(|text| STANDARD.decode(text).ok());
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt?, password.as_bytes(), &mut salted);
    let client_key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salted), b"Client Key");
    let key = digest::digest(&digest::SHA256, client_key.as_ref());
    Some(verify_slices_are_equal(key.as_ref(), &stored?).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_fits_its_password_and_no_other() {
        let verifier = scram_verifier("hunter2");
        assert_eq!(scram_verifies(&verifier, "hunter2"), Some(true));
        assert_eq!(scram_verifies(&verifier, "hunter3"), Some(false));
        assert_eq!(scram_verifies(&verifier, "häuter2"), None);
        for damaged in ["", "hunter2", "md5aaaa", "SCRAM-SHA-256$0:AAAA$AAAA:AAAA", "SCRAM-SHA-256$4096:?$AAAA:AAAA"] {
            assert_eq!(scram_verifies(damaged, "hunter2"), Some(false), "{damaged}");
        }
    }

    #[test]
    fn a_verifier_does_not_contain_the_password() {
        let [first, second] = ["hunter2", "hunter2"].map(scram_verifier);
        assert!(first.starts_with("SCRAM-SHA-256$4096:") && !first.contains("hunter2"));
        assert_ne!(first, second, "each has a salt of its own");
    }
}
