//! Roles that log in with a password of their own (`[passthrough] users`): the owner of the database, for migrations and
//! what else administrators do.
//!
//! They are outside of all that tokens are about. Each has a connection to Postgres for itself, from the login to the end:
//! no role is set on it and no claims, nobody had it before, and nobody gets it after. Whether the password is right is
//! Postgres's to say. A token is only a wrong password there, and a password only a token that is refused for any other
//! role: which of the two is looked at depends on the name alone.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::{info, warn};
use upstream::{Demand, Dialogue, Direct, DirectStartup, MethodError, Password};
use wire::message;
use wire::owed::TxStatus;
use wire::stream::Stream;

use crate::admission::Seat;
use crate::authenticate::{Request, ask, ask_for_token};
use crate::cancel::Registration;
use crate::config;
use crate::deadlines::Deadlines;
use crate::error::Error;
use crate::proxy::Proxy;
use crate::relay::End;
use crate::session::{Arrived, Connection};

mod relay;

use relay::Relay;

/// The SQLSTATE with which Postgres says that pg_hba.conf has no rule for a connection.
const NO_RULE: &str = "28000";

/// Who they are, and how many of their clients there may be.
#[derive(Debug)]
pub(crate) struct Passthrough {
    users: BTreeSet<String>,
    max_conn: usize,
    places: Arc<Semaphore>,
}

/// A client that Postgres has let in.
#[derive(Debug)]
pub(crate) struct Admitted {
    server: Direct,
    place: OwnedSemaphorePermit,
}

impl Passthrough {
    pub(crate) fn new(config: config::Passthrough) -> Self {
        let config::Passthrough { users, max_conn } = config;
        Self { users, max_conn, places: Arc::new(Semaphore::new(max_conn)) }
    }

    /// Whether this role logs in with a password of its own.
    pub(crate) fn has(&self, user: &str) -> bool {
        self.users.contains(user)
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Error> {
        let place = self.places.clone().try_acquire_owned();
        place.map_err(|_| Error::TooManyPassthrough(self.max_conn))
    }
}

/// Has a client log in that speaks Postgres's protocol. What the two say to each other for that passes as it is; but in a
/// tunnel, where clients have sent the password in clear before anybody asked, it is asked for and used here.
///
/// # Errors
/// [`Error`] if it does not get in.
pub(crate) async fn log_in(
    client: &mut Stream,
    private: bool,
    request: &Request,
    proxy: &Proxy,
) -> Result<Admitted, Error> {
    let place = begin(private, proxy)?;
    let server = if client.is_tunnel() {
        let password = ask_for_token(client).await?;
        open(request, password, proxy).await?
    } else {
        // What the server says before it asks is about us: our address, for which it has no rule, or our TLS.
        let dialogue = Dialogue::begin(&proxy.upstream.connect, &startup(request)).await?;
        carry(client, dialogue).await?
    };
    admit(server, place, request, proxy)
}

/// The same for one whose password has come by another protocol.
///
/// # Errors
/// [`Error`] if it does not get in.
pub(crate) async fn log_in_with(
    password: String,
    private: bool,
    request: &Request,
    proxy: &Proxy,
) -> Result<Admitted, Error> {
    let limit = proxy.limits.client_login_timeout;
    let entering = async {
        let place = begin(private, proxy)?;
        let server = open(request, password, proxy).await?;
        admit(server, place, request, proxy)
    };
    let entering = async { timeout(limit, entering).await.unwrap_or(Err(Error::LoginTimeout(limit))) };
    proxy.stop.unless_going(entering).await
}

fn begin(private: bool, proxy: &Proxy) -> Result<OwnedSemaphorePermit, Error> {
    if private { proxy.passthrough.place() } else { Err(Error::TlsRequired { available: proxy.tls.is_some() }) }
}

fn startup(request: &Request) -> DirectStartup<'_> {
    DirectStartup { user: &request.role, database: &request.database, parameters: &request.parameters }
}

async fn open(request: &Request, password: String, proxy: &Proxy) -> Result<Direct, Error> {
    let server = Direct::open(&proxy.upstream.connect, &startup(request), Password::new(password)).await;
    server.map_err(|error| match error {
        // The same: of a wrong password it says something else.
        upstream::Error::Login(about_us) if about_us.sqlstate == NO_RULE => upstream::Error::Login(about_us).into(),
        error => refused(error),
    })
}

/// Carries what server and client say until the one lets the other in. A client is heard when the server has asked for
/// something, and then one frame of it: what it sends beyond that waits until it is in.
async fn carry(client: &mut Stream, mut dialogue: Dialogue) -> Result<Direct, Error> {
    loop {
        match dialogue.next().await.map_err(refused)? {
            Demand::Answer(request) => {
                let answer = ask(client, &request).await?;
                dialogue.answer(answer).await.map_err(refused)?;
            }
            Demand::Hear(message) => client.write_all(&message).await.map_err(Error::ClientGone)?,
            Demand::Granted => return dialogue.finish().await.map_err(refused),
        }
    }
}

fn admit(server: Direct, place: OwnedSemaphorePermit, request: &Request, proxy: &Proxy) -> Result<Admitted, Error> {
    // Only now: which databases there are is not for strangers.
    if !proxy.upstream.databases.allows(&request.database) {
        dismiss(Admitted { server, place });
        return Err(Error::Database(request.database.clone()));
    }
    Ok(Admitted { server, place })
}

/// What the database says to such a role is the client's to hear, unlike what it says to our own logins.
fn refused(error: upstream::Error) -> Error {
    match error {
        upstream::Error::Login(error) | upstream::Error::Session(error) => Error::LoginRefused(error),
        upstream::Error::Method(MethodError::NotAsked) => Error::NotAsked,
        upstream::Error::Method(MethodError::ChannelBinding) => Error::ChannelBinding,
        error => Error::Upstream(error),
    }
}

/// Tells a client that it is in, and serves it to the end.
pub(crate) async fn serve(arrived: Arrived<Admitted>, Connection { proxy, request, peer, id }: &Connection) {
    let Arrived { client, seat, who } = arrived;
    let visit = Visit::new(client, who, request, proxy);
    info!(id, peer, user = request.role, database = request.database, passthrough = true, "login");
    Box::pin(visit.greeted().run(proxy, *id)).await;
    drop(seat);
}

/// Serves a client to the end that does not ask what its settings are: what it sends are requests, and what it gets are
/// their answers.
pub(crate) async fn host(
    client: Stream,
    seat: Seat,
    admitted: Admitted,
    request: Request,
    proxy: Arc<Proxy>,
    id: u64,
) -> Seat {
    let visit = Visit::new(client, admitted, &request, &proxy);
    Box::pin(visit.run(&proxy, id)).await;
    seat
}

/// A client and its server.
struct Visit {
    relay: Relay,
    deadlines: Deadlines,
    registration: Registration,
    place: OwnedSemaphorePermit,
}

impl Visit {
    fn new(client: Stream, admitted: Admitted, request: &Request, proxy: &Proxy) -> Self {
        let Admitted { server, place } = admitted;
        let registration = proxy.cancels.register(request.version);
        registration.begin(&server.cancel);
        Self { relay: Relay::new(client, server), deadlines: Deadlines::unending(proxy), registration, place }
    }

    /// AuthenticationOk, what the server said of itself, our own key for cancels, ReadyForQuery.
    fn greeted(mut self) -> Self {
        let mut greeting = Vec::with_capacity(1024);
        message::authentication_ok(&mut greeting);
        greeting.append(&mut self.relay.server.greeting);
        message::backend_key_data(&mut greeting, self.registration.process_id, self.registration.key());
        message::ready_for_query(&mut greeting, TxStatus::Idle);
        self.relay.tell(&greeting);
        self
    }

    async fn run(mut self, proxy: &Proxy, id: u64) {
        let Self { relay, deadlines, .. } = &mut self;
        let error = poll_fn(|cx| {
            if let Poll::Ready(error) = deadlines.poll_anywhere(cx) {
                return Poll::Ready(error);
            }
            match relay.poll_end(cx) {
                Poll::Ready(end) => {
                    if let End::ServerLost(cause) = &end {
                        warn!(id, cause = cause.as_ref().map(ToString::to_string), "server connection lost");
                    }
                    Poll::Ready(end.into())
                }
                Poll::Pending => deadlines.poll_here(cx, relay.standing()),
            }
        });
        let error = error.await;
        self.end(&error, proxy, id).await;
    }

    /// Parts the two, and tells the client why, unless it has left.
    async fn end(self, error: &Error, proxy: &Proxy, id: u64) {
        let Self { relay, registration, place, .. } = self;
        let runs_on = relay.is_busy() && !matches!(error, Error::Left | Error::ServerClosed | Error::ServerLost);
        registration.end();
        let (client, server) = relay.part();
        if runs_on && let Err(error) = server.cancel.send().await {
            warn!(id, %error, "could not cancel what the session left running");
        }
        dismiss(Admitted { server, place });
        // A string, because the log escapes those: a reason may quote the client, who may send line breaks.
        let reason = error.to_string();
        let message = error.to_message(proxy.limits.auth_error_detail, id);
        client.say(&message.unwrap_or_default()).await;
        info!(id, reason, passthrough = true, "session ended");
    }
}

/// Hangs up. As long as the server is there, which may run what no cancel request ends, it has its place.
fn dismiss(admitted: Admitted) {
    let Admitted { server, place } = admitted;
    tokio::spawn(async move {
        server.leave().await;
        drop(place);
    });
}
