//! One connection: TLS if it begins with it, HTTP/1.1 or HTTP/2, and limits to what a peer may do before there is a request.
//! What has become a WebSocket is the same connection to its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{self, HeaderValue};
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;
use wire::stream::Stream;

use super::Service;
use super::caller::Carrier;
use super::paced::Paced;
use super::underway::{self, Underway};
use super::websocket::Upgrades;
use crate::config::Http;

/// Bytes that the head of a request may have: a token, and another in the connection string, each with its escapes.
const MAX_HEAD: usize = 256 * 1024;

/// Requests of one HTTP/2 connection at once.
const MAX_STREAMS: u32 = 100;

/// How often an HTTP/2 peer that says nothing is asked whether it is there, and how long it may take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// The first bytes of HTTP/2 in clear (RFC 9113, section 3.4); no method of HTTP/1.1 begins with them.
const PREFACE: &[u8] = b"PRI";

/// What the two sides will speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

/// Serves a connection to its end.
pub(super) async fn serve(socket: std::net::TcpStream, peer: SocketAddr, service: Arc<Service>) {
    let opened = timeout(service.config.header_timeout, open(socket, &service));
    let (stream, version) = match opened.await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return debug!(%peer, %error, "an HTTP connection ended before its first request"),
        Err(_) => return debug!(%peer, "an HTTP connection said nothing in time"),
    };
    let carrier = Carrier { tls: stream.is_tls(), peer };
    let stopped = service.proxy.stop.gently.clone();
    let at_once = service.proxy.stop.at_once.clone();
    let upgrades = Upgrades::default();
    let underway = Underway::new();
    let answering = answering(carrier, upgrades.clone(), underway.clone(), &service);
    let serving = async {
        let ended = match version {
            Version::Http1 => serve_http1(stream, answering, &service, stopped.cancelled_owned()).await,
            Version::Http2 => serve_http2(stream, answering, underway, &service, stopped.cancelled_owned()).await,
        };
        if let Err(error) = ended {
            debug!(%peer, %error, "an HTTP connection failed");
        }
    };
    // It is large, and most of a connection's life it waits.
    at_once.run_until_cancelled(Box::pin(serving)).await;
    upgrades.ended().await;
}

async fn open(socket: std::net::TcpStream, service: &Service) -> std::io::Result<(Stream, Version)> {
    let socket = TcpStream::from_std(socket)?;
    let mut first = [0; PREFACE.len()];
    let length = socket.peek(&mut first).await?;
    let stream = Stream::from(socket);
    match &service.tls {
        Some(tls) if stream.opens_with_tls().await? => {
            let stream = stream.accept_tls(tls.clone()).await?;
            let version = if stream.alpn() == Some(b"h2") { Version::Http2 } else { Version::Http1 };
            Ok((stream, version))
        }
        _ if &first[..length] == PREFACE => Ok((stream, Version::Http2)),
        _ => Ok((stream, Version::Http1)),
    }
}

async fn serve_http1(
    stream: Stream,
    answering: impl Answering,
    service: &Service,
    stopped: impl Future<Output = ()>,
) -> hyper::Result<()> {
    let io = TokioIo::new(Paced::new(stream, service.config.write_timeout));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(service.config.header_timeout);
    // The buffer is asked only when it ends within a head: of one that comes in large pieces it may hold more.
    http.max_buf_size(MAX_HEAD).max_header_size(MAX_HEAD);
    let mut connection = pin!(http.serve_connection(io, answering).with_upgrades());
    tokio::select! {
        ended = &mut connection => return ended,
        () = stopped => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

async fn serve_http2(
    stream: Stream,
    answering: impl Answering,
    underway: Underway,
    service: &Service,
    stopped: impl Future<Output = ()>,
) -> hyper::Result<()> {
    let Http { header_timeout, write_timeout, .. } = service.config;
    let io = TokioIo::new(Paced::new(stream, write_timeout));
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEAD as u32);
    http.keep_alive_interval(PING.0).keep_alive_timeout(PING.1);
    let mut connection = pin!(http.serve_connection(io, answering));
    tokio::select! {
        ended = &mut connection => return ended,
        () = underway.stalled(write_timeout) => return Ok(()),
        () = underway.idle(header_timeout) => connection.as_mut().graceful_shutdown(),
        () = stopped => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        ended = connection => ended,
        () = underway.stalled(write_timeout) => Ok(()),
        // It does not go, though it has been asked to.
        () = underway.idle(header_timeout * 2) => Ok(()),
    }
}

/// What answers the requests of a connection.
trait Answering: HttpService<Incoming, ResBody = underway::Answer, Error = Infallible, Future: Send + 'static> {}

impl<T: HttpService<Incoming, ResBody = underway::Answer, Error = Infallible, Future: Send + 'static>> Answering for T {}

/// Every request of a connection is answered by the routes, which are told what carries it.
fn answering(carrier: Carrier, upgrades: Upgrades, underway: Underway, service: &Service) -> impl Answering + use<> {
    let routes = TowerToHyperService::new(service.routes.clone());
    service_fn(move |mut request: Request<Incoming>| {
        let begun = underway.begin();
        // Such a request may have had a Content-Length too, of which hyper says nothing. Who is in front may have gone by
        // that, and what comes next would be another's (RFC 9112, section 6.3).
        let is_last = request.headers().contains_key(header::TRANSFER_ENCODING);
        request.extensions_mut().insert(carrier);
        request.extensions_mut().insert(upgrades.clone());
        let answered = routes.call(request);
        async move {
            let mut response: Response<Body> = answered.await?;
            if is_last {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| begun.answer(body)))
        }
    })
}
