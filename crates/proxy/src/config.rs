//! The configuration: `proxy.toml`, environment and `--set` in, one [`Config`] of parsed and checked values out.
//!
//! What is closer to the user wins: `--set pool.default_pool_size=50`, else `PGUSHER_POOL__DEFAULT_POOL_SIZE=50`, else
//! the file, else the default. `tree` lays these over each other and remembers where each value was written; `section`
//! reads a table of that tree; every table has its reader in a file of its own here; `report` collects what they find,
//! so that all errors are told at once, each with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use audit::server::Pools;
use audit::{Served, ServedRole};
use identity::ProviderConfig;
use upstream::{ClaimsMode, Login, Password};

mod claims;
mod encryption;
mod http;
mod http_rate;
mod limits;
mod listen;
mod overrides;
mod passthrough;
mod pool;
mod provider;
mod report;
mod roles;
mod safety;
mod secret;
mod section;
mod server;
mod setup;
mod tree;

#[cfg(test)]
mod tests;

pub use http::{Http, Origins};
pub use http_rate::Rate;
pub use limits::{Log, LogFormat, Runtime, Session};
pub use listen::{Address, DEFAULT_PORT, Listen, Tls, TlsRequired};
pub use overrides::Overrides;
pub use passthrough::Passthrough;
pub use pool::{Pool, PoolMode};
pub use report::{ConfigErrors, Origin, Problem};
pub use safety::Safety;
pub use secret::{Secret, SecretPlace};
pub use server::{Databases, Upstream};
pub use setup::{ClaimsSetup, ClaimsWord, RoleSetup, SetupConfig};

pub(crate) use encryption::Encryption;
pub(crate) use secret::signing_key;
pub(crate) use server::tls_to;

use report::Report;
use roles::Role;
use section::{Placed, Reading, Section};
use tree::Node;

/// Said of an address where no token can be sent to.
const UNREACHABLE: &str = "other machines reach this address, but without [tls] none may send a token";

/// The largest file that is read: a hundred times what a large installation needs.
const LARGEST_FILE: u64 = 1024 * 1024;

/// Everything that the proxy is told. A value that exists has passed every check.
#[derive(Clone)]
pub struct Config {
    /// Where clients connect.
    pub listen: Listen,
    /// The certificate shown to clients; none without `[tls]`.
    pub tls: Option<Tls>,
    /// The Postgres behind.
    pub upstream: Upstream,
    /// How the database gets to know whose session it is.
    pub claims: ClaimsMode,
    /// The login of every role that clients may get.
    pub roles: BTreeMap<String, Login>,
    /// The issuers whose tokens are accepted.
    pub providers: Vec<ProviderConfig>,
    /// The role for which no token is needed; it is one of `roles`.
    pub anonymous: Option<String>,
    /// The roles that log in with passwords of their own; none of `roles`, nor of their logins.
    pub passthrough: Passthrough,
    /// How many clients and servers.
    pub pool: Pool,
    /// Limits of one session.
    pub session: Session,
    /// What requests over HTTP may be.
    pub http: Http,
    /// What the audit at start and later may find.
    pub safety: Safety,
    /// Threads.
    pub runtime: Runtime,
    /// Log lines.
    pub log: Log,
}

impl Config {
    /// Reads the file, and what goes over it. Relative paths start at the file's directory.
    ///
    /// # Errors
    /// All that is wrong, at once. Without errors there may be warnings, which are for the log.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<(Self, Vec<Problem>), ConfigErrors> {
        let report = Report::default();
        let config = read_tree(path, overrides, &report).and_then(|root| {
            let directory = path.parent().unwrap_or_else(|| Path::new(""));
            let reading = Reading { report: &report, directory, variables: overrides.variables() };
            let config = Self::read(Section::root(&reading, root));
            overrides.report_misspelt(&report);
            config
        });
        let warnings = report.finish()?;
        Ok((config.expect("a reader that has no value has reported an error"), warnings))
    }

    /// The roles of people with tokens, and so with claims.
    pub(crate) fn claimants(&self) -> BTreeSet<String> {
        self.providers.iter().flat_map(|provider| provider.roles.iter().cloned()).collect()
    }

    /// What an audit is told of it.
    pub(crate) fn served(&self) -> Served {
        let role = |(role, login): (&String, &Login)| ServedRole { role: role.clone(), login: login.user.clone() };
        Served {
            roles: self.roles.iter().map(role).collect(),
            allowed_tables: Vec::new(),
            claims_are_verified: !matches!(self.claims, ClaimsMode::Claims),
        }
    }

    /// How many servers there may be, as an audit is told.
    pub(crate) fn pools(&self) -> Pools {
        let pool = &self.pool.servers;
        let count = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        let databases =
            if let Databases::Named(names) = &self.upstream.databases { Some(count(names.len())) } else { None };
        Pools {
            role_size: count(pool.default_pool_size.saturating_add(pool.reserve_pool_size)),
            database_size: (pool.max_db_connections > 0).then(|| count(pool.max_db_connections)),
            databases,
        }
    }

    /// Every table is read before the first error ends it.
    fn read(mut root: Section<'_>) -> Option<Self> {
        let mut listen_table = root.section("listen");
        let listen = listen::read(&mut listen_table);
        let tls = root.has("tls").then(|| listen::read_tls(root.section("tls")));
        if tls.is_none() && !listen.postgres.iter().all(Address::is_local) {
            listen_table.warn("postgres", UNREACHABLE);
        }
        let upstream = server::read(root.section("upstream"));
        let claims = claims::read(root.section("claims"));
        let roles = roles::read(root.sections("role"));
        let (providers, mut wanted) = provider::read(root.sections("provider"));
        let anonymous = read_anonymous(&mut root);
        let passthrough = passthrough::read(root.section("passthrough"), &roles, anonymous.as_ref());
        let pool = pool::read(root.section("pool"));
        let session = limits::read_session(root.section("session"));
        let http = {
            let names: Vec<_> = roles.iter().map(|role| role.value.name.as_str()).collect();
            let databases = upstream.as_ref().map(|upstream| &upstream.databases);
            http::read(root.section("http"), &names, databases, &pool.servers)
        };
        let local = listen.http.iter().all(|address| address.ip().to_canonical().is_loopback());
        if tls.is_none() && !local && http.trusted_proxies.is_empty() {
            listen_table.warn("http", UNREACHABLE);
        }
        let safety = safety::read(root.section("safety"));
        let runtime = limits::read_runtime(root.section("runtime"));
        let log = limits::read_log(root.section("log"));
        root.finish();

        let upstream = upstream.map(|mut upstream| {
            if let Some(timeout) = pool.server_connect_timeout {
                (upstream.connect.connect_timeout, upstream.connect.login_timeout) = (timeout, timeout);
            }
            upstream
        });

        wanted.extend(anonymous.clone());
        check_roles(&root, &roles, &wanted);
        Some(Self {
            listen,
            tls: tls.map_or(Some(None), |tls| tls.map(Some))?,
            upstream: upstream?,
            claims: claims?,
            roles: roles.into_iter().map(|role| role.value.login()).collect(),
            providers,
            anonymous: anonymous.map(|role| role.value),
            passthrough,
            pool,
            session,
            http,
            safety,
            runtime,
            log,
        })
    }
}

/// File, environment and flags as one tree.
fn read_tree(path: &Path, overrides: &Overrides, report: &Report) -> Option<Node> {
    let shown: Arc<Path> = path.into();
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_string(&mut text)) {
        Err(error) => report.error(&Origin::File(shown.clone()), "", format!("cannot be read: {error}")),
        Ok(length) if length as u64 > LARGEST_FILE => {
            report.error(&Origin::File(shown.clone()), "", format!("is longer than {LARGEST_FILE} bytes"));
        }
        Ok(_) => {}
    }
    let mut root = tree::parse(&text, &shown, report);
    // Half a file would be reported for all that the other half has.
    if report.has_errors() {
        return None;
    }
    overrides.lay_over(&mut root, report);
    Some(root)
}

fn read_anonymous(root: &mut Section<'_>) -> Option<Placed<String>> {
    if !root.has("anonymous") {
        return None;
    }
    let mut section = root.section("anonymous");
    let role = roles::read_name(&mut section, "role");
    section.finish();
    role.map(|role| section.placed("role", role))
}

/// Every role that somebody can ask for has a login, and the other way round.
fn check_roles(root: &Section<'_>, roles: &[Placed<Role<Password>>], wanted: &[Placed<String>]) {
    let report = root.reading.report;
    let names = || roles.iter().map(|role| role.value.name.as_str());
    for wanted in wanted.iter().filter(|wanted| !names().any(|name| name == wanted.value)) {
        let near = report::nearest(&wanted.value, names());
        let near = near.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
        wanted.error(report, format!("no [[role]] has the name {:?}{near}", wanted.value));
    }
    let mut unused = roles.iter().filter(|role| !wanted.iter().any(|wanted| wanted.value == role.value.name));
    for role in unused.by_ref() {
        let message = format!("nobody can ask for {:?}: no provider and no [anonymous] has it", role.value.name);
        report.warning(&role.origin, &role.key, message);
    }
    if !root.was_read("provider") && !root.was_read("anonymous") {
        root.error("provider", "nobody could connect: give at least one [[provider]], or [anonymous]");
    }
}
