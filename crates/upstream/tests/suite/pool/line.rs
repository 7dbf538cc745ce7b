//! Who is served when, and what becomes of who leaves.

use std::sync::Arc;

use pgusher_upstream::{Holds, Lease, PoolConfig, Pools, Want};
use tokio::io::AsyncWriteExt;

use super::{
    ALICE, BOB, CAROL, admitted, config, idle, in_line, lease, open, pid, pools, pools_of, total, until, want,
};
use crate::scripted::{Arrived, Scripted};

#[tokio::test]
async fn first_come_is_first_served_and_nobody_overtakes() {
    let pools = pools(config(1));
    let server = lease(&pools, ALICE).await;
    let bob = in_line(&pools, want(BOB)).await;
    // The server will be just right for this one.
    let alice = in_line(&pools, want(ALICE)).await;

    server.give_back(Holds::Tenant(ALICE));
    assert!(pools.try_lease(&want(ALICE)).is_none());

    let server = bob.await.unwrap().unwrap();
    assert!(!alice.is_finished());
    server.give_back(Holds::Tenant(BOB));
    assert_eq!(alice.await.unwrap().unwrap().holds(), Holds::Tenant(BOB));
}

#[tokio::test]
async fn who_is_being_connected_takes_what_comes_free_before() {
    let (scripted, pools) = slow_to_log_in(2).await;
    let server = first(&scripted, &pools).await;
    let bob = in_line(&pools, want(BOB)).await;
    let Arrived::Login(_second) = scripted.next().await else { panic!("a login") };

    let freed = pid(&server);
    server.give_back(Holds::Tenant(ALICE));

    assert_eq!(pid(&bob.await.unwrap().unwrap()), freed);
}

/// A server whose logins wait for the test.
async fn slow_to_log_in(size: usize) -> (Scripted, Arc<Pools>) {
    let scripted = Scripted::start().await;
    let pools = pools_of(scripted.port, config(size));
    (scripted, pools)
}

async fn first(scripted: &Scripted, pools: &Arc<Pools>) -> Lease {
    admitted(scripted, pools, want(ALICE)).await
}

#[tokio::test]
async fn who_leaves_the_line_loses_only_the_own_place() {
    let pools = pools(config(1));
    let server = lease(&pools, ALICE).await;
    let (bob, carol) = (in_line(&pools, want(BOB)).await, in_line(&pools, want(CAROL)).await);

    bob.abort();
    until(|| total(&pools, |counts| counts.waiting) == 1).await;
    server.give_back(Holds::Tenant(ALICE));

    carol.await.unwrap().unwrap().give_back(Holds::Tenant(CAROL));
    assert_eq!((open(&pools), idle(&pools)), (1, 1));
}

#[tokio::test]
async fn a_server_that_was_handed_to_who_has_left_goes_to_the_next() {
    let pools = pools(config(1));
    let server = lease(&pools, ALICE).await;
    let (bob, carol) = (in_line(&pools, want(BOB)).await, in_line(&pools, want(CAROL)).await);

    // It is Bob's from here on, and he will not see it: his task has not run since.
    let handed = pid(&server);
    server.give_back(Holds::Tenant(ALICE));
    bob.abort();

    let server = carol.await.unwrap().unwrap();
    assert_eq!((pid(&server), server.holds()), (handed, Holds::Tenant(ALICE)));
    assert!(bob.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn who_leaves_while_the_server_is_opened_leaves_it_to_the_next() {
    let (scripted, pools) = slow_to_log_in(1).await;
    let alice = in_line(&pools, want(ALICE)).await;
    let login = scripted.login().await;

    alice.abort();
    until(|| total(&pools, |counts| counts.waiting) == 0).await;
    let bob = in_line(&pools, want(BOB)).await;
    login.admit().await;

    let server = bob.await.unwrap().unwrap();
    assert_eq!((server.holds(), open(&pools)), (Holds::Nothing, 1));
}

#[tokio::test]
async fn a_lease_that_is_never_awaited_asks_for_nothing() {
    let pools = pools(config(1));
    let asked = want(ALICE);

    drop(pools.lease(&asked));

    assert!(pools.counts().is_empty());
}

#[tokio::test]
async fn no_more_servers_are_opened_than_who_waits_can_use() {
    let (scripted, pools) = slow_to_log_in(10).await;
    let _waiting = [in_line(&pools, want(ALICE)).await, in_line(&pools, want(BOB)).await];

    let _logins = [scripted.next().await, scripted.next().await];

    assert_eq!(total(&pools, |counts| counts.opening), 2);
}

#[tokio::test]
async fn who_has_all_that_one_may_have_is_passed_over_and_keeps_the_place() {
    let pools = pools(PoolConfig { max_identity_servers: 1, ..config(2) });
    let alices = lease(&pools, ALICE).await;
    assert!(pools.try_lease(&want(ALICE)).is_none());
    let alice = in_line(&pools, want(ALICE)).await;

    let bobs = lease(&pools, BOB).await;
    let carol = in_line(&pools, want(CAROL)).await;
    bobs.give_back(Holds::Tenant(BOB));
    let carols = carol.await.unwrap().unwrap();
    assert!(!alice.is_finished());

    let bob = in_line(&pools, want(BOB)).await;
    alices.give_back(Holds::Tenant(ALICE));
    alice.await.unwrap().unwrap().give_back(Holds::Tenant(ALICE));
    bob.await.unwrap().unwrap().give_back(Holds::Tenant(BOB));
    carols.give_back(Holds::Tenant(CAROL));
    assert_eq!(idle(&pools), 2);
}

#[tokio::test]
async fn who_leaves_beside_the_line_is_not_waited_for() {
    let pools = pools(PoolConfig { max_identity_servers: 1, ..config(2) });
    let server = lease(&pools, ALICE).await;
    let (gone, stays) = (in_line(&pools, want(ALICE)).await, in_line(&pools, want(ALICE)).await);

    gone.abort();
    until(|| total(&pools, |counts| counts.waiting) == 1).await;
    server.give_back(Holds::Tenant(ALICE));

    stays.await.unwrap().unwrap().give_back(Holds::Tenant(ALICE));
    assert!(pools.try_lease(&want(ALICE)).is_some());
}

#[tokio::test]
async fn who_counts_with_nobody_is_not_limited() {
    let pools = pools(PoolConfig { max_identity_servers: 1, ..config(2) });
    let anonymous = Want { holder: None, ..want(ALICE) };

    let _both = [pools.lease(&anonymous).await.unwrap(), pools.lease(&anonymous).await.unwrap()];
}

#[tokio::test]
async fn a_dead_server_is_never_lent() {
    let scripted = Scripted::start().await;
    let pools = pools_of(scripted.port, config(1));
    let server = first(&scripted, &pools).await;
    server.give_back(Holds::Tenant(ALICE));

    drop(scripted.server().await);
    until(|| {
        pools.try_lease(&want(ALICE)).is_none_or(|lease| {
            lease.give_back(Holds::Tenant(ALICE));
            false
        })
    })
    .await;

    let fresh = first(&scripted, &pools).await;
    assert_eq!(fresh.holds(), Holds::Nothing);
}

#[tokio::test]
async fn a_server_that_said_something_is_never_lent() {
    let scripted = Scripted::start().await;
    let pools = pools_of(scripted.port, config(1));
    first(&scripted, &pools).await.give_back(Holds::Tenant(ALICE));

    let mut server = scripted.server().await;
    server.write_all(b"A\0\0\0\x0b\0\0\0\x01a\0\0").await.unwrap();
    until(|| {
        pools.try_lease(&want(ALICE)).is_none_or(|lease| {
            lease.give_back(Holds::Tenant(ALICE));
            false
        })
    })
    .await;

    drop(server);
    assert_eq!(first(&scripted, &pools).await.holds(), Holds::Nothing);
}
