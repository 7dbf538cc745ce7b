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
    Level::Warning,
    "a provider has no audience",
    "Tokens that the issuer made for other services, and that those have seen, get in here too.",
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
            Err(error) => vec![(&UNREACHABLE, None, error.to_string())],
        };
        findings.extend(audience(provider).into_iter().chain(found).map(|(rule, level, evidence)| {
            let finding = Finding::new(rule, format!("provider {}", provider.name), evidence);
            Finding { level: level.unwrap_or(rule.level), ..finding }
        }));
    }
    findings
}

/// A rule, its level where that is not its own, and the evidence.
type Judgement = (&'static Rule, Option<Level>, String);

fn audience(provider: &ProviderConfig) -> Option<Judgement> {
    if !provider.audience.is_empty() {
        return None;
    }
    let urls = [Url::parse(&provider.issuer).ok(), jwks_url(provider).cloned()];
    let shared = urls.iter().flatten().filter_map(Url::host_str).find(|host| SHARED.contains(host));
    Some(match shared {
        Some(host) => {
            let evidence = format!("audience is not given, and {host} signs for all its customers with the same keys");
            (&NO_AUDIENCE, Some(Level::Critical), evidence)
        }
        None => (&NO_AUDIENCE, None, "audience is not given".to_owned()),
    })
}

fn judge(provider: &ProviderConfig, probe: Probe) -> Vec<Judgement> {
    let Probe { keys, configuration, clock_ahead } = probe;
    let mut found = Vec::new();
    if let Some(configuration) = &configuration {
        found.extend(configured(provider, configuration));
    }
    match keys {
        // That the issuer has another name has been said.
        Err(LoadError::Discovery(_)) if !found.is_empty() => {}
        Err(error) => found.push((&UNREACHABLE, None, error.to_string())),
        Ok(ProbedKeys { usable: 0, skipped }) => found.push((&NO_KEYS, None, said(&skipped))),
        Ok(ProbedKeys { skipped, .. }) => found.extend(skipped.into_iter().map(|why| (&KEY_SKIPPED, None, why))),
    }
    let leeway = provider.leeway.as_secs();
    // A second is what the header's own precision may be off.
    if let Some(ahead) = clock_ahead.filter(|ahead| ahead.unsigned_abs() > leeway + 1) {
        let direction = if ahead > 0 { "ahead of" } else { "behind" };
        let evidence = format!("its clock is {} s {direction} ours; leeway is {leeway} s", ahead.unsigned_abs());
        found.push((&CLOCK, None, evidence));
    }
    found
}

fn configured(provider: &ProviderConfig, found: &ProbedConfiguration) -> Option<Judgement> {
    if found.issuer != provider.issuer {
        let evidence = format!("it calls itself {:?}, the configuration calls it {:?}", found.issuer, provider.issuer);
        return Some((&OTHER_ISSUER, None, evidence));
    }
    let url = jwks_url(provider).filter(|url| Url::parse(&found.jwks_uri).as_ref() != Ok(*url))?;
    Some((&OTHER_KEYS, None, format!("its configuration says {:?}, jwks_url is {:?}", found.jwks_uri, url.as_str())))
}

fn jwks_url(provider: &ProviderConfig) -> Option<&Url> {
    if let identity::KeySource::Jwks(url) = &provider.keys { Some(url) } else { None }
}

fn said(skipped: &[String]) -> String {
    if skipped.is_empty() { "the JWKS is empty".to_owned() } else { skipped.join("; ") }
}
