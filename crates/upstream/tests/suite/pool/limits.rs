//! How many servers there may be, and whose place somebody else gets.

use std::sync::Arc;
use std::time::Duration;

use pgusher_upstream::{Holds, Lease, PoolConfig, Pools, Reuse, Tenant, Want};
use tokio::io::AsyncReadExt;
use wire::frame::read_frame;
use wire::stream::Stream;

use super::{
    ALICE, BOB, CAROL, admitted, config, hasty, idle, in_line, lease, open, pid, pools, pools_of, total, until, want,
};
use crate::scripted::{Arrived, Scripted};

/// The same login also serves itself.
fn as_scram(tenant: Tenant) -> Want<'static> {
    Want { role: "scram", ..want(tenant) }
}

async fn other_role(pools: &Arc<Pools>) -> Lease {
    pools.lease(&as_scram(BOB)).await.expect("a server")
}

/// Two servers that nobody has: what the script has of them, of the one that is told to go first before.
async fn two_idle(scripted: &Scripted, pools: &Arc<Pools>, wants: [Want<'static>; 2]) -> [Stream; 2] {
    let leases = [admitted(scripted, pools, wants[0]).await, admitted(scripted, pools, wants[1]).await];
    for (lease, want) in leases.into_iter().zip(wants) {
        lease.give_back(Holds::Tenant(want.tenant));
    }
    [scripted.server().await, scripted.server().await]
}

/// Of two idle servers the one that has to go first stays, so the other is told to go for who waits; then so many close.
async fn looks_elsewhere(scripted: &Scripted, pools: &Arc<Pools>, [stays, goes]: [Stream; 2], closing: usize) {
    let waiting = in_line(pools, want(ALICE)).await;
    until(|| idle(pools) == 0).await;
    assert_eq!(total(pools, |counts| counts.closing), closing);
    drop(goes);
    scripted.login_among_cancels().await.admit().await;
    let _fresh = waiting.await.unwrap().unwrap();
    assert_eq!((open(pools), total(pools, |counts| counts.closing)), (2, 1));

    drop(stays);
    until(|| (open(pools), total(pools, |counts| counts.closing)) == (1, 0)).await;
}

#[tokio::test]
async fn a_pool_has_no_more_servers_than_its_size() {
    let pools = pools(config(2));
    let (one, _other) = (lease(&pools, ALICE).await, lease(&pools, ALICE).await);
    let waiting = in_line(&pools, want(BOB)).await;
    assert_eq!((open(&pools), total(&pools, |counts| counts.lent)), (2, 2));

    let expected = pid(&one);
    one.give_back(Holds::Tenant(ALICE));

    let again = waiting.await.unwrap().unwrap();
    assert_eq!((pid(&again), open(&pools)), (expected, 2));
}

#[tokio::test]
async fn every_role_and_every_database_has_a_pool_of_its_own() {
    let pools = pools(config(1));

    let _servers = [lease(&pools, ALICE).await, other_role(&pools).await];
    let _other = pools.lease(&Want { database: "template1", ..want(ALICE) }).await.unwrap();

    assert_eq!(pools.counts().len(), 3);
}

#[tokio::test]
async fn a_lease_that_is_dropped_frees_its_place() {
    let pools = pools(config(1));
    let server = lease(&pools, ALICE).await;
    let waiting = in_line(&pools, want(BOB)).await;

    drop(server);

    assert_eq!(waiting.await.unwrap().unwrap().holds(), Holds::Nothing);
}

#[tokio::test]
async fn a_server_that_was_retired_keeps_its_place_until_it_is_gone() {
    let scripted = Scripted::start().await;
    let pools = pools_of(scripted.port, config(1));
    admitted(&scripted, &pools, want(ALICE)).await.retire();

    let mut server = scripted.server().await;
    // It hears that we have hung up, and goes on with its work.
    assert_eq!(server.read(&mut [0; 16]).await.unwrap(), 0);
    let bob = in_line(&pools, want(BOB)).await;
    assert_eq!((open(&pools), total(&pools, |counts| counts.closing)), (1, 1));

    drop(server);
    scripted.login().await.admit().await;
    bob.await.unwrap().unwrap();
}

/// A backend drops its temporary tables at its end, and waits for who has them locked. No cancel request ends that.
#[tokio::test]
async fn a_server_that_was_told_to_go_keeps_its_place_for_as_long_as_it_takes() {
    let (scripted, pools) = hasty(PoolConfig { server_lifetime: Duration::from_nanos(1), ..config(1) }).await;
    admitted(&scripted, &pools, want(ALICE)).await.give_back(Holds::Tenant(ALICE));

    let mut server = scripted.server().await;
    assert_eq!(read_frame(&mut server, 0).await.unwrap().tag.0, b'X');
    let bob = in_line(&pools, want(BOB)).await;
    // Before the third, a login would have had its time. Nobody was let in.
    for _ in 0..3 {
        assert!(matches!(scripted.next().await, Arrived::Cancel(_)));
    }
    assert_eq!((open(&pools), total(&pools, |counts| counts.closing)), (1, 1));

    drop(server);
    scripted.login_among_cancels().await.admit().await;
    bob.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_waits_for_the_place_of_one_that_does_not_go_gets_anothers() {
    let (scripted, pools) = hasty(PoolConfig { max_db_connections: 2, ..config(1) }).await;
    let wants = ["one", "other"].map(|role| Want { role, ..want(BOB) });
    let servers = two_idle(&scripted, &pools, wants).await;
    looks_elsewhere(&scripted, &pools, servers, 2).await;
}

/// The same where the place is of the own pool.
#[tokio::test]
async fn who_waits_for_one_that_does_not_go_gets_the_place_of_another() {
    let (scripted, pools) = hasty(PoolConfig { reuse: Reuse::Never, ..config(2) }).await;
    let servers = two_idle(&scripted, &pools, [BOB, CAROL].map(want)).await;
    looks_elsewhere(&scripted, &pools, servers, 1).await;
}

#[tokio::test]
async fn who_has_waited_for_long_gets_a_server_from_the_reserve() {
    let reserve = PoolConfig { reserve_pool_size: 1, reserve_pool_timeout: Duration::from_millis(20), ..config(1) };
    let pools = pools(reserve);
    let _first = lease(&pools, ALICE).await;

    let _second = lease(&pools, BOB).await;
    let third = in_line(&pools, want(CAROL)).await;

    assert_eq!(open(&pools), 2);
    assert!(!third.is_finished());
}

#[tokio::test]
async fn without_a_timeout_the_reserve_is_not_used() {
    let pools = pools(PoolConfig { reserve_pool_size: 1, reserve_pool_timeout: Duration::ZERO, ..config(1) });
    let _first = lease(&pools, ALICE).await;

    let _waiting = in_line(&pools, want(BOB)).await;

    assert_eq!(open(&pools), 1);
}

#[tokio::test]
async fn a_database_has_no_more_servers_than_max_db_connections() {
    let pools = pools(PoolConfig { max_db_connections: 2, ..config(2) });
    let (_one, other) = (lease(&pools, ALICE).await, other_role(&pools).await);
    let waiting = in_line(&pools, want(BOB)).await;
    assert_eq!(open(&pools), 2);

    other.retire();

    let _fresh = waiting.await.unwrap().unwrap();
    assert_eq!(open(&pools), 2);
}

#[tokio::test]
async fn an_idle_server_of_another_role_makes_room_in_a_full_database() {
    let pools = pools(PoolConfig { max_db_connections: 2, ..config(2) });
    let (old, recent) = (other_role(&pools).await, other_role(&pools).await);
    let recent_pid = pid(&recent);
    old.give_back(Holds::Tenant(BOB));
    recent.give_back(Holds::Tenant(BOB));

    let _server = lease(&pools, ALICE).await;

    assert_eq!((open(&pools), idle(&pools)), (2, 1));
    assert_eq!(pid(&pools.try_lease(&as_scram(BOB)).unwrap()), recent_pid);
}

#[tokio::test]
async fn a_server_that_comes_back_makes_room_for_another_role_that_waits() {
    let pools = pools(PoolConfig { max_db_connections: 1, ..config(1) });
    let server = other_role(&pools).await;
    let waiting = in_line(&pools, want(ALICE)).await;

    server.give_back(Holds::Tenant(BOB));

    let _fresh = waiting.await.unwrap().unwrap();
    assert_eq!(open(&pools), 1);
}

#[tokio::test]
async fn nobody_is_evicted_below_min_pool_size() {
    let pools = pools(PoolConfig { max_db_connections: 1, min_pool_size: 1, ..config(1) });
    other_role(&pools).await.give_back(Holds::Tenant(BOB));

    let _waiting = in_line(&pools, want(ALICE)).await;

    assert_eq!((open(&pools), idle(&pools)), (1, 1));
}

#[tokio::test]
async fn who_waits_for_a_fresh_server_is_not_starved_by_those_who_share_one() {
    let pools = pools(PoolConfig { reuse: Reuse::Never, ..config(1) });
    let server = lease(&pools, ALICE).await;
    let bob = in_line(&pools, want(BOB)).await;
    let alice = in_line(&pools, want(ALICE)).await;

    server.give_back(Holds::Tenant(ALICE));

    let server = bob.await.unwrap().unwrap();
    assert_eq!(server.holds(), Holds::Nothing);
    assert!(!alice.is_finished());
}
