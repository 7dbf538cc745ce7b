//! Has a request done: a session that works for it, and what comes of that as an answer.

use std::convert::Infallible;
use std::ffi::CString;
use std::future::poll_fn;
use std::task::{Poll, ready};

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::{BodyExt, Full};
use tokio::task::JoinHandle;
use wire::stream::tunnel;

use super::Job;
use super::body::{Statement, Work};
use super::error::SqlError;
use super::exchange::{Exchange, Outcome};
use super::frames::{self, Named};
use super::results::{Layout, Results, Style};
use crate::admission::Seat;
use crate::error::Error;
use crate::http::Service;
use crate::http::answer::Failure;
use crate::http::asking::{Form, LINES};
use crate::passthrough;
use crate::proxy::Proxy;
use crate::session::{self, Entrant, Guest};
use crate::statements::LONGEST_SHARED;

/// The SQLSTATE and the function of Postgres that refuses a statement whose result has changed since it was prepared.
const RESULT_CHANGED: (&str, &str) = ("0A000", "RevalidateCachedQuery");

/// Has it done. A statement whose result has changed since a server prepared it is refused there before anything is done;
/// who asked did not prepare it, and so it is asked again, which prepares it anew.
pub(super) async fn run(service: &Service, job: Job, entrant: Entrant) -> Result<Response, Failure> {
    let lines = job.asked.form.lines;
    let again = match &entrant {
        Entrant::Identity(identity) => Some(identity.clone()),
        Entrant::Direct(_) => None,
    };
    let seat = seat(&service.proxy, &entrant)?;
    let (mut exchange, session) = begin(service, &job, entrant, seat)?;
    let mut out = Vec::new();
    let mut outcome = wait(service, lines, &mut exchange, &mut out).await?;
    if let (Some(Err(error)), Some(identity)) = (&outcome, again)
        && is_outdated(error)
        && !exchange.has_committed()
    {
        drop(exchange);
        // There may be no other seat, as long as this one is taken.
        let seat = session.await.expect("a session does not panic");
        (exchange, _) = begin(service, &job, Entrant::Identity(identity), seat)?;
        out.clear();
        outcome = wait(service, lines, &mut exchange, &mut out).await?;
    }
    if lines {
        let body = stream(exchange, out, outcome.is_some(), job);
        return Ok(([(header::CONTENT_TYPE, LINES)], body).into_response());
    }
    outcome.unwrap_or(Ok(())).map_err(Failure::Database)?;
    let echo = if matches!(job.work, Work::Batch(_)) { job.asked.echo } else { HeaderMap::new() };
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
    error.context.is_none() && (&*error.code, error.routine.as_deref()) == (RESULT_CHANGED.0, Some(RESULT_CHANGED.1))
}

/// A seat for the session, as every client has one.
fn seat(proxy: &Proxy, entrant: &Entrant) -> Result<Seat, Error> {
    let mut seat = proxy.admission.seat()?;
    if let Entrant::Identity(identity) = entrant {
        seat.belongs_to(identity).map_err(Error::TooManyOfIdentity)?;
    }
    Ok(seat)
}

/// Starts a session that works for the request. It gives its seat back at its end.
fn begin(service: &Service, job: &Job, entrant: Entrant, seat: Seat) -> Result<(Exchange, JoinHandle<Seat>), Failure> {
    let Job { asked, work, caller, id, .. } = job;
    let (proxy, request) = (service.proxy.clone(), asked.request.clone());
    let names = match &entrant {
        Entrant::Identity(_) => names(work),
        // Nobody else finds anything on its server.
        Entrant::Direct(_) => vec![None; statements(work).len()],
    };
    let too_long = |error: frames::TooLong| Failure::request(StatusCode::PAYLOAD_TOO_LARGE, "54000", error.to_string());
    let (frames, results) = requests(job, &names).map_err(too_long)?;
    let (near, far) = tunnel(caller.tls, Some(caller.address));
    let session = match entrant {
        Entrant::Identity(identity) => {
            let text = |query: &str| CString::new(query).expect("a query that was read has no zero byte");
            let known = names.into_iter().zip(statements(work));
            let known = known.filter_map(|(name, statement)| Some((name?, text(&statement.query)))).collect();
            let guest = Guest { seat, request, identity, statements: known };
            service.sessions.spawn(session::host(near, guest, proxy, *id))
        }
        Entrant::Direct(admitted) => {
            service.sessions.spawn(passthrough::host(near, seat, admitted, request, proxy, *id))
        }
    };
    Ok((Exchange::new(far, frames, results), session))
}

/// The names of those statements that servers keep, for whoever asks them next.
fn names(work: &Work) -> Vec<Option<String>> {
    let is_kept = |statement: &Statement| statement.query.len() <= LONGEST_SHARED;
    let numbered = statements(work).iter().enumerate();
    numbered.map(|(number, statement)| is_kept(statement).then(|| number.to_string())).collect()
}

/// What the session is to be asked, and who reads what it answers.
fn requests(job: &Job, names: &[Option<String>]) -> Result<(Bytes, Results), frames::TooLong> {
    let Form { raw_text, array_mode, lines } = job.asked.form;
    let style = |statement: &Statement| Style { raw_text, array_mode: statement.array_mode.unwrap_or(array_mode) };
    let layout = if lines { Layout::Lines } else { Layout::Document };
    let named = statements(&job.work).iter().zip(names);
    let mut named = named.map(|(statement, name)| Named { statement, name: name.as_deref() });
    let mut out = BytesMut::new();
    let results = match &job.work {
        Work::Single(statement) => {
            named.try_for_each(|statement| frames::single(statement, &mut out))?;
            Results::single(style(statement), layout)
        }
        Work::Batch(statements) => {
            frames::batch(job.asked.transaction, named, &mut out)?;
            Results::batch(statements.iter().map(style).collect(), layout)
        }
    };
    Ok((out.freeze(), results))
}

fn statements(work: &Work) -> &[Statement] {
    match work {
        Work::Single(statement) => std::slice::from_ref(statement),
        Work::Batch(statements) => statements,
    }
}

/// Waits for the answer: all of it, or of lines the first.
async fn wait(
    service: &Service,
    lines: bool,
    exchange: &mut Exchange,
    out: &mut Vec<u8>,
) -> Result<Option<Outcome>, Failure> {
    let most = service.config.max_response_size;
    loop {
        let outcome = poll_fn(|cx| exchange.poll_more(cx, out)).await;
        if lines || matches!(outcome, Some(Err(_))) {
            return Ok(outcome);
        }
        if out.len() > most {
            let message = format!("the response is larger than max_response_size = {most} bytes");
            let failure = Failure::request(StatusCode::INSUFFICIENT_STORAGE, "54000", message);
            return Err(failure.hint(format!("Ask for less, or for a stream: Accept: {LINES}.")));
        }
        if outcome.is_some() {
            return Ok(outcome);
        }
    }
}

/// The lines as they come, behind the first; `over`: there are no more. What the request holds it holds to the end.
fn stream(mut exchange: Exchange, first: Vec<u8>, mut over: bool, job: Job) -> Body {
    let mut first = Some(first);
    Body::from_stream(stream::poll_fn(move |cx| {
        let _held = &job;
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
