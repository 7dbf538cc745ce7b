//! The proxy's half of the contract, written from its description and not from the proxy's code.

use std::fmt::Display;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use tokio_postgres::Client;

/// Signs as pgusher does, with one key.
#[derive(Clone)]
pub(crate) struct Signer {
    pub(crate) key: [u8; 32],
    pub(crate) kid: String,
}

impl Signer {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key, kid: pgusher_sql::kid(&key) }
    }

    /// A signer with a key that nobody else has.
    pub(crate) fn unknown() -> Self {
        let mut key = [0x42; 32];
        key[..4].copy_from_slice(&crate::postgres::unique().to_be_bytes());
        Self::new(key)
    }

    pub(crate) async fn install_in(&self, admin: &Client) {
        let (ipad, opad) = pgusher_sql::pads(&self.key);
        admin.execute(pgusher_sql::INSERT_KEY, &[&self.kid, &&ipad[..], &&opad[..]]).await.unwrap();
    }

    pub(crate) fn pads(&self) -> ([u8; 64], [u8; 64]) {
        pgusher_sql::pads(&self.key)
    }

    pub(crate) fn claims(&self, epoch: impl Display, expiry: impl Display, json: &str) -> String {
        self.signed(&format!(" claims1 {} {epoch} {expiry} {json}", self.kid))
    }

    pub(crate) fn proof(&self, epoch: impl Display, pid: i32) -> String {
        self.mac(&format!(" epoch1 {} {epoch} {pid}", self.kid))
    }

    pub(crate) fn signed(&self, body: &str) -> String {
        self.mac(body) + body
    }

    fn mac(&self, message: &str) -> String {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.key), message.as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Unix time, so many seconds from now.
pub(crate) fn from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + seconds
}
