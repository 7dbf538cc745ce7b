//! Digests of several texts, by which identities and the states of sessions are told apart.

use aws_lc_rs::digest::{Context, SHA256};

/// A SHA-256.
pub(crate) type Digest = [u8; 32];

/// The digest of these texts. Each goes in with its length, so that two of them are not one.
pub(crate) fn digest<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut digest = Context::new(&SHA256);
    for text in texts {
        digest.update(&(text.len() as u64).to_be_bytes());
        digest.update(text);
    }
    digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_text_ends_makes_a_difference() {
        let of = |texts: &[&str]| digest(texts.iter().map(|text| text.as_bytes()));
        let all = [of(&[]), of(&[""]), of(&["ab"]), of(&["a", "b"]), of(&["", "ab"]), of(&["ab", ""])];
        assert!((0..all.len()).all(|one| (0..one).all(|other| all[one] != all[other])));
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
    }
}
