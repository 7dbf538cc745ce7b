//! When a session has to end, whatever its client likes: its token expires, pgusher goes, or something takes too long.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use identity::Identity;
use tokio::time::{Instant, Sleep, sleep_until};
use wire::owed::{Owed, TxStatus};

use crate::alarm::Alarm;
use crate::clock;
use crate::error::{Error, TimedOut};
use crate::proxy::Proxy;

/// Looked at by a session whenever it is woken.
pub(crate) struct Deadlines {
    ends: Alarm<Ends>,
    /// Only where there is a limit.
    timers: Option<Box<Alarm<Timers>>>,
}

/// How long things may take; zero is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// A request, from its beginning to ReadyForQuery.
    pub query: Duration,
    /// A transaction.
    pub transaction: Duration,
    /// A client that does not go on with its transaction.
    pub idle_transaction: Duration,
    /// A client that begins none.
    pub client_idle: Duration,
}

/// What a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing: the client is to begin.
    Idle,
    /// The client is to go on with its transaction.
    Open,
    /// The client waits for a server.
    Waiting,
    /// A server works at a request of a session that has come so far.
    Working(Progress),
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// How many of its requests have been answered.
    requests: u64,
    /// How many of its transactions are over.
    transactions: u64,
}

impl Progress {
    /// A request was answered, and then the session was in this state.
    pub(crate) fn answered(&mut self, status: TxStatus) {
        self.requests += 1;
        self.transactions += u64::from(status == TxStatus::Idle);
    }
}

impl Standing {
    /// What a session does of which this is owed.
    pub(crate) fn of(owed: &Owed, progress: Progress) -> Self {
        match owed.status() {
            _ if !owed.is_settled() => Self::Working(progress),
            TxStatus::Idle => Self::Idle,
            TxStatus::Open | TxStatus::Failed => Self::Open,
        }
    }

    /// Between two transactions.
    fn is_between(self) -> bool {
        matches!(self, Self::Idle | Self::Waiting)
    }
}

type Ending = Pin<Box<dyn Future<Output = Error> + Send>>;

impl Deadlines {
    /// For a session of this identity.
    pub(crate) fn new(identity: &Identity, proxy: &Proxy) -> Self {
        Self::of_moments(identity.expires(), last_moment(identity, proxy), proxy)
    }

    /// For a session that never expires.
    pub(crate) fn unending(proxy: &Proxy) -> Self {
        Self::of_moments(None, None, proxy)
    }

    fn of_moments(expires: Option<i64>, last: Option<i64>, proxy: &Proxy) -> Self {
        let (gently, at_once) = (proxy.stop.gently.clone(), proxy.stop.at_once.clone());
        let timeouts = proxy.pool.timeouts;
        let between = Box::pin(async move {
            tokio::select! {
                () = clock::reaches(expires) => Error::Expired,
                () = gently.cancelled_owned() => Error::Shutdown,
            }
        });
        let anywhere = Box::pin(async move {
            tokio::select! {
                () = clock::reaches(last) => Error::Expired,
                () = at_once.cancelled_owned() => Error::Shutdown,
            }
        });
        Self {
            ends: Alarm::new(Ends { between, anywhere, asked: None }),
            timers: (timeouts != Timeouts::default()).then(|| Box::new(Alarm::new(Timers::new(timeouts)))),
        }
    }

    /// Whether the session has to end wherever it stands. To be asked first: [`Deadlines::poll_here`] goes by what has been
    /// heard here.
    pub(crate) fn poll_anywhere(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        Pin::new(&mut self.ends).poll(cx)
    }

    /// Whether it has to end where it stands now.
    pub(crate) fn poll_here(&mut self, cx: &mut Context<'_>, standing: Standing) -> Poll<Error> {
        if let Some(timers) = &mut self.timers {
            if timers.get_mut().turn(standing) {
                timers.ring();
            }
            if let Poll::Ready(what) = Pin::new(&mut **timers).poll(cx) {
                return Poll::Ready(Error::TimedOut(what));
            }
        }
        match self.ends.get_mut().asked.take_if(|_| standing.is_between()) {
            Some(error) => Poll::Ready(*error),
            None => Poll::Pending,
        }
    }
}

/// The last moment at which the database may still see an identity's claims: a transaction that is open when the token
/// expires has the grace to finish.
pub(crate) fn last_moment(identity: &Identity, proxy: &Proxy) -> Option<i64> {
    let grace = i64::try_from(proxy.limits.expiry_grace.as_secs()).unwrap_or(i64::MAX);
    identity.expires().map(|expires| expires.saturating_add(grace))
}

/// What ends a session that does nothing wrong.
struct Ends {
    between: Ending,
    anywhere: Ending,
    /// Why the session is to end when its transaction has.
    asked: Option<Box<Error>>,
}

impl Future for Ends {
    type Output = Error;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Error> {
        if self.asked.is_none()
            && let Poll::Ready(error) = self.between.as_mut().poll(cx)
        {
            self.asked = Some(Box::new(error));
        }
        self.anywhere.as_mut().poll(cx)
    }
}

/// One timer for whatever ends first.
struct Timers {
    timeouts: Timeouts,
    standing: Standing,
    since: Instant,
    /// When the transaction began.
    transaction: Option<Instant>,
    /// How many were over then.
    over: u64,
    sleep: Pin<Box<Sleep>>,
}

impl Timers {
    fn new(timeouts: Timeouts) -> Self {
        let now = Instant::now();
        let sleep = Box::pin(sleep_until(now));
        Self { timeouts, standing: Standing::Idle, since: now, transaction: None, over: 0, sleep }
    }

    /// Notes what the session does. Whether that is something else than before.
    fn turn(&mut self, standing: Standing) -> bool {
        if self.standing == standing {
            return false;
        }
        let now = Instant::now();
        (self.standing, self.since) = (standing, now);
        self.transaction = match standing {
            Standing::Idle | Standing::Waiting => None,
            // Another, though the client did not wait for the end of the one before.
            Standing::Working(progress) if progress.transactions != self.over => Some(now),
            Standing::Working(_) | Standing::Open => Some(self.transaction.unwrap_or(now)),
        };
        if let Standing::Working(progress) = standing {
            self.over = progress.transactions;
        }
        true
    }

    fn next(&self) -> Option<(Instant, TimedOut)> {
        let Timeouts { query, transaction, idle_transaction, client_idle } = self.timeouts;
        let here: (Duration, fn(Duration) -> TimedOut) = match self.standing {
            Standing::Idle => (client_idle, TimedOut::ClientIdle),
            Standing::Open => (idle_transaction, TimedOut::IdleTransaction),
            Standing::Waiting => return None,
            Standing::Working(_) => (query, TimedOut::Query),
        };
        let here = (!here.0.is_zero()).then(|| (self.since + here.0, here.1(here.0)));
        let whole = self.transaction.filter(|_| !transaction.is_zero());
        let whole = whole.map(|begun| (begun + transaction, TimedOut::Transaction(transaction)));
        here.into_iter().chain(whole).min_by_key(|(at, _)| *at)
    }
}

impl Future for Timers {
    type Output = TimedOut;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TimedOut> {
        let Some((at, what)) = self.next() else { return Poll::Pending };
        if self.sleep.deadline() != at {
            self.sleep.as_mut().reset(at);
        }
        self.sleep.as_mut().poll(cx).map(|()| what)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A session that is checked each second, until a transaction has lasted for three.
    async fn ended_at(standings: impl IntoIterator<Item = Standing>) -> Option<usize> {
        let timeouts = Timeouts { transaction: 3 * SECOND, ..Timeouts::default() };
        let mut timers = Timers::new(timeouts);
        for (index, standing) in standings.into_iter().enumerate() {
            timers.turn(standing);
            if timers.next().is_some_and(|(at, _)| at <= Instant::now()) {
                return Some(index);
            }
            advance(SECOND).await;
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_transaction_is_not_longer_than_it_is() {
        // Of requests that follow each other without a pause, those that are transactions, and those in the third.
        let working = |requests, transactions| Standing::Working(Progress { requests, transactions });
        let alone = (0..9).map(|request| working(request, request));
        assert_eq!(ended_at(alone.clone()).await, None, "each is one of its own, though none is waited for");
        assert_eq!(ended_at(alone.clone().flat_map(|standing| [standing, Standing::Idle])).await, None);
        let begun = (0..9).map(|request| working(request, request.min(2)));
        assert_eq!(ended_at(begun).await, Some(5), "the third does not end");
        // BEGIN and COMMIT and the next BEGIN are answered at once.
        assert_eq!(ended_at((0..9).map(|number| working(3 * number + 1, number))).await, None);
        assert_eq!(ended_at([working(0, 0)].into_iter().chain([Standing::Open; 9])).await, Some(3));
        assert_eq!(ended_at([working(0, 0); 9]).await, Some(3));
    }
}
