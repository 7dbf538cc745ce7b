//! What all connections share: the configuration in the form in which they need it, and the few registers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use identity::{Renewal, Verifier};
use rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use upstream::{ClaimsMode, Event, Happened, Login, Pools};

use crate::admission::Admission;
use crate::cancel::Cancels;
use crate::config::{Config, Http, Pool, Session, Tls, TlsRequired, Upstream};
use crate::error::Error;
use crate::greeting::Greetings;
use crate::guard::Guard;
use crate::handshake::ALPN;
use crate::passthrough::Passthrough;
use crate::statement::Registry;

/// The proxy, as a connection sees it.
pub(crate) struct Proxy {
    pub(crate) verifier: Verifier,
    /// What to show a client that asks for TLS.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    certificate: Option<Tls>,
    tls_required: TlsRequired,
    pub(crate) upstream: Upstream,
    pub(crate) claims: ClaimsMode,
    roles: BTreeMap<String, Login>,
    /// The role that needs no token.
    anonymous: Option<String>,
    pub(crate) passthrough: Passthrough,
    pub(crate) limits: Session,
    pub(crate) http: Http,
    pub(crate) pool: Pool,
    /// The servers.
    pub(crate) pools: Arc<Pools>,
    pub(crate) statements: Arc<Registry>,
    pub(crate) greetings: Greetings,
    pub(crate) admission: Admission,
    pub(crate) cancels: Arc<Cancels>,
    pub(crate) guard: Guard,
    pub(crate) stop: Stop,
    connections: AtomicU64,
}

/// The two ways in which sessions are told to end.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// As soon as no transaction is open. Nobody is let in any more.
    pub gently: CancellationToken,
    /// Wherever they stand.
    pub at_once: CancellationToken,
}

impl Stop {
    /// Does a step of a login. Nothing waits for those who are not in yet: when pgusher goes they are turned away.
    pub(crate) async fn unless_going<T>(&self, step: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.gently.run_until_cancelled(step).await.unwrap_or(Err(Error::Shutdown))
    }
}

impl Proxy {
    /// Makes a proxy of its configuration, and the work that has to run beside it.
    pub(crate) fn new(config: Config, stop: Stop) -> (Self, Renewal) {
        let (verifier, renewal) =
            Verifier::new(&config.providers).expect("Config::load has had every provider checked by the verifier");
        let Upstream { connect, settings, .. } = &config.upstream;
        let (connect, settings, claims) = (connect.clone(), settings.clone(), config.claims.clone());
        let pools = Pools::new(config.pool.servers, connect, settings, claims, log_server);
        let Pool { max_client_conn, max_identity_conn, .. } = config.pool;
        let guard = Guard::new(&config);
        let proxy = Self {
            verifier,
            guard,
            tls_required: config.tls.as_ref().map_or(TlsRequired::Remote, |tls| tls.required),
            tls: config.tls.as_ref().map(|tls| Arc::new(server_config(tls, &[ALPN]))),
            certificate: config.tls,
            http: config.http,
            upstream: config.upstream,
            claims: config.claims,
            roles: config.roles,
            anonymous: config.anonymous,
            passthrough: Passthrough::new(config.passthrough),
            admission: Admission::new(config.session.max_logins, max_client_conn, max_identity_conn),
            pool: config.pool,
            pools,
            statements: Arc::default(),
            greetings: Greetings::default(),
            limits: config.session,
            cancels: Arc::default(),
            stop,
            connections: AtomicU64::new(1),
        };
        (proxy, renewal)
    }

    /// A number for a new connection, under which the log knows it.
    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a token or a password may be sent on a connection: nobody can listen in under TLS, nor, where that will do, on
    /// this machine.
    pub(crate) fn is_private(&self, tls: bool, local: bool) -> bool {
        tls || (local && self.tls_required == TlsRequired::Remote)
    }

    /// What to show a client that speaks one of these protocols; none without a certificate.
    pub(crate) fn tls_for(&self, protocols: &[&[u8]]) -> Option<Arc<ServerConfig>> {
        self.certificate.as_ref().map(|tls| Arc::new(server_config(tls, protocols)))
    }

    /// Reads the certificate anew, and asks the issuers for their keys.
    pub(crate) fn renew(&self) {
        match self.certificate.as_ref().map(|tls| tls.certificate.renew()) {
            None => {}
            Some(Ok(())) => info!("certificate loaded"),
            Some(Err(error)) => error!(error, "certificate not renewed"),
        }
        self.verifier.renew();
    }

    /// Whether this is the role that needs no token.
    pub(crate) fn is_anonymous(&self, role: &str) -> bool {
        self.anonymous.as_deref() == Some(role)
    }

    /// Every role that is served, and the login that reaches it.
    pub(crate) fn roles(&self) -> impl Iterator<Item = (&str, &Login)> {
        self.roles.iter().map(|(role, login)| (role.as_str(), login))
    }

    /// The login that reaches a role; none: nobody gets it here.
    pub(crate) fn login(&self, role: &str) -> Option<&Login> {
        self.roles.get(role)
    }
}

fn log_server(event: Event<'_>) {
    let Event { database, role, what } = event;
    match what {
        Happened::Opened { pid, reusable } => {
            info!(database, role, backend = pid, "server connection opened");
            if !reusable {
                warn!(database, role, "the database has what outlives DISCARD ALL: servers keep their identity");
            }
        }
        Happened::Settled { mode } => info!(database, role, mode, "claims mode \"auto\": the database has decided"),
        Happened::Forgotten { settings } => {
            warn!(
                database,
                role,
                settings,
                "the login had defaults, which any client can give it; they were reset: yours belong into [upstream.settings]"
            );
        }
        Happened::Failed(error) => {
            // A string, because the log escapes those: Postgres quotes the database's name, which is the client's to write.
            warn!(database, role, error = error.to_string(), "no server connection");
        }
        Happened::Abandoned { pid } => {
            warn!(
                database,
                role,
                backend = pid,
                "gave up waiting for a server that was told to go and gives no sign of life"
            );
        }
        Happened::Lost { pid } => info!(database, role, backend = pid, "an idle server connection ended"),
    }
}

fn server_config(tls: &Tls, protocols: &[&[u8]]) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for both versions");
    let mut config = config.with_no_client_auth().with_cert_resolver(tls.certificate.clone());
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}
