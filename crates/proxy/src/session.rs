//! The life of one connection, from top to bottom: greeted, authenticated, told that it is in, and then transaction by
//! transaction: a request, a server, the relay until that is idle.

use std::ffi::CString;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use identity::Identity;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};
use upstream::{Lease, Limit, Want};
use wire::stream::Stream;

use crate::admission::Seat;
use crate::authenticate::Request;
use crate::cancel::Registration;
use crate::config::PoolMode;
use crate::deadlines::{Deadlines, Standing};
use crate::digest::digest;
use crate::error::{Error, notice_of_waiting};
use crate::greeting::greet;
use crate::passthrough;
use crate::proxy::Proxy;
use crate::relay::{End, Relay, Session, WorksFor};
use crate::remembered::Remembered;
use crate::statements::Statements;
use crate::tenancy::Tenancy;

mod entrance;

pub(crate) use entrance::{Arrived, Connection, Entrant, enter};

use entrance::Entered;

/// Serves one connection to its end, by somebody who is [entering](enter) by it.
pub(crate) fn serve(entering: impl Future<Output = Option<Entered>> + Send) -> impl Future<Output = ()> + Send {
    // What it takes to come in is large, and most of a connection's life that is over. Boxed here, because what an
    // `async fn` is called with it keeps to its end.
    let entering = Box::pin(entering);
    async move {
        match entering.await {
            Some(Entered::Identity(connection, arrived)) => connection.visit(*arrived).run(&connection).await,
            Some(Entered::Direct(connection, arrived)) => Box::pin(passthrough::serve(*arrived, &connection)).await,
            None => {}
        }
    }
}

/// Somebody whose identity is known before the session begins, and who does not ask what its settings are.
pub(crate) struct Guest {
    pub(crate) seat: Seat,
    pub(crate) request: Request,
    pub(crate) identity: Identity,
    /// The statements that the session knows without a Parse: names and texts.
    pub(crate) statements: Arc<[(String, CString)]>,
}

/// Serves a guest, transaction by transaction, to the end. Who comes next for the same identity may have its seat.
pub(crate) async fn host(client: Stream, guest: Guest, proxy: Arc<Proxy>, id: u64) -> Seat {
    let Guest { seat, request, identity, statements } = guest;
    let mut visit = Box::new(Visit::new(client, seat, &request, (identity, id), &proxy, Arrival::Guest(&statements)));
    let error = visit.serve(id).await;
    visit.end(error, true, id).await
}

impl Connection {
    /// The session of somebody who has come in by this connection.
    fn visit(&self, Arrived { client, seat, who }: Arrived<Identity>) -> Box<Visit<'_>> {
        Box::new(Visit::new(client, seat, &self.request, (who, self.id), &self.proxy, Arrival::Login))
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
    /// For whom the server works as far as cancel requests are told.
    aimed: Option<WorksFor>,
    seat: Seat,
}

impl<'a> Visit<'a> {
    fn new(
        client: Stream,
        seat: Seat,
        request: &'a Request,
        (identity, id): (Identity, u64),
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
        let mut session = Session::new(id, mode, remembered, statements);
        known.iter().for_each(|(name, text)| session.knows(name, text));
        let relay = Relay::new(client, session);
        let registration = match arrival {
            Arrival::Login => proxy.cancels.register(request.version),
            Arrival::Guest(_) => proxy.cancels.unlisted(),
        };
        Self { proxy, arrival, tenancy, relay, deadlines, registration, aimed: None, seat }
    }

    /// Lets the client in, serves it, and says what end it was.
    async fn run(mut self: Box<Self>, connection: &Connection) {
        let id = connection.id;
        if let Some(error) = Box::pin(self.enter(&connection.request)).await.err() {
            Box::pin(self.end(error, false, id)).await;
            return;
        }
        self.log_login(connection);
        let error = self.serve(id).await;
        Box::pin(self.end(error, true, id)).await;
    }

    /// Finds out what to tell the client of its session, and tells it that it is in. In session mode it has its server
    /// from here on.
    async fn enter(&mut self, request: &Request) -> Result<(), Error> {
        let known = match (self.proxy.pool.mode, self.proxy.greetings.find(request)) {
            (PoolMode::Transaction, Some(known)) => known,
            (mode, _) => {
                let lease = self.lease().await?;
                let (lease, is_new) = self.tenancy.move_in(lease, &self.relay.session().remembered).await?;
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
            let want = match poll_fn(|cx| self.poll_transactions(cx)).await {
                Ok(Ok(want)) => want,
                Ok(Err(end)) => return over(end, id),
                Err(error) => return error,
            };
            // Outside of the match, which would keep room for all that is told there.
            if let Err(error) = Box::pin(self.wait_and_attach(want)).await {
                return error;
            }
        }
    }

    /// A request, a server, the relay until that is idle, and the next request: as long as there is a server whenever one
    /// is wanted, or else what is wanted. Each step is most often taken at once, so it is one future for all of them.
    fn poll_transactions(&mut self, cx: &mut Context<'_>) -> Poll<Result<Result<Want<'a>, End>, Error>> {
        // First, because what comes after may use up all that a task may do at one time.
        if let Poll::Ready(error) = self.deadlines.poll_anywhere(cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            if !self.relay.has_server() {
                match self.relay.poll_request(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(end)) => return Poll::Ready(Ok(Err(end))),
                    Poll::Pending => break,
                }
                let want = self.tenancy.want(&self.relay.session().remembered)?;
                let Some(lease) = self.proxy.pools.try_lease(&want) else { return Poll::Ready(Ok(Ok(want))) };
                self.attach(lease)?;
            }
            let step = self.relay.poll_idle(cx);
            self.aim_cancels();
            match step {
                Poll::Ready(Ok(())) => self.detach(),
                Poll::Ready(Err(end)) => return Poll::Ready(Ok(Err(end))),
                Poll::Pending => break,
            }
        }
        self.deadlines.poll_here(cx, self.relay.standing()).map(Err)
    }

    /// Unless the client gives up what it wants the server for.
    async fn wait_and_attach(&mut self, want: Want<'a>) -> Result<(), Error> {
        match self.wait_in_line(want).await? {
            Some(lease) => self.attach(lease),
            None => {
                self.relay.cancel();
                Ok(())
            }
        }
    }

    fn attach(&mut self, lease: Lease) -> Result<(), Error> {
        if self.tenancy.has_expired() {
            lease.hand_on();
            return Err(Error::Expired);
        }
        self.relay.attach(lease, |lease| self.tenancy.init(lease))?;
        self.aim_cancels();
        Ok(())
    }

    fn detach(&mut self) {
        self.registration.end();
        self.aimed = None;
        self.relay.detach();
    }

    /// A cancel is for what the client has asked for: while its server works for us it has to wait.
    fn aim_cancels(&mut self) {
        let Some((server, works)) = self.relay.works().filter(|(_, works)| self.aimed != Some(*works)) else { return };
        match works {
            WorksFor::Client => self.registration.begin(server),
            WorksFor::Us => self.registration.suspend(None),
            WorksFor::UsFirst => self.registration.suspend(Some(server)),
        }
        self.aimed = Some(works);
    }

    /// A server, when the turn has come.
    async fn lease(&mut self) -> Result<Lease, Error> {
        let want = self.tenancy.want(&self.relay.session().remembered)?;
        match self.proxy.pools.try_lease(&want) {
            Some(lease) => Ok(lease),
            None => Ok(Box::pin(self.wait_in_line(want)).await?.expect("a login is not cancelled")),
        }
    }

    /// None: it was cancelled.
    async fn wait_in_line(&mut self, want: Want<'a>) -> Result<Option<Lease>, Error> {
        let Self { proxy, relay, deadlines, registration, .. } = self;
        let (begun, waited) = (Instant::now(), proxy.pool.query_wait_timeout);
        let mut waiting = pin!(proxy.pools.lease(&want));
        let (limit, notice) = (begun + waited, begun + proxy.pool.query_wait_notify);
        let mut noticed = notice == begun || notice >= limit || !relay.is_in();
        // A timer costs as much as a place in the line: one has to do for both.
        let mut timer = pin!(sleep_until(if noticed { limit } else { notice }));
        poll_fn(|cx| {
            if let Poll::Ready(error) = deadlines.poll_anywhere(cx) {
                return Poll::Ready(Err(error));
            }
            match waiting.as_mut().poll(cx) {
                // Before it is in, nobody knows the key with which to cancel.
                Poll::Ready(Ok(lease)) if relay.is_in() && registration.leave_line() => {
                    lease.hand_on();
                    return Poll::Ready(Ok(None));
                }
                Poll::Ready(lease) => return Poll::Ready(lease.map(Some).map_err(Error::Pool)),
                Poll::Pending if relay.is_in() && registration.poll_cancelled(cx).is_ready() => {
                    return Poll::Ready(Ok(None));
                }
                Poll::Pending => {}
            }
            while timer.as_mut().poll(cx).is_ready() {
                if noticed {
                    return Poll::Ready(Err(pool_full(proxy, &want, waited)));
                }
                noticed = true;
                relay.tell(&notice_of_waiting(proxy.pool.query_wait_notify));
                timer.as_mut().reset(limit);
            }
            if let Poll::Ready(end) = relay.poll_gone(cx) {
                return Poll::Ready(Err(end.into()));
            }
            deadlines.poll_here(cx, Standing::Waiting).map(Err)
        })
        .await
    }

    /// Parts client and server, and tells the client why, unless it has left.
    async fn end(self: Box<Self>, error: Error, was_in: bool, id: u64) -> Seat {
        let Self { proxy, arrival, relay, registration, seat, .. } = *self;
        let pins = relay.session().remembered.counts().to_string();
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
                info!(id, reason = error.to_string(), pins, "session ended");
            }
            Arrival::Login => {}
            Arrival::Guest(_) => debug!(id, reason = error.to_string(), pins, "request ended"),
        }
        seat
    }

    fn log_login(&self, Connection { request, peer, id, .. }: &Connection) {
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

/// Why a session is over that has come to this end.
fn over(end: End, id: u64) -> Error {
    match &end {
        End::ServerLost(cause) => warn!(id, cause = cause.as_ref().map(ToString::to_string), "server connection lost"),
        End::IdentityLost(reason) => warn!(id, reason, "the session could not be set up on its server"),
        _ => {}
    }
    end.into()
}

/// No server became free in time, because of the limit that kept this waiting.
fn pool_full(proxy: &Proxy, want: &Want<'_>, waited: Duration) -> Error {
    let servers = &proxy.pool.servers;
    let limit = match proxy.pools.limit(want) {
        Limit::Pool => ("default_pool_size", servers.default_pool_size),
        Limit::Database => ("max_db_connections", servers.max_db_connections),
        Limit::Identity => ("max_identity_servers", servers.max_identity_servers),
    };
    Error::PoolFull { limit, waited }
}
