//! Every reason for which a token gets nobody in, one variant per rule.
//!
//! The `Display` text is meant for the client's error DETAIL. It never holds the token, and of
//! claims that nobody has verified it shows `iss`, `kid` and `alg` only, cut and quoted so that
//! they can neither flood nor forge a log line.

use std::fmt;

use crate::token::MAX_TOKEN;

/// Why a login was refused. `Display` says it in one line, fit for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The password is empty.
    #[error("no token was sent")]
    Empty,
    /// The text begins with an HTTP authentication scheme.
    #[error("the token starts with \"Bearer \"")]
    BearerPrefix,
    /// Longer than [`MAX_TOKEN`].
    #[error("the token is {size} bytes long, more than the limit of {MAX_TOKEN}")]
    TooLarge {
        /// Length of what was sent, in bytes.
        size: usize,
    },
    /// As long as a terminal's longest line, and not valid as it stands.
    #[error("the token is not valid and ends after exactly 4095 bytes")]
    Truncated,
    /// Not the compact form of a signed JWT.
    #[error("not a JWT: {0}")]
    NotAJwt(&'static str),
    /// Five parts: an encrypted token, which only its audience can read.
    #[error("the token is encrypted (JWE), not signed")]
    Encrypted,
    /// Header or payload break the rules for JSON objects.
    #[error("the token's {part} is refused: {reason}")]
    Json {
        /// `header` or `payload`.
        part: &'static str,
        /// The rule and the place.
        reason: String,
    },
    /// A header member that has the wrong type or is too long, or is missing although required.
    #[error("the token's header has no usable \"{0}\"")]
    Header(&'static str),
    /// The header demands extensions (`crit`), and pgusher knows none.
    #[error("the token's header demands extensions (\"crit\")")]
    Critical,
    /// A claim that is required is absent.
    #[error("the claim \"{0}\" is missing")]
    MissingClaim(&'static str),
    /// A claim has the wrong type or an impossible value.
    #[error("the claim \"{0}\" is malformed")]
    MalformedClaim(&'static str),
    /// `iss` is not the issuer of any provider.
    #[error("no provider has the issuer {issuer:?}")]
    UnknownIssuer {
        /// The `iss` claim, unverified.
        issuer: String,
    },
    /// An algorithm that is never accepted; `none` is one of them.
    #[error("the algorithm {algorithm:?} is not supported")]
    UnsupportedAlgorithm {
        /// The header's `alg`, unverified.
        algorithm: String,
    },
    /// An algorithm that this provider does not accept.
    #[error("provider {provider}: the algorithm {algorithm} is not allowed")]
    AlgorithmNotAllowed {
        /// The provider's configured name.
        provider: String,
        /// The header's `alg`.
        algorithm: String,
    },
    /// The provider has no key of this id, or none that suits a token without one.
    #[error("provider {provider}: no key {}", named(.key_id.as_deref()))]
    UnknownKey {
        /// The provider's configured name.
        provider: String,
        /// The header's `kid`, unverified.
        key_id: Option<String>,
    },
    /// There is such a key, but it is not for this algorithm.
    #[error("provider {provider}: the key {} is not for {algorithm}", named(.key_id.as_deref()))]
    KeyMismatch {
        /// The provider's configured name.
        provider: String,
        /// The header's `kid`.
        key_id: Option<String>,
        /// The header's `alg`.
        algorithm: String,
    },
    /// Several keys suit the token, and it does not say which one made it.
    #[error("provider {provider}: several keys {}", named(.key_id.as_deref()))]
    AmbiguousKey {
        /// The provider's configured name.
        provider: String,
        /// The header's `kid`.
        key_id: Option<String>,
    },
    /// The signature was not made by the key.
    #[error("provider {provider}: the signature does not match the key {}", named(.key_id.as_deref()))]
    BadSignature {
        /// The provider's configured name.
        provider: String,
        /// The header's `kid`.
        key_id: Option<String>,
    },
    /// `exp` has passed.
    #[error("the token expired at {expired} (Unix time), {} s ago", now.saturating_sub(*expired))]
    Expired {
        /// The `exp` claim.
        expired: i64,
        /// The proxy's clock.
        now: i64,
    },
    /// `nbf` or `iat` lie in the future.
    #[error("the claim \"{claim}\" lies {} s in the future", at.saturating_sub(*now))]
    NotYetValid {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// Its value.
        at: i64,
        /// The proxy's clock.
        now: i64,
    },
    /// `aud` names none of the provider's audiences.
    #[error("the token is for the audience {found:?}, not for {expected:?}")]
    WrongAudience {
        /// The `aud` claim, verified.
        found: Vec<String>,
        /// The configured audiences.
        expected: Vec<String>,
    },
    /// The provider's tokens never get this role.
    #[error("provider {provider} does not grant the role {role:?}")]
    RoleNotGranted {
        /// The provider's configured name.
        provider: String,
        /// The role asked for.
        role: String,
    },
    /// The provider's `role_claim` does not name this role.
    #[error("the token does not name the role {role:?}")]
    RoleNotInToken {
        /// The role asked for.
        role: String,
    },
    /// The issuer's keys were never fetched, or are older than they may be.
    #[error("the keys of provider {provider} are not available")]
    KeysUnavailable {
        /// The provider's configured name.
        provider: String,
    },
}

impl Rejection {
    /// Who was wrong; decides the SQLSTATE.
    pub fn fault(&self) -> Fault {
        match self {
            Self::RoleNotGranted { .. } | Self::RoleNotInToken { .. } => Fault::Role,
            Self::KeysUnavailable { .. } => Fault::Keys,
            _ => Fault::Token,
        }
    }

    /// The usual mistake behind this rejection, if there is one.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Empty | Self::NotAJwt(_) => Hint::SendAToken,
            Self::BearerPrefix => Hint::RemoveBearer,
            Self::Truncated => Hint::PastedAtAPrompt,
            Self::Encrypted => Hint::AskForAnAudience,
            Self::Expired { .. } => Hint::FetchANewToken,
            Self::NotYetValid { .. } => Hint::CompareClocks,
            Self::WrongAudience { .. } => Hint::SendTheAccessToken,
            Self::KeysUnavailable { .. } => Hint::TryAgain,
            _ => return None,
        })
    }

    /// Is the token's text itself the trouble? Then its length may explain it.
    pub(crate) fn may_come_from_a_cut(&self) -> bool {
        matches!(self, Self::NotAJwt(_) | Self::Json { .. } | Self::BadSignature { .. })
    }
}

/// Who was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The token: SQLSTATE 28P01.
    Token,
    /// The role asked for: SQLSTATE 28000.
    Role,
    /// Nobody at the client's end; the keys cannot be had now: SQLSTATE 57P03.
    Keys,
}

/// What a person can do about a rejection. `Display` is the text for the client's HINT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// The password is something else than a token.
    SendAToken,
    /// The word `Bearer` was pasted along.
    RemoveBearer,
    /// A terminal cut the line.
    PastedAtAPrompt,
    /// Some issuers encrypt tokens for which no API was named.
    AskForAnAudience,
    /// The token was good once.
    FetchANewToken,
    /// The issuer's clock is ahead of ours.
    CompareClocks,
    /// Probably an ID token.
    SendTheAccessToken,
    /// Retrying later helps.
    TryAgain,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SendAToken => "Send a signed JWT as the password.",
            Self::RemoveBearer => "Send the token alone, without the word \"Bearer\".",
            Self::PastedAtAPrompt => {
                "A terminal cuts typed lines at 4095 characters: give the token in PGPASSWORD or a password file."
            }
            Self::AskForAnAudience => {
                "Request the access token for an API (audience), so that the issuer signs it and does not encrypt it."
            }
            Self::FetchANewToken => "Fetch a new token; if this one is new, compare the clocks of issuer and proxy.",
            Self::CompareClocks => "Compare the clocks of issuer and proxy.",
            Self::SendTheAccessToken => {
                "Send the access token for this audience; an ID token is made for the application that asked for it."
            }
            Self::TryAgain => "Try again; the proxy keeps asking the issuer for its keys.",
        })
    }
}

/// Cuts an unverified value to a length that may be shown.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 128;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn named(key_id: Option<&str>) -> String {
    key_id.map_or_else(|| "for a token without key id".to_owned(), |id| format!("with id {id:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unverified_value_cannot_break_or_flood_a_line() {
        let hostile = format!("a\nFATAL: {}", "x".repeat(5000));

        let text = Rejection::UnknownIssuer { issuer: shown(&hostile) }.to_string();

        assert!(text.starts_with("no provider has the issuer \"a\\nFATAL: x"), "{text}");
        assert!(text.len() < 300, "{}", text.len());
    }

    #[test]
    fn who_was_wrong_is_told_apart() {
        let provider = || "auth0".to_owned();
        let role = Rejection::RoleNotGranted { provider: provider(), role: "admin".to_owned() };
        let keys = Rejection::KeysUnavailable { provider: provider() };

        assert_eq!(Rejection::Critical.fault(), Fault::Token);
        assert_eq!(role.fault(), Fault::Role);
        assert_eq!(keys.fault(), Fault::Keys);
    }
}
