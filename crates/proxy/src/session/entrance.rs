//! From a socket to somebody who may come in, or who is told why not.

use std::sync::Arc;

use identity::Identity;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, warn};
use wire::startup::CancelRequest;
use wire::stream::Stream;

use crate::admission::{LoginPermit, Seat};
use crate::authenticate::{Request, ask_for_token, authenticate, requested};
use crate::cancel::Found;
use crate::client;
use crate::error::Error;
use crate::handshake::{Greeting, Refused, handshake};
use crate::passthrough::{self, Admitted};
use crate::proxy::Proxy;

/// Somebody who may come in.
pub(crate) enum Entrant {
    /// By a token, or as the anonymous role.
    Identity(Identity),
    /// By a password of the role's own.
    Direct(Admitted),
}

/// A connection by which somebody has come in.
pub(crate) struct Connection {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) request: Request,
    pub(crate) peer: String,
    pub(crate) id: u64,
}

/// Somebody who has come in, as whom they have.
pub(crate) struct Arrived<W> {
    pub(crate) client: Stream,
    pub(crate) seat: Seat,
    pub(crate) who: W,
}

/// Somebody who has come in by a connection.
pub(crate) enum Entered {
    /// By a token, or as the anonymous role.
    Identity(Box<Connection>, Box<Arrived<Identity>>),
    /// By a password of the role's own.
    Direct(Box<Connection>, Box<Arrived<Admitted>>),
}

/// From a socket to somebody who has come in; none, if nobody wants to, or has been told why not. `judge` hears who gets
/// in, and why somebody does not, before they do; it may turn away who would.
pub(crate) async fn enter(
    socket: Stream,
    proxy: Arc<Proxy>,
    login: LoginPermit,
    id: u64,
    judge: impl FnOnce(Result<&Entrant, &Error>) -> Result<(), Error>,
) -> Option<Entered> {
    let peer = socket.peer_addr().map_or_else(|| "local".to_owned(), |peer| peer.to_string());
    let (client, seat, request, entrant) = match admit(socket, &proxy, id, &peer, judge).await {
        Ok(admitted) => admitted?,
        Err((client, error)) => {
            refuse(client, &error, &proxy, id, &peer).await;
            return None;
        }
    };
    drop(login);
    let connection = Box::new(Connection { proxy, request, peer, id });
    Some(match entrant {
        Entrant::Identity(identity) => {
            let (provider, subject) = (identity.provider(), identity.subject());
            debug!(id, peer = connection.peer, provider, subject, "authenticated");
            Entered::Identity(connection, Box::new(Arrived { client, seat, who: identity }))
        }
        Entrant::Direct(who) => Entered::Direct(connection, Box::new(Arrived { client, seat, who })),
    })
}

async fn admit(
    socket: Stream,
    proxy: &Proxy,
    id: u64,
    peer: &str,
    judge: impl FnOnce(Result<&Entrant, &Error>) -> Result<(), Error>,
) -> Result<Option<(Stream, Seat, Request, Entrant)>, Refused> {
    let deadline = Instant::now() + proxy.limits.client_login_timeout;
    let tls = proxy.tls.as_ref().filter(|_| !socket.is_tunnel());
    let greeted = timeout_at(deadline, handshake(socket, tls));
    let greeting = match proxy.stop.gently.run_until_cancelled(greeted).await {
        Some(Ok(greeting)) => greeting?,
        Some(Err(_)) | None => {
            debug!(id, peer, "no startup packet in time");
            return Ok(None);
        }
    };
    let (mut client, startup) = match greeting {
        Greeting::Login(client, startup) => (client, startup),
        Greeting::Cancel(client, request) => {
            cancel(client, &request, proxy, id).await;
            return Ok(None);
        }
    };
    let entering = async {
        let mut seat = proxy.admission.seat()?;
        let request = requested(&mut client, &startup).await?;
        let private = proxy.is_private(client.is_tls(), client.is_local());
        if proxy.passthrough.has(&request.role) {
            let admitted = passthrough::log_in(&mut client, private, &request, proxy).await?;
            return Ok((seat, request, Entrant::Direct(admitted)));
        }
        // Neon's driver sends a password before it is asked for one, whoever it logs in as.
        if private && client.is_tunnel() && proxy.is_anonymous(&request.role) {
            ask_for_token(&mut client).await?;
        }
        let identity = authenticate(private, &request, proxy, ask_for_token(&mut client)).await?;
        seat.belongs_to(&identity).map_err(Error::TooManyOfIdentity)?;
        Ok((seat, request, Entrant::Identity(identity)))
    };
    let late = Error::LoginTimeout(proxy.limits.client_login_timeout);
    let entering = async { timeout_at(deadline, entering).await.unwrap_or(Err(late)) };
    let entered = proxy.stop.unless_going(entering).await;
    let judged = judge(entered.as_ref().map(|(.., entrant)| entrant));
    match (entered, judged) {
        (Ok((seat, request, entrant)), Ok(())) => Ok(Some((client, seat, request, entrant))),
        (Ok(_), Err(error)) | (Err(error), _) => Err((Some(client), error)),
    }
}

/// Passes a cancel request on, and hangs up when it has arrived: that is what a client waits for.
async fn cancel(client: Stream, request: &CancelRequest, proxy: &Proxy, id: u64) {
    let found = proxy.cancels.find(request);
    if matches!(found, Some(Found::Told)) {
        debug!(id, "cancel request delivered");
        return;
    }
    let ticket = async { found?.ticket().await };
    match timeout(proxy.limits.client_login_timeout, ticket).await {
        Ok(Some(ticket)) => match ticket.send().await {
            Ok(()) => debug!(id, "cancel request delivered"),
            Err(error) => warn!(id, %error, "cancel request not delivered"),
        },
        Ok(None) | Err(_) => debug!(id, "cancel request for nobody, or with a wrong key"),
    }
    drop(client);
}

/// Tells somebody that they do not get in, if they can be told.
async fn refuse(client: Option<Stream>, error: &Error, proxy: &Proxy, id: u64, peer: &str) {
    // A string, because the log escapes those: a reason may quote the client, who may send line breaks.
    let reason = error.to_string();
    match error {
        Error::ClientGone(_) | Error::Startup(_) => debug!(id, peer, reason, "connection ended"),
        _ => warn!(id, peer, reason, "connection refused"),
    }
    if let (Some(client), Some(message)) = (client, error.to_message(proxy.limits.auth_error_detail, id)) {
        client::refuse(client, &message).await;
    }
}
