//! A password as the database keeps it: the proof of somebody else's password can be checked with it, but not given.

use postgres_protocol::password::scram_sha_256;

/// The SCRAM-SHA-256 verifier of a password, with a new salt at each call. PostgreSQL takes it in the place of a
/// password as it is.
#[must_use]
pub fn scram_verifier(password: &str) -> String {
    scram_sha_256(password.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_does_not_contain_the_password() {
        let [first, second] = ["hunter2", "hunter2"].map(scram_verifier);
        assert!(first.starts_with("SCRAM-SHA-256$4096:") && !first.contains("hunter2"));
        assert_ne!(first, second, "each has a salt of its own");
    }
}
