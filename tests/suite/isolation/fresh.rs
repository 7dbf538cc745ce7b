//! Databases that keep something which no reset reaches, and proxies that are told never to share a server.

use pgusher_tests::{Proxy, Raw, Stage};

use super::{narrow, playground, run};

/// Asserts that two identities work in turn, and each time on a server that nobody has had.
async fn assert_apart(alice: &mut Raw, bob: &mut Raw, what: &str) {
    let look = "SELECT concat_ws(' ', auth.user_id(), coalesce(current_setting('my.trace', true), 'unknown'))";
    let mut last = 0;
    for _ in 0..3 {
        for (client, name) in [(&mut *alice, "alice"), (&mut *bob, "bob")] {
            assert_eq!(client.value(look).await, format!("{name} unknown"), "{what}");
            run(client, "SET my.trace = 'trace'; RESET my.trace").await;
            let backend = client.backend().await;
            assert_ne!(backend, last, "{what}");
            last = backend;
        }
    }
}

#[tokio::test]
async fn with_reuse_never_no_two_identities_ever_share_a_server() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("pool.default_pool_size", 1).set("pool.reuse", "never").start().await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    assert_apart(&mut alice, &mut bob, "reuse = never").await;
}

#[tokio::test]
async fn a_database_that_keeps_what_no_reset_reaches_has_a_server_for_each_identity() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    for keeper in [
        "CREATE FOREIGN DATA WRAPPER elsewhere",
        "CREATE LANGUAGE parrot HANDLER plpgsql_call_handler",
        "DO $$ BEGIN
            IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'dblink') THEN CREATE EXTENSION dblink;
            ELSE CREATE FOREIGN DATA WRAPPER dblink_fdw; END IF;
         END $$",
    ] {
        let (database, superuser) = playground(stage).await;
        superuser.batch_execute(keeper).await.expect("a superuser may");
        let here = [("database", database.as_str())];
        let mut alice = proxy.session_with(&stage.token("alice"), &here).await;
        let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
        assert_apart(&mut alice, &mut bob, keeper).await;
    }
}

#[tokio::test]
async fn a_connection_that_one_opened_elsewhere_is_not_the_next_ones() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let (database, superuser) = playground(stage).await;
    if superuser.batch_execute("CREATE EXTENSION dblink").await.is_err() {
        return;
    }
    let here = [("database", database.as_str())];
    let password = std::fs::read_to_string(stage.files().join("authenticated.password")).expect("a file");
    let mut alice = proxy.session_with(&stage.token("alice"), &here).await;
    let port = stage.postgres_port();
    let target = format!("host=127.0.0.1 port={port} dbname={database} user=pgusher_authenticated password={password}");
    run(&mut alice, &format!("SELECT dblink_connect('open', '{target}')")).await;
    assert_eq!(alice.value("SELECT dblink_get_connections()::text").await, "{open}");
    drop(alice);
    let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
    assert_eq!(bob.value("SELECT coalesce(dblink_get_connections()::text, 'none')").await, "none");
}
