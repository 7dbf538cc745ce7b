//! The life of one connection, from top to bottom: greeted, authenticated, told that it is in, and then transaction by
//! transaction: a request, a server, the relay until that is idle.

use std::ffi::CString;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use identity::Identity;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{debug, info, warn};
use upstream::{Lease, Want};
use wire::startup::CancelRequest;
use wire::stream::Stream;

use crate::admission::{LoginPermit, Seat};
use crate::authenticate::{Request, ask_for_token, authenticate, is_private, requested};
use crate::cancel::Registration;
use crate::client;
use crate::config::PoolMode;
use crate::deadlines::{Deadlines, Standing};
use crate::digest::digest;
use crate::error::{Error, notice_of_waiting};
use crate::greeting::greet;
use crate::handshake::{Greeting, Refused, handshake};
use crate::passthrough::{self, Admitted};
use crate::proxy::Proxy;
use crate::relay::{End, Relay, Session};
use crate::remembered::Remembered;
use crate::statements::Statements;
use crate::tenancy::Tenancy;

/// Serves one connection to its end. Of somebody who does not get in, `refused` hears before they do.
pub(crate) async fn serve(
    socket: Stream,
    proxy: Arc<Proxy>,
    login: LoginPermit,
    id: u64,
    refused: impl FnOnce(&Error),
) {
    let peer = socket.peer_addr().map_or_else(|| "local".to_owned(), |peer| peer.to_string());
    // The login's future is large, and most of a connection's life it is over.
    let (client, seat, request, entrant) = match Box::pin(enter(socket, &proxy, id, &peer)).await {
        Ok(Some(entered)) => entered,
        Ok(None) => return,
        Err((client, error)) => {
            refused(&error);
            return Box::pin(refuse(client, &error, &proxy, id, &peer)).await;
        }
    };
    drop(login);
    let identity = match entrant {
        Entrant::Identity(identity) => identity,
        Entrant::Direct(admitted) => {
            return passthrough::serve(client, (seat, admitted), &request, &proxy, &peer, id).await;
        }
    };
    debug!(id, peer, provider = identity.provider(), subject = identity.subject(), "authenticated");
    let visit = Box::new(Visit::new(client, seat, &request, identity, &proxy, Arrival::Login));
    visit.run(&request, &peer, id).await;
}

/// Somebody whose identity is known before the session begins, and who does not ask what its settings are.
pub(crate) struct Guest {
    pub(crate) seat: Seat,
    pub(crate) request: Request,
    pub(crate) identity: Identity,
    /// The statements that the session knows without a Parse: names and texts.
    pub(crate) statements: Vec<(String, CString)>,
}

/// Serves a guest, transaction by transaction, to the end.
pub(crate) async fn host(client: Stream, guest: Guest, proxy: Arc<Proxy>, id: u64) {
    let Guest { seat, request, identity, statements } = guest;
    let mut visit = Box::new(Visit::new(client, seat, &request, identity, &proxy, Arrival::Guest(&statements)));
    let error = visit.serve(id).await;
    visit.end(&error, true, id).await;
}

/// Somebody who may come in.
pub(crate) enum Entrant {
    /// By a token, or as the anonymous role.
    Identity(Identity),
    /// By a password of the role's own.
    Direct(Admitted),
}

/// From a socket to somebody who may come in; none, if nobody wants to.
async fn enter(
    socket: Stream,
    proxy: &Proxy,
    id: u64,
    peer: &str,
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
        let private = is_private(&client, proxy);
        if proxy.passthrough.has(&request.role) {
            let admitted = passthrough::log_in(&mut client, private, &request, proxy).await?;
            return Ok((seat, request, Entrant::Direct(admitted)));
        }
        // Neon's driver sends a password before it is asked for one, whoever it logs in as.
        if private && client.is_tunnel() && proxy.is_anonymous(&request.role) {
            ask_for_token(&mut client).await?;
        }
        let identity = authenticate(private, &request, proxy, ask_for_token(&mut client)).await?;
        seat.belongs_to(&identity)?;
        Ok((seat, request, Entrant::Identity(identity)))
    };
    let late = Error::LoginTimeout(proxy.limits.client_login_timeout);
    let entering = async { timeout_at(deadline, entering).await.unwrap_or(Err(late)) };
    match proxy.stop.unless_going(entering).await {
        Ok((seat, request, entrant)) => Ok(Some((client, seat, request, entrant))),
        Err(error) => Err((Some(client), error)),
    }
}

/// How a client has come.
#[derive(Clone, Copy, Debug)]
enum Arrival<'a> {
    /// It speaks Postgres's protocol, from the startup packet on.
    Login,
    /// For one request of another protocol, with statements that have these names and texts.
    Guest(&'a [(String, CString)]),
}

/// A client that is in, and all that it holds; dropping it gives everything back.
struct Visit<'a> {
    proxy: &'a Proxy,
    arrival: Arrival<'a>,
    tenancy: Tenancy<'a>,
    relay: Relay,
    deadlines: Deadlines,
    registration: Registration,
    /// A cancel request reaches the server now.
    cancellable: bool,
    _seat: Seat,
}

impl<'a> Visit<'a> {
    fn new(
        client: Stream,
        seat: Seat,
        request: &'a Request,
        identity: Identity,
        proxy: &'a Proxy,
        arrival: Arrival<'a>,
    ) -> Self {
        let deadlines = Deadlines::new(&identity, proxy);
        let tenancy = Tenancy::new(request, identity, proxy);
        let identity = tenancy.identity_digest();
        let remembered = Remembered::new(identity, &request.parameters);
        let (mode, owner, known) = match arrival {
            Arrival::Login => (proxy.pool.mode, identity, &[][..]),
            // What it says is one request, whatever others do. Its statements are nobody's who was told what they return.
            Arrival::Guest(known) => (PoolMode::Transaction, digest([&identity[..], b"guest"]), known),
        };
        let statements = Statements::new(proxy.statements.clone(), owner, mode);
        let mut session = Session::new(mode, remembered, statements);
        known.iter().for_each(|(name, text)| session.knows(name, text));
        let relay = Relay::new(client, session);
        let registration = match arrival {
            Arrival::Login => proxy.cancels.register(request.version),
            Arrival::Guest(_) => proxy.cancels.unlisted(),
        };
        Self { proxy, arrival, tenancy, relay, deadlines, registration, cancellable: false, _seat: seat }
    }

    /// Lets the client in, serves it, and says what end it was.
    async fn run(mut self: Box<Self>, request: &Request, peer: &str, id: u64) {
        let entered = Box::pin(self.enter(request)).await;
        let in_order = entered.is_ok();
        if in_order {
            self.log_login(request, peer, id);
        }
        let error = match entered {
            Ok(()) => self.serve(id).await,
            Err(error) => error,
        };
        Box::pin(self.end(&error, in_order, id)).await;
    }

    /// Finds out what to tell the client of its session, and tells it that it is in. In session mode it has its server
    /// from here on.
    async fn enter(&mut self, request: &Request) -> Result<(), Error> {
        let known = match (self.proxy.pool.mode, self.proxy.greetings.find(request)) {
            (PoolMode::Transaction, Some(known)) => known,
            (mode, _) => {
                let mut lease = self.lease().await?;
                let is_new = self.tenancy.move_in(&mut lease, &self.relay.session().remembered).await?;
                let known = lease.parameters.clone();
                if is_new {
                    self.proxy.greetings.keep(request, &known);
                }
                match mode {
                    PoolMode::Session => self.attach(lease)?,
                    PoolMode::Transaction => lease.give_back(self.relay.session().remembered.holds()),
                }
                known
            }
        };
        let greeting = greet(&known, &self.registration);
        self.relay.begin(known, &greeting);
        Ok(())
    }

    /// Transaction by transaction, until the end.
    async fn serve(&mut self, id: u64) -> Error {
        loop {
            let end = match self.transaction().await {
                Ok(Ok(())) => continue,
                Ok(Err(end)) => end,
                Err(error) => return error,
            };
            match &end {
                End::ServerLost(cause) => {
                    warn!(id, cause = cause.as_ref().map(ToString::to_string), "server connection lost");
                }
                End::IdentityLost(reason) => warn!(id, reason, "the session could not be set up on its server"),
                _ => {}
            }
            return end.into();
        }
    }

    /// From a request until the server that it took is idle. A client that keeps its server begins where it is.
    async fn transaction(&mut self) -> Result<Result<(), End>, Error> {
        if !self.relay.has_server() {
            if let Err(end) = self.until(Relay::poll_request).await? {
                return Ok(Err(end));
            }
            let lease = self.lease().await?;
            self.attach(lease)?;
        }
        let ended = self.until(Relay::poll_idle).await?;
        if ended.is_ok() {
            self.registration.end();
            self.cancellable = false;
            self.relay.detach();
        }
        Ok(ended)
    }

    fn attach(&mut self, lease: Lease) -> Result<(), Error> {
        if self.tenancy.has_expired() {
            lease.hand_on();
            return Err(Error::Expired);
        }
        self.registration.suspend();
        self.relay.attach(lease, |lease| self.tenancy.init(lease))?;
        Ok(())
    }

    /// A server, when the turn has come.
    async fn lease(&mut self) -> Result<Lease, Error> {
        let want = self.tenancy.want(&self.relay.session().remembered)?;
        match self.proxy.pools.try_lease(&want) {
            Some(lease) => Ok(lease),
            None => Box::pin(self.wait_in_line(want)).await,
        }
    }

    async fn wait_in_line(&mut self, want: Want<'a>) -> Result<Lease, Error> {
        let Self { proxy, relay, deadlines, .. } = self;
        let (begun, waited) = (Instant::now(), proxy.pool.query_wait_timeout);
        let mut waiting = pin!(proxy.pools.lease(&want));
        let mut limit = pin!(sleep_until(begun + waited));
        let mut notice = pin!(sleep_until(begun + proxy.pool.query_wait_notify));
        let mut noticed = proxy.pool.query_wait_notify.is_zero() || !relay.is_in();
        poll_fn(|cx| {
            if let Poll::Ready(error) = deadlines.poll_anywhere(cx) {
                return Poll::Ready(Err(error));
            }
            if let Poll::Ready(lease) = waiting.as_mut().poll(cx) {
                return Poll::Ready(lease.map_err(Error::Pool));
            }
            if limit.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Error::PoolFull { size: proxy.pool.servers.default_pool_size, waited }));
            }
            if !noticed && notice.as_mut().poll(cx).is_ready() {
                noticed = true;
                relay.tell(&notice_of_waiting(proxy.pool.query_wait_notify));
            }
            if let Poll::Ready(end) = relay.poll_gone(cx) {
                return Poll::Ready(Err(end.into()));
            }
            deadlines.poll_here(cx, Standing::Waiting).map(Err)
        })
        .await
    }

    /// Does a step of the relay, unless the session has to end before.
    async fn until<T>(&mut self, mut step: impl FnMut(&mut Relay, &mut Context<'_>) -> Poll<T>) -> Result<T, Error> {
        let Self { relay, deadlines, registration, cancellable, .. } = self;
        poll_fn(|cx| {
            // First, because what comes after may use up all that a task may do at one time.
            if let Poll::Ready(error) = deadlines.poll_anywhere(cx) {
                return Poll::Ready(Err(error));
            }
            let step = step(relay, cx);
            match relay.cancellable() {
                Some(server) if !*cancellable => registration.begin(server),
                None if *cancellable => registration.suspend(),
                _ => {}
            }
            *cancellable = relay.cancellable().is_some();
            match step {
                Poll::Ready(done) => Poll::Ready(Ok(done)),
                Poll::Pending => deadlines.poll_here(cx, relay.standing()).map(Err),
            }
        })
        .await
    }

    /// Parts client and server, and tells the client why, unless it has left.
    async fn end(self: Box<Self>, error: &Error, was_in: bool, id: u64) {
        let Self { proxy, arrival, relay, registration, .. } = *self;
        let pins = relay.session().remembered.counts();
        let runs_on = relay.is_busy() && !matches!(error, Error::Left | Error::ServerClosed | Error::ServerLost);
        registration.end();
        let (client, lease) = relay.part();
        if let Some(lease) = lease {
            if runs_on && let Err(error) = lease.cancel.send().await {
                warn!(id, %error, "could not cancel what the session left running");
            }
            lease.retire();
        }
        // Strings, because the log escapes those: a reason may quote the client, who may send line breaks.
        if !was_in && !matches!(error, Error::Left | Error::ClientGone(_)) {
            warn!(id, reason = error.to_string(), "connection refused");
        }
        let refusal = error.refusal(proxy.limits.auth_error_detail, id);
        client.say(&refusal.map_or_else(Vec::new, |refusal| refusal.to_message())).await;
        match arrival {
            Arrival::Login if was_in => {
                info!(id, reason = error.to_string(), pins = pins.to_string(), "session ended");
            }
            Arrival::Login => {}
            Arrival::Guest(_) => debug!(id, reason = error.to_string(), pins = pins.to_string(), "request ended"),
        }
    }

    fn log_login(&self, request: &Request, peer: &str, id: u64) {
        let identity = self.tenancy.identity();
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
}

/// Passes a cancel request on, and hangs up when it has arrived: that is what a client waits for.
async fn cancel(client: Stream, request: &CancelRequest, proxy: &Proxy, id: u64) {
    let ticket = async { proxy.cancels.find(request)?.ticket().await };
    match timeout(proxy.limits.client_login_timeout, ticket).await {
        Ok(Some(ticket)) => match ticket.send().await {
            Ok(()) => debug!(id, "cancel request delivered"),
            Err(error) => warn!(id, %error, "cancel request not delivered"),
        },
        Ok(None) | Err(_) => debug!(id, "cancel request for nobody, or with a wrong key"),
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
    if let (Some(client), Some(message)) = (client, error.to_message(proxy.limits.auth_error_detail, id)) {
        client::refuse(client, &message).await;
    }
}
