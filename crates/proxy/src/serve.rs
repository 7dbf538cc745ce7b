//! The proxy from start to end: is everything there, let clients in, let them finish, go.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use identity::Renewed;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, info, warn};
use upstream::{ClaimsMode, Parameters, Server, Startup};

use crate::admin;
use crate::config::{Config, Databases};
use crate::guard::Unsafe;
use crate::http;
use crate::listener::{Listener, bind_tcp};
use crate::proxy::{Proxy, Stop};
use crate::workers::Workers;

/// How long the last words to clients may take once sessions were ended where they stood.
const FAREWELLS: Duration = Duration::from_secs(10);

/// Why the proxy did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An issuer's keys cannot be had.
    #[error("provider {provider}: {cause}")]
    Issuer {
        /// The provider's configured name.
        provider: String,
        /// What happened.
        cause: String,
    },
    /// The database cannot be reached, or refuses one of our logins.
    #[error("upstream, database {database}, login {login}: {cause}")]
    Upstream {
        /// The database tried.
        database: String,
        /// The login tried.
        login: String,
        /// What happened.
        cause: upstream::Error,
    },
    /// What is there must not be served.
    #[error(transparent)]
    Unsafe(#[from] Unsafe),
    /// A listener for HTTP cannot have its address.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address configured.
        address: SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The system gives no thread.
    #[error("cannot start a worker: {0}")]
    Worker(#[source] std::io::Error),
}

/// Where clients come in.
#[derive(Debug, Default)]
pub struct Sockets {
    /// With Postgres's protocol.
    pub postgres: Vec<Listener>,
    /// By HTTP.
    pub http: Vec<TcpListener>,
    /// For metrics.
    pub admin: Vec<TcpListener>,
}

/// Serves until told to stop, and then until the last session has ended, `shutdown_grace` at most. At each of `hangups` it
/// renews certificate and keys. Calls `on_ready` when clients are let in; never if it could not start, or was told to stop
/// before.
///
/// # Errors
/// [`StartError`], if it could not start.
pub async fn run(
    config: Config,
    sockets: Sockets,
    stop: Stop,
    hangups: Option<Signal>,
    on_ready: impl FnOnce(),
) -> Result<(), StartError> {
    let (grace, runtime) = (config.session.shutdown_grace, config.runtime.clone());
    let claimants = config.claimants();
    log_addresses(&sockets.admin, "metrics");
    log_addresses(&sockets.http, "HTTP");
    let (proxy, renewal) = Proxy::new(config, stop);
    let proxy = Arc::new(proxy);
    let mut background = JoinSet::new();
    background.spawn(renewal.run(log_renewal));
    let ready = async {
        is_ready(&proxy, &claimants).await?;
        proxy.guard.admit(&proxy).await.map_err(StartError::from)
    };
    tokio::select! {
        ready = ready => ready?,
        () = proxy.stop.gently.cancelled() => return Ok(()),
    }
    let workers = Arc::new(Workers::start(runtime.worker_threads).map_err(StartError::Worker)?);
    let server = (!sockets.http.is_empty()).then(|| http::Server::start(&proxy, runtime.http_threads)).transpose();
    let server = server.map_err(StartError::Worker)?.map(Arc::new);
    warm(&proxy);
    background.spawn(renew(proxy.clone(), hangups));
    background.spawn(proxy.pools.clone().maintain());
    background.spawn({
        let proxy = proxy.clone();
        async move { proxy.guard.watch(&proxy).await }
    });
    for listener in sockets.admin {
        background.spawn(admin::run(listener, proxy.clone()));
    }
    let mut accepting = JoinSet::new();
    for listener in sockets.postgres {
        info!(address = %listener.address(), "listening");
        accepting.spawn(listener.run(proxy.clone(), workers.clone()));
    }
    for (listener, server) in sockets.http.into_iter().zip(server.iter().cycle().cloned()) {
        accepting.spawn(async move { server.run(listener).await });
    }
    on_ready();
    accepting.join_all().await;
    info!(?grace, "shutting down: waiting for sessions to end");
    let finished = async || {
        tokio::join!(workers.finished(), async {
            if let Some(server) = &server {
                server.finished().await;
            }
        });
    };
    drain(&proxy, finished, grace).await;
    // Whoever is gone already needs no goodbye.
    let _ = timeout(FAREWELLS, proxy.pools.close()).await;
    Ok(())
}

/// Cancels `stop` as SIGTERM and SIGINT come: the first gently, the second at once.
///
/// # Errors
/// What the system says.
pub fn stop_on_signals(stop: Stop) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for token in [stop.gently, stop.at_once] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel();
        }
    });
    Ok(())
}

async fn renew(proxy: Arc<Proxy>, hangups: Option<Signal>) {
    let Some(mut hangups) = hangups else { return };
    while hangups.recv().await.is_some() {
        info!("SIGHUP: renewing certificate and keys; the rest of the configuration is read at start");
        proxy.renew();
    }
}

/// Listens at each of these addresses.
///
/// # Errors
/// [`StartError::Listen`].
pub(crate) async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(bind_tcp(*address).map_err(|cause| StartError::Listen { address: *address, cause })?);
    }
    Ok(listeners)
}

/// A port of 0 was the system's to choose.
fn log_addresses(listeners: &[TcpListener], purpose: &str) {
    for address in listeners.iter().flat_map(TcpListener::local_addr) {
        info!(%address, "{purpose}");
    }
}

async fn drain(proxy: &Proxy, finished: impl AsyncFn(), grace: Duration) {
    let in_peace = async {
        tokio::select! {
            () = finished() => {}
            () = proxy.stop.at_once.cancelled() => {}
        }
    };
    if timeout(grace, in_peace).await.is_err() {
        warn!("shutdown_grace is over: ending sessions where they stand");
    }
    proxy.stop.at_once.cancel();
    if timeout(FAREWELLS, finished()).await.is_err() {
        error!("sessions did not end");
    }
}

/// Finds out whether the issuers and the database are there, so that a mistake is told at start and not to the first
/// user. Of a role that claimants have it tries claims too.
async fn is_ready(proxy: &Proxy, claimants: &BTreeSet<String>) -> Result<(), StartError> {
    if let Some(unready) = proxy.verifier.ready().await.into_iter().next() {
        return Err(StartError::Issuer { provider: unready.provider, cause: unready.error.to_string() });
    }
    // One that is not named need not be prepared for claims.
    let named = matches!(proxy.upstream.databases, Databases::Named(_));
    let claims = if named { &proxy.claims } else { &ClaimsMode::Claims };
    let (settings, parameters) = (&proxy.upstream.settings, &Parameters::default());
    for database in proxy.upstream.databases.known() {
        for (role, login) in proxy.roles() {
            let startup = Startup { database, role, settings, parameters, claims };
            let opened = async {
                let mut server = Server::open(&proxy.upstream.connect, login, &startup).await?;
                let tried = if named && claimants.contains(role) { server.try_claims().await } else { Ok(()) };
                server.terminate().await;
                tried
            };
            match opened.await {
                Ok(()) => {}
                // It is there, and would have let us in elsewhere.
                Err(cause) if cause.for_client().is_some() => warn!(role, %cause, "the database refuses a session"),
                Err(cause) => {
                    let (database, login) = (database.to_owned(), login.user.clone());
                    return Err(StartError::Upstream { database, login, cause });
                }
            }
        }
    }
    Ok(())
}

/// Opens what is to be kept open, where it is known in advance which databases there are.
fn warm(proxy: &Proxy) {
    let Databases::Named(names) = &proxy.upstream.databases else { return };
    for name in names.iter().filter(|_| proxy.pool.servers.min_pool_size > 0) {
        proxy.roles().for_each(|(role, login)| proxy.pools.warm(name, role, login));
    }
}

fn log_renewal(renewed: Renewed) {
    match renewed {
        Renewed::Keys { provider, usable, skipped } => {
            for reason in skipped {
                warn!(provider, reason, "a key is not usable");
            }
            if usable == 0 {
                warn!(provider, "the issuer has no usable key: its tokens are refused");
            } else {
                info!(provider, usable, "keys loaded");
            }
        }
        Renewed::Failed { provider, error } => warn!(provider, %error, "keys not renewed"),
    }
}
