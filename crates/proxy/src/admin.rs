//! The admin listener: `GET /metrics` in the text format of Prometheus, `GET /healthz` for whoever asks whether the
//! process lives. It shows numbers, the names of databases, roles and rules, and nothing of a client or a token; it
//! changes nothing. Who may reach its address may read it.

use std::convert::Infallible;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::http::{Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::proxy::Proxy;

/// How many may ask at once; others wait to be accepted.
const CONNECTIONS: usize = 16;

/// What a request may have in front of its body, which nobody reads. The least that hyper takes.
const MAX_HEAD: usize = 8192;

/// From the connection to the end of the answer.
const EXCHANGE: Duration = Duration::from_secs(10);

/// How long accepting rests when it fails.
const REST: Duration = Duration::from_millis(100);

/// The text exposition format 0.0.4 of Prometheus.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers until dropped.
pub(crate) async fn run(listener: TcpListener, proxy: Arc<Proxy>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((socket, peer)) => {
                let proxy = proxy.clone();
                tokio::spawn(async move {
                    exchange(socket, peer, &proxy).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "an admin connection was not accepted");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// One request and its answer.
async fn exchange(socket: TcpStream, peer: SocketAddr, proxy: &Proxy) {
    let service = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(answer(request.method(), request.uri().path(), proxy))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(EXCHANGE).max_buf_size(MAX_HEAD).keep_alive(false);
    match timeout(EXCHANGE, http.serve_connection(TokioIo::new(socket), service)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%peer, %error, "an admin request failed"),
        Err(_) => debug!(%peer, "an admin request took too long"),
    }
}

fn answer(method: &Method, path: &str, proxy: &Proxy) -> Response {
    match (path, method) {
        ("/metrics", &Method::GET | &Method::HEAD) => {
            ([(header::CONTENT_TYPE, METRICS)], metrics(proxy)).into_response()
        }
        ("/healthz", &Method::GET | &Method::HEAD) => "ok\n".into_response(),
        ("/metrics" | "/healthz", _) => {
            (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response()
        }
        _ => (StatusCode::NOT_FOUND, "there are /metrics and /healthz\n").into_response(),
    }
}

/// Everything, in one text.
fn metrics(proxy: &Proxy) -> String {
    let mut text = Text(String::new());
    text.family("pgusher_build_info", "Always 1; the version is the label.");
    text.sample("pgusher_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    text.family("pgusher_clients", "Clients that are logged in or about to be.");
    text.sample("pgusher_clients", &[], proxy.admission.clients() as f64);
    let counts = proxy.pools.counts();
    text.family("pgusher_servers", "Connections to Postgres by pool and state.");
    for pool in &counts {
        let states = [("idle", pool.idle), ("lent", pool.lent), ("opening", pool.opening), ("closing", pool.closing)];
        for (state, count) in states {
            let labels = [("database", &*pool.database), ("role", &pool.role), ("state", state)];
            text.sample("pgusher_servers", &labels, count as f64);
        }
    }
    text.family("pgusher_clients_waiting", "Clients that wait for a server, by pool.");
    for pool in &counts {
        let labels = [("database", &*pool.database), ("role", &pool.role)];
        text.sample("pgusher_clients_waiting", &labels, pool.waiting as f64);
    }
    findings(&mut text, proxy);
    text.0
}

fn findings(text: &mut Text, proxy: &Proxy) {
    let seen = proxy.guard.seen();
    let mut keys: Vec<_> = seen.findings.iter().map(|finding| (finding.rule.id, finding.level.word())).collect();
    keys.sort_unstable();
    text.family("pgusher_findings", "What the last audit found, by rule and level.");
    for same in keys.chunk_by(|one, other| one == other) {
        text.sample("pgusher_findings", &[("rule", same[0].0), ("level", same[0].1)], same.len() as f64);
    }
    text.family("pgusher_audit_last_success_timestamp_seconds", "When the last audit that saw everything began.");
    if let Some(since) = seen.at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()) {
        text.sample("pgusher_audit_last_success_timestamp_seconds", &[], since.as_secs_f64().floor());
    }
}

/// Metrics as they are written. All of ours are gauges.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        let mut open = '{';
        for (label, content) in labels {
            let content = content.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let _ = write!(self.0, "{open}{label}=\"{content}\"");
            open = ',';
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_its_quotes_backslashes_and_lines_escaped() {
        let mut text = Text(String::new());
        text.sample("m", &[("database", "a\"b\\c\nd"), ("role", "é")], 3.0);
        text.sample("m", &[], 1_795_643_224.0);
        assert_eq!(text.0, "m{database=\"a\\\"b\\\\c\\nd\",role=\"é\"} 3\nm 1795643224\n");
    }
}
