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
/// What an entry takes besides what it points to, roughly.
const ENTRY: usize = 1024;

/// The longest line that a terminal passes on (`N_TTY_BUF_SIZE` in Linux, less the newline).
const TERMINAL_LINE: usize = 4095;

/// Verifies tokens by the rules of its providers.
pub struct Verifier {
    providers: Vec<Arc<Provider>>,
    remembered: Memory,
}

/// Verified tokens by SHA-256 of their text, for clients that bring theirs again and again. An entry
/// is proof only while it [stands], and says nothing about a role. Whoever brings tokens that are
/// refused leaves nothing here and pushes nothing out.
///
/// [stands]: Verified::stands
type Memory = Cache<[u8; 32], Arc<Verified>>;

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
        Ok((Self { providers, remembered: memory(REMEMBERED) }, renewal))
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

    /// Has all keys loaded anew now, whenever that was done last.
    pub fn renew(&self) {
        self.providers.iter().for_each(|provider| provider.keys().renew());
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
        let hash = digest(&SHA256, token.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes");
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

fn memory(bytes: u64) -> Memory {
    Cache::builder()
        .weigher(|_, token: &Arc<Verified>| u32::try_from(ENTRY + token.heap()).unwrap_or(u32::MAX))
        .max_capacity(bytes)
        .time_to_live(REMEMBERED_FOR)
        .build()
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
    use serde_json::{Value, json};

    use super::*;
    use crate::provider::KeySource;

    const SECRET: [u8; 32] = [7; 32];

    fn verifier() -> Verifier {
        let config = ProviderConfig::new("acme", "i", KeySource::Secret(SECRET.to_vec()));
        let role_claim = Some("$.roles".parse().unwrap());
        Verifier::new(&[ProviderConfig { roles: vec!["r".to_owned()], role_claim, ..config }]).unwrap().0
    }

    fn token(claims: &Value) -> String {
        let parts = [r#"{"alg":"HS256"}"#, &claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part));
        let signed = parts.join(".");
        let key = EncodingKey::from_secret(&SECRET);
        let signature = crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{signed}.{signature}")
    }

    #[tokio::test]
    async fn a_remembered_token_has_its_times_checked_anew() {
        let verifier = verifier();
        let token = token(&json!({"iss": "i", "nbf": 500, "exp": 1000}));

        let first = verifier.verified(&token, 900).await.unwrap();
        let last_second = verifier.verified(&token, 1029).await.unwrap();
        let expired = verifier.verified(&token, 1030).await;
        let clock_set_back = verifier.verified(&token, 469).await;

        assert!(Arc::ptr_eq(&first, &last_second));
        assert_eq!(expired.err(), Some(Rejection::Expired { expired: 1000, now: 1030 }));
        assert_eq!(clock_set_back.err(), Some(Rejection::NotYetValid { claim: "nbf", at: 500, now: 469 }));
    }

    #[tokio::test]
    async fn tokens_that_are_refused_leave_nothing_behind() {
        let verifier = verifier();
        let good = token(&json!({"iss": "i", "exp": 1000}));
        let first = verifier.verified(&good, 900).await.unwrap();

        for attempt in 0..500 {
            let expired = token(&json!({"iss": "i", "exp": 100, "jti": attempt}));
            let stranger = token(&json!({"iss": "j", "exp": 1000, "jti": attempt}));
            let unsigned = token(&json!({"iss": "i", "exp": 1000, "jti": attempt}));
            let forged = format!("{}.{}", unsigned.rsplit_once('.').unwrap().0, good.rsplit_once('.').unwrap().1);
            for bad in [expired, stranger, forged] {
                assert!(verifier.verified(&bad, 900).await.is_err());
            }
        }

        verifier.remembered.run_pending_tasks();
        assert_eq!(verifier.remembered.entry_count(), 1);
        assert!(Arc::ptr_eq(&first, &verifier.verified(&good, 900).await.unwrap()));
    }

    #[tokio::test]
    async fn memory_is_bounded_by_what_tokens_take_and_not_by_their_length() {
        let limit = 256 * 1024;
        let verifier = Verifier { remembered: memory(limit), ..verifier() };

        // Three bytes of a token each, and a String of ours.
        let many = vec![""; 2000];
        let each = (2 * many.len() * size_of::<String>()) as u64;
        for attempt in 0..30 {
            let token = token(&json!({"iss": "i", "exp": 1000, "jti": attempt, "aud": many, "roles": many}));
            assert!(verifier.verified(&token, 900).await.is_ok());
        }
        verifier.remembered.run_pending_tasks();

        assert!((1..=limit / each).contains(&verifier.remembered.entry_count()));
    }
}
