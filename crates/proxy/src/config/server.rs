//! `[upstream]`: the Postgres behind the proxy, in libpq's words, and what every session there starts with.

use std::time::Duration;

use upstream::{
    Address, Binding, ClientCertificate, ConnectConfig, RootCertificates, Settings, SslMode, Tls, TlsSetupError,
};

use super::roles::identifier_error;
use super::secret;
use super::section::Section;

/// `[upstream]`
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Where the servers are and how to reach them; certificates are loaded.
    pub connect: ConnectConfig,
    /// The databases that clients may name.
    pub databases: Databases,
    /// The settings of every session, which its client's own go over.
    pub settings: Settings,
}

/// The databases that clients may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Databases {
    /// Whatever the server has.
    Any,
    /// These.
    Named(Vec<String>),
}

/// The database to ask where none is named. Every cluster has it.
const ANY_DATABASE: &str = "postgres";

impl Databases {
    /// Those that are known to be there: the named ones, or else one that is in every cluster.
    pub fn known(&self) -> impl Iterator<Item = &str> {
        let named = if let Self::Named(names) = self { names.as_slice() } else { &[] };
        let any = named.is_empty().then_some(ANY_DATABASE);
        named.iter().map(String::as_str).chain(any)
    }

    /// Whether a client may name this one.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Named(names) => names.iter().any(|allowed| allowed == name),
        }
    }
}

/// libpq's words, and the two that need quotes nowhere.
const SSL_MODES: [(&str, SslMode); 8] = [
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
    ("verify_ca", SslMode::VerifyCa),
    ("verify_full", SslMode::VerifyFull),
];

/// What the proxy itself writes into the startup packet.
const RESERVED_SETTINGS: [&str; 8] = [
    "database",
    "local_preload_libraries",
    "options",
    "replication",
    "role",
    "row_security",
    "session_authorization",
    "user",
];

/// Settings that carry an identity begin with one of these; protocol extensions with the last.
const RESERVED_PREFIXES: [&str; 4] = ["pgusher.", "request.", "pg_session_jwt.", "_pq_."];

pub(super) fn read(mut section: Section<'_>) -> Option<Upstream> {
    let address = read_address(&mut section);
    let tls = read_tls(&mut section, address.as_ref());
    let second = Duration::from_secs(1);
    let connect_timeout = section.duration("connect_timeout", second * 5, second / 1000..=second * 3600);
    let allow_md5 = section.flag("allow_md5", false);
    let databases = read_databases(&mut section);
    let settings = read_settings(section.section("settings"));
    section.finish();
    let connect = ConnectConfig {
        address: address?,
        tls: tls?,
        allow_md5,
        binding: Binding::Prefer,
        connect_timeout,
        // libpq has one time for both; a name that resolves slowly shall not eat up that of the login.
        login_timeout: connect_timeout,
    };
    Some(Upstream { connect, databases, settings })
}

fn read_address(section: &mut Section<'_>) -> Option<Address> {
    let port = section.number("port", 5432, 1..=u16::MAX);
    let host = section.required_text("host")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let is_host = !host.is_empty() && host.len() < 254 && host.chars().all(plain);
    if is_host || (host.starts_with('/') && !host.contains('\0')) {
        return Some(Address::new(&host, port));
    }
    let expected = "a host name, an IP address or a socket's directory (with / in front) is expected";
    section.error("host", format!("{expected}, not {host:?}"));
    None
}

/// The words are libpq's.
fn read_tls(section: &mut Section<'_>, address: Option<&Address>) -> Option<Tls> {
    let written = section.word("sslmode", &SSL_MODES);
    let roots = read_roots(section);
    let client = read_client_certificate(section);
    let address = address?;
    if matches!(address, Address::Unix(_)) && written.is_some_and(|mode| mode != SslMode::Disable) {
        section.error("sslmode", "there is no TLS on a Unix socket");
        return None;
    }
    let tls = tls_to(address, written, roots, client.as_ref());
    tls.map_err(|error| section.error("sslmode", error.to_string())).ok()
}

/// How to speak TLS to this address. Without a mode it is libpq's strictest, and none where the way to the server
/// cannot be tapped.
pub(crate) fn tls_to(
    address: &Address,
    mode: Option<SslMode>,
    roots: Option<RootCertificates>,
    client: Option<&ClientCertificate>,
) -> Result<Tls, TlsSetupError> {
    let default = if is_local(address) && roots.is_none() { SslMode::Disable } else { SslMode::VerifyFull };
    let mode = mode.unwrap_or(default);
    let roots = roots.or_else(|| (mode == SslMode::VerifyFull).then_some(RootCertificates::System));
    Tls::new(mode, roots.as_ref(), client)
}

/// Whether the way to this address stays on this machine.
pub(super) fn is_local(address: &Address) -> bool {
    match address {
        Address::Unix(_) => true,
        Address::Tcp { host, .. } => {
            host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
    }
}

fn read_roots(section: &mut Section<'_>) -> Option<RootCertificates> {
    if section.has_word("sslrootcert", "system") {
        section.text("sslrootcert");
        return Some(RootCertificates::System);
    }
    section.existing_file("sslrootcert").map(RootCertificates::File)
}

fn read_client_certificate(section: &mut Section<'_>) -> Option<ClientCertificate> {
    for (key, other) in [("sslcert", "sslkey"), ("sslkey", "sslcert")] {
        if section.has(key) && !section.has(other) {
            section.error(other, format!("missing: it belongs to {key}"));
        }
    }
    let certificate_file = section.existing_file("sslcert");
    let key_file = section.existing_file("sslkey")?;
    secret::warn_of_readers(section, "sslkey", &key_file);
    Some(ClientCertificate { certificate_file: certificate_file?, key_file })
}

fn read_databases(section: &mut Section<'_>) -> Databases {
    let Some(names) = section.list("databases") else { return Databases::Any };
    if names.is_empty() {
        section.error("databases", "no client could connect; name at least one, or \"*\" for all");
    }
    if names.len() > 1
        && let Some(all) = names.iter().find(|name| name.value == "*")
    {
        all.error(section.reading.report, "\"*\" alone stands for all databases; name them, or leave the others out");
    }
    for name in &names {
        if let Some(message) = database_error(&name.value) {
            name.error(section.reading.report, message);
        }
    }
    let mut names = names.into_iter().map(|name| name.value);
    if names.clone().any(|name| name == "*") { Databases::Any } else { Databases::Named(names.by_ref().collect()) }
}

fn database_error(name: &str) -> Option<String> {
    let pattern = name.contains('*') && name != "*";
    let no_patterns = || "there is no pattern but \"*\" alone, for all databases".into();
    identifier_error(name).or_else(|| pattern.then(no_patterns))
}

fn read_settings(mut section: Section<'_>) -> Settings {
    let mut settings = Settings::default();
    for (name, value) in section.settings() {
        match setting_error(&name.to_ascii_lowercase(), &value) {
            Some(message) => section.error(&name, message),
            None => settings.set(&name, &value),
        }
    }
    settings
}

fn setting_error(name: &str, value: &str) -> Option<String> {
    let start = |c: char| c.is_ascii_lowercase() || c == '_';
    let rest = |c: char| start(c) || c.is_ascii_digit() || c == '$';
    let word = |word: &str| word.starts_with(start) && word.chars().all(rest);
    if RESERVED_SETTINGS.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        Some("the proxy sets this itself".into())
    } else if !name.split('.').all(word) {
        Some(format!("{name:?} cannot be the name of a setting"))
    } else if value.contains('\0') || value.len() > 1024 {
        Some("a value has no zero byte and at most 1,024 bytes".into())
    } else {
        None
    }
}
