//! TLS: the certificates of the proxy, and whether it knows whom it talks to.

use std::time::{Duration, SystemTime};

use upstream::SslMode;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;

use crate::finding::Finding;
use crate::rule::{Group, Level, Rule};

const fn rule(id: &'static str, level: Level, what: &'static str, why: &'static str) -> Rule {
    Rule { id, group: Group::Tls, level, what, why }
}

pub(super) static UNREADABLE: Rule = rule(
    "certificate-unreadable",
    Level::High,
    "a certificate cannot be read",
    "Whoever verifies it refuses the connection.",
);
pub(super) static EXPIRED: Rule = rule(
    "certificate-expired",
    Level::High,
    "a certificate has expired",
    "Whoever verifies it refuses the connection, and whoever then turns verification off talks to anybody.",
);
pub(super) static NOT_YET: Rule = rule(
    "certificate-not-yet-valid",
    Level::High,
    "a certificate is not valid yet",
    "Whoever verifies it refuses the connection.",
);
pub(super) static EXPIRES: Rule = rule(
    "certificate-expires-soon",
    Level::Warning,
    "a certificate expires soon",
    "It needs a successor, and the proxy a SIGHUP to take it.",
);
pub(super) static NAMELESS: Rule = rule(
    "certificate-without-names",
    Level::High,
    "the certificate for clients has no subject alternative name",
    "Clients that verify the server (sslmode=verify-full) look there for its name and refuse to connect.",
);
pub(super) static UNVERIFIED: Rule = rule(
    "upstream-unverified",
    Level::High,
    "the proxy does not verify which Postgres it talks to",
    "Whoever can answer in its place sees what clients send, and answers as the database.",
);

/// From when on a certificate is said to expire. What is renewed automatically has been by then.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// The key of the configuration that names the certificate shown to Postgres.
const CLIENT: &str = "upstream.sslcert";

/// Both sides of the proxy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Encryption<'a> {
    /// The certificates shown to clients in DER, ours first.
    pub listener: &'a [&'a [u8]],
    /// The certificates shown to Postgres, ours first.
    pub client: &'a [&'a [u8]],
    /// How a Postgres on another machine is reached; none, where it is on this one.
    pub remote: Option<SslMode>,
}

/// Audits both sides as they are at this time.
#[must_use]
pub fn tls(encryption: &Encryption<'_>, now: SystemTime) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (whose, chain) in [("tls.certificate_file", encryption.listener), (CLIENT, encryption.client)] {
        for (index, der) in chain.iter().enumerate() {
            let subject = if index == 0 { whose.to_owned() } else { format!("{whose}, certificate {}", index + 1) };
            // The name of whom a client talks to is asked for in the first only.
            let named = index > 0 || whose == CLIENT;
            match Certificate::from_der(der) {
                Ok(certificate) => findings.extend(judge(&certificate, &subject, named, now)),
                Err(error) => findings.push(Finding::new(&UNREADABLE, subject, error.to_string())),
            }
        }
    }
    findings.extend(encryption.remote.and_then(unverified));
    findings
}

fn judge(certificate: &Certificate, subject: &str, named: bool, now: SystemTime) -> Vec<Finding> {
    let dated = dates(certificate, now).map(|(rule, evidence)| Finding::new(rule, subject, evidence));
    let nameless = (!named && !has_names(certificate)).then(|| {
        let evidence = format!("its subject is {}", certificate.tbs_certificate().subject());
        Finding::new(&NAMELESS, subject, evidence)
    });
    dated.into_iter().chain(nameless).collect()
}

fn has_names(certificate: &Certificate) -> bool {
    let names = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    matches!(names, Ok(Some((_, names))) if !names.0.is_empty())
}

fn dates(certificate: &Certificate, now: SystemTime) -> Option<(&'static Rule, String)> {
    let validity = certificate.tbs_certificate().validity();
    let (from, until) = (validity.not_before, validity.not_after);
    if until.to_system_time() < now {
        Some((&EXPIRED, format!("it was valid until {until}")))
    } else if from.to_system_time() > now {
        Some((&NOT_YET, format!("it is valid from {from} on")))
    } else {
        (until.to_system_time() < now + SOON).then(|| (&EXPIRES, format!("it is valid until {until}")))
    }
}

fn unverified(mode: SslMode) -> Option<Finding> {
    let evidence = match mode {
        SslMode::VerifyFull => return None,
        SslMode::VerifyCa => "verify-ca takes any certificate of the authority, whatever its name",
        SslMode::Require => "require takes any certificate",
        SslMode::Disable => "disable sends everything in clear",
        SslMode::Allow | SslMode::Prefer => "it takes any certificate, and goes on in clear without one",
    };
    let level = if mode == SslMode::VerifyCa { Level::Warning } else { Level::High };
    let finding = Finding::new(&UNVERIFIED, format!("upstream.sslmode {mode}"), evidence);
    Some(Finding { level, ..finding })
}
