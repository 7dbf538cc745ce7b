//! Tokens become identities here, and nowhere else.
//!
//! A [`Verifier`] is made of providers: issuers whose tokens are accepted, each with its keys and
//! its rules. [`Verifier::verify`] is the whole policy: token and role in, [`Identity`] or
//! [`Rejection`] out. Whatever brings a token (a password, a SASL exchange, an HTTP header) calls
//! it, and no other code can make an identity that has claims.
//!
//! In the order in which a token meets it:
//!
//! * `token` cuts the text in three and reads header and payload strictly (`json`).
//! * The `iss` claim chooses the provider by exact match, before any key is touched.
//! * `keyring` holds the provider's keys (`key`) and renews them from their `source`, in a
//!   [`Renewal`] that the caller runs in the background.
//! * The algorithm must suit the key, the key's own restrictions and the configuration. The token
//!   only ever chooses among what these allow.
//! * `terms` are the claims that decide: times and audience.
//! * The role asked for must be one that the provider grants and, if configured, the token names.
//!
//! Signatures: RS256/384/512, PS256/384/512, ES256, ES384, EdDSA with Ed25519, and HS256/384/512
//! for a provider with a shared secret. ES512 and Ed448 are not supported.
//!
//! The crate knows no Postgres, opens no socket but that of the key client, and logs nothing.

mod explain;
mod identity;
mod json;
mod key;
mod keyring;
mod probe;
mod provider;
mod rejection;
mod source;
mod terms;
mod token;
mod verifier;

pub use explain::Explanation;
pub use identity::Identity;
pub use jsonwebtoken::Algorithm;
pub use keyring::{Renewal, Renewed};
pub use probe::{Probe, ProbedConfiguration, ProbedKeys};
pub use provider::{ConfigError, KeySource, ProviderConfig, RolePath, RolePathError};
pub use rejection::{Fault, Hint, Rejection};
pub use reqwest::Url;
pub use source::LoadError;
pub use token::{MAX_TOKEN, fuzz_token};
pub use verifier::{Unready, Verifier};
