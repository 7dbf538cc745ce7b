//! Has a request done: a session that works for it, and what comes of that as an answer.

use std::convert::Infallible;
use std::future::poll_fn;
use std::mem;
use std::task::{Poll, ready};

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full};
use wire::stream::tunnel;

use super::Job;
use super::error::SqlError;
use super::exchange::{End, Exchange};
use super::question::Question;
use crate::admission::Seat;
use crate::error::{Error, is_result_changed};
use crate::http::Service;
use crate::http::answer::Failure;
use crate::http::asking::LINES;
use crate::passthrough;
use crate::proxy::Proxy;
use crate::session::{self, Entrant, Guest};

/// Has it done. A statement whose result has changed since a server prepared it is refused there before anything is done;
/// who asked did not prepare it, and so it is asked again, which prepares it anew.
pub(super) async fn run(
    service: &Service,
    job: Job,
    question: Question,
    entrant: Entrant,
) -> Result<Response, Failure> {
    let (lines, is_batch) = (job.asked.form.lines, question.is_batch());
    let again = match &entrant {
        Entrant::Identity(identity) => Some((identity.clone(), question.clone())),
        Entrant::Direct(_) => None,
    };
    let seat = seat(&service.proxy, &entrant)?;
    let mut exchange = begin(service, &job, question, entrant, seat);
    let mut out = Vec::new();
    let mut end = wait(service, lines, &mut exchange, &mut out).await?;
    if let (Some(End { outcome: Err(error), seat }), Some((identity, question))) = (&mut end, again)
        && is_outdated(error)
        && !exchange.has_committed()
        && let Some(seat) = seat.take()
    {
        exchange = begin(service, &job, question, Entrant::Identity(identity), seat);
        out.clear();
        end = wait(service, lines, &mut exchange, &mut out).await?;
    }
    let outcome = end.map(|end| end.outcome);
    if lines {
        let body = stream(exchange, out, outcome.is_some(), job);
        return Ok(([(header::CONTENT_TYPE, LINES)], body).into_response());
    }
    outcome.unwrap_or(Ok(())).map_err(Failure::Database)?;
    let echo = if is_batch { job.asked.echo } else { HeaderMap::new() };
    Ok((echo, [(header::CONTENT_TYPE, "application/json")], document(out, job.place)).into_response())
}

/// A document, which counts as a request until it is taken: of so many there is room.
fn document(out: Vec<u8>, place: Seat) -> Body {
    Body::new(Full::<Bytes>::from(out).map_err(move |never: Infallible| {
        let _held = &place;
        never
    }))
}

/// Whether Postgres says so of what it was asked to run, and not of what that has run in turn: a procedure may have
/// committed before.
fn is_outdated(error: &SqlError) -> bool {
    let routine = error.routine.as_deref().map(str::as_bytes);
    error.context.is_none() && is_result_changed(Some(error.code.as_bytes()), routine)
}

/// A seat for the session, as every client has one.
fn seat(proxy: &Proxy, entrant: &Entrant) -> Result<Seat, Error> {
    let mut seat = proxy.admission.seat()?;
    if let Entrant::Identity(identity) = entrant {
        seat.belongs_to(identity).map_err(Error::TooManyOfIdentity)?;
    }
    Ok(seat)
}

/// Starts a session that works for the request.
fn begin(service: &Service, job: &Job, question: Question, entrant: Entrant, seat: Seat) -> Exchange {
    let Job { asked, caller, id, .. } = job;
    let (proxy, request) = (service.proxy.clone(), asked.request.clone());
    let (near, far) = tunnel(caller.tls, Some(caller.address));
    let results = question.results();
    let Question { frames, known: statements, .. } = question;
    let session = match entrant {
        Entrant::Identity(identity) => {
            let guest = Guest { seat, request, identity, statements };
            service.sessions.spawn(session::host(near, guest, proxy, *id))
        }
        Entrant::Direct(admitted) => {
            service.sessions.spawn(passthrough::host(near, seat, admitted, request, proxy, *id))
        }
    };
    Exchange::new(far, frames, results, session)
}

/// Waits for the answer: all of it, or of lines the first.
async fn wait(
    service: &Service,
    lines: bool,
    exchange: &mut Exchange,
    out: &mut Vec<u8>,
) -> Result<Option<End>, Failure> {
    let most = service.config.max_response_size;
    loop {
        let end = poll_fn(|cx| exchange.poll_more(cx, out)).await;
        if lines || matches!(end, Some(End { outcome: Err(_), .. })) {
            return Ok(end);
        }
        if out.len() > most {
            let message = format!("the response is larger than max_response_size = {most} bytes");
            let failure = Failure::request(StatusCode::INSUFFICIENT_STORAGE, "54000", message);
            return Err(failure.hint(format!("Ask for less, or for a stream: Accept: {LINES}.")));
        }
        if end.is_some() {
            return Ok(end);
        }
    }
}

/// The lines as they come, behind the first; `over`: there are no more. What the request holds it holds to the end.
fn stream(mut exchange: Exchange, first: Vec<u8>, mut over: bool, job: Job) -> Body {
    let (mut first, mut lines) = (Some(first), Vec::new());
    Body::from_stream(stream::poll_fn(move |cx| {
        let _held = &job;
        if let Some(first) = first.take() {
            return Poll::Ready(Some(Ok::<_, Infallible>(first)));
        }
        if over {
            return Poll::Ready(None);
        }
        over = ready!(exchange.poll_more(cx, &mut lines)).is_some();
        Poll::Ready(Some(Ok(mem::take(&mut lines))))
    }))
}
