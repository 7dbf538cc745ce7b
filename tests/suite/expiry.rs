//! The end of a token is the end of its session: at once if it is idle, else behind its transaction, or with the grace.

use std::collections::BTreeSet;

use pgusher_tests::request::{query, sync};
use pgusher_tests::{Message, Proxy, Raw, Stage, now};

/// A proxy that counts no leeway, and grants transactions this much grace.
async fn strict(stage: &Stage, grace: &str) -> Proxy {
    Proxy::builder(stage).set("provider.0.leeway", "0s").set("session.expiry_grace", grace).start().await
}

/// Asserts that this says that the token has expired, and ends the connection.
async fn assert_expired(client: &mut Raw, last: Option<&Message>) {
    let last = last.expect("a last word");
    let words = [b'S', b'C', b'M'].map(|name| last.field(name).unwrap_or_default());
    assert_eq!(words, ["FATAL", "28000", "session token expired"]);
    assert_eq!(client.receive().await, None);
}

#[tokio::test]
async fn an_idle_session_ends_with_its_token() {
    let stage = Stage::get();
    let proxy = strict(stage, "30s").await;
    let expires = now() + 2;
    let mut client = proxy.session(&stage.token("alice").claim("exp", expires)).await;

    let last = client.receive().await;

    assert_expired(&mut client, last.as_ref()).await;
    assert!(now() >= expires);
    proxy.logs("session token expired").await;
}

#[tokio::test]
async fn the_leeway_belongs_to_the_tokens_life() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("provider.0.leeway", "3s").start().await;
    let expires = now() - 1;
    let mut client = proxy.session(&stage.token("alice").claim("exp", expires)).await;
    assert_eq!(client.value("SELECT auth.user_id()").await, "alice");

    let last = client.receive().await;

    assert_expired(&mut client, last.as_ref()).await;
    assert!(now() >= expires + 3);
}

#[tokio::test]
async fn a_session_that_was_never_idle_ends_behind_the_request_that_runs() {
    let stage = Stage::get();
    let proxy = strict(stage, "30s").await;
    let expires = now() + 2;
    let mut client = proxy.session(&stage.token("alice").claim("exp", expires)).await;

    let until_later = format!("SELECT pg_sleep_until(to_timestamp({expires} + 0.5)), auth.user_id()");
    let answer = client.query(&until_later).await;

    assert_eq!(Message::tags(&answer), "TDCZ");
    let last = client.receive().await;
    assert_expired(&mut client, last.as_ref()).await;
}

#[tokio::test]
async fn a_transaction_may_finish_and_is_the_last() {
    let stage = Stage::get();
    let proxy = strict(stage, "30s").await;
    let expires = now() + 2;
    let mut client = proxy.session(&stage.token("frank").claim("exp", expires)).await;
    client.query("BEGIN").await;
    client.query(&format!("SELECT pg_sleep_until(to_timestamp({expires} + 0.5))")).await;

    let written = client.query("INSERT INTO todos (task) VALUES ('in time') RETURNING user_id").await;
    assert_eq!(Message::values(&written), ["frank"]);
    assert_eq!(Message::tags(&client.query("COMMIT").await), "CZ");

    let last = client.receive().await;
    assert_expired(&mut client, last.as_ref()).await;
    let deleted = stage.superuser().await.execute("DELETE FROM todos WHERE user_id = 'frank'", &[]).await;
    assert_eq!(deleted.expect("rows"), 1, "it was committed");
}

#[tokio::test]
async fn a_transaction_that_is_idle_when_the_grace_is_over_is_rolled_back() {
    let stage = Stage::get();
    let proxy = strict(stage, "1s").await;
    let mut client = proxy.session(&stage.token("alice").expires_in(2)).await;
    let backend = client.backend().await;
    client.query("BEGIN; INSERT INTO todos (task) VALUES ('never')").await;

    let last = client.receive().await;

    assert_expired(&mut client, last.as_ref()).await;
    stage.until_gone(backend).await;
    let kept = stage.superuser().await.query("SELECT FROM todos WHERE task = 'never'", &[]).await;
    assert!(kept.expect("rows").is_empty());
}

#[tokio::test]
async fn a_request_that_runs_when_the_grace_is_over_is_cancelled() {
    let stage = Stage::get();
    let proxy = strict(stage, "1s").await;
    for (begin, end) in [("", vec![]), ("BEGIN;", sync())] {
        let mut client = proxy.session(&stage.token("alice").expires_in(2)).await;
        let backend = client.backend().await;

        client.send(&[query(format!("{begin} SELECT pg_sleep(600)")), end].concat()).await;
        stage.until_backend(backend, "state = 'active' AND wait_event = 'PgSleep'").await;
        let told = client.until(b'E').await;

        assert_expired(&mut client, told.last()).await;
        stage.until_gone(backend).await;
    }
}

#[tokio::test]
async fn a_client_that_streams_its_result_ends_where_it_stands() {
    let stage = Stage::get();
    let proxy = strict(stage, "1s").await;
    let mut client = proxy.session(&stage.token("alice").expires_in(2)).await;
    let backend = client.backend().await;

    // Nobody reads it, so the server is stuck in the middle of it.
    client.send(&query("SELECT repeat('x', 100000) FROM generate_series(1, 100000)")).await;

    stage.until_gone(backend).await;
    let tags: BTreeSet<u8> = client.until_ready().await.iter().map(|message| message.tag).collect();
    assert!(!tags.contains(&b'C') && !tags.contains(&b'Z'), "{tags:?}");
}

#[tokio::test]
async fn after_its_end_a_token_opens_no_other_session() {
    let stage = Stage::get();
    let proxy = strict(stage, "30s").await;
    let token = stage.token("alice").expires_in(2).to_string();
    let mut client = proxy.session(&token).await;
    let last = client.receive().await;
    assert_expired(&mut client, last.as_ref()).await;

    let refused = proxy.refused(&token).await;

    assert_eq!(refused.code().code(), "28P01");
    assert!(refused.detail().is_some_and(|detail| detail.contains("expired")), "{refused:?}");
}

#[tokio::test]
async fn nobody_expires_who_showed_no_token() {
    let stage = Stage::get();
    let proxy = strict(stage, "0s").await;
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(proxy.port()).user("anonymous").dbname("neondb");
    let anonymous = proxy.connect_with(&config).await;
    let mut client = proxy.session(&stage.token("alice").expires_in(2)).await;

    let last = client.receive().await;

    assert_expired(&mut client, last.as_ref()).await;
    anonymous.query_one("SELECT 1", &[]).await.expect("still there");
}
