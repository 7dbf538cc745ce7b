//! `[[provider]]`: the issuers whose tokens are accepted. What makes a provider valid is the identity crate's to say;
//! here its complaints get their line.

use std::str::FromStr;
use std::time::Duration;

use identity::{Algorithm, KeySource, ProviderConfig, Url, Verifier};

use super::report::nearest;
use super::secret;
use super::section::{Placed, Section};

const ALGORITHMS: [&str; 12] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384", "HS512"];

const MINUTE: Duration = Duration::from_secs(60);

/// Reads every `[[provider]]`, and the places where they name roles.
pub(super) fn read(mut sections: Vec<Section<'_>>) -> (Vec<ProviderConfig>, Vec<Placed<String>>) {
    let mut roles = Vec::new();
    let read: Vec<_> = sections.iter_mut().map(|section| read_one(section, &mut roles)).collect();
    let providers: Vec<_> = read.into_iter().collect::<Option<_>>().unwrap_or_default();
    for fault in Verifier::new(&providers).err().into_iter().flatten() {
        // Of two with one name it is the second that is one too many.
        let of_fault = |(_, provider): &(_, &ProviderConfig)| provider.name == fault.provider;
        if let Some((section, _)) = sections.iter().zip(&providers).rfind(of_fault) {
            section.error(fault.key, fault.problem);
        }
    }
    (providers, roles)
}

fn read_one(section: &mut Section<'_>, all_roles: &mut Vec<Placed<String>>) -> Option<ProviderConfig> {
    let name = section.required_text("name");
    let issuer = section.required_text("issuer");
    let keys = read_keys(section);
    let audience = section.list("audience").unwrap_or_default();
    if let Some(empty) = audience.iter().find(|one| one.value.is_empty()) {
        empty.error(section.reading.report, "is empty, and no token is for that");
    }
    if audience.is_empty() {
        section.warn("audience", "names nobody: tokens that the issuer made for other services are accepted here too");
    }
    let roles = section.list("roles").unwrap_or_default();
    all_roles.extend(roles.iter().cloned());
    let jwks_ca_file = section.existing_file("jwks_ca_file");
    let role_claim = parsed(section, "role_claim");
    let algorithms = read_algorithms(section);
    let leeway = section.duration("leeway", ProviderConfig::LEEWAY, Duration::ZERO..=10 * MINUTE);
    let max_stale = section.duration("max_stale", ProviderConfig::MAX_STALE, MINUTE..=30 * 24 * 60 * MINUTE);
    section.finish();
    let (name, issuer, keys) = (name?, issuer?, keys?);
    let [audience, roles] = [audience, roles].map(|list| list.into_iter().map(|item| item.value).collect());
    Some(ProviderConfig {
        name,
        issuer,
        keys,
        jwks_ca_file,
        audience,
        roles,
        role_claim,
        algorithms,
        leeway,
        max_stale,
    })
}

/// One source of keys; none given means OIDC discovery.
fn read_keys(section: &mut Section<'_>) -> Option<KeySource> {
    let given = [section.has("jwks_url"), section.has("jwks_file"), secret::is_given(section, "secret")];
    if given.iter().filter(|given| **given).count() > 1 {
        section.error("jwks_url", "a provider has one of jwks_url, jwks_file, secret_file and secret_env");
    }
    let url: Option<Url> = parsed(section, "jwks_url");
    let file = section.existing_file("jwks_file");
    let secret = secret::read(section, "secret");
    match given {
        [false, false, false] => Some(KeySource::Discovery),
        [true, ..] => url.map(KeySource::Jwks),
        [_, true, _] => file.map(KeySource::JwksFile),
        _ => secret.map(|(_, secret)| KeySource::Secret(secret.into_bytes())),
    }
}

fn read_algorithms(section: &mut Section<'_>) -> Option<Vec<Algorithm>> {
    let report = section.reading.report;
    let algorithm = |written: Placed<String>| {
        let known = ALGORITHMS.contains(&written.value.as_str());
        let algorithm = written.value.parse().ok().filter(|_| known);
        if algorithm.is_none() {
            let near = nearest(&written.value, ALGORITHMS.into_iter());
            let near = near.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
            written.error(report, format!("{:?} is none of {}{near}", written.value, ALGORITHMS.join(", ")));
        }
        algorithm
    };
    let read: Vec<_> = section.list("algorithms")?.into_iter().map(algorithm).collect();
    read.into_iter().collect()
}

fn parsed<T>(section: &mut Section<'_>, key: &str) -> Option<T>
where
    T: FromStr<Err: std::fmt::Display>,
{
    let text = section.text(key)?;
    text.parse().map_err(|error| section.error(key, format!("{text:?}: {error}"))).ok()
}
