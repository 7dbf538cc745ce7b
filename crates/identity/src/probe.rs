//! A look at what an issuer publishes, for an audit: once, beside the verifier, and with the same client and limits.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::provider::{ConfigError, KeySource, ProviderConfig};
use crate::source::{Configuration, Fetched, LoadError, Source, discovery_url, get, within_time};

/// What was seen of an issuer.
#[derive(Debug)]
pub struct Probe {
    /// Its keys; or why there are none.
    pub keys: Result<ProbedKeys, LoadError>,
    /// What the OpenID configuration below the issuer says; none where there is none to be had, as with most issuers whose
    /// keys are named by URL, or where nothing is fetched.
    pub configuration: Option<ProbedConfiguration>,
    /// By how many seconds its clock is ahead of ours, as far as its answers tell: to about a second.
    pub clock_ahead: Option<i64>,
}

/// Keys, as far as an operator cares.
#[derive(Debug)]
pub struct ProbedKeys {
    /// How many verify.
    pub usable: usize,
    /// Why others do not, one line each.
    pub skipped: Vec<String>,
}

/// The part of an OpenID configuration that a provider's must agree with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbedConfiguration {
    /// The `issuer`.
    pub issuer: String,
    /// The `jwks_uri`.
    pub jwks_uri: String,
}

impl Probe {
    /// Looks at a provider's issuer.
    ///
    /// # Errors
    /// [`ConfigError`], where the configuration is none that a verifier would take.
    pub async fn of(provider: &ProviderConfig) -> Result<Self, ConfigError> {
        let mut clock = Clock::default();
        let configuration = configuration(provider, &mut clock).await;
        let keys = match provider.source()? {
            Some(source) => keys(&source, &mut clock).await,
            None => Ok(ProbedKeys { usable: 1, skipped: Vec::new() }),
        };
        Ok(Self { keys, configuration, clock_ahead: clock.ahead })
    }
}

async fn keys(source: &Source, clock: &mut Clock) -> Result<ProbedKeys, LoadError> {
    let fetched = source.fetch().await?;
    clock.read(&fetched);
    let set = fetched.keys()?;
    Ok(ProbedKeys { usable: set.len(), skipped: set.skipped().to_vec() })
}

/// Where keys come from elsewhere, nobody promised that there is a configuration: none is no fault.
async fn configuration(provider: &ProviderConfig, clock: &mut Clock) -> Option<ProbedConfiguration> {
    let fetched = matches!(provider.keys, KeySource::Jwks(_) | KeySource::Discovery);
    let url = discovery_url(&provider.issuer).filter(|_| fetched)?;
    let http = provider.client(&url, "issuer").ok()?;
    let fetched = within_time(get(&http, &url)).await.ok()?;
    clock.read(&fetched);
    let Configuration { issuer, jwks_uri } = serde_json::from_slice(&fetched.document).ok()?;
    Some(ProbedConfiguration { issuer, jwks_uri })
}

/// What answers say of the time.
#[derive(Default)]
struct Clock {
    ahead: Option<i64>,
}

impl Clock {
    /// Notes when an answer says that it was made. It has just come, so that is now, but for the way.
    fn read(&mut self, fetched: &Fetched) {
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs() as i64);
        let theirs = fetched.date.as_ref().and_then(|date| httpdate::parse_http_date(date).ok()).and_then(seconds);
        if let (Some(theirs), Some(ours)) = (theirs, seconds(SystemTime::now())) {
            self.ahead = Some(theirs - ours);
        }
    }
}
