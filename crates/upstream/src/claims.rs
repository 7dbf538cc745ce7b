//! How claims reach the database, so that a user who may run any SQL cannot set others.
//!
//! In mode `signed` the claims carry an HMAC that the database recomputes with the same secret. What is signed ends
//! with their expiry and holds an *epoch*: a random number that the database, shown a proof that only we can make for
//! this backend, keeps where users can neither read nor write it. Claims copied to another backend find another epoch.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::{hmac, rand};

/// Which way the claims are to be set. What comes of it on a server are its [`Means`](crate::Means).
#[derive(Clone, Debug)]
pub enum ClaimsMode {
    /// Signed, and verified in the database by `auth.pgusher_init` and its readers.
    Signed(Signer),
    /// As `request.jwt.claims`, which anyone with SQL can change.
    Claims,
    /// Signed, and verified in the database by the extension `pg_session_jwt`.
    SessionJwt,
    /// By the extension where the database has it. Else signed, where it has `auth.pgusher_init`; for that a secret is
    /// needed.
    Auto(Option<Signer>),
}

/// The claims of one identity.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a> {
    /// The payload: a JSON object in ASCII.
    pub json: &'a str,
    /// When they stop to hold, in Unix seconds.
    pub expires: i64,
}

/// Signs claims with the secret that the database has too.
#[derive(Clone)]
pub struct Signer {
    /// Shared, because the prepared key is a kilobyte large.
    key: Arc<hmac::Key>,
    kid: String,
}

impl Signer {
    /// Takes the secret.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        let mut named = digest::Context::new(&SHA256);
        named.update(b"pgusher kid v1");
        named.update(secret);
        Self { key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret)), kid: hex(&named.finish().as_ref()[..8]) }
    }

    /// The name of the secret, which the database knows it by.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Claims with their signature, as they stand in the session.
    #[must_use]
    pub fn claims(&self, epoch: Epoch, expires: i64, json: &str) -> String {
        let body = format!(" claims1 {} {epoch} {expires} {json}", self.kid);
        self.hmac(&body) + &body
    }

    /// The proof that the backend `pid` may take `epoch` for its own.
    #[must_use]
    pub fn proof(&self, epoch: Epoch, pid: i32) -> String {
        self.hmac(&format!(" epoch1 {} {epoch} {pid}", self.kid))
    }

    fn hmac(&self, message: &str) -> String {
        hex(hmac::sign(&self.key, message.as_bytes()).as_ref())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// What ties claims to one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epoch {
    /// A positive number that was drawn for the backend, which keeps it in a sequence.
    Drawn(i64),
    /// The backend's process id: a standby cannot write a sequence.
    Pid(i32),
}

impl Epoch {
    pub(crate) fn draw() -> Self {
        let number = i64::from_be_bytes(random()) & i64::MAX;
        Self::Drawn(number.max(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drawn(number) => number.fmt(f),
            Self::Pid(pid) => write!(f, "pid:{pid}"),
        }
    }
}

/// Bytes from the system's generator.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system has random bytes");
    bytes
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::new(&[0x0a; 32])
    }

    #[test]
    fn the_bytes_are_those_that_the_database_computes() {
        // Computed apart, with: openssl dgst -sha256 -mac HMAC -macopt hexkey:0a0a…
        let signer = signer();
        assert_eq!(signer.kid(), "a341b2bb3d60bb9c");
        assert_eq!(
            signer.claims(Epoch::Drawn(7), 1_700_000_000, r#"{"sub":"alice"}"#),
            r#"835416cf8e51b8673f1009ddcbb82a129d5ae4ec6ef6c226eb89275f4415f2ed claims1 a341b2bb3d60bb9c 7 1700000000 {"sub":"alice"}"#
        );
        assert_eq!(
            signer.proof(Epoch::Drawn(7), 42),
            "72ce2f13ae8301b8e93f5e0a144f7ae399054484b9c049e0dcb788e194870fe7"
        );
    }

    #[test]
    fn debug_tells_no_secret() {
        assert_eq!(format!("{:?}", signer()), r#"Signer { kid: "a341b2bb3d60bb9c", .. }"#);
    }

    #[test]
    fn epochs_are_positive_and_differ() {
        let (Epoch::Drawn(one), Epoch::Drawn(other)) = (Epoch::draw(), Epoch::draw()) else { panic!("drawn epochs") };
        assert!(one > 0 && other > 0 && one != other);
        assert_eq!(Epoch::Pid(42).to_string(), "pid:42");
    }
}
