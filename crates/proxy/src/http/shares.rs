//! Of each pool's servers HTTP has a share: what is beyond it waits in a line of its own, and so a flood of requests leaves
//! servers to those who come by TCP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// When there are so many, those that nobody uses are taken out.
const SWEEP_AT: usize = 64;

/// The shares of all pools.
#[derive(Debug)]
pub(super) struct Shares {
    of_each: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By database and role.
    shares: HashMap<(String, String), Arc<Semaphore>>,
    sweep_at: usize,
}

/// One server's worth of a share.
#[derive(Debug)]
pub(super) struct Share(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Shares {
    pub(super) fn new(of_each: usize) -> Self {
        Self { of_each, known: Mutex::default() }
    }

    /// Waits for a server's worth of this pool; first come, first served.
    pub(super) async fn take(&self, database: &str, role: &str) -> Share {
        let share = self.of(database, role);
        Share(share.acquire_owned().await.expect("the semaphore is never closed"))
    }

    fn of(&self, database: &str, role: &str) -> Arc<Semaphore> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { shares, sweep_at } = &mut *known;
        if shares.len() >= (*sweep_at).max(SWEEP_AT) {
            // A permit holds its semaphore, and so does who waits for one.
            shares.retain(|_, share| Arc::strong_count(share) > 1);
            *sweep_at = shares.len() * 2;
        }
        let new = || Arc::new(Semaphore::new(self.of_each));
        shares.entry((database.to_owned(), role.to_owned())).or_insert_with(new).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn each_pool_has_its_own_and_who_is_beyond_it_waits() {
        let shares = Shares::new(1);
        let held = shares.take("a", "r").await;
        let _other = shares.take("b", "r").await;
        let mut next = pin!(shares.take("a", "r"));
        assert!(poll_fn(|cx| std::task::Poll::Ready(next.as_mut().poll(cx).is_pending())).await);
        drop(held);
        next.await;
    }

    #[tokio::test]
    async fn names_that_nobody_uses_are_forgotten() {
        let shares = Shares::new(1);
        let held = shares.take("kept", "r").await;
        for number in 0..SWEEP_AT * 10 {
            shares.take(&number.to_string(), "r").await;
        }
        let known = shares.known.lock().unwrap();
        assert!(known.shares.len() <= SWEEP_AT && known.shares.contains_key(&("kept".into(), "r".into())));
        drop((known, held));
    }
}
