//! Which server is lent.

use pgusher_upstream::{Holds, PoolConfig, Reuse, Want};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::{ALICE, ALICE_ELSEWHERE, BOB, CAROL, LOGIN, config, lease, open, pid, pools, until, use_once, want};
use crate::harness::value;
use crate::postgres::WITHOUT_TLS;

#[tokio::test]
async fn a_fresh_server_has_the_role_and_nothing_else() {
    let pools = pools(config(1));

    let mut server = lease(&pools, ALICE).await;

    assert_eq!(server.holds(), Holds::Nothing);
    assert!(server.reusable);
    assert_eq!(value(&mut server, "SELECT current_user").await, "authenticated");
}

#[tokio::test]
async fn the_same_tenant_gets_its_server_again_the_last_used_first() {
    let pools = pools(config(3));
    let (first, second, other) = (lease(&pools, ALICE).await, lease(&pools, ALICE).await, lease(&pools, BOB).await);
    let last = pid(&second);
    first.give_back(Holds::Tenant(ALICE));
    second.give_back(Holds::Tenant(ALICE));
    other.give_back(Holds::Tenant(BOB));

    let again = pools.try_lease(&want(ALICE)).unwrap();

    assert_eq!((pid(&again), again.holds()), (last, Holds::Tenant(ALICE)));
}

#[tokio::test]
async fn then_comes_the_same_identity_then_a_new_one_then_the_least_recently_used() {
    let pools = pools(config(4));
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(lease(&pools, ALICE).await);
    }
    for (lease, holds) in leases.into_iter().zip([
        Holds::Tenant(BOB),
        Holds::Tenant(CAROL),
        Holds::Nothing,
        Holds::Tenant(ALICE_ELSEWHERE),
    ]) {
        lease.give_back(holds);
    }

    let lent: Vec<_> = (0..4).map(|_| pools.try_lease(&want(ALICE)).unwrap()).collect();

    let held: Vec<_> = lent.iter().map(|lease| lease.holds()).collect();
    assert_eq!(held, [Holds::Tenant(ALICE_ELSEWHERE), Holds::Nothing, Holds::Tenant(BOB), Holds::Tenant(CAROL)]);
    assert!(pools.try_lease(&want(ALICE)).is_none());
}

#[tokio::test]
async fn one_for_which_nothing_can_be_made_is_lent_again_as_it_is() {
    let pools = pools(config(1));
    let server = lease(&pools, ALICE).await;
    let first = pid(&server);
    server.give_back(Holds::Tenant(ALICE));

    let failed = pools.try_lease(&want(BOB)).unwrap().with(|_| Err::<(), _>("no claims"));
    assert_eq!(failed.err(), Some("no claims"));
    let (again, made) = pools.try_lease(&want(ALICE)).unwrap().with(|lease| Ok::<_, ()>(pid(lease))).unwrap();

    assert_eq!((pid(&again), made, again.holds()), (first, first, Holds::Tenant(ALICE)));
}

#[tokio::test]
async fn nobody_knows_is_lent_as_such() {
    let pools = pools(config(1));
    lease(&pools, ALICE).await.give_back(Holds::Unknown);

    assert_eq!(lease(&pools, ALICE).await.holds(), Holds::Unknown);
}

#[tokio::test]
async fn an_idle_server_of_anothers_goes_before_a_new_connection() {
    let pools = pools(config(2));
    let first = use_once(&pools, ALICE).await;

    assert_eq!(use_once(&pools, BOB).await, first);
    assert_eq!(open(&pools), 1);
}

#[tokio::test]
async fn servers_that_never_change_their_identity_make_way_for_fresh_ones() {
    let pools = pools(PoolConfig { reuse: Reuse::Never, ..config(1) });
    let first = use_once(&pools, ALICE).await;
    assert_eq!(use_once(&pools, ALICE_ELSEWHERE).await, first);

    let fresh = lease(&pools, BOB).await;

    assert_eq!(fresh.holds(), Holds::Nothing);
    assert_ne!(pid(&fresh), first);
    assert_eq!(open(&pools), 1);
    // What nobody may have any more is closed at once.
    fresh.give_back(Holds::Unknown);
    until(|| open(&pools) == 0).await;
}

/// A database that was changed by its owner's SQL.
async fn is_reusable(database: &str, sql: &str) -> bool {
    WITHOUT_TLS.psql("owner", "postgres", &format!("CREATE DATABASE {database}")).unwrap();
    WITHOUT_TLS.psql("owner", database, sql).unwrap();
    let pools = pools(config(1));
    let database = |tenant| Want { database, login: &LOGIN, ..want(tenant) };
    let server = pools.lease(&database(ALICE)).await.unwrap();
    let (first, reusable) = (pid(&server), server.reusable);
    server.give_back(Holds::Tenant(ALICE));

    let next = pools.lease(&database(BOB)).await.unwrap();

    assert_eq!(next.holds() == Holds::Nothing, !reusable);
    assert_eq!(pid(&next) == first, reusable);
    reusable
}

#[tokio::test]
async fn a_database_that_keeps_something_of_a_session_shares_no_servers() {
    assert!(!is_reusable("with_dblink", "CREATE EXTENSION dblink").await);
    assert!(!is_reusable("with_wrapper", "CREATE EXTENSION postgres_fdw").await);
    assert!(!is_reusable("with_language", "CREATE LANGUAGE lisp HANDLER plpgsql_call_handler").await);
}

#[tokio::test]
async fn what_keeps_nothing_is_no_reason() {
    assert!(is_reusable("with_files", "CREATE EXTENSION file_fdw; CREATE EXTENSION pgcrypto").await);
}

#[tokio::test]
async fn the_look_at_the_database_is_not_fooled_by_its_users() {
    let sql = "CREATE SCHEMA scram AUTHORIZATION scram;
               CREATE TABLE scram.pg_language (lanname name); CREATE TABLE public.pg_language (lanname name);
               CREATE LANGUAGE lisp HANDLER plpgsql_call_handler";
    assert!(!is_reusable("with_decoys", sql).await);
}

#[tokio::test]
async fn among_equals_a_thread_gets_its_own_server() {
    let pools = pools(config(2));
    let (lend, lent) = oneshot::channel();
    let (end, ended) = oneshot::channel::<()>();
    let other_thread = std::thread::spawn({
        let pools = pools.clone();
        let work = async move {
            lend.send(lease(&pools, ALICE).await).unwrap();
            ended.await
        };
        move || Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    });
    let foreign = lent.await.unwrap();
    let own = lease(&pools, ALICE).await;
    let expected = pid(&own);
    own.give_back(Holds::Tenant(ALICE));
    foreign.give_back(Holds::Tenant(ALICE));

    let again = pools.try_lease(&want(ALICE)).unwrap();
    assert_eq!(pid(&again), expected);
    again.give_back(Holds::Tenant(ALICE));
    assert_eq!(pid(&pools.try_lease(&want(BOB)).unwrap()), expected);
    end.send(()).unwrap();
    other_thread.join().unwrap().unwrap();
}
