//! What happens when no server can be opened.

use std::sync::Arc;
use std::time::Duration;

use pgusher_upstream::{Error, Holds, Lease, PoolConfig, Pools, Step, Want};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::{ALICE, BOB, admitted, config, hasty, in_line, lease, open, pid, pools, pools_of, total, until, want};
use crate::postgres::Reserved;
use crate::scripted::Scripted;

const AN_HOUR: Duration = Duration::from_secs(3600);

async fn start(size: usize, retry: Duration) -> (Scripted, Arc<Pools>) {
    let scripted = Scripted::start().await;
    let pools = pools_of(scripted.port, PoolConfig { server_login_retry: retry, ..config(size) });
    (scripted, pools)
}

async fn first(scripted: &Scripted, pools: &Arc<Pools>) -> Lease {
    admitted(scripted, pools, want(ALICE)).await
}

fn sqlstate(error: &Error) -> &str {
    error.database().map_or("", |error| &error.sqlstate)
}

#[tokio::test]
async fn a_failed_login_is_told_to_all_and_not_repeated_for_a_while() {
    let (scripted, pools) = start(2, AN_HOUR).await;
    let waiting = [in_line(&pools, want(ALICE)).await, in_line(&pools, want(BOB)).await];
    let (one, _other) = (scripted.login().await, scripted.login().await);

    one.refuse("28P01").await;

    for waiting in waiting {
        assert_eq!(sqlstate(&waiting.await.unwrap().unwrap_err()), "28P01");
    }
    // The script would have to refuse this one too.
    assert_eq!(sqlstate(&pools.lease(&want(BOB)).await.unwrap_err()), "28P01");
}

#[tokio::test]
async fn after_server_login_retry_there_is_another_attempt() {
    let (scripted, pools) = start(1, Duration::from_millis(20)).await;
    let waiting = in_line(&pools, want(ALICE)).await;
    scripted.login().await.refuse("28P01").await;
    assert!(waiting.await.unwrap().is_err());
    // What is remembered is all that is left of the pool, and goes too.
    until(|| pools.counts().is_empty()).await;

    first(&scripted, &pools).await;
}

#[tokio::test]
async fn who_may_wait_for_other_servers_does_and_the_next_attempt_comes_later() {
    let (scripted, pools) = start(2, Duration::from_millis(20)).await;
    let server = first(&scripted, &pools).await;
    let (bob, alice) = (in_line(&pools, want(BOB)).await, in_line(&pools, want(ALICE)).await);

    scripted.login().await.refuse("28P01").await;
    until(|| total(&pools, |counts| counts.opening) == 0).await;
    server.give_back(Holds::Tenant(ALICE));
    let server = bob.await.unwrap().unwrap();
    assert_eq!(server.holds(), Holds::Tenant(ALICE));

    scripted.login().await.admit().await;
    alice.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_error_about_what_was_asked_for_is_told_at_once_and_not_remembered() {
    let pools = pools(config(1));
    let nowhere = Want { database: "nowhere", ..want(ALICE) };

    for _ in 0..2 {
        assert_eq!(sqlstate(&pools.lease(&nowhere).await.unwrap_err()), "3D000");
    }

    until(|| pools.counts().is_empty()).await;
}

#[tokio::test]
async fn a_server_that_is_full_disturbs_nobody_who_can_wait_for_another() {
    let (scripted, pools) = start(2, AN_HOUR).await;
    let server = first(&scripted, &pools).await;
    let waiting = in_line(&pools, want(BOB)).await;

    scripted.login().await.refuse("53300").await;
    until(|| total(&pools, |counts| counts.opening) == 0).await;
    assert_eq!(total(&pools, |counts| counts.waiting), 1);

    server.give_back(Holds::Tenant(ALICE));
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_waits_beside_the_line_is_told_too() {
    let scripted = Scripted::start().await;
    let pools = pools_of(scripted.port, PoolConfig { max_identity_servers: 1, ..config(2) });
    let waiting = [in_line(&pools, want(ALICE)).await, in_line(&pools, want(ALICE)).await];

    scripted.login().await.refuse("3D000").await;

    for waiting in waiting {
        assert!(waiting.await.unwrap().is_err());
    }
    until(|| pools.counts().is_empty()).await;
    first(&scripted, &pools).await;
}

/// A trigger at login (PostgreSQL 17) may run for as long as it likes, with or without us.
#[tokio::test]
async fn who_does_not_come_through_the_login_in_time_keeps_its_place_until_it_is_gone() {
    let retry = Duration::from_nanos(1);
    let (scripted, pools) = hasty(PoolConfig { server_login_retry: retry, ..config(1) }).await;
    let waiting = in_line(&pools, want(ALICE)).await;
    let mut hanging = scripted.login().await.begin().await;

    assert!(matches!(*waiting.await.unwrap().unwrap_err(), Error::TimedOut(Step::Login)));
    // It hears that we have hung up, and goes on.
    assert_eq!(hanging.read(&mut [0; 16]).await.unwrap(), 0);
    assert_eq!((open(&pools), total(&pools, |counts| counts.closing)), (1, 1));
    // It is told at once to who comes later, who could wait for long.
    let later = timeout(Duration::from_secs(60), pools.lease(&want(BOB))).await.expect("an answer");
    assert!(matches!(*later.unwrap_err(), Error::TimedOut(Step::Login)));

    drop(hanging);
    until(|| pools.counts().is_empty()).await;
    first(&scripted, &pools).await;
}

#[tokio::test]
async fn ten_thousand_names_leave_no_pools_behind() {
    let nobody = Reserved::port();
    let retry = PoolConfig { server_login_retry: Duration::from_millis(1), min_pool_size: 1, ..config(1) };
    let pools = pools_of(nobody.port, retry);

    for number in 0..10_000 {
        let database = format!("database_{number}");
        assert!(pools.lease(&Want { database: &database, ..want(ALICE) }).await.is_err());
    }

    until(|| pools.counts().is_empty()).await;
}

#[tokio::test]
async fn a_database_of_a_real_server_that_does_not_exist_leaves_no_pool_behind() {
    let pools = pools(PoolConfig { min_pool_size: 1, ..config(1) });
    for number in 0..20 {
        let database = format!("database_{number}");
        assert!(pools.lease(&Want { database: &database, ..want(ALICE) }).await.is_err());
    }
    let server = lease(&pools, ALICE).await;

    assert!(pid(&server) > 0);
    until(|| (pools.counts().len(), open(&pools)) == (1, 1)).await;
}
