//! HTTP: `POST /sql` as Neon's proxy and its driver have it, and WebSockets that carry Postgres's protocol.
//!
//! A request over HTTP is a client like any other. It is let in by the same policy, and what it asks for is done by a
//! session that has a pipe in memory for a socket: pools, session init, prepared statements, expiry and cancelling are
//! those of TCP. HTTP has threads of its own, and of each pool's servers a share, so that a flood of it leaves something
//! to those who come by TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::admission::Seats;
use crate::config::Http;
use crate::listener::{EXHAUSTED, is_exhausted};
use crate::proxy::Proxy;
use crate::workers::Workers;

mod answer;
mod asking;
mod caller;
mod connection;
mod connection_string;
mod paced;
pub(crate) mod rate;
mod route;
mod shares;
pub(crate) mod sql;
mod underway;
mod websocket;

use rate::Rates;
use shares::Shares;

/// What all requests share.
pub(crate) struct Service {
    proxy: Arc<Proxy>,
    config: Http,
    routes: axum::Router,
    /// The certificate, for HTTP.
    tls: Option<Arc<ServerConfig>>,
    connections: Arc<Semaphore>,
    requests: Seats,
    /// Turns to make something of a large body: as many as there are threads, or it would take them their time.
    large_bodies: Arc<Semaphore>,
    rates: Rates,
    shares: Shares,
    /// The sessions that requests and WebSockets have begun.
    sessions: TaskTracker,
}

/// The listeners and the threads of HTTP.
pub(crate) struct Server {
    service: Arc<Service>,
    workers: Arc<Workers>,
}

impl Server {
    /// Starts the threads.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn start(proxy: &Arc<Proxy>, threads: usize) -> io::Result<Self> {
        let config = proxy.http.clone();
        let service = Arc::new_cyclic(|service| Service {
            routes: route::routes(service.clone(), &config),
            tls: proxy.tls_for(&[b"h2", b"http/1.1"]),
            connections: Arc::new(Semaphore::new(config.max_connections)),
            requests: places(config.max_requests),
            large_bodies: Arc::new(Semaphore::new(threads)),
            rates: Rates::new(&config.rate),
            shares: Shares::new(config.max_pool_servers, proxy.pool.servers.max_identity_servers),
            sessions: TaskTracker::new(),
            proxy: proxy.clone(),
            config,
        });
        let workers = Arc::new(Workers::apart(threads, "http")?);
        Ok(Self { service, workers })
    }

    /// Accepts connections until the proxy is told to stop.
    pub(crate) async fn run(&self, listener: TcpListener) {
        let stopped = self.service.proxy.stop.gently.clone();
        stopped.run_until_cancelled(self.accept(listener)).await;
    }

    async fn accept(&self, listener: TcpListener) {
        loop {
            let place = self.service.connections.clone().acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            match listener.accept().await.and_then(prepare) {
                Ok((socket, peer)) => {
                    let service = self.service.clone();
                    self.workers.spawn(async move {
                        connection::serve(socket, peer, service).await;
                        drop(place);
                    });
                }
                Err(error) if is_exhausted(&error) => {
                    error!(%error, "cannot accept connections");
                    tokio::time::sleep(EXHAUSTED).await;
                }
                // The client was gone before it was accepted.
                Err(error) => warn!(%error, "a connection was not accepted"),
            }
        }
    }

    /// Waits until every connection and every session has ended. There must be no new ones.
    pub(crate) async fn finished(&self) {
        self.workers.finished().await;
        self.service.sessions.close();
        self.service.sessions.wait().await;
    }
}

/// Places for so many requests: a quarter of them for one identity, and a quarter that is not for those without a token,
/// whom nobody can tell apart.
fn places(max_requests: usize) -> Seats {
    let quarter = max_requests.div_ceil(4);
    Seats::new(max_requests, quarter, (max_requests - quarter).max(1))
}

fn prepare((socket, peer): (TcpStream, SocketAddr)) -> io::Result<(std::net::TcpStream, SocketAddr)> {
    socket.set_nodelay(true)?;
    Ok((socket.into_std()?, peer))
}
