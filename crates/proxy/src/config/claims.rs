//! `[claims]`: how the database gets to know whose session it is.

use upstream::{ClaimsMode, Signer};

use super::secret;
use super::section::Section;

pub(super) fn read(mut section: Section<'_>) -> Option<ClaimsMode> {
    section.refuse_word("mode", "pg_session_jwt");
    // `auto` takes the strongest mode of this version, which needs no question to the database yet.
    let words = [("auto", Mode::Signed), ("signed", Mode::Signed), ("claims", Mode::Plain)];
    let mode = section.word("mode", &words).unwrap_or(Mode::Signed);
    let given = secret::is_given(&section, "secret");
    let secret = secret::read(&mut section, "secret");
    section.finish();
    match mode {
        Mode::Plain => {
            section.warn("mode", "with \"claims\" whoever can run SQL can change the claims; \"signed\" prevents that");
            if given {
                section.error("mode", "\"claims\" signs nothing; a secret is for \"signed\"");
            }
            Some(ClaimsMode::Claims)
        }
        Mode::Signed => {
            if !given {
                section.error("secret_file", "missing: claims are signed with a secret that the database has too");
            }
            let (key, secret) = secret?;
            let signer = Signer::from_hex(&secret);
            if signer.is_none() {
                section.error(&key, "the secret has 64 hexadecimal digits (openssl rand -hex 32)");
            }
            signer.map(ClaimsMode::Signed)
        }
    }
}

#[derive(Clone, Copy)]
enum Mode {
    Signed,
    Plain,
}
