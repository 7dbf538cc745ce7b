//! A provider's keys over time.
//!
//! Logins only read what one background loop per provider has loaded last, so however many of them
//! wait, there is one request at a time, and no cancelled login takes a request with it. A login
//! whose key id is unknown may *ask* for a load and wait for it; how often that is granted is
//! limited, and logins with known keys never notice.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::key::KeySet;
use crate::source::{LoadError, Source};

/// From one successful load to the next.
const RENEWAL: Duration = Duration::from_secs(5 * 60);
/// The least time between two loads that unknown key ids ask for.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// After the first failed load; doubled by each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// What a provider verifies with.
pub(crate) enum Keyring {
    /// A shared secret.
    Fixed(Arc<KeySet>),
    /// Published keys.
    Renewed(Subscription),
}

/// The logins' end of a provider's loop.
pub(crate) struct Subscription {
    loaded: watch::Receiver<Loaded>,
    asked: watch::Sender<Asked>,
    max_stale: Duration,
}

/// What the loop has come to.
#[derive(Default)]
struct Loaded {
    /// The last good set, and when it was loaded.
    keys: Option<(Arc<KeySet>, Instant)>,
    /// The last request that a finished load has answered; none before the first load.
    answered: Option<u64>,
    /// Why the last load failed, if it did.
    fault: Option<Arc<LoadError>>,
}

/// What logins have asked for. Requests are numbered; 0 is the load at the start.
#[derive(Default)]
struct Asked {
    request: u64,
    at: Option<Instant>,
}

impl Keyring {
    /// The keys, once the first load has been tried. None when there are none that may be used.
    pub(crate) async fn current(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::Fixed(keys) => Some(Arc::clone(keys)),
            Self::Renewed(subscription) => subscription.keys_after(0).await,
        }
    }

    /// The keys after a load that begins now, if one is due; else the keys as they are.
    pub(crate) async fn newest(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::Fixed(keys) => Some(Arc::clone(keys)),
            Self::Renewed(subscription) => subscription.keys_after(subscription.ask()).await,
        }
    }

    /// The keys as they are, without waiting for any.
    pub(crate) fn usable(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::Fixed(keys) => Some(Arc::clone(keys)),
            Self::Renewed(subscription) => subscription.usable(),
        }
    }

    /// Has the keys loaded anew, whenever that was done last.
    pub(crate) fn renew(&self) {
        if let Self::Renewed(subscription) = self {
            subscription.asked.send_modify(Asked::again);
        }
    }

    /// Waits for the first load; says why if it failed.
    pub(crate) async fn ready(&self) -> Result<(), Arc<LoadError>> {
        let Self::Renewed(subscription) = self else { return Ok(()) };
        let mut loaded = subscription.loaded.clone();
        match loaded.wait_for(|loaded| loaded.answered.is_some()).await {
            Ok(loaded) => loaded.fault.clone().map_or(Ok(()), Err),
            Err(_) => Err(Arc::new(LoadError::Keys("nothing renews the keys"))),
        }
    }
}

impl Subscription {
    async fn keys_after(&self, request: u64) -> Option<Arc<KeySet>> {
        let mut loaded = self.loaded.clone();
        // An error means that the loop has ended; the keys that it left age as any others.
        let _ = loaded.wait_for(|loaded| loaded.answered >= Some(request)).await;
        self.usable()
    }

    fn usable(&self) -> Option<Arc<KeySet>> {
        let loaded = self.loaded.borrow();
        let (keys, at) = loaded.keys.as_ref()?;
        (at.elapsed() <= self.max_stale).then(|| Arc::clone(keys))
    }

    /// The number of the request to wait for: a new one if it is time, else the last.
    fn ask(&self) -> u64 {
        self.asked.send_if_modified(|asked| {
            let due = asked.at.is_none_or(|at| at.elapsed() >= ASK_AGAIN);
            if due {
                asked.again();
            }
            due
        });
        self.asked.borrow().request
    }
}

impl Asked {
    fn again(&mut self) {
        *self = Self { request: self.request + 1, at: Some(Instant::now()) };
    }
}

/// The background work of a verifier: without it no published key is ever loaded.
#[must_use = "keys are loaded only while `run` is polled"]
#[derive(Default)]
pub struct Renewal {
    loops: Vec<Loop>,
}

/// One load, as told to the observer of [`Renewal::run`].
#[derive(Debug)]
pub enum Renewed {
    /// New keys, or the same again.
    Keys {
        /// The provider's configured name.
        provider: String,
        /// How many keys are usable.
        usable: usize,
        /// Why others are not, one line each.
        skipped: Vec<String>,
    },
    /// The keys stay as they are.
    Failed {
        /// The provider's configured name.
        provider: String,
        /// What went wrong.
        error: Arc<LoadError>,
    },
}

impl Renewal {
    /// Loads and renews the keys of all providers until dropped, or until the verifier is gone.
    /// `observe` hears of every load.
    pub async fn run(self, observe: impl Fn(Renewed) + Clone + Send + 'static) {
        let mut running = JoinSet::new();
        for renewing in self.loops {
            running.spawn(renewing.run(observe.clone()));
        }
        while running.join_next().await.is_some() {}
    }

    /// Adds a provider.
    pub(crate) fn subscribe(&mut self, provider: &str, source: Source, max_stale: Duration) -> Subscription {
        let (publish, loaded) = watch::channel(Loaded::default());
        let (asked, requests) = watch::channel(Asked::default());
        self.loops.push(Loop { provider: provider.to_owned(), source, publish, requests });
        Subscription { loaded, asked, max_stale }
    }
}

struct Loop {
    provider: String,
    source: Source,
    publish: watch::Sender<Loaded>,
    requests: watch::Receiver<Asked>,
}

impl Loop {
    async fn run(mut self, observe: impl Fn(Renewed)) {
        let mut failures = 0;
        loop {
            // Read before the load: a request that comes during it may have seen newer tokens.
            let request = self.requests.borrow_and_update().request;
            let outcome = self.source.load().await.map(Arc::new).map_err(Arc::new);
            failures = if outcome.is_ok() { 0 } else { u32::saturating_add(failures, 1) };
            let told = self.told(&outcome);
            self.publish.send_modify(|loaded| loaded.take(request, outcome));
            observe(told);
            tokio::select! {
                () = sleep(pause(failures)) => {}
                asked = self.requests.changed() => if asked.is_err() { return },
            }
        }
    }

    fn told(&self, outcome: &Result<Arc<KeySet>, Arc<LoadError>>) -> Renewed {
        let provider = self.provider.clone();
        match outcome {
            Ok(keys) => Renewed::Keys { provider, usable: keys.len(), skipped: keys.skipped().to_vec() },
            Err(error) => Renewed::Failed { provider, error: Arc::clone(error) },
        }
    }
}

impl Loaded {
    /// A good set replaces the old one whole: a key that is not in it is revoked.
    fn take(&mut self, request: u64, outcome: Result<Arc<KeySet>, Arc<LoadError>>) {
        self.answered = Some(request);
        self.fault = None;
        match outcome {
            Ok(keys) => self.keys = Some((keys, Instant::now())),
            Err(fault) => self.fault = Some(fault),
        }
    }
}

/// How long to rest after so many failures in a row. Up to a quarter less, at random, so that many
/// proxies don't return to a sick issuer in step.
fn pause(failures: u32) -> Duration {
    let full = match failures {
        0 => RENEWAL,
        _ => LAST_RETRY.min(FIRST_RETRY * 2_u32.pow((failures - 1).min(6))),
    };
    let mut random = [0];
    match rand::fill(&mut random) {
        Ok(()) => full.mul_f64(1.0 - f64::from(random[0]) / 1024.0),
        Err(_) => full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_slow_down_to_once_a_minute() {
        for (failures, seconds) in [(0, 300), (1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (u32::MAX, 60)] {
            let full = Duration::from_secs(seconds);
            let pause = pause(failures);
            assert!(pause <= full && pause > full.mul_f64(0.75), "{failures}: {pause:?}");
        }
    }
}
