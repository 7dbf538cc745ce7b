//! The one policy: a token and a role in, an identity or a rejection out.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::Algorithm;
use moka::sync::Cache;

use crate::identity::{Identity, Verified};
use crate::key::{Key, NoKey};
use crate::keyring::Renewal;
use crate::provider::{ConfigError, Provider, ProviderConfig};
use crate::rejection::{Rejection, shown};
use crate::source::LoadError;
use crate::terms::Terms;
use crate::token::{MAX_TOKEN, Token};

/// How many bytes of verified tokens are remembered, about, and for how long at most.
const REMEMBERED: u64 = 32 * 1024 * 1024;
const REMEMBERED_FOR: Duration = Duration::from_secs(60);
/// What an entry takes besides the claims, roughly.
const ENTRY: u32 = 1024;

/// The longest line that a terminal passes on (`N_TTY_BUF_SIZE` in Linux, less the newline).
const TERMINAL_LINE: usize = 4095;

/// Verifies tokens by the rules of its providers.
pub struct Verifier {
    providers: Vec<Arc<Provider>>,
    /// Verified tokens by SHA-256 of their text. An entry is proof only while it [stands].
    ///
    /// [stands]: Verified::stands
    remembered: Cache<Vec<u8>, Arc<Verified>>,
}

/// A provider whose keys could not be loaded.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the keys of provider {provider:?} cannot be loaded: {error}")]
pub struct Unready {
    /// The provider's configured name.
    pub provider: String,
    /// Why the last load failed.
    pub error: Arc<LoadError>,
}

impl Verifier {
    /// A verifier, and the background work that it depends on: a token that needs a published key
    /// waits until [`Renewal::run`] has tried to load it.
    ///
    /// # Errors
    /// All that is wrong with the configuration.
    pub fn new(configs: &[ProviderConfig]) -> Result<(Self, Renewal), Vec<ConfigError>> {
        let mut renewal = Renewal::default();
        let mut providers = Vec::new();
        let mut faults = Vec::new();
        for (position, config) in configs.iter().enumerate() {
            faults.extend(config.faults(&configs[..position]));
            match Provider::new(config.clone(), &mut renewal) {
                Ok(provider) => providers.push(Arc::new(provider)),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let remembered = Cache::builder()
            .weigher(|_, token: &Arc<Verified>| ENTRY.saturating_add(token.claims_json.len() as u32))
            .max_capacity(REMEMBERED)
            .time_to_live(REMEMBERED_FOR)
            .build();
        Ok((Self { providers, remembered }, renewal))
    }

    /// Waits until every provider has tried to load its keys; returns those that failed.
    pub async fn ready(&self) -> Vec<Unready> {
        let mut unready = Vec::new();
        for provider in &self.providers {
            if let Err(error) = provider.keys().ready().await {
                unready.push(Unready { provider: provider.name().to_owned(), error });
            }
        }
        unready
    }

    /// The identity of whoever brings `token` and asks for `role`.
    ///
    /// Waits for keys where that can help: for the first load, and for a newer one if the key id is
    /// unknown. A load takes five seconds at most.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub async fn verify(&self, token: &str, role: &str) -> Result<Identity, Rejection> {
        self.verified(token, now()).await?.grant(role)
    }

    /// All rules but the one about the role, at `now` (Unix seconds).
    pub(crate) async fn verified(&self, token: &str, now: i64) -> Result<Arc<Verified>, Rejection> {
        if token.len() > MAX_TOKEN {
            return Err(Rejection::TooLarge { size: token.len() });
        }
        let hash = digest(&SHA256, token.as_bytes()).as_ref().to_vec();
        if let Some(known) = self.remembered.get(&hash).filter(|known| known.stands(now)) {
            return Ok(known);
        }
        match self.examine(token, now).await {
            Ok(verified) => {
                let verified = Arc::new(verified);
                self.remembered.insert(hash, Arc::clone(&verified));
                Ok(verified)
            }
            Err(rejection) if token.len() == TERMINAL_LINE && rejection.may_come_from_a_cut() => {
                Err(Rejection::Truncated)
            }
            Err(rejection) => Err(rejection),
        }
    }

    async fn examine(&self, text: &str, now: i64) -> Result<Verified, Rejection> {
        let token = Token::parse(text)?;
        let provider = self.provider(token.issuer()?)?;
        let algorithm = provider.algorithm(&token.header.algorithm)?;
        let terms = Terms::read(&token.claims)?;
        let timely = provider.check_times(&terms, now);

        // Whoever has no chance anyway does not get to make us ask the issuer for newer keys.
        let key = key(provider, &token, algorithm, timely.is_ok()).await?;
        if !key.signed(token.signed, token.signature, algorithm) {
            let key_id = token.header.shown_key_id();
            return Err(Rejection::BadSignature { provider: provider.name().to_owned(), key_id });
        }
        timely?;
        provider.check_audience(&terms)?;
        Ok(Verified {
            provider: Arc::clone(provider),
            key,
            key_id: token.header.key_id,
            algorithm,
            terms,
            claims_json: token.claims_json,
            named_roles: provider.named_roles(token.claims),
        })
    }

    pub(crate) fn provider(&self, issuer: &str) -> Result<&Arc<Provider>, Rejection> {
        let found = self.providers.iter().find(|provider| provider.issuer() == issuer);
        found.ok_or_else(|| Rejection::UnknownIssuer { issuer: shown(issuer) })
    }
}

/// Unix time in seconds.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The key that `token` names, after a renewal if it is unknown and `may_renew`.
async fn key(
    provider: &Provider,
    token: &Token<'_>,
    algorithm: Algorithm,
    may_renew: bool,
) -> Result<Arc<Key>, Rejection> {
    let key_id = provider.key_id(token.header.key_id.as_deref());
    let name = || provider.name().to_owned();
    let unavailable = || Rejection::KeysUnavailable { provider: name() };

    let keys = provider.keys().current().await.ok_or_else(unavailable)?;
    let mut found = keys.find(key_id, algorithm).cloned();
    if matches!(found, Err(NoKey::Unknown)) && may_renew {
        let newest = provider.keys().newest().await.ok_or_else(unavailable)?;
        found = newest.find(key_id, algorithm).cloned();
    }
    let key_id = || token.header.shown_key_id();
    found.map_err(|fault| match fault {
        NoKey::Unknown => Rejection::UnknownKey { provider: name(), key_id: key_id() },
        NoKey::Ambiguous => Rejection::AmbiguousKey { provider: name(), key_id: key_id() },
        NoKey::Mismatch => {
            Rejection::KeyMismatch { provider: name(), key_id: key_id(), algorithm: token.header.algorithm.clone() }
        }
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::{EncodingKey, crypto};

    use super::*;
    use crate::provider::KeySource;

    #[tokio::test]
    async fn a_remembered_token_is_refused_once_it_has_expired() {
        let secret = [7; 32];
        let config = ProviderConfig::new("acme", "i", KeySource::Secret(secret.to_vec()));
        let (verifier, _) = Verifier::new(&[ProviderConfig { roles: vec!["r".to_owned()], ..config }]).unwrap();
        let parts = [r#"{"alg":"HS256"}"#, r#"{"iss":"i","exp":1000}"#].map(|part| URL_SAFE_NO_PAD.encode(part));
        let signed = parts.join(".");
        let key = EncodingKey::from_secret(&secret);
        let signature = crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
        let token = format!("{signed}.{signature}");

        let first = verifier.verified(&token, 900).await.unwrap();
        let second = verifier.verified(&token, 1029).await.unwrap();
        let third = verifier.verified(&token, 1030).await;

        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(third.err(), Some(Rejection::Expired { expired: 1000, now: 1030 }));
    }
}
