//! `[listen]` and `[tls]`: where clients connect, and with what certificate.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::secret;
use super::section::{Placed, Section};
use crate::certificate::{self, Certificate};

/// The port that clients connect to where none is given, and that names the Unix socket.
pub const DEFAULT_PORT: u16 = 6432;

const ADDRESS_EXPECTED: &str = "an IP address with a port, such as \"127.0.0.1:6432\" or \"[::1]:6432\"";

/// What a socket's path may have at most: `sockaddr_un` holds 108 bytes with the terminator.
const LONGEST_SOCKET_PATH: usize = 107;

/// `[listen]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where Postgres clients connect; at least one.
    pub postgres: Vec<Address>,
    /// Where `/sql` and WebSockets are; nowhere, unless that was asked for.
    pub http: Vec<SocketAddr>,
    /// Where metrics are; nowhere, unless that was asked for.
    pub admin: Vec<SocketAddr>,
}

/// A place to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address and port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// The path of a Unix socket, `<directory>/.s.PGSQL.<port>`.
    Unix(PathBuf),
}

impl Address {
    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// `[tls]`
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate chain and its private key, which belong together.
    pub certificate: Arc<Certificate>,
    /// Who has to use TLS.
    pub required: TlsRequired,
}

/// Which clients have to use TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsRequired {
    /// All but those on loopback and Unix sockets.
    Remote,
    /// All.
    Always,
}

/// Reads `[listen]`.
pub(super) fn read(section: &mut Section<'_>) -> Listen {
    let postgres = read_postgres(section);
    let tcp = |address: &Address| if let Address::Tcp(address) = address { Some(("postgres", *address)) } else { None };
    let mut taken: Vec<_> = postgres.iter().filter_map(tcp).collect();
    let http = read_addresses(section, "http", &taken);
    taken.extend(http.iter().map(|address| ("http", *address)));
    let admin = read_admin(section, &taken);
    section.finish();
    Listen { postgres, http, admin }
}

fn read_postgres(section: &mut Section<'_>) -> Vec<Address> {
    let Some(list) = section.list("postgres") else {
        return vec![Address::Tcp((Ipv4Addr::LOCALHOST, DEFAULT_PORT).into())];
    };
    if list.is_empty() {
        section.error("postgres", "at least one address is needed");
    }
    let socket_port = socket_port(&list);
    let mut postgres = Vec::new();
    for written in &list {
        match address(&written.value, section.reading.directory, socket_port) {
            Ok(address) if postgres.contains(&address) => {
                written.error(section.reading.report, format!("{address} is here twice"));
            }
            Ok(address) => postgres.push(address),
            Err(message) => written.error(section.reading.report, message),
        }
    }
    postgres
}

/// Whoever reaches these addresses reads the metrics: there is no other wall.
fn read_admin(section: &mut Section<'_>, taken: &[(&str, SocketAddr)]) -> Vec<SocketAddr> {
    let admin = read_addresses(section, "admin", taken);
    if !admin.iter().all(|address| address.ip().to_canonical().is_loopback()) {
        section.warn("admin", "other machines reach this address, and whoever does may read the metrics");
    }
    admin
}

/// The addresses of a key; none of them may be taken by the key that it comes with. Of port 0 there are many.
fn read_addresses(section: &mut Section<'_>, key: &str, taken: &[(&str, SocketAddr)]) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for written in section.list(key).unwrap_or_default() {
        let parsed = written.value.parse::<SocketAddr>();
        let is_that = |address: SocketAddr| address.port() != 0 && parsed == Ok(address);
        if let Some((other, address)) = taken.iter().find(|(_, address)| is_that(*address)) {
            written.error(section.reading.report, format!("{address} is in {other} too"));
            continue;
        }
        match parsed {
            Ok(address) if addresses.contains(&address) => {
                written.error(section.reading.report, format!("{address} is here twice"));
            }
            Ok(address) => addresses.push(address),
            Err(_) => {
                let message = format!("{ADDRESS_EXPECTED} is expected, not {:?}", written.value);
                written.error(section.reading.report, message);
            }
        }
    }
    addresses
}

/// The number in the Unix sockets' names: the first TCP port of the list, as Postgres itself has one port for both.
fn socket_port(list: &[Placed<String>]) -> u16 {
    let tcp = |written: &Placed<String>| written.value.parse::<SocketAddr>().ok();
    let port = list.iter().find_map(tcp).map(|address| address.port());
    port.filter(|port| *port != 0).unwrap_or(DEFAULT_PORT)
}

fn address(text: &str, directory: &Path, socket_port: u16) -> Result<Address, String> {
    if text.contains('\0') || !text.contains('/') {
        let expected = format!("{ADDRESS_EXPECTED}, or the directory of a Unix socket is expected");
        return text.parse().map(Address::Tcp).map_err(|_| format!("{expected}, not {text:?}"));
    }
    let path = directory.join(text).join(format!(".s.PGSQL.{socket_port}"));
    if path.as_os_str().len() > LONGEST_SOCKET_PATH {
        return Err(format!("{} is too long for a Unix socket ({LONGEST_SOCKET_PATH} bytes)", path.display()));
    }
    Ok(Address::Unix(path))
}

/// Reads `[tls]`, which is there.
pub(super) fn read_tls(mut section: Section<'_>) -> Option<Tls> {
    let words = [("remote", TlsRequired::Remote), ("always", TlsRequired::Always)];
    let required = section.word("required", &words).unwrap_or(TlsRequired::Remote);
    for key in ["certificate_file", "key_file"] {
        if !section.has(key) {
            section.error(key, "missing");
        }
    }
    let certificate_file = section.path("certificate_file");
    let key_file = section.path("key_file");
    section.finish();
    let chain = certificate_file.as_deref().map(certificate::chain);
    let chain = chain.and_then(|chain| or_report(&section, "certificate_file", chain));
    let key = key_file.as_deref().and_then(|path| {
        secret::warn_of_readers(&section, "key_file", path);
        or_report(&section, "key_file", certificate::key(path))
    });
    let pair = or_report(&section, "key_file", certificate::pair(chain?, key?))?;
    let certificate = Arc::new(Certificate::new(certificate_file?, key_file?, pair));
    Some(Tls { certificate, required })
}

fn or_report<T>(section: &Section<'_>, key: &str, result: Result<T, String>) -> Option<T> {
    result.map_err(|message| section.error(key, message)).ok()
}
