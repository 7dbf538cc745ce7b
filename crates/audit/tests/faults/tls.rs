//! Certificates and verification.

use std::time::{Duration, SystemTime};

use pgusher_audit::{Encryption, Level, tls};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use upstream::SslMode;

/// A certificate that is valid in the year 2026, for these names.
fn certificate(names: &[&str]) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

/// So many days after the first of January 2026.
fn day(number: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs((20_454 + number) * 24 * 3600)
}

/// The rules that are broken.
fn rules(encryption: &Encryption<'_>, now: SystemTime) -> Vec<&'static str> {
    tls(encryption, now).iter().map(|finding| finding.rule.id).collect()
}

#[test]
fn a_certificate_is_told_before_it_begins_and_from_two_weeks_before_it_ends() {
    let certificate = certificate(&["db.example.com"]);
    let chain = [certificate.as_slice()];
    let yesterday = day(0) - Duration::from_secs(24 * 3600);
    for (now, rule) in [
        (yesterday, Some("certificate-not-yet-valid")),
        (day(1), None),
        (day(350), None),
        (day(352), Some("certificate-expires-soon")),
        (day(366), Some("certificate-expired")),
    ] {
        let expected: Vec<_> = rule.into_iter().collect();
        assert_eq!(rules(&Encryption { listener: &chain, ..Encryption::default() }, now), expected);
        assert_eq!(rules(&Encryption { client: &chain, ..Encryption::default() }, now), expected);
    }
}

#[test]
fn only_the_first_certificate_for_clients_needs_names() {
    let (named, nameless) = (certificate(&["db.example.com"]), certificate(&[]));
    let listener = |chain: &[&[u8]]| rules(&Encryption { listener: chain, ..Encryption::default() }, day(1));
    assert_eq!(listener(&[&nameless, &named]), ["certificate-without-names"]);
    assert_eq!(listener(&[&named, &nameless]), Vec::<&str>::new());
    assert_eq!(rules(&Encryption { client: &[&nameless], ..Encryption::default() }, day(1)), Vec::<&str>::new());
}

#[test]
fn every_certificate_of_a_chain_is_looked_at() {
    let named = certificate(&["db.example.com"]);
    let chain: [&[u8]; 2] = [&named, b"no certificate"];
    let findings = tls(&Encryption { listener: &chain, ..Encryption::default() }, day(1));
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!(findings[0].rule.id, "certificate-unreadable");
    assert_eq!(findings[0].subject, "tls.certificate_file, certificate 2");
}

#[test]
fn a_postgres_elsewhere_is_to_be_verified_by_name() {
    for (mode, level) in [
        (SslMode::Disable, Some(Level::High)),
        (SslMode::Allow, Some(Level::High)),
        (SslMode::Prefer, Some(Level::High)),
        (SslMode::Require, Some(Level::High)),
        (SslMode::VerifyCa, Some(Level::Warning)),
        (SslMode::VerifyFull, None),
    ] {
        let findings = tls(&Encryption { remote: Some(mode), ..Encryption::default() }, day(1));
        assert_eq!(findings.first().map(|finding| finding.level), level, "{mode}");
    }
}
