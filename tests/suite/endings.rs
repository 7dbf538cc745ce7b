//! Every way in which a session can end but the good one, and what is left of it: nothing.

use std::process::Command;

use pgusher_tests::request::{copy_data, query, terminate};
use pgusher_tests::{Message, Proxy, Stage};

#[tokio::test]
async fn a_client_that_vanishes_takes_the_server_along_that_works_for_it() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for (sql, state) in [
        ("BEGIN; SELECT 1", "state = 'idle in transaction'"),
        ("SELECT pg_sleep(600)", "wait_event = 'PgSleep'"),
        ("COPY (SELECT repeat('x', 8000) FROM generate_series(1, 1000000)) TO STDOUT", "wait_event = 'ClientWrite'"),
        ("CREATE TEMP TABLE t (n int); COPY t FROM STDIN", "wait_event = 'ClientRead' AND query ~ 'COPY'"),
    ] {
        let mut session = proxy.fragile_session(&stage.token("alice")).await;
        let backend = session.backend().await;
        session.send(&query(sql)).await;
        stage.until_backend(backend, state).await;

        drop(session);

        stage.until_gone(backend).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_message_is_left_too() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("pool.default_pool_size", 1).start().await;
    let mut other = proxy.session(&stage.token("bob")).await;
    // Of a long message the server has the beginning.
    let long = query(format!("SELECT 1{}", " ".repeat(100_000)));
    for (cut, goes_too) in [(&query("SELECT 1")[..9], false), (&long[..50_000], true)] {
        let mut session = proxy.session(&stage.token("alice")).await;
        let backend = session.backend().await;
        session.send(cut).await;
        drop(session);

        if goes_too {
            stage.until_gone(backend).await;
        }
        assert_eq!(other.backend().await == backend, !goes_too);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_its_server_and_does_not_grow_the_proxy() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut session = proxy.session(&stage.token("alice")).await;
    let backend = session.backend().await;
    let before = proxy.peak_memory();

    session.send(&query("SELECT repeat('x', 10000) FROM generate_series(1, 100000)")).await;

    stage.until_backend(backend, "wait_event = 'ClientWrite'").await;
    assert!(proxy.peak_memory() - before < 4 << 20, "{} bytes more", proxy.peak_memory() - before);
}

#[tokio::test]
async fn a_client_that_stops_sending_still_gets_all_answers() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut session = proxy.session(&stage.token("alice")).await;

    session.send(&query("SELECT pg_sleep(0.1)").repeat(3)).await;
    session.finish().await;

    for _ in 0..3 {
        assert_eq!(Message::tags(&session.until_ready().await), "TDCZ");
    }
    assert_eq!(session.receive().await, None);
}

#[tokio::test]
async fn what_was_asked_for_before_goodbye_is_done() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut session = proxy.session(&stage.token("alice")).await;

    session.send(&[query("SELECT pg_sleep(0.1)"), query("NOTIFY endings"), terminate()].concat()).await;

    assert_eq!(Message::tags(&session.until_ready().await), "TDCZ");
    assert_eq!(Message::tags(&session.until_ready().await), "CZ");
    assert_eq!(session.receive().await, None);
    proxy.logs("client left").await;
}

#[tokio::test]
async fn a_server_that_is_told_to_go_says_so_in_its_own_words() {
    let stage = Stage::get();
    let superuser = stage.superuser().await;
    for sql in ["BEGIN", "SELECT pg_sleep(600)", "CREATE TEMP TABLE t (n int); COPY t FROM STDIN"] {
        let proxy = Proxy::start(stage).await;
        let mut session = proxy.session(&stage.token("alice")).await;
        let backend = session.backend().await;
        session.send(&[query(sql), copy_data("1\n")].concat()).await;
        stage.until_backend(backend, &format!("query = '{sql}'")).await;

        superuser.execute("SELECT pg_terminate_backend($1)", &[&backend]).await.expect("it may");

        let mut end = session.until(b'E').await;
        let fatal = end.pop().expect("a last word");
        assert_eq!(fatal.sqlstate(), "57P01");
        assert_eq!(fatal.field(b'M').as_deref(), Some("terminating connection due to administrator command"));
        assert_eq!(session.receive().await, None);
    }
}

#[tokio::test]
async fn a_server_that_dies_without_a_word_is_missed_and_the_client_told() {
    let stage = Stage::alone().await;
    let proxy = Proxy::start(&stage).await;
    let mut session = proxy.session(&stage.token("alice")).await;
    let backend = session.backend().await;
    session.send(&query("SELECT pg_sleep(600)")).await;
    stage.until_backend(backend, "wait_event = 'PgSleep'").await;

    let killed = Command::new("kill").args(["-s", "KILL", &backend.to_string()]).status();
    assert!(killed.expect("kill runs").success());

    let end = session.receive().await.expect("a last word");
    assert_eq!(end.sqlstate(), "08006");
    assert_eq!(end.field(b'S').as_deref(), Some("FATAL"));
    assert!(end.field(b'D').is_some_and(|detail| detail.contains("may or may not have been committed")));
    assert_eq!(session.receive().await, None);
    proxy.logs("server connection lost").await;
}
