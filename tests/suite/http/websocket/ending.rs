//! How a WebSocket ends, by either side, and what becomes of the session behind it.

use pgusher_tests::request::query;
use pgusher_tests::{Proxy, Stage, WebSocket};

use super::{login, proxy};

/// A session whose server sleeps, and the server's process.
async fn asleep(proxy: &Proxy) -> (WebSocket, i32) {
    let stage = Stage::get();
    let mut websocket = proxy.websocket().await;
    websocket.send(login(&stage.token("alice")).concat()).await;
    websocket.send(query("LISTEN held; SELECT 'backend ' || pg_backend_pid()")).await;
    let mut said = Vec::new();
    let backend = loop {
        let frame = websocket.receive().await.expect("an answer").into_data();
        said.extend_from_slice(&frame);
        let text = String::from_utf8_lossy(&said);
        let number = text.split("backend ").nth(1).and_then(|text| text.split_once("C\0\0\0"));
        if let Some((number, _)) = number.filter(|_| said.ends_with(b"Z\0\0\0\x05I")) {
            break number.parse().expect("a number");
        }
    };
    websocket.send(query("SELECT pg_sleep(600)")).await;
    stage.until_backend(backend, "wait_event = 'PgSleep'").await;
    (websocket, backend)
}

#[tokio::test]
async fn who_vanishes_has_its_query_cancelled() {
    let proxy = proxy().await;
    let (websocket, backend) = asleep(&proxy).await;
    drop(websocket);
    Stage::get().until_gone(backend).await;
}

#[tokio::test]
async fn who_breaks_the_rules_has_its_query_cancelled() {
    let proxy = proxy().await;
    let (mut websocket, backend) = asleep(&proxy).await;
    websocket.send_message("text".into()).await;
    assert_eq!(websocket.closed().await.0, 1003);
    Stage::get().until_gone(backend).await;
}

#[tokio::test]
async fn who_reads_nothing_is_left() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("http.write_timeout", "200ms").start().await;
    let mut websocket = proxy.websocket().await;
    websocket.send(login(&stage.token("alice")).concat()).await;
    websocket.send(query("SELECT repeat('x', 1000), generate_series(1, 1000000000)")).await;
    proxy.logs("timed out").await;
    let superuser = stage.superuser().await;
    let look = async || {
        let sql =
            "SELECT FROM pg_stat_activity WHERE query LIKE '%generate_series(1, 1000000000)' AND state = 'active'";
        superuser.query(sql, &[]).await.expect("rows").is_empty().then_some(())
    };
    pgusher_tests::wait::until("the query to end", look).await;
}

#[tokio::test]
async fn what_is_sent_when_the_session_is_over_is_for_nobody() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let mut websocket = proxy.websocket().await;
    let alice = login(&stage.token("alice")).concat();
    let bob = login(&stage.token("bob")).concat();
    let end = pgusher_tests::request::terminate();
    websocket.send([&alice[..], &query("SELECT auth.user_id()"), &end, &bob].concat()).await;
    websocket.send([&bob[..], &query("SELECT auth.user_id()")].concat()).await;
    let (code, said) = websocket.closed().await;
    assert_eq!(code, 1000);
    assert!(said.ends_with(b"SELECT 1\0Z\0\0\0\x05I"), "{:?}", String::from_utf8_lossy(&said));
    proxy.logs("session ended").await;
    assert_eq!(proxy.log().iter().filter(|line| line.contains("\"login\"")).count(), 1);
}

#[tokio::test]
async fn when_the_proxy_goes_idle_sessions_are_told_in_both_protocols() {
    let stage = Stage::get();
    let mut proxy = proxy().await;
    let mut idle = proxy.websocket().await;
    idle.send(login(&stage.token("alice")).concat()).await;
    let (pipe, code) = proxy.websocket().await.into_pipe();
    let mut raw = pgusher_tests::Raw::over(pipe);
    raw.log_in(&stage.token("bob").to_string()).await;
    raw.query("BEGIN").await;

    proxy.signal("TERM").await;

    let (idle_code, said) = idle.closed().await;
    assert!(String::from_utf8_lossy(&said).contains("C57P01\0"));
    assert_eq!(idle_code, 1001);
    assert_eq!(raw.value("SELECT 'still here'").await, "still here");
    raw.query("COMMIT").await;
    assert_eq!(raw.until_end().await[0].sqlstate(), "57P01");
    assert_eq!(code.await.expect("no panic"), Some(1001));
    assert_eq!(proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn those_who_do_not_go_are_ended_where_they_stand() {
    let stage = Stage::get();
    let mut proxy = Proxy::builder(stage).http().set("session.shutdown_grace", "200ms").start().await;
    let (mut websocket, backend) = asleep(&proxy).await;

    proxy.signal("TERM").await;

    let (code, said) = websocket.closed().await;
    assert!(String::from_utf8_lossy(&said).contains("C57P01\0"));
    assert_eq!(code, 1001);
    stage.until_gone(backend).await;
    assert_eq!(proxy.exit_code().await, Some(0));
}
