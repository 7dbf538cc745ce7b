//! Issuers: each is asked once, by the client and within the limits of the verifier.

use identity::{LoadError, Probe, ProbedConfiguration, ProbedKeys, ProviderConfig, Url};

use crate::finding::Finding;
use crate::rule::{Group, Level, Rule};

const fn rule(id: &'static str, level: Level, what: &'static str, why: &'static str) -> Rule {
    Rule { id, group: Group::Issuers, level, what, why }
}

pub(super) static UNREACHABLE: Rule = rule(
    "issuer-unreachable",
    Level::High,
    "an issuer's keys cannot be had",
    "Nobody with a token of this issuer gets in once the keys of before are too old, and the proxy does not start.",
);
pub(super) static NO_KEYS: Rule = rule(
    "issuer-without-keys",
    Level::High,
    "an issuer has no key that can be used",
    "Every token of this issuer is refused.",
);
pub(super) static KEY_SKIPPED: Rule = rule(
    "issuer-key-unusable",
    Level::Warning,
    "a key of an issuer cannot be used",
    "Tokens that are signed with it are refused.",
);
pub(super) static OTHER_ISSUER: Rule = rule(
    "issuer-mismatch",
    Level::High,
    "an issuer calls itself by another name than the configuration",
    "Its tokens have the other name in iss, so they are refused, or the keys are somebody else's.",
);
pub(super) static OTHER_KEYS: Rule = rule(
    "issuer-other-jwks",
    Level::Warning,
    "an issuer publishes its keys elsewhere than the configuration says",
    "Keys of an address that the issuer has given up are renewed by nobody, or by somebody else.",
);
pub(super) static CLOCK: Rule = rule(
    "issuer-clock",
    Level::Warning,
    "the clocks of an issuer and of this machine differ by more than the leeway",
    "Tokens are refused that are good, or accepted for longer than they were meant to be.",
);
pub(super) static NO_AUDIENCE: Rule = rule(
    "issuer-audience-missing",
    Level::Critical,
    "a provider has no audience where issuers sign for all their customers",
    "Tokens that were made for any other service, and that this service has seen, get in here too.",
);

/// Hosts whose issuers sign for all their customers with the same keys. Only the audience tells a customer from another.
const SHARED: [&str; 4] =
    ["accounts.google.com", "login.microsoftonline.com", "securetoken.google.com", "www.googleapis.com"];

/// Audits the issuers of these providers, one after the other.
pub async fn issuers(providers: &[ProviderConfig]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for provider in providers {
        let found = match Probe::of(provider).await {
            Ok(probe) => judge(provider, probe),
            Err(error) => vec![(&UNREACHABLE, error.to_string())],
        };
        let found = audience(provider).into_iter().chain(found);
        findings
            .extend(found.map(|(rule, evidence)| Finding::new(rule, format!("provider {}", provider.name), evidence)));
    }
    findings
}

/// A rule, and the evidence that it is broken.
type Judgement = (&'static Rule, String);

fn audience(provider: &ProviderConfig) -> Option<Judgement> {
    let urls = [Url::parse(&provider.issuer).ok(), jwks_url(provider).cloned()];
    let host = urls.iter().flatten().filter_map(Url::host_str).find(|host| SHARED.contains(host))?;
    let evidence = format!("audience is not given, and {host} signs for all its customers with the same keys");
    provider.audience.is_empty().then_some((&NO_AUDIENCE, evidence))
}

fn judge(provider: &ProviderConfig, probe: Probe) -> Vec<Judgement> {
    let Probe { keys, configuration, clock_ahead } = probe;
    let mut found = Vec::new();
    if let Some(configuration) = &configuration {
        found.extend(configured(provider, configuration));
    }
    match keys {
        // That the issuer has another name has been said.
        Err(error) if !found.is_empty() && matches!(error.fault(), LoadError::OtherIssuer { .. }) => {}
        Err(error) => found.push((&UNREACHABLE, error.to_string())),
        Ok(ProbedKeys { usable: 0, skipped }) => found.push((&NO_KEYS, said(&skipped))),
        Ok(ProbedKeys { skipped, .. }) => found.extend(skipped.into_iter().map(|why| (&KEY_SKIPPED, why))),
    }
    let leeway = provider.leeway.as_secs();
    // A second is what the header's own precision may be off.
    if let Some(ahead) = clock_ahead.filter(|ahead| ahead.unsigned_abs() > leeway + 1) {
        let direction = if ahead > 0 { "ahead of" } else { "behind" };
        let evidence = format!("its clock is {} s {direction} ours; leeway is {leeway} s", ahead.unsigned_abs());
        found.push((&CLOCK, evidence));
    }
    found
}

fn configured(provider: &ProviderConfig, found: &ProbedConfiguration) -> Option<Judgement> {
    if found.issuer != provider.issuer {
        let evidence = format!("it calls itself {:?}, the configuration calls it {:?}", found.issuer, provider.issuer);
        return Some((&OTHER_ISSUER, evidence));
    }
    let url = jwks_url(provider).filter(|url| Url::parse(&found.jwks_uri).as_ref() != Ok(*url))?;
    Some((&OTHER_KEYS, format!("its configuration says {:?}, jwks_url is {:?}", found.jwks_uri, url.as_str())))
}

fn jwks_url(provider: &ProviderConfig) -> Option<&Url> {
    if let identity::KeySource::Jwks(url) = &provider.keys { Some(url) } else { None }
}

fn said(skipped: &[String]) -> String {
    if skipped.is_empty() { "the JWKS is empty".to_owned() } else { skipped.join("; ") }
}
