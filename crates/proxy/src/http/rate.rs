//! How many requests a second one address and one identity may make, and how many tokens and passwords of an address
//! may be refused in a minute before it has to wait.
//!
//! Each of them has an account, which is one number: the moment until which what was spent would have lasted at the
//! steady rate (GCRA, ITU-T I.371). It may be ahead of the clock by the length of the period and no more, so that a
//! burst is what the limit allows for one period. Accounts are few enough: when there are too many, the one that was
//! used least recently is forgotten.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use identity::{Fault, Identity, Rejection};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use upstream::Holder;

use crate::config::Rate;
use crate::error::Error;
use crate::session::Entrant;
use crate::tenancy::holder;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// The SQLSTATE with which Postgres refuses a password.
const WRONG_PASSWORD: &str = "28P01";

/// Accounts of each kind, some 300 bytes each.
const ACCOUNTS: u64 = 100_000;

/// All limits of requests. Whoever answers a request over HTTP, or the handshake of a WebSocket, tells it what happens.
pub(crate) struct Rates {
    addresses: Option<Limiter<Network>>,
    failures: Option<Limiter<Network>>,
    identities: Option<Limiter<Holder>>,
}

/// What comes faster than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Pace {
    /// Requests.
    #[error("http.address_rate = {0} requests a second from one address")]
    Address(u32),
    /// Tokens and passwords that are refused.
    #[error("http.address_failures = {0} failed authentications a minute from one address")]
    Failures(u32),
    /// Requests of somebody who is known.
    #[error("http.identity_rate = {0} requests a second of one identity")]
    Identity(u32),
}

impl Rates {
    /// With the limits that are configured.
    pub(crate) fn new(rate: &Rate) -> Self {
        Self {
            addresses: Limiter::new(rate.address_rate, SECOND, ACCOUNTS),
            failures: Limiter::new(rate.address_failures, MINUTE, ACCOUNTS),
            identities: Limiter::new(rate.identity_rate, SECOND, ACCOUNTS),
        }
    }

    /// A request has come, and neither token nor password was looked at yet.
    ///
    /// # Errors
    /// [`Error::TooFast`]
    pub(crate) fn came(&self, from: IpAddr, now: Instant) -> Result<(), Error> {
        let network = Network::of(from);
        if let Some(failures) = &self.failures {
            failures.look(&network, now).map_err(|wait| too_fast(Pace::Failures(failures.limit), wait))?;
        }
        match &self.addresses {
            Some(addresses) => {
                addresses.take(network, now).map_err(|wait| too_fast(Pace::Address(addresses.limit), wait))
            }
            None => Ok(()),
        }
    }

    /// Somebody gets in, or does not: what to do with the former, who may be too fast.
    ///
    /// # Errors
    /// [`Error::TooFast`]
    pub(crate) fn judge(&self, from: IpAddr, entered: Result<&Entrant, &Error>, now: Instant) -> Result<(), Error> {
        match entered {
            Ok(Entrant::Identity(identity)) => self.identified(identity, now),
            Ok(Entrant::Direct(_)) => Ok(()),
            Err(error) => {
                self.failed(from, error, now);
                Ok(())
            }
        }
    }

    /// It was turned away. That is held against the address if it was for its token or password.
    fn failed(&self, from: IpAddr, error: &Error, now: Instant) {
        if let Some(failures) = self.failures.as_ref().filter(|_| is_failed_authentication(error)) {
            failures.charge(Network::of(from), now);
        }
    }

    /// Its token was accepted. Clients without a token are nobody in particular, and only their address counts.
    ///
    /// # Errors
    /// [`Error::TooFast`]
    fn identified(&self, identity: &Identity, now: Instant) -> Result<(), Error> {
        let Some(identities) = &self.identities else { return Ok(()) };
        let Some(holder) = holder(identity) else { return Ok(()) };
        identities.take(holder, now).map_err(|wait| too_fast(Pace::Identity(identities.limit), wait))
    }
}

/// What is held against an address is a guess or a forgery. Whoever has brought no token, or one that an issuer has signed
/// and that is of no use any more, is most often somebody who has been here before, and perhaps with others behind one
/// address.
fn is_failed_authentication(error: &Error) -> bool {
    match error {
        Error::Token(
            Rejection::Empty
            | Rejection::Expired { .. }
            | Rejection::NotYetValid { .. }
            | Rejection::WrongAudience { .. },
        ) => false,
        Error::Token(rejection) => rejection.fault() == Fault::Token,
        Error::LoginRefused(error) => error.sqlstate == WRONG_PASSWORD,
        _ => false,
    }
}

/// In whole seconds, as HTTP has it (RFC 9110, section 10.2.3), and long enough.
fn too_fast(pace: Pace, wait: Duration) -> Error {
    let begun = u64::from(wait.subsec_nanos() > 0);
    Error::TooFast { pace, retry_after: Duration::from_secs((wait.as_secs() + begun).max(1)) }
}

/// Where one client may be, as far as an address tells: with IPv6 everybody has a /64 to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4(u32),
    V6(u64),
}

impl Network {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// One limit, and the accounts of all who are under it. Times are nanoseconds since `start`.
struct Limiter<K> {
    limit: u32,
    /// What one costs.
    interval: u64,
    /// How far an account may be ahead of the clock.
    window: u64,
    start: Instant,
    accounts: Cache<K, Arc<AtomicU64>>,
}

impl<K: Copy + Eq + Hash + Send + Sync + 'static> Limiter<K> {
    /// `limit` for each `period`; none if it is 0. An account that nobody used for two periods is gone, and as good as new.
    fn new(limit: u32, period: Duration, accounts: u64) -> Option<Self> {
        let interval = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).checked_div(limit.into())?;
        let accounts = Cache::builder()
            .max_capacity(accounts)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(period * 2)
            .build();
        Some(Self { limit, interval, window: interval * u64::from(limit), start: Instant::now(), accounts })
    }

    /// Takes one, or says how long there will be none.
    fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let now = self.nanos(now);
        let spend = |until: u64| (self.wait(until, now) == 0).then(|| until.max(now) + self.interval);
        let spent = self.account(key).fetch_update(Relaxed, Relaxed, spend);
        spent.map(drop).map_err(|until| Duration::from_nanos(self.wait(until, now)))
    }

    /// Says how long there will be none, if there is none.
    fn look(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let until = self.accounts.get(key).map_or(0, |account| account.load(Relaxed));
        match self.wait(until, self.nanos(now)) {
            0 => Ok(()),
            wait => Err(Duration::from_nanos(wait)),
        }
    }

    /// Takes one, even if there is none: several may have looked before. No account owes more than one period.
    fn charge(&self, key: K, now: Instant) {
        let now = self.nanos(now);
        let spend = |until: u64| Some((until.max(now) + self.interval).min(now + 2 * self.window).max(until));
        let _ = self.account(key).fetch_update(Relaxed, Relaxed, spend);
    }

    /// How long it takes until there is one in an account; 0 if there is.
    fn wait(&self, until: u64, now: u64) -> u64 {
        (until.max(now) + self.interval).saturating_sub(now + self.window)
    }

    fn account(&self, key: K) -> Arc<AtomicU64> {
        self.accounts.get_with(key, Arc::default)
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX / 2)
    }
}

#[cfg(test)]
mod tests;
