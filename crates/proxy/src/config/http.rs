//! `[http]`: what requests over HTTP may be, and how many.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::HeaderValue;
use ipnet::IpNet;
use upstream::PoolConfig;

use super::http_rate::{self, Rate};
use super::limits::{SECOND, WAIT};
use super::section::Section;
use super::server::Databases;

const MIB: usize = 1 << 20;

/// `[http]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// From which pages browsers may ask.
    pub origins: Origins,
    /// The role of a request that names none.
    pub default_role: Option<String>,
    /// The database of a request that names none.
    pub default_database: Option<String>,
    /// Proxies in front that end TLS, and whose word is taken for who asks.
    pub trusted_proxies: Vec<IpNet>,
    /// Bytes that the body of a request may have.
    pub max_request_size: usize,
    /// Bytes that an answer may have that is not streamed.
    pub max_response_size: usize,
    /// Connections at once, WebSockets among them.
    pub max_connections: usize,
    /// Requests at once.
    pub max_requests: usize,
    /// How fast requests may come.
    pub rate: Rate,
    /// Of each pool's servers, how many may work for requests at once.
    pub max_pool_servers: usize,
    /// How long the head of a request may take, and how long a connection may wait for the next one.
    pub header_timeout: Duration,
    /// How long the body of a request may take.
    pub body_timeout: Duration,
    /// How long a client may read nothing of an answer.
    pub write_timeout: Duration,
}

/// The origins (RFC 6454) of `cors_origins`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// All there are.
    Any,
    /// These; none, if it is empty.
    These(Vec<HeaderValue>),
}

impl Origins {
    /// Whether a page from there may ask.
    #[must_use]
    pub fn allow(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::These(origins) => origins.contains(origin),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            origins: Origins::These(Vec::new()),
            default_role: None,
            default_database: None,
            trusted_proxies: Vec::new(),
            max_request_size: 10 * MIB,
            max_response_size: 10 * MIB,
            max_connections: 10_000,
            max_requests: 1_000,
            rate: Rate::default(),
            max_pool_servers: 15,
            header_timeout: SECOND * 15,
            body_timeout: SECOND * 30,
            write_timeout: SECOND * 30,
        }
    }
}

impl Http {
    /// Whether a connection from this address is a trusted proxy's.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}

/// Reads `[http]`. `roles` are those that are served, `databases` those that clients may name, if that is known.
pub(super) fn read(
    mut section: Section<'_>,
    roles: &[&str],
    databases: Option<&Databases>,
    servers: &PoolConfig,
) -> Http {
    let default_role = section.text("default_role");
    if let Some(role) = default_role.as_deref().filter(|role| !roles.contains(role)) {
        section.error("default_role", format!("no [[role]] has the name {role:?}"));
    }
    let defaults = Http::default();
    let sizes = 1024..=1024 * MIB;
    let http = Http {
        origins: read_origins(&mut section),
        default_role,
        default_database: read_database(&mut section, databases),
        trusted_proxies: read_proxies(&mut section),
        max_request_size: section.size("max_request_size", defaults.max_request_size, sizes.clone()),
        max_response_size: section.size("max_response_size", defaults.max_response_size, sizes),
        max_connections: section.number("max_connections", defaults.max_connections, 1..=1_000_000),
        max_requests: section.number("max_requests", defaults.max_requests, 1..=1_000_000),
        rate: http_rate::read(&mut section),
        max_pool_servers: read_pool_servers(&mut section, servers),
        header_timeout: section.duration("header_timeout", defaults.header_timeout, WAIT),
        body_timeout: section.duration("body_timeout", defaults.body_timeout, WAIT),
        write_timeout: section.duration("write_timeout", defaults.write_timeout, WAIT),
    };
    section.finish();
    http
}

fn read_database(section: &mut Section<'_>, databases: Option<&Databases>) -> Option<String> {
    let name = section.text("default_database")?;
    if databases.is_some_and(|databases| !databases.allows(&name)) {
        section.error("default_database", format!("upstream.databases does not have {name:?}"));
    }
    Some(name)
}

/// By default three quarters: what is left of a pool is for who comes by TCP.
fn read_pool_servers(section: &mut Section<'_>, servers: &PoolConfig) -> usize {
    let PoolConfig { default_pool_size, reserve_pool_size, .. } = servers;
    let (default, all) = ((default_pool_size * 3).div_ceil(4), default_pool_size + reserve_pool_size);
    let wanted = section.number("max_pool_servers", default, 1..=100_000);
    if wanted > all {
        let message = format!("a pool has no more than {all} servers: default_pool_size and reserve_pool_size");
        section.error("max_pool_servers", message);
    }
    wanted
}

fn read_origins(section: &mut Section<'_>) -> Origins {
    let written = section.list("cors_origins").unwrap_or_default();
    if let [only] = &written[..]
        && only.value == "*"
    {
        return Origins::Any;
    }
    let origin = |text: &str| is_origin(text).then(|| HeaderValue::from_str(text).ok()).flatten();
    let mut origins = Vec::new();
    for written in &written {
        match origin(&written.value) {
            Some(origin) => origins.push(origin),
            None => {
                let message = format!(
                    "an origin is expected, such as \"https://app.example.com\", or \"*\" alone, not {:?}",
                    written.value
                );
                written.error(section.reading.report, message);
            }
        }
    }
    Origins::These(origins)
}

/// As browsers send it: a scheme and a host, in lower case, and a port that is not the scheme's own.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let of_scheme = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    let of_host = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._:[]".contains(c);
    let own_port = [("http", ":80"), ("https", ":443")];
    !scheme.is_empty()
        && scheme.chars().all(of_scheme)
        && !host.is_empty()
        && host.chars().all(of_host)
        && !own_port.iter().any(|(of, port)| *of == scheme && host.ends_with(port))
}

fn read_proxies(section: &mut Section<'_>) -> Vec<IpNet> {
    let mut proxies = Vec::new();
    for written in section.list("trusted_proxies").unwrap_or_default() {
        let net = written.value.parse().or_else(|_| written.value.parse::<IpAddr>().map(IpNet::from));
        match net {
            Ok(net) => proxies.push(net),
            Err(_) => {
                let message = format!(
                    "an address or a network is expected, such as \"10.0.0.7\" or \"10.0.0.0/8\", not {:?}",
                    written.value
                );
                written.error(section.reading.report, message);
            }
        }
    }
    proxies
}
