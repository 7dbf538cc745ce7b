//! A cancel request hits only whom it is meant for.

use std::sync::Arc;

use pgusher_upstream::{Error, Holds, Lease, Pools};
use wire::stream::Stream;

use super::{ALICE, BOB, admitted, config, idle, in_line, open, pid, pools_of, until, want};
use crate::scripted::{Arrived, Scripted};

async fn lent() -> (Scripted, Arc<Pools>, Lease) {
    let scripted = Scripted::start().await;
    let pools = pools_of(scripted.port, config(1));
    let lease = admitted(&scripted, &pools, want(ALICE)).await;
    (scripted, pools, lease)
}

async fn cancel(scripted: &Scripted) -> Stream {
    match scripted.next().await {
        Arrived::Cancel(cancel) => cancel,
        Arrived::Login(_) => panic!("a cancel request"),
    }
}

#[tokio::test]
async fn a_cancel_under_way_keeps_the_server_from_the_next() {
    let (scripted, pools, lease) = lent().await;
    let cancelling = tokio::spawn(lease.cancel.ticket().send());
    let connection = cancel(&scripted).await;

    let cancelled = pid(&lease);
    lease.give_back(Holds::Tenant(ALICE));
    let bob = in_line(&pools, want(BOB)).await;
    assert!(!bob.is_finished() && idle(&pools) == 0);

    // The server hangs up when it has sent the signal.
    drop(connection);
    cancelling.await.unwrap().unwrap();
    assert_eq!(pid(&bob.await.unwrap().unwrap()), cancelled);
}

#[tokio::test]
async fn a_ticket_counts_before_it_is_sent_and_unsent_leaves_no_trace() {
    let (_scripted, pools, lease) = lent().await;
    let ticket = lease.cancel.ticket();
    let cancelled = pid(&lease);

    lease.give_back(Holds::Tenant(ALICE));
    assert!(pools.try_lease(&want(ALICE)).is_none());

    drop(ticket);
    until(|| idle(&pools) == 1).await;
    assert_eq!(pid(&pools.try_lease(&want(ALICE)).unwrap()), cancelled);
}

#[tokio::test]
async fn a_cancel_that_may_still_arrive_closes_the_server() {
    let (scripted, pools, lease) = lent().await;
    let cancelling = tokio::spawn(lease.cancel.ticket().send());
    let _connection = cancel(&scripted).await;
    lease.give_back(Holds::Tenant(ALICE));

    cancelling.abort();

    drop(scripted.server().await);
    until(|| open(&pools) == 0).await;
}

#[tokio::test]
async fn a_cancel_that_is_not_delivered_closes_the_server() {
    let (scripted, pools, lease) = lent().await;
    let ticket = lease.cancel.ticket();
    let server = scripted.server().await;
    scripted.stop().await;

    assert!(matches!(ticket.send().await, Err(Error::Unreachable { .. })));
    lease.give_back(Holds::Tenant(ALICE));

    assert_eq!(idle(&pools), 0);
    drop(server);
    until(|| open(&pools) == 0).await;
}
