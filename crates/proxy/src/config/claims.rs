//! `[claims]`: how the database gets to know whose session it is.

use upstream::{ClaimsMode, Signer};

use super::secret::{self, NO_SIGNING_KEY, signing_key};
use super::section::Section;

pub(super) fn read(mut section: Section<'_>) -> Option<ClaimsMode> {
    let words =
        [("auto", Mode::Auto), ("pg_session_jwt", Mode::SessionJwt), ("signed", Mode::Signed), ("claims", Mode::Plain)];
    let mode = section.word("mode", &words).unwrap_or(Mode::Auto);
    let given = secret::is_given(&section, "secret");
    let secret = secret::read_made(&mut section, "secret");
    section.finish();
    let signer = || {
        let (key, secret) = secret?;
        let signing_key = signing_key(&secret);
        if signing_key.is_none() {
            section.error(&key, NO_SIGNING_KEY);
        }
        signing_key.map(|key| Signer::new(&key))
    };
    match mode {
        Mode::Plain => {
            section.warn("mode", "with \"claims\" whoever can run SQL can change the claims; \"signed\" prevents that");
            if given {
                section.error("mode", "\"claims\" signs nothing; a secret is for \"signed\"");
            }
            Some(ClaimsMode::Claims)
        }
        Mode::SessionJwt => {
            if given {
                section.error("mode", "\"pg_session_jwt\" signs with keys of its own; a secret is for \"signed\"");
            }
            Some(ClaimsMode::SessionJwt)
        }
        Mode::Signed => {
            if !given {
                section.error("secret_file", "missing: claims are signed with a secret that the database has too");
            }
            signer().map(ClaimsMode::Signed)
        }
        // Whether a secret is needed is for the database to say.
        Mode::Auto if !given => Some(ClaimsMode::Auto(None)),
        Mode::Auto => signer().map(|signer| ClaimsMode::Auto(Some(signer))),
    }
}

#[derive(Clone, Copy)]
enum Mode {
    Auto,
    SessionJwt,
    Signed,
    Plain,
}
