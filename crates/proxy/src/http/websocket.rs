//! WebSockets (RFC 6455), on any path: Postgres's protocol in binary frames, from the startup packet on.
//!
//! Behind one is the session of TCP, with a tunnel for a socket; where the bytes are cut into frames means nothing to it.
//! A WebSocket begins as a request of HTTP/1.1; HTTP/2 has another way (RFC 8441), which is not offered.
//!
//! Browsers let any page open a WebSocket to anywhere, and say only from which page (section 10.2). So a request that has
//! an `Origin` must have one of `cors_origins`, and that holds for pages of the same host too: which that is, a name in a
//! request does not prove. Whatever is no browser sends none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use axum::extract::Request;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::body::Body;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};
use wire::stream::tunnel;

use super::Service;
use super::answer::Failure;
use super::caller::{Caller, Carrier};
use crate::admission::LoginPermit;
use crate::config::Http;
use crate::error::Error;
use crate::session::{self, Entrant};

mod carriage;
mod frame;

use carriage::Carriage;

/// The one version there is.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// What is appended to a client's key to show that this is no other protocol (section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How long what a session says last may be under way when sessions are ended where they stand.
const FAREWELL: Duration = Duration::from_secs(5);

/// The WebSockets that a connection has become: one, or none.
#[derive(Clone, Debug, Default)]
pub(super) struct Upgrades(TaskTracker);

impl Upgrades {
    /// Waits for their end. There must be no new ones.
    pub(super) async fn ended(self) {
        self.0.close();
        self.0.wait().await;
    }
}

/// Whether a request wants to become a WebSocket, however badly it says so.
pub(super) fn is_asked_for(request: &Request) -> bool {
    lists(request.headers(), &header::UPGRADE, "websocket")
}

/// Makes a WebSocket of the connection, or says why not.
pub(super) fn answer(service: &Arc<Service>, mut request: Request) -> Response {
    let id = service.proxy.next_connection();
    let carrier = *request.extensions().get::<Carrier>().expect("every request has been told what carries it");
    let caller = Caller::of(carrier, request.headers(), &service.config);
    let accepted = match accept(&request, &service.config) {
        Ok(accepted) => accepted,
        Err((status, reason)) => {
            debug!(id, peer = %caller.address.ip(), reason, "no WebSocket");
            return (status, [(header::SEC_WEBSOCKET_VERSION, VERSION)], format!("{reason}\n")).into_response();
        }
    };
    let paced = service.rates.came(caller.address.ip(), Instant::now());
    let login = match paced.and_then(|()| service.proxy.admission.login_in_websocket()) {
        Ok(login) => login,
        Err(error) => {
            warn!(id, peer = %caller.address.ip(), reason = error.to_string(), "connection refused");
            return Failure::from(error).answer(false, service.proxy.limits.auth_error_detail, id);
        }
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let upgrades = request.extensions().get::<Upgrades>().expect("every request has been told what it can become");
    upgrades.0.spawn(serve(service.clone(), upgrade, caller, login, id));
    let headers = [
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::SEC_WEBSOCKET_ACCEPT, accepted),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// Serves a WebSocket to its end.
async fn serve(service: Arc<Service>, upgrade: OnUpgrade, caller: Caller, login: LoginPermit, id: u64) {
    let socket = match upgrade.await {
        Ok(upgraded) => TokioIo::new(upgraded),
        Err(error) => return debug!(id, %error, "a connection was lost before it was a WebSocket"),
    };
    let (near, far) = tunnel(caller.tls, Some(caller.address));
    let proxy = &service.proxy;
    let session = {
        let service = service.clone();
        let judge =
            move |entered: Result<&Entrant, &Error>| service.rates.judge(caller.address.ip(), entered, Instant::now());
        session::serve(session::enter(near, proxy.clone(), login, id, judge))
    };
    service.sessions.spawn(session);
    let too_late = async {
        proxy.stop.at_once.cancelled().await;
        sleep(FAREWELL).await;
    };
    tokio::select! {
        end = Carriage::new(socket, far).run(&proxy.stop.gently) => debug!(id, %end, "WebSocket ended"),
        () = too_late => debug!(id, "a WebSocket took too long to end"),
    }
}

/// What a client is to be shown that its request was understood (section 4.2.2).
fn accept(request: &Request, config: &Http) -> Result<HeaderValue, (StatusCode, &'static str)> {
    let headers = request.headers();
    if !headers.get_all(header::ORIGIN).iter().all(|origin| config.origins.allow(origin)) {
        return Err((
            StatusCode::FORBIDDEN,
            "pages of this origin may not connect: [http] cors_origins has the others",
        ));
    }
    if request.method() != Method::GET {
        return Err((StatusCode::BAD_REQUEST, "a WebSocket begins with GET"));
    }
    if request.version() != Version::HTTP_11 || !lists(headers, &header::CONNECTION, "upgrade") {
        return Err((StatusCode::BAD_REQUEST, "a WebSocket begins with HTTP/1.1 and Connection: Upgrade"));
    }
    // What is behind it would be read as frames.
    if !request.body().is_end_stream() {
        return Err((StatusCode::BAD_REQUEST, "a request for a WebSocket has no body"));
    }
    if single(headers, &header::SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        return Err((StatusCode::UPGRADE_REQUIRED, "the version of WebSocket is 13"));
    }
    let key = single(headers, &header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    let is_key = |key: &&str| BASE64_STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16);
    let key = key.filter(is_key).ok_or((StatusCode::BAD_REQUEST, "Sec-WebSocket-Key has to be 16 bytes in Base64"))?;
    Ok(accepted(key))
}

fn accepted(key: &str) -> HeaderValue {
    // It proves nothing to anybody who could find a collision.
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, [key, GUID].concat().as_bytes());
    HeaderValue::from_str(&BASE64_STANDARD.encode(hash)).expect("Base64 is a header's value")
}

/// A header that is there once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether a header is a list that has this word in it.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let lists = headers.get_all(name).into_iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|listed| listed.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_accepted_as_the_standard_shows() {
        assert_eq!(accepted("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
