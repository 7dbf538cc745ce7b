//! The signing key as the database keeps it: a name, and the two padded blocks of HMAC.

use aws_lc_rs::digest::{Context, SHA256};

/// Adds a key: `$1` text [`kid`], `$2` bytea and `$3` bytea the [`pads`]. A key that is known, retired or not, stays
/// as it is.
///
/// Bind the parameters: in the text of a statement they would end up in logs and `pg_stat_activity`.
pub const INSERT_KEY: &str = "INSERT INTO auth.keys (kid, ipad, opad) VALUES ($1, $2, $3) ON CONFLICT (kid) DO NOTHING";

/// Retires a key: `$1` text [`kid`]. What it signed is refused from the next statement on.
pub const RETIRE_KEY: &str =
    "UPDATE auth.keys SET valid_until = pg_catalog.clock_timestamp() WHERE kid OPERATOR(pg_catalog.=) $1";

/// The name of a key: the first 16 hex digits of SHA-256 over `pgusher kid v1` and the key.
///
/// It tells nothing about the key and stands in every signed text.
pub fn kid(key: &[u8; 32]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(b"pgusher kid v1");
    context.update(key);
    let digest = context.finish();
    digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The inner and outer block of HMAC-SHA256 (RFC 2104): the key, filled up with zeros, xor 0x36 and 0x5c.
///
/// As secret as the key itself.
pub fn pads(key: &[u8; 32]) -> ([u8; 64], [u8; 64]) {
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    (block.map(|byte| byte ^ 0x36), block.map(|byte| byte ^ 0x5c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::{digest, hmac};

    #[test]
    fn a_kid_is_the_start_of_a_hash_in_its_own_domain() {
        // printf 'pgusher kid v1' + 32 zero bytes | sha256sum
        assert_eq!(kid(&[0; 32]), "1b154ccce2749ce3");
    }

    #[test]
    fn the_pads_make_an_hmac_with_plain_sha256() {
        let key: [u8; 32] = std::array::from_fn(|i| i as u8);
        let (ipad, opad) = pads(&key);

        let inner = digest::digest(&SHA256, &[&ipad[..], b"message"].concat());
        let outer = digest::digest(&SHA256, &[&opad[..], inner.as_ref()].concat());

        let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), b"message");
        assert_eq!(outer.as_ref(), expected.as_ref());
    }
}
