//! Providers: an issuer, its keys, and what its tokens may get.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, AlgorithmFamily};
use reqwest::{Certificate, Url};
use serde_json::{Map, Value};
use serde_json_path::JsonPath;

use crate::key::{KeySet, secret_algorithms};
use crate::keyring::{Keyring, Renewal};
use crate::rejection::{Rejection, shown};
use crate::source::{self, Source};
use crate::terms::Terms;

/// An issuer and the rules for its tokens: one `[[provider]]` of the configuration.
#[derive(Clone)]
pub struct ProviderConfig {
    /// Its name in logs and errors; unique.
    pub name: String,
    /// The exact `iss` of its tokens; unique.
    pub issuer: String,
    /// Where its keys come from.
    pub keys: KeySource,
    /// Certificates (PEM) of authorities to trust for HTTPS besides the system's.
    pub jwks_ca_file: Option<PathBuf>,
    /// A token must name one of these in `aud`; empty: `aud` is not looked at.
    pub audience: Vec<String>,
    /// The roles that its tokens may ask for.
    pub roles: Vec<String>,
    /// Where in its tokens the roles of the holder are, if the tokens say.
    pub role_claim: Option<RolePath>,
    /// Narrows the algorithms that the keys allow.
    pub algorithms: Option<Vec<Algorithm>>,
    /// By how much its clock may differ from ours; counted in whole seconds.
    pub leeway: Duration,
    /// How long keys may be used after they were last loaded.
    pub max_stale: Duration,
}

/// Where a provider's keys come from.
#[derive(Clone)]
pub enum KeySource {
    /// A JWKS document at a URL: HTTPS, or HTTP to a loopback host.
    Jwks(Url),
    /// A JWKS document in a file.
    JwksFile(PathBuf),
    /// OIDC discovery from the issuer.
    Discovery,
    /// A secret shared with the issuer (HS256 and its like), at least 32 bytes.
    Secret(Vec<u8>),
}

/// A fault in the configuration of a provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("provider {provider:?}, {key}: {problem}")]
pub struct ConfigError {
    /// The provider's configured name.
    pub provider: String,
    /// The configuration key at fault.
    pub key: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// A JSONPath (RFC 9535) to the roles in a token: each place holds a role, or an array of roles.
#[derive(Debug, Clone)]
pub struct RolePath(JsonPath);

/// Not a JSONPath.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a JSONPath (RFC 9535): {0}")]
pub struct RolePathError(String);

/// A provider at work.
pub(crate) struct Provider {
    config: ProviderConfig,
    keys: Keyring,
}

impl ProviderConfig {
    /// By how much clocks may differ unless configured.
    pub const LEEWAY: Duration = Duration::from_secs(30);
    /// How long keys outlive the last load unless configured.
    pub const MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);

    /// A provider that has the defaults and whose tokens get nothing until `roles` says so.
    pub fn new(name: impl Into<String>, issuer: impl Into<String>, keys: KeySource) -> Self {
        Self {
            name: name.into(),
            issuer: issuer.into(),
            keys,
            jwks_ca_file: None,
            audience: Vec::new(),
            roles: Vec::new(),
            role_claim: None,
            algorithms: None,
            leeway: Self::LEEWAY,
            max_stale: Self::MAX_STALE,
        }
    }

    /// All that is wrong with it. `before` are the providers that come before it.
    pub(crate) fn faults(&self, before: &[Self]) -> Vec<ConfigError> {
        let taken = |what: fn(&Self) -> &str| before.iter().any(|other| what(other) == what(self));
        let mut faults = Vec::new();
        let mut check = |wrong: bool, key, problem: &str| {
            if wrong {
                faults.push(self.fault(key, problem));
            }
        };
        check(self.name.is_empty(), "name", "is empty");
        check(taken(|one| &one.name), "name", "is another provider's too");
        check(self.issuer.is_empty(), "issuer", "is empty");
        check(taken(|one| &one.issuer), "issuer", "is another provider's too");
        check(self.roles.is_empty(), "roles", "names no role");
        check(self.algorithms.as_ref().is_some_and(Vec::is_empty), "algorithms", "names none");
        check(self.has_unfit_algorithm(), "algorithms", UNFIT_ALGORITHM);
        check(self.jwks_ca_file.is_some() && !self.keys.are_fetched(), "jwks_ca_file", "is for fetched keys only");
        faults
    }

    fn has_unfit_algorithm(&self) -> bool {
        self.algorithms.iter().flatten().any(|one| !self.keys.may_verify(*one))
    }

    fn fault(&self, key: &'static str, problem: impl Into<String>) -> ConfigError {
        ConfigError { provider: self.name.clone(), key, problem: problem.into() }
    }

    fn keyring(&self, renewal: &mut Renewal) -> Result<Keyring, ConfigError> {
        if let KeySource::Secret(secret) = &self.keys {
            if secret_algorithms(secret).is_empty() {
                return Err(self.fault("secret_file", "is shorter than 32 bytes"));
            }
            return Ok(Keyring::Fixed(Arc::new(KeySet::from_secret(secret))));
        }
        let source = self.source()?.expect("all but a secret is loaded from somewhere");
        Ok(Keyring::Renewed(renewal.subscribe(&self.name, source, self.max_stale)))
    }

    /// Where its keys are loaded from; from nowhere if it has a secret.
    pub(crate) fn source(&self) -> Result<Option<Source>, ConfigError> {
        let source = match &self.keys {
            KeySource::Secret(_) => return Ok(None),
            KeySource::JwksFile(path) => Source::File(path.clone()),
            KeySource::Jwks(url) => Source::Jwks { http: self.client(url, "jwks_url")?, url: url.clone() },
            KeySource::Discovery => {
                let url = source::discovery_url(&self.issuer)
                    .ok_or_else(|| self.fault("issuer", "is no URL to discover keys from"))?;
                let http = self.client(&url, "issuer")?;
                Source::Discovery { http, issuer: self.issuer.clone(), url }
            }
        };
        Ok(Some(source))
    }

    pub(crate) fn client(&self, url: &Url, key: &'static str) -> Result<reqwest::Client, ConfigError> {
        if !source::acceptable(url) {
            return Err(self.fault(key, "must be https (http is for loopback hosts)"));
        }
        let roots = match &self.jwks_ca_file {
            Some(path) => certificates(path).map_err(|problem| self.fault("jwks_ca_file", problem))?,
            None => Vec::new(),
        };
        source::client(url, roots).map_err(|error| self.fault("jwks_ca_file", error.to_string()))
    }
}

impl KeySource {
    fn are_fetched(&self) -> bool {
        matches!(self, Self::Jwks(_) | Self::Discovery)
    }

    /// A secret verifies HS256 and its like, and nothing else does: otherwise somebody could sign
    /// with a public key as the secret.
    fn may_verify(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Secret(secret) => secret_algorithms(secret).contains(&algorithm),
            _ => algorithm.family() != AlgorithmFamily::Hmac,
        }
    }
}

impl FromStr for RolePath {
    type Err = RolePathError;

    fn from_str(text: &str) -> Result<Self, RolePathError> {
        let path = JsonPath::parse(text).map_err(|error| RolePathError(error.to_string()))?;
        Ok(Self(path))
    }
}

impl RolePath {
    fn roles(&self, claims: &Value) -> Vec<String> {
        let places = self.0.query(claims);
        places.iter().flat_map(|place| strings(place)).map(str::to_owned).collect()
    }
}

impl Provider {
    pub(crate) fn new(config: ProviderConfig, renewal: &mut Renewal) -> Result<Self, ConfigError> {
        let keys = config.keyring(renewal)?;
        Ok(Self { config, keys })
    }

    pub(crate) fn name(&self) -> &str {
        &self.config.name
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.config.issuer
    }

    pub(crate) fn roles(&self) -> &[String] {
        &self.config.roles
    }

    pub(crate) fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// Seconds by which its clock may differ.
    pub(crate) fn leeway(&self) -> i64 {
        i64::try_from(self.config.leeway.as_secs()).unwrap_or(i64::MAX)
    }

    pub(crate) fn grants(&self, role: &str) -> bool {
        self.config.roles.iter().any(|own| own == role)
    }

    /// The roles that a token's claims name; none if the provider does not ask for that.
    pub(crate) fn named_roles(&self, claims: Map<String, Value>) -> Option<Vec<String>> {
        self.config.role_claim.as_ref().map(|path| path.roles(&Value::Object(claims)))
    }

    /// The algorithm that a header names, if this provider accepts it.
    pub(crate) fn algorithm(&self, named: &str) -> Result<Algorithm, Rejection> {
        let algorithm = named.parse().map_err(|_| Rejection::UnsupportedAlgorithm { algorithm: shown(named) })?;
        let narrowed = self.config.algorithms.as_ref().is_none_or(|own| own.contains(&algorithm));
        if narrowed && self.config.keys.may_verify(algorithm) {
            return Ok(algorithm);
        }
        let provider = self.config.name.clone();
        Err(Rejection::AlgorithmNotAllowed { provider, algorithm: named.to_owned() })
    }

    /// The key that a token names. A provider with a secret has no other, whatever the token says.
    pub(crate) fn key_id<'a>(&self, named: Option<&'a str>) -> Option<&'a str> {
        named.filter(|_| !matches!(self.config.keys, KeySource::Secret(_)))
    }

    pub(crate) fn check_times(&self, terms: &Terms, now: i64) -> Result<(), Rejection> {
        terms.check_times(now, self.leeway())
    }

    pub(crate) fn check_audience(&self, terms: &Terms) -> Result<(), Rejection> {
        terms.check_audience(&self.config.audience)
    }
}

const UNFIT_ALGORITHM: &str =
    "a secret of 32, 48, 64 bytes verifies up to HS256, HS384, HS512; published keys all others";

fn certificates(path: &Path) -> Result<Vec<Certificate>, String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if certificates.is_empty() => Err("holds no certificate".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(error.to_string()),
    }
}

/// A string, or the strings of an array.
fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}
