//! `POST /sql`: one query, or a batch of them in a transaction; the answer is JSON.
//!
//! The way of a request: is there room, who asks (the policy is that of TCP), what is asked, a server's worth of the pool's
//! share, and then a session in this process that has a pipe for a client. Whoever goes away breaks the pipe, and the
//! session cancels what it was doing.

use std::convert::Infallible;
use std::ffi::CString;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use identity::Identity;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tracing::{debug, warn};
use wire::stream::tunnel;

use super::Service;
use super::answer::Failure;
use super::asking::{self, Asked, LINES};
use super::caller::{Caller, Carrier};
use super::shares::Share;
use crate::authenticate::authenticate;
use crate::config::Http;
use crate::error::Error;
use crate::session::{self, Guest};
use crate::statements::LONGEST_SHARED;

mod body;
mod error;
mod exchange;
mod frames;
mod fuzz;
mod parameter;
mod results;
mod rows;
mod text;
mod value;

#[cfg(test)]
mod tests;

pub use fuzz::{fuzz_body, fuzz_results};

pub(super) use error::SqlError;
pub(super) use frames::{Isolation, Transaction};

use body::{Statement, Work};
use exchange::{Exchange, Outcome};
use frames::Named;
use results::{Layout, Results, Style};

/// The SQLSTATE and the function of Postgres that refuses a statement whose result has changed since it was prepared.
const RESULT_CHANGED: (&str, &str) = ("0A000", "RevalidateCachedQuery");

/// A request that has been read, from somebody who may ask, and what it holds until it is answered.
struct Admitted {
    asked: Asked,
    identity: Identity,
    work: Work,
    caller: Caller,
    id: u64,
    _place: OwnedSemaphorePermit,
    _share: Share,
}

/// Answers a request, whatever comes of it.
pub(super) async fn answer(service: &Arc<Service>, carrier: Carrier, request: Request) -> Response {
    let neon = asking::is_neon(request.headers());
    let id = service.proxy.next_connection();
    let caller = Caller::of(carrier, request.headers(), &service.config);
    // Most of its life it waits, and what it waits in is large.
    let answered = Box::pin(async {
        let admitted = admit(service, caller, request, id).await?;
        run(service, admitted).await
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
async fn admit(service: &Service, caller: Caller, request: Request, id: u64) -> Result<Admitted, Failure> {
    let Service { proxy, config, .. } = service;
    let place = service.requests.clone().try_acquire_owned();
    let place = place.map_err(|_| Error::TooManyRequests(config.max_requests))?;
    let (head, body) = request.into_parts();
    let mut asked = asking::read(&head.headers, config)?;
    let private = caller.is_private(proxy.allows_local_clear_text());
    let token = asked.take_token().unwrap_or_default();
    let identity = authenticate(private, &asked.request, proxy, async { Ok(token) }).await?;
    // Only now: strangers have nothing to say.
    let work = read(config, &head.headers, body).await?;
    let share = wait_for_share(service, &asked).await?;
    Ok(Admitted { asked, identity, work, caller, id, _place: place, _share: share })
}

/// Has it done. A statement whose result has changed since a server prepared it is refused there before anything is done;
/// who asked did not prepare it, and so it is asked again, which prepares it anew.
async fn run(service: &Service, admitted: Admitted) -> Result<Response, Failure> {
    let mut exchange = begin(service, &admitted)?;
    let mut out = Vec::new();
    let mut outcome = begun(service, &admitted, &mut exchange, &mut out).await?;
    if matches!(&outcome, Some(Err(error)) if is_outdated(error)) && !exchange.has_committed() {
        exchange = begin(service, &admitted)?;
        out.clear();
        outcome = begun(service, &admitted, &mut exchange, &mut out).await?;
    }
    if !admitted.asked.form.lines {
        outcome.unwrap_or(Ok(())).map_err(Failure::Database)?;
        return Ok(([(header::CONTENT_TYPE, "application/json")], out).into_response());
    }
    Ok(([(header::CONTENT_TYPE, LINES)], stream(exchange, admitted, out, outcome)).into_response())
}

fn is_outdated(error: &SqlError) -> bool {
    (&*error.code, error.routine.as_deref()) == (RESULT_CHANGED.0, Some(RESULT_CHANGED.1))
}

/// Starts a session that works for the request.
fn begin(service: &Service, admitted: &Admitted) -> Result<Exchange, Failure> {
    let Admitted { asked, identity, work, caller, id, .. } = admitted;
    let mut seat = service.proxy.admission.seat()?;
    seat.belongs_to(identity)?;
    let (statements, is_batch) = match work {
        Work::Single(statement) => (std::slice::from_ref(statement), false),
        Work::Batch(statements) => (&statements[..], true),
    };
    let style = |statement: &Statement| Style {
        raw_text: asked.form.raw_text,
        array_mode: statement.array_mode.unwrap_or(asked.form.array_mode),
    };
    let layout = if asked.form.lines { Layout::Lines } else { Layout::Document };
    let names: Vec<_> = (0..statements.len()).map(|number| number.to_string()).collect();
    let is_shared = |statement: &Statement| statement.query.len() <= LONGEST_SHARED;
    let named = statements
        .iter()
        .zip(&names)
        .map(|(statement, name)| Named { statement, name: is_shared(statement).then_some(name.as_str()) });
    let mut frames = BytesMut::new();
    let (made, results) = match statements {
        [statement] if !is_batch => {
            let named = Named { statement, name: is_shared(statement).then_some("0") };
            (frames::single(named, &mut frames), Results::single(style(statement), layout))
        }
        _ => {
            let results = Results::batch(statements.iter().map(style).collect(), layout);
            (frames::batch(asked.transaction, named, &mut frames), results)
        }
    };
    made.map_err(|error| Failure::request(StatusCode::PAYLOAD_TOO_LARGE, "54000", error.to_string()))?;
    let known = statements.iter().zip(names).filter(|(statement, _)| is_shared(statement));
    let text = |statement: &Statement| CString::new(&*statement.query).expect("a query that was read has no zero byte");
    let guest = Guest {
        seat,
        request: asked.request.clone(),
        identity: identity.clone(),
        statements: known.map(|(statement, name)| (name, text(statement))).collect(),
    };
    let (near, far) = tunnel(caller.tls, Some(caller.address));
    service.sessions.spawn(session::host(near, guest, service.proxy.clone(), *id));
    Ok(Exchange::new(far, frames.freeze(), results))
}

/// Waits for an answer: all of it, or of lines the first.
async fn begun(
    service: &Service,
    admitted: &Admitted,
    exchange: &mut Exchange,
    out: &mut Vec<u8>,
) -> Result<Option<Outcome>, Failure> {
    let most = service.config.max_response_size;
    loop {
        let outcome = poll_fn(|cx| exchange.poll_more(cx, out)).await;
        if outcome.is_some() || admitted.asked.form.lines {
            return Ok(outcome);
        }
        if out.len() > most {
            let message = format!("the response is larger than max_response_size = {most} bytes");
            return Err(Failure::request(StatusCode::INSUFFICIENT_STORAGE, "54000", message)
                .hint(format!("Ask for less, or for a stream: Accept: {LINES}.")));
        }
    }
}

/// The lines as they come.
fn stream(mut exchange: Exchange, admitted: Admitted, first: Vec<u8>, outcome: Option<Outcome>) -> Body {
    let mut over = outcome.is_some();
    let mut first = Some(first);
    Body::from_stream(futures_util::stream::poll_fn(move |cx| {
        // It holds its places to the end.
        let _ = &admitted;
        if let Some(first) = first.take() {
            return Poll::Ready(Some(Ok::<_, Infallible>(first)));
        }
        if over {
            return Poll::Ready(None);
        }
        let mut lines = Vec::new();
        over = ready!(exchange.poll_more(cx, &mut lines)).is_some();
        Poll::Ready(Some(Ok(lines)))
    }))
}

async fn wait_for_share(service: &Service, asked: &Asked) -> Result<Share, Error> {
    let (pool, request) = (&service.proxy.pool, &asked.request);
    let share = service.shares.take(&request.database, &request.role);
    let waited = pool.query_wait_timeout;
    timeout(waited, share).await.map_err(|_| Error::PoolFull { size: service.config.max_pool_servers, waited })
}

/// Reads the body, as much of it as there may be, and no longer than it may take.
async fn read(config: &Http, headers: &HeaderMap, body: Body) -> Result<Work, Failure> {
    let (size, time) = (config.max_request_size, config.body_timeout);
    let too_large = || {
        let message = format!("the request is larger than max_request_size = {size} bytes");
        Failure::request(StatusCode::PAYLOAD_TOO_LARGE, "54000", message)
    };
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Failure::request(StatusCode::UNSUPPORTED_MEDIA_TYPE, "0A000", "a request may not be compressed"));
    }
    let collected = timeout(time, Limited::new(body, size).collect()).await.map_err(|_| {
        let message = format!("the request took longer than body_timeout = {time:?}");
        Failure::request(StatusCode::REQUEST_TIMEOUT, "57014", message)
    })?;
    let bytes = collected.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => too_large(),
        None => Failure::malformed("the request ended early"),
    })?;
    body::parse(&bytes.to_bytes()).map_err(|error| {
        let failure = Failure::request(StatusCode::BAD_REQUEST, error.code(), error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

fn log(failure: &Failure, caller: Caller, id: u64) {
    // A string, because the log escapes those: a reason may quote the client, who may send line breaks.
    let (peer, reason) = (caller.address.ip().to_string(), failure.to_string());
    match failure {
        Failure::Refused(_) => warn!(id, peer, reason, "request refused"),
        Failure::Request(..) | Failure::Database(_) => debug!(id, peer, reason, "request failed"),
    }
}
