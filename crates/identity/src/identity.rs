//! Who a client is, once that is known.

use std::fmt;
use std::sync::Arc;

use jsonwebtoken::Algorithm;

use crate::key::{Key, KeySet};
use crate::provider::Provider;
use crate::rejection::Rejection;
use crate::terms::Terms;

/// A role, and whose claims come with it. Only a verifier makes one that has claims.
#[derive(Clone)]
pub struct Identity {
    role: String,
    token: Option<Arc<Verified>>,
}

/// A token that has passed every rule but the one about the role.
pub(crate) struct Verified {
    pub(crate) provider: Arc<Provider>,
    pub(crate) key: Arc<Key>,
    pub(crate) key_id: Option<String>,
    pub(crate) algorithm: Algorithm,
    pub(crate) terms: Terms,
    pub(crate) claims_json: String,
    /// The roles that the token names; none if the provider does not ask for that.
    pub(crate) named_roles: Option<Vec<String>>,
}

impl Identity {
    /// The identity of a client that needs no token for `role`. It has no claims.
    pub fn anonymous(role: impl Into<String>) -> Self {
        Self { role: role.into(), token: None }
    }

    /// The role that was asked for and granted.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Name of the provider that vouches for the client; none for an anonymous one.
    pub fn provider(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.provider.name())
    }

    /// The `sub` claim. It means somebody only together with the provider.
    pub fn subject(&self) -> Option<&str> {
        self.token.as_ref()?.terms.subject.as_deref()
    }

    /// The token's payload: one JSON object in ASCII, members as the issuer wrote them. Personal
    /// data; not for logs.
    pub fn claims(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.claims_json.as_str())
    }

    /// The `exp` claim, in Unix seconds; none for an anonymous client, whose session never expires.
    pub fn token_expires(&self) -> Option<i64> {
        self.token.as_ref().map(|token| token.terms.expires)
    }

    /// When the session ends: `exp` and the provider's leeway, in Unix seconds.
    pub fn expires(&self) -> Option<i64> {
        self.token.as_ref().map(|token| token.expires())
    }

    /// The `kid` of the key that signed the token.
    pub fn key_id(&self) -> Option<&str> {
        self.token.as_ref()?.key_id.as_deref()
    }

    /// The algorithm of the signature.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.token.as_ref().map(|token| token.algorithm)
    }
}

/// Without claims.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("provider", &self.provider())
            .field("subject", &self.subject())
            .field("role", &self.role)
            .field("expires", &self.expires())
            .finish_non_exhaustive()
    }
}

impl Verified {
    /// The rule about roles: the provider grants it and the token, if asked, names it.
    pub(crate) fn grant(self: Arc<Self>, role: &str) -> Result<Identity, Rejection> {
        if !self.provider.grants(role) {
            let provider = self.provider.name().to_owned();
            return Err(Rejection::RoleNotGranted { provider, role: role.to_owned() });
        }
        if !self.names(role) {
            return Err(Rejection::RoleNotInToken { role: role.to_owned() });
        }
        Ok(Identity { role: role.to_owned(), token: Some(self) })
    }

    pub(crate) fn names(&self, role: &str) -> bool {
        self.named_roles.as_ref().is_none_or(|named| named.iter().any(|one| one == role))
    }

    /// Would the same token be accepted again at `now`? The rules are the same, so only time and
    /// the keys can have changed: it must still mean the key that has verified it.
    pub(crate) fn stands(&self, now: i64) -> bool {
        let meant = |keys: Arc<KeySet>| {
            let key_id = self.provider.key_id(self.key_id.as_deref());
            keys.find(key_id, self.algorithm).is_ok_and(|key| key.is(&self.key))
        };
        self.provider.check_times(&self.terms, now).is_ok() && self.provider.keys().usable().is_some_and(meant)
    }

    /// What it holds outside of itself, in bytes.
    pub(crate) fn heap(&self) -> usize {
        let texts = |texts: &Vec<String>| {
            texts.capacity() * size_of::<String>() + texts.iter().map(String::capacity).sum::<usize>()
        };
        self.claims_json.capacity()
            + self.key_id.as_ref().map_or(0, String::capacity)
            + self.terms.subject.as_ref().map_or(0, String::capacity)
            + texts(&self.terms.audience)
            + self.named_roles.as_ref().map_or(0, texts)
    }

    fn expires(&self) -> i64 {
        self.terms.expires.saturating_add(self.provider.leeway())
    }
}
