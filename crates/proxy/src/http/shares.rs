//! Of each pool's servers HTTP has a share: what is beyond it waits in a line of its own, and so a flood of requests leaves
//! servers to those who come by TCP.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use upstream::Holder;

/// When there are so many, those that nobody uses are taken out.
const SWEEP_AT: usize = 64;

/// The shares of all pools.
#[derive(Debug)]
pub(super) struct Shares {
    /// By database and role.
    pools: Semaphores<(String, String)>,
    /// By database and identity: it has no use for more than the servers that it may have, and to hold a share while it
    /// waits for one would keep it from others. None, if an identity may have any number.
    identities: Option<Semaphores<(String, Holder)>>,
}

/// One server's worth of a share.
#[derive(Debug)]
pub(super) struct Share {
    _of_identity: Option<OwnedSemaphorePermit>,
    _of_pool: OwnedSemaphorePermit,
}

impl Shares {
    /// So many servers of each pool, and so many of each identity in a database; of the latter, 0 is no limit.
    pub(super) fn new(of_pool: usize, of_identity: usize) -> Self {
        let identities = (of_identity > 0).then(|| Semaphores::new(of_identity));
        Self { pools: Semaphores::new(of_pool), identities }
    }

    /// Waits for a server's worth of this pool; first come, first served, but for an identity that has all it may have.
    pub(super) async fn take(&self, database: &str, role: &str, holder: Option<Holder>) -> Share {
        let _of_identity = match self.identities.as_ref().zip(holder) {
            Some((identities, holder)) => Some(identities.take((database.to_owned(), holder)).await),
            None => None,
        };
        Share { _of_identity, _of_pool: self.pools.take((database.to_owned(), role.to_owned())).await }
    }
}

/// Semaphores that are made when they are asked for.
#[derive(Debug)]
struct Semaphores<K> {
    permits: usize,
    known: Mutex<Known<K>>,
}

#[derive(Debug)]
struct Known<K> {
    semaphores: HashMap<K, Arc<Semaphore>>,
    sweep_at: usize,
}

impl<K: Eq + Hash> Semaphores<K> {
    fn new(permits: usize) -> Self {
        Self { permits, known: Mutex::new(Known { semaphores: HashMap::new(), sweep_at: SWEEP_AT }) }
    }

    async fn take(&self, key: K) -> OwnedSemaphorePermit {
        self.of(key).acquire_owned().await.expect("the semaphore is never closed")
    }

    fn of(&self, key: K) -> Arc<Semaphore> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { semaphores, sweep_at } = &mut *known;
        if semaphores.len() >= *sweep_at {
            // A permit holds its semaphore, and so does who waits for one.
            semaphores.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
            *sweep_at = (semaphores.len() * 2).max(SWEEP_AT);
        }
        semaphores.entry(key).or_insert_with(|| Arc::new(Semaphore::new(self.permits))).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};

    use super::*;

    async fn waits(taking: &mut Pin<&mut impl Future<Output = Share>>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(taking.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn each_pool_has_its_own_and_who_is_beyond_it_waits() {
        let shares = Shares::new(1, 0);
        let held = shares.take("a", "r", None).await;
        let _other = shares.take("b", "r", None).await;
        let mut next = pin!(shares.take("a", "r", None));
        assert!(waits(&mut next).await);
        drop(held);
        next.await;
    }

    #[tokio::test]
    async fn an_identity_that_has_all_it_may_have_lets_others_pass() {
        let shares = Shares::new(2, 1);
        let [mallory, bob] = [[7; 32], [8; 32]].map(Some);
        let held = shares.take("a", "r", mallory).await;
        let mut next = pin!(shares.take("a", "r", mallory));
        assert!(waits(&mut next).await);
        let _elsewhere = shares.take("b", "r", mallory).await;
        let _others = shares.take("a", "r", bob).await;
        drop(held);
        next.await;
    }

    #[tokio::test]
    async fn names_that_nobody_uses_are_forgotten() {
        let shares = Shares::new(1, 0);
        let held = shares.take("kept", "r", None).await;
        for number in 0..SWEEP_AT * 10 {
            shares.take(&number.to_string(), "r", None).await;
        }
        let known = shares.pools.known.lock().unwrap();
        assert!(known.semaphores.len() <= SWEEP_AT && known.semaphores.contains_key(&("kept".into(), "r".into())));
        drop((known, held));
    }
}
