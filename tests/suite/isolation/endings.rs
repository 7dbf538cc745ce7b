//! How a client goes from its server, and who comes after it.

use pgusher_tests::request::{copy_data, extended, parse, query};
use pgusher_tests::{Proxy, Stage};

use super::{BOB, narrow, playground, run};

#[tokio::test]
async fn what_a_client_leaves_half_done_ends_with_its_server() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let (database, superuser) = playground(stage).await;
    superuser.batch_execute("CREATE TABLE t (w text); GRANT ALL ON t TO authenticated").await.expect("a table");
    let here = [("database", database.as_str())];
    let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
    let insert = "INSERT INTO t VALUES ('half')";
    for left in [
        query(format!("BEGIN; {insert}; SET work_mem = '1MB'; SET ROLE NONE")),
        query(format!("BEGIN; {insert}; SELECT 1 / 0")),
        query(format!("BEGIN; SAVEPOINT a; {insert}; RESET ALL; ROLLBACK TO a")),
        extended(insert),
        [extended(insert), parse("nonsense")].concat(),
        [query("COPY t FROM STDIN"), copy_data("half\n")].concat(),
    ] {
        let mut mallory = proxy.session_with(&stage.token("mallory"), &here).await;
        let backend = mallory.backend().await;
        // Up to the last answer that comes of itself: then the server has it.
        mallory.send(&[left.clone(), pgusher_tests::message(b'H', b"")].concat()).await;
        mallory.receive().await.expect("an answer");
        drop(mallory);
        assert_eq!(bob.who().await, BOB);
        assert_ne!(bob.backend().await, backend, "{}", String::from_utf8_lossy(&left));
        assert_eq!(bob.value("SELECT count(*) || current_setting('work_mem') FROM t").await, "04MB");
    }
}

#[tokio::test]
async fn an_init_that_was_rolled_back_is_nobodys_and_not_the_last_ones() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    for transaction in [
        &["BEGIN", "SAVEPOINT a", "RESET ALL", "SELECT 1", "ROLLBACK TO a", "COMMIT"][..],
        &["BEGIN", "RESET ALL", "SELECT 1", "ROLLBACK"],
        &["BEGIN", "ROLLBACK AND CHAIN", "ROLLBACK"],
        &["BEGIN", "DISCARD ALL", "ROLLBACK"],
        &["BEGIN", "SET pgusher.claims = ''", "ROLLBACK"],
        &["BEGIN", "SAVEPOINT a", "SET ROLE NONE", "ROLLBACK TO a", "COMMIT"],
        &["SELECT 1; ROLLBACK; SELECT 1 / 0"],
    ] {
        let mut alice = proxy.session(&stage.token("alice")).await;
        for sql in transaction {
            alice.query(sql).await;
        }
        assert_eq!(alice.who().await, "alice authenticated pgusher_authenticated", "{transaction:?}");
        let backend = alice.backend().await;
        drop(alice);
        assert_eq!((bob.who().await.as_str(), bob.backend().await), (BOB, backend), "{transaction:?}");
    }
}

#[tokio::test]
async fn a_server_that_ends_itself_for_what_one_has_set_tells_the_next_one_nothing_wrong() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let mut told = 0;
    for _ in 0..30 {
        let mut mallory = proxy.session(&stage.token("mallory")).await;
        run(&mut mallory, "DO $$ BEGIN PERFORM set_config('idle_session_timeout', '1', false); END $$").await;
        let mut bob = proxy.session(&stage.token("bob")).await;
        let answer = bob.query(pgusher_tests::WHO).await;
        // Bob may come at the very moment. Then he is told that his session could not begin.
        match answer.iter().find(|message| message.tag == b'E') {
            Some(error) => assert!(["28000", "08006"].contains(&error.sqlstate().as_str()), "{answer:?}"),
            None => {
                told += 1;
                assert_eq!(pgusher_tests::Message::values(&answer), [BOB]);
            }
        }
    }
    assert!(told > 0);
}

#[tokio::test]
async fn a_client_that_is_pinned_keeps_its_server_and_gives_it_back_clean() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("pool.default_pool_size", 2).start().await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    run(&mut alice, "CREATE TEMP TABLE pocket AS SELECT 'key' AS thing").await;
    let backend = alice.backend().await;
    for _ in 0..5 {
        assert_ne!(bob.backend().await, backend);
        assert_eq!(alice.value("SELECT thing FROM pocket").await, "key");
    }
    run(&mut alice, "DISCARD ALL").await;
    assert_eq!(alice.value("SELECT to_regclass('pocket') IS NULL").await, "t");
}
