//! Many who come, wait, leave and end in every way, over few servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pgusher_upstream::{Error, Holds, Lease, PoolConfig, Pools, Reuse, Tenant, Want};
use tokio::runtime::Builder;

use super::{config, open, pools, total, until, want};
use crate::postgres::WITHOUT_TLS;

const SIZE: usize = 3;
const ONE_MAY_HAVE: usize = 2;
const USERS: usize = 4;
const THREADS: usize = 4;
const TASKS: usize = 32;
const TURNS: usize = 40;

/// Numbers without a pattern that the pool could have, the same in every run (Marsaglia's xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

struct Crowd {
    pools: Arc<Pools>,
    database: &'static str,
    /// How many servers each user has.
    held: [AtomicUsize; USERS],
    /// Tasks that have ended.
    gone: AtomicUsize,
}

/// How a lease may end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    InEveryWay,
    /// A dropped one leaves a backend that its place does not count.
    Properly,
}

impl Crowd {
    /// One thread's part of the crowd. Its runtime serves servers of others too, so it stays until all have gone.
    async fn come_together(self: &Arc<Self>, thread: usize, ends: Ends) {
        let seeds = (1..=TASKS).filter(|seed| seed % THREADS == thread);
        let coming: Vec<_> = seeds.map(|seed| tokio::spawn(Arc::clone(self).come(seed as u64, ends))).collect();
        for one in coming {
            tokio::time::timeout(Duration::from_secs(120), one).await.expect("nobody waits for ever").unwrap();
            self.gone.fetch_add(1, Ordering::SeqCst);
        }
        until(|| self.gone.load(Ordering::SeqCst) == TASKS).await;
        until(|| total(&self.pools, |counts| counts.lent + counts.opening + counts.closing + counts.waiting) == 0)
            .await;
        self.pools.close().await;
        until(|| self.pools.counts().is_empty()).await;
    }

    async fn come(self: Arc<Self>, seed: u64, ends: Ends) {
        let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for _ in 0..TURNS {
            let user = numbers.below(USERS as u64) as usize;
            let tenant = Tenant { identity: [user as u8; 32], state: [numbers.below(8) as u8; 32] };
            let wanted = Want { database: self.database, ..want(tenant) };
            let patience = Duration::from_micros(numbers.below(2000));
            let lease = match numbers.below(4) {
                0 => self.pools.try_lease(&wanted),
                1 => tokio::time::timeout(patience, self.pools.lease(&wanted)).await.ok().map(unless_failed),
                _ => Some(unless_failed(self.pools.lease(&wanted).await)),
            };
            let Some(lease) = lease else { continue };
            let had = self.held[user].fetch_add(1, Ordering::SeqCst);
            assert!(had < ONE_MAY_HAVE, "{user} has {had} servers and gets another");
            assert!(open(&self.pools) <= SIZE);
            for _ in 0..numbers.below(4) {
                tokio::task::yield_now().await;
            }
            self.held[user].fetch_sub(1, Ordering::SeqCst);
            match numbers.below(16) {
                0 if ends == Ends::InEveryWay => drop(lease),
                1 => lease.retire(),
                2 => lease.give_back(Holds::Unknown),
                _ => lease.give_back(Holds::Tenant(tenant)),
            }
        }
    }
}

fn unless_failed(leased: Result<Lease, Arc<Error>>) -> Lease {
    leased.expect("there is nothing to fail")
}

fn crowd(database: &'static str, reuse: Reuse, ends: Ends) {
    WITHOUT_TLS.psql("owner", "postgres", &format!("CREATE DATABASE {database}")).unwrap();
    if ends == Ends::Properly {
        let limit = format!("ALTER DATABASE {database} CONNECTION LIMIT {SIZE}");
        WITHOUT_TLS.psql("owner", "postgres", &limit).unwrap();
    }
    let pools = pools(PoolConfig { max_identity_servers: ONE_MAY_HAVE, reuse, ..config(SIZE) });
    let crowd =
        Arc::new(Crowd { pools: Arc::clone(&pools), database, held: Default::default(), gone: AtomicUsize::new(0) });
    std::thread::scope(|threads| {
        for thread in 0..THREADS {
            let crowd = &crowd;
            threads.spawn(move || on_a_thread(crowd.come_together(thread, ends)));
        }
    });

    assert!(pools.counts().is_empty());
}

fn on_a_thread(work: impl Future<Output = ()>) {
    Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work);
}

#[test]
fn a_crowd_is_served_within_all_limits_and_leaves_nothing() {
    crowd("crowd", Reuse::Switch, Ends::InEveryWay);
}

#[test]
fn a_crowd_that_shares_nothing_is_served_too() {
    crowd("crowd_of_strangers", Reuse::Never, Ends::InEveryWay);
}

#[test]
fn the_servers_of_a_crowd_are_never_more_than_the_database_itself_allows() {
    crowd("crowd_with_a_limit", Reuse::Never, Ends::Properly);
}
