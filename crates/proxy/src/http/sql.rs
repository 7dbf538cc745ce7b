//! `POST /sql`: one query, or a batch of them in a transaction; the answer is JSON.
//!
//! The way of a request: is there room, who asks (the policy is that of TCP), what is asked, a server's worth of the pool's
//! share, and then a session in this process that has a pipe for a client. Whoever goes away breaks the pipe, and the
//! session cancels what it was doing.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use identity::Identity;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::Service;
use super::answer::Failure;
use super::asking::{self, Asked};
use super::caller::{Caller, Carrier};
use super::shares::Share;
use crate::admission::Seat;
use crate::authenticate::authenticate;
use crate::config::Http;
use crate::error::Error;
use crate::passthrough;
use crate::proxy::Proxy;
use crate::session::Entrant;
use crate::tenancy::holder;

mod body;
mod error;
mod exchange;
mod frames;
mod fuzz;
mod parameter;
mod question;
mod results;
mod rows;
mod run;
mod text;
mod value;

#[cfg(test)]
mod tests;

pub use fuzz::{fuzz_body, fuzz_results};

pub(super) use error::SqlError;
pub(super) use frames::{Isolation, Transaction};

use question::{Keep, Manner, Question};

/// A request of somebody who may ask, and what it holds until it is answered.
struct Job {
    asked: Asked,
    caller: Caller,
    id: u64,
    place: Seat,
    _share: Option<Share>,
}

/// Answers a request, whatever comes of it.
pub(super) async fn answer(service: &Arc<Service>, carrier: Carrier, request: Request) -> Response {
    let neon = asking::is_neon(request.headers());
    let id = service.proxy.next_connection();
    let caller = Caller::of(carrier, request.headers(), &service.config);
    // Most of its life it waits, and what it waits in is large.
    let answered = Box::pin(async {
        let (job, question, entrant) = admit(service, caller, request, id).await?;
        run::run(service, job, question, entrant).await
    });
    match answered.await {
        Ok(response) => response,
        Err(failure) => {
            log(&failure, caller, id);
            failure.answer(neon, service.proxy.limits.auth_error_detail, id)
        }
    }
}

/// From a request to somebody who may ask, and what.
async fn admit(
    service: &Service,
    caller: Caller,
    request: Request,
    id: u64,
) -> Result<(Job, Question, Entrant), Failure> {
    let Service { proxy, config, rates, .. } = service;
    let from = caller.address.ip();
    rates.came(from, Instant::now())?;
    let mut place = service.requests.take().map_err(Error::TooManyRequests)?;
    let (head, body) = request.into_parts();
    let mut asked = asking::read(&head.headers, config)?;
    let entered = enter(proxy, caller, &mut asked).await;
    rates.judge(from, entered.as_ref(), Instant::now())?;
    let entrant = entered?;
    let mut keep = Keep::Nothing;
    if let Entrant::Identity(identity) = &entrant {
        keep = Keep::Short;
        place.belongs_to(identity).map_err(|limit| match identity.provider() {
            Some(_) => Error::TooManyRequestsOfIdentity(limit),
            None => Error::TooManyRequestsOfAnyone(limit),
        })?;
    }
    let manner = Manner { form: asked.form, transaction: asked.transaction, keep };
    // Only now: strangers have nothing to say.
    let question = read(service, &head.headers, body, manner).await?;
    let share = match &entrant {
        Entrant::Identity(identity) => Some(wait_for_share(service, &asked, identity).await?),
        // It has a server of its own.
        Entrant::Direct(_) => None,
    };
    let user = &asked.request.role;
    debug!(id, peer = %from, user, database = asked.request.database, passthrough = share.is_none(), "request");
    Ok((Job { asked, caller, id, place, _share: share }, question, entrant))
}

/// Finds out who asks: by a token, or by a password where the role has one of its own.
async fn enter(proxy: &Proxy, caller: Caller, asked: &mut Asked) -> Result<Entrant, Error> {
    let private = proxy.is_private(caller.tls, caller.is_local());
    if proxy.passthrough.has(&asked.request.role) {
        let password = asked.take_password().unwrap_or_default();
        // A login to a server is large, and would make every request as large.
        let admitted = Box::pin(passthrough::log_in_with(password, private, &asked.request, proxy)).await?;
        return Ok(Entrant::Direct(admitted));
    }
    let token = asked.take_token().unwrap_or_default();
    authenticate(private, &asked.request, proxy, async { Ok(token) }).await.map(Entrant::Identity)
}

async fn wait_for_share(service: &Service, asked: &Asked, identity: &Identity) -> Result<Share, Error> {
    let (pool, request) = (&service.proxy.pool, &asked.request);
    let share = service.shares.take(&request.database, &request.role, holder(identity));
    let waited = pool.query_wait_timeout;
    timeout(waited, share)
        .await
        .map_err(|_| Error::PoolFull { limit: ("http.max_pool_servers", service.config.max_pool_servers), waited })
}

/// Reads the body, as much of it as there may be, and no longer than it may take.
async fn read(service: &Service, headers: &HeaderMap, body: Body, manner: Manner) -> Result<Question, Failure> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Failure::request(StatusCode::UNSUPPORTED_MEDIA_TYPE, "0A000", "a request may not be compressed"));
    }
    let body = collect(&service.config, body).await?;
    question::read(body, manner, &service.large_bodies).await
}

/// The bytes of a body. What they come in is free as soon as they are here.
async fn collect(config: &Http, body: Body) -> Result<Vec<u8>, Failure> {
    let (size, time) = (config.max_request_size, config.body_timeout);
    let collecting = async {
        let (mut body, mut bytes) = (Limited::new(body, size), Vec::new());
        while let Some(frame) = body.frame().await {
            bytes.extend_from_slice(&frame?.into_data().unwrap_or_default());
        }
        Ok(bytes)
    };
    let collected = timeout(time, collecting).await.map_err(|_| {
        let message = format!("the request took longer than body_timeout = {time:?}");
        Failure::request(StatusCode::REQUEST_TIMEOUT, "57014", message)
    })?;
    collected.map_err(|error: axum::BoxError| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => {
            let message = format!("the request is larger than max_request_size = {size} bytes");
            Failure::request(StatusCode::PAYLOAD_TOO_LARGE, "54000", message)
        }
        None => Failure::malformed("the request ended early"),
    })
}

fn log(failure: &Failure, caller: Caller, id: u64) {
    let peer = caller.address.ip().to_string();
    match failure {
        // A string, because the log escapes those: a reason may quote the client, who may send line breaks.
        Failure::Refused(error) => warn!(id, peer, reason = error.to_string(), "request refused"),
        // What is said of a request quotes it, and in what is asked there may be anything.
        Failure::Request(_, error) | Failure::Database(error) => debug!(id, peer, code = error.code, "request failed"),
    }
}
