//! The life of one connection, from top to bottom: greeted, authenticated, given a server, relayed, ended.

use std::sync::Arc;

use identity::Identity;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info, warn};
use upstream::{Claims, Server, Startup};
use wire::message;
use wire::owed::TxStatus;
use wire::startup::CancelRequest;
use wire::stream::Stream;

use crate::admission::{LoginPermit, Seat, ServerPermit};
use crate::authenticate::{Request, authenticate, requested};
use crate::cancel::Registration;
use crate::client;
use crate::clock;
use crate::error::Error;
use crate::handshake::{Greeting, handshake};
use crate::proxy::Proxy;
use crate::relay::{End, Relay};
use crate::upkeep::Upkeep;

/// Serves one connection to its end.
pub(crate) async fn serve(socket: Stream, proxy: Arc<Proxy>, login: LoginPermit, id: u64) {
    let peer = socket.peer_addr().map_or_else(|| "local".to_owned(), |peer| peer.to_string());
    let deadline = Instant::now() + proxy.limits.client_login_timeout;
    let greeted = timeout_at(deadline, handshake(socket, proxy.tls.as_ref()));
    let greeting = match proxy.stop.gently.run_until_cancelled(greeted).await {
        Some(Ok(Ok(greeting))) => greeting,
        Some(Ok(Err((client, error)))) => return refuse(client, &error, &proxy, id, &peer).await,
        Some(Err(_)) | None => return debug!(id, peer, "no startup packet in time"),
    };
    let (mut client, startup) = match greeting {
        Greeting::Login(client, startup) => (client, startup),
        Greeting::Cancel(client, request) => return cancel(client, &request, &proxy, id).await,
    };
    let entering = async {
        let seat = proxy.admission.seat()?;
        let request = requested(&mut client, &startup).await?;
        let identity = authenticate(&mut client, &request, &proxy).await?;
        Ok((seat, request, identity))
    };
    let late = Error::LoginTimeout(proxy.limits.client_login_timeout);
    let entering = async { timeout_at(deadline, entering).await.unwrap_or(Err(late)) };
    let (seat, request, identity) = match proxy.stop.unless_going(entering).await {
        Ok(entered) => entered,
        Err(error) => return refuse(Some(client), &error, &proxy, id, &peer).await,
    };
    drop(login);
    debug!(id, peer, provider = identity.provider(), subject = identity.subject(), "authenticated");
    match Session::open(&mut client, seat, &request, &identity, &proxy).await {
        Ok((session, server)) => {
            log_login(id, &peer, &request, &identity);
            session.run(client, server, &identity, &proxy, id).await;
        }
        Err(error) => refuse(Some(client), &error, &proxy, id, &peer).await,
    }
}

/// What a client holds while it is in; dropping it gives everything back.
#[derive(Debug)]
struct Session {
    _seat: Seat,
    server: ServerPermit,
    _registration: Registration,
}

impl Session {
    /// Gets a server that knows who this is, and tells the client that it is in.
    async fn open(
        client: &mut Stream,
        seat: Seat,
        request: &Request,
        identity: &Identity,
        proxy: &Proxy,
    ) -> Result<(Self, Server), Error> {
        let login = proxy.login(&request.role)?;
        let startup = Startup {
            database: &request.database,
            role: identity.role(),
            settings: &proxy.upstream.settings,
            parameters: &request.parameters,
        };
        let claims = identity.claims().zip(last_moment(identity, proxy));
        let claims = claims.map(|(json, expires)| Claims { mode: &proxy.claims, json, expires });
        let reaching = async {
            let permit = proxy.admission.server(&request.database, &request.role).await?;
            let server = Server::open(&proxy.upstream.connect, login, &startup, claims.as_ref()).await?;
            Ok((permit, server))
        };
        let reaching = async {
            tokio::select! {
                reached = reaching => reached,
                () = clock::reaches(identity.expires()) => Err(Error::Expired),
            }
        };
        let (permit, server) = proxy.stop.unless_going(reaching).await?;
        let registration = proxy.cancels.register(request.version, server.cancel.clone());
        greet(client, &server, &registration).await.map_err(Error::ClientGone)?;
        Ok((Self { _seat: seat, server: permit, _registration: registration }, server))
    }

    /// Relays until the end, and says what end it was.
    async fn run(self, client: Stream, server: Server, identity: &Identity, proxy: &Proxy, id: u64) {
        let Server { stream, parameters, init, cancel } = server;
        let mut relay = Relay::new(client, stream, Upkeep::new(init, upstream::default_access(&parameters)));
        let end = relay.run(until_asked(identity, proxy), until_forced(identity, proxy)).await;
        let error = match end {
            End::Left | End::ServerClosed => None,
            End::ClientLost(error) => Some(Error::ClientGone(error)),
            End::ServerLost(cause) => {
                warn!(id, cause = cause.map(|error| error.to_string()), "server connection lost");
                Some(Error::ServerLost)
            }
            End::ClientBroke(broken) => Some(Error::ClientBroke(broken)),
            End::ServerBroke(broken) => Some(Error::ServerBroke(broken)),
            End::IdentityLost => Some(Error::IdentityLost),
            End::Asked(error) => Some(error),
        };
        if let Some(error) = &error
            && relay.is_busy()
            && !matches!(error, Error::ServerLost)
            && let Err(error) = cancel.send().await
        {
            warn!(id, %error, "could not cancel what the session left running");
        }
        let (client, server) = relay.part();
        tokio::spawn(outlast(server, self.server));
        let refusal = error.as_ref().and_then(|error| error.refusal(proxy.limits.auth_error_detail, id));
        client.say(&refusal.map_or_else(Vec::new, |refusal| refusal.to_message())).await;
        let reason = error.map_or_else(|| "client left".to_owned(), |error| error.to_string());
        info!(id, reason, "session ended");
    }
}

/// Waits until a server that was told to go is gone. It may run something that no cancel request ends, and as long as it
/// does it has its place in the pool.
async fn outlast(mut server: Stream, _permit: ServerPermit) {
    if server.shutdown().await.is_ok() {
        // Whatever it still has to say is nobody's.
        let _ = tokio::io::copy(&mut server, &mut tokio::io::sink()).await;
    }
}

/// AuthenticationOk, what the server reported of itself, our cancel key, ReadyForQuery.
async fn greet(client: &mut Stream, server: &Server, registration: &Registration) -> std::io::Result<()> {
    let mut out = Vec::with_capacity(1024);
    message::authentication_ok(&mut out);
    for (name, value) in &server.parameters {
        message::parameter_status(&mut out, name, value);
    }
    message::backend_key_data(&mut out, registration.process_id, registration.key());
    message::ready_for_query(&mut out, TxStatus::Idle);
    client.write_all(&out).await?;
    client.flush().await
}

/// The last moment at which the database may still see these claims: a transaction that is open when the token
/// expires has the grace to finish.
fn last_moment(identity: &Identity, proxy: &Proxy) -> Option<i64> {
    let grace = i64::try_from(proxy.limits.expiry_grace.as_secs()).unwrap_or(i64::MAX);
    identity.expires().map(|expires| expires.saturating_add(grace))
}

/// Ends the session between two transactions: its token expired, or pgusher goes.
async fn until_asked(identity: &Identity, proxy: &Proxy) -> Error {
    tokio::select! {
        () = clock::reaches(identity.expires()) => Error::Expired,
        () = proxy.stop.gently.cancelled() => Error::Shutdown,
    }
}

/// Ends the session wherever it stands: the grace is over.
async fn until_forced(identity: &Identity, proxy: &Proxy) -> Error {
    tokio::select! {
        () = clock::reaches(last_moment(identity, proxy)) => Error::Expired,
        () = proxy.stop.at_once.cancelled() => Error::Shutdown,
    }
}

/// Passes a cancel request on, and hangs up when it has arrived: that is what a client waits for.
async fn cancel(client: Stream, request: &CancelRequest, proxy: &Proxy, id: u64) {
    match proxy.cancels.find(request) {
        Some(server) => match server.send().await {
            Ok(()) => debug!(id, "cancel request delivered"),
            Err(error) => warn!(id, %error, "cancel request not delivered"),
        },
        None => debug!(id, "cancel request with a wrong key"),
    }
    drop(client);
}

async fn refuse(client: Option<Stream>, error: &Error, proxy: &Proxy, id: u64, peer: &str) {
    // A string, because the log escapes those: a reason may quote the client, who may send line breaks.
    let reason = error.to_string();
    match error {
        Error::ClientGone(_) | Error::Startup(_) => debug!(id, peer, reason, "connection ended"),
        _ => warn!(id, peer, reason, "connection refused"),
    }
    if let (Some(client), Some(refusal)) = (client, error.refusal(proxy.limits.auth_error_detail, id)) {
        client::refuse(client, &refusal.to_message()).await;
    }
}

fn log_login(id: u64, peer: &str, request: &Request, identity: &Identity) {
    info!(
        id,
        peer,
        provider = identity.provider(),
        subject = identity.subject(),
        role = request.role,
        database = request.database,
        "login"
    );
}
