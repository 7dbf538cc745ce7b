//! What becomes of servers that nobody has.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pgusher_upstream::{ClaimsMode, Event, Happened, Holds, PoolConfig, Pools, Reuse, Settings, SslMode, Tenant};

use super::{
    ALICE, BOB, LOGIN, admitted, config, hasty, idle, in_line, kill, lease, open, pid, pools, pools_at, total, until,
    use_once, want,
};
use crate::harness::{Attempt, query, trusting};
use crate::postgres::{WITH_TLS, WITHOUT_TLS};

const SHORT: Duration = Duration::from_millis(20);

fn maintained(config: PoolConfig) -> Arc<Pools> {
    let pools = pools(config);
    tokio::spawn(Arc::clone(&pools).maintain());
    pools
}

#[tokio::test]
async fn a_server_that_is_idle_for_too_long_is_closed_and_its_pool_forgotten() {
    let pools = maintained(PoolConfig { server_idle_timeout: SHORT, ..config(2) });
    use_once(&pools, ALICE).await;
    assert_eq!(open(&pools), 1);

    until(|| pools.counts().is_empty()).await;
}

#[tokio::test]
async fn idle_servers_stay_down_to_min_pool_size() {
    let pools = maintained(PoolConfig { server_idle_timeout: SHORT, min_pool_size: 1, ..config(3) });
    let leases = [lease(&pools, ALICE).await, lease(&pools, ALICE).await, lease(&pools, ALICE).await];
    let last = pid(&leases[2]);
    leases.into_iter().for_each(|lease| lease.give_back(Holds::Tenant(ALICE)));

    until(|| open(&pools) == 1).await;

    assert_eq!(pid(&pools.try_lease(&want(ALICE)).unwrap()), last);
}

#[tokio::test]
async fn a_pool_that_was_warmed_fills_up_to_min_pool_size() {
    let pools = maintained(PoolConfig { min_pool_size: 3, ..config(5) });

    pools.warm("postgres", "authenticated", &LOGIN);

    until(|| idle(&pools) == 3).await;
    assert_eq!(pools.try_lease(&want(ALICE)).unwrap().holds(), Holds::Nothing);
}

#[tokio::test]
async fn a_server_of_old_age_is_closed_when_it_comes_back() {
    let pools = pools(PoolConfig { server_lifetime: Duration::from_nanos(1), ..config(1) });
    let first = lease(&pools, ALICE).await;
    let old = pid(&first);

    first.give_back(Holds::Tenant(ALICE));

    assert_eq!(idle(&pools), 0);
    assert_ne!(pid(&lease(&pools, ALICE).await), old);
}

#[tokio::test]
async fn an_idle_server_of_old_age_is_closed() {
    let pools = pools(PoolConfig { server_lifetime: Duration::from_secs(1), ..config(1) });
    use_once(&pools, ALICE).await;

    tokio::spawn(Arc::clone(&pools).maintain());

    until(|| open(&pools) == 0).await;
}

#[tokio::test]
async fn a_server_that_dies_idle_is_noticed_and_reported() {
    let lost = Arc::new(Mutex::new(Vec::new()));
    let report = {
        let lost = Arc::clone(&lost);
        move |event: Event<'_>| {
            if let Happened::Lost { pid } = event.what {
                lost.lock().unwrap().push((event.role.to_owned(), pid));
            }
        }
    };
    let connect = Attempt::to(&WITHOUT_TLS).config;
    let pools = Pools::new(config(2), connect, Settings::default(), ClaimsMode::Claims, report);
    let (killer, victim) = (lease(&pools, ALICE).await, lease(&pools, ALICE).await);
    let dead = pid(&victim);
    tokio::spawn(Arc::clone(&pools).maintain());
    victim.give_back(Holds::Tenant(ALICE));

    let sql = format!("SELECT pg_terminate_backend({dead})");
    WITHOUT_TLS.psql("owner", "postgres", &sql).unwrap();

    until(|| open(&pools) == 1).await;
    assert_eq!(*lost.lock().unwrap(), [("authenticated".to_owned(), dead)]);
    drop(killer);
}

#[tokio::test]
async fn after_a_restart_of_the_database_everybody_gets_a_fresh_server() {
    let pools = pools(config(3));
    let leases = [lease(&pools, ALICE).await, lease(&pools, ALICE).await, lease(&pools, ALICE).await];
    let dead: Vec<_> = leases.iter().map(pid).collect();
    for lease in &leases {
        kill(lease).await;
    }
    leases.into_iter().for_each(|lease| lease.give_back(Holds::Tenant(ALICE)));

    let mut fresh = lease(&pools, ALICE).await;

    assert_eq!(fresh.holds(), Holds::Nothing);
    assert!(!dead.contains(&pid(&fresh)));
    assert!(query(&mut fresh, "SELECT 1").await.is_ok());
}

#[tokio::test]
async fn under_tls_servers_are_lent_again_and_dead_ones_are_not() {
    let mut connect = Attempt::to(&WITH_TLS).config;
    connect.tls = trusting(&WITH_TLS, SslMode::VerifyFull, "ca.crt");
    let pools = pools_at(connect, config(1));
    let first = use_once(&pools, ALICE).await;
    tokio::task::yield_now().await;

    let mut server = pools.try_lease(&want(BOB)).unwrap();
    assert!(pid(&server) == first && server.stream.is_tls());
    query(&mut server, "SELECT 1").await.unwrap();
    WITH_TLS.psql("owner", "postgres", &format!("SELECT pg_terminate_backend({first}, 60000)")).unwrap();
    tokio::task::yield_now().await;
    server.give_back(Holds::Tenant(BOB));

    assert_ne!(pid(&lease(&pools, BOB).await), first);
}

#[tokio::test]
async fn when_the_pools_are_closed_nothing_stays_open() {
    let pools = maintained(PoolConfig { min_pool_size: 1, ..config(2) });
    let (busy, other) = (lease(&pools, ALICE).await, lease(&pools, BOB).await);
    other.give_back(Holds::Tenant(BOB));

    pools.close().await;
    assert_eq!((open(&pools), idle(&pools)), (1, 0));

    // Who is still at work may go on, and even come for one more.
    busy.give_back(Holds::Tenant(ALICE));
    until(|| open(&pools) == 0).await;
    lease(&pools, ALICE).await.give_back(Holds::Tenant(ALICE));
    until(|| open(&pools) == 0).await;
}

#[tokio::test]
async fn a_server_that_does_not_go_holds_up_the_end_for_the_time_of_a_login_at_most() {
    let (scripted, pools) = hasty(config(1)).await;
    admitted(&scripted, &pools, want(ALICE)).await.give_back(Holds::Tenant(ALICE));
    let _stays = scripted.server().await;

    tokio::time::timeout(Duration::from_secs(30), pools.close()).await.expect("it does not wait for long");

    assert_eq!(total(&pools, |counts| counts.closing), 1);
}

#[tokio::test]
async fn who_waits_is_served_even_when_the_pools_are_closed() {
    let pools = pools(PoolConfig { reuse: Reuse::Never, ..config(1) });
    let server = lease(&pools, ALICE).await;
    let waiting = in_line(&pools, want(Tenant { state: [9; 32], ..ALICE })).await;

    pools.close().await;
    server.give_back(Holds::Tenant(ALICE));

    waiting.await.unwrap().unwrap();
}
