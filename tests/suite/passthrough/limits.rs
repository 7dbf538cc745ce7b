//! How many may come with a password, and how long they may take.

use pgusher_tests::{Message, Proxy, Raw, Stage, wait};
use tokio_postgres::NoTls;

use super::{builder, config, connect, log_in, refused, session};

async fn assert_full(proxy: &Proxy, message: &str, detail: &str) {
    let error = proxy.refused_with(&config(proxy, "neondb_owner", "owner")).await;
    assert_eq!((error.code().code(), error.message(), error.detail()), ("53300", message, Some(detail)));
}

async fn until_let_in(proxy: &Proxy) {
    proxy.let_in(&config(proxy, "neondb_owner", "owner")).await;
}

#[tokio::test]
async fn one_more_than_max_conn_is_refused_and_those_with_a_token_are_not() {
    let (stage, proxy) = (Stage::get(), builder("neondb_owner").set("passthrough.max_conn", 2).start().await);
    let (message, detail) = ("sorry, too many clients with a password already", "passthrough.max_conn is 2.");
    let first = connect(&proxy).await;
    let mut asked = proxy.raw().await;
    asked.startup(&[("user", "neondb_owner"), ("database", "neondb")]).await;
    asked.receive().await;
    assert_full(&proxy, message, detail).await;
    proxy.connect(&stage.token("alice")).await;

    drop(asked);
    until_let_in(&proxy).await;
    drop(first);
    until_let_in(&proxy).await;
}

#[tokio::test]
async fn a_place_is_free_again_however_its_holder_ended() {
    let limits = [("passthrough.max_conn", 1), ("pool.max_client_conn", 1), ("session.max_logins", 1)];
    let builder = limits.iter().fold(builder("neondb_owner"), |builder, (key, limit)| builder.set(key, limit));
    let (stage, proxy) = (Stage::get(), builder.set("upstream.databases", "neondb").start().await);
    let superuser = stage.superuser().await;
    for _ in 0..3 {
        until_let_in(&proxy).await;
        let wrong = config(&proxy, "neondb_owner", "wrong");
        let elsewhere = config(&proxy, "neondb_owner", "owner").dbname("postgres").clone();
        for (config, code) in [(wrong, "28P01"), (elsewhere, "3D000")] {
            let attempt = async || {
                let error = config.connect(NoTls).await.map(drop).expect_err("a refusal");
                error.code().filter(|told| told.code() == code).map(drop)
            };
            wait::until(code, attempt).await;
        }
        let attempt = async || {
            let mut raw = proxy.raw().await;
            let greeting = try_log_in(&mut raw).await;
            Message::tags(&greeting).ends_with('Z').then_some(raw)
        };
        let mut raw: Raw = wait::until("a session", attempt).await;
        let backend = raw.backend().await;
        superuser.execute("SELECT pg_terminate_backend($1)", &[&backend]).await.expect("it may");
        refused(&mut raw, "57P01").await;
    }
    until_let_in(&proxy).await;
}

/// Logs in, unless there is no place.
async fn try_log_in(raw: &mut Raw) -> Vec<Message> {
    raw.startup(&[("user", "neondb_owner"), ("database", "neondb")]).await;
    let request = raw.receive().await;
    match request {
        Some(request) if request.tag == b'R' => super::log_in_behind(raw, "owner").await,
        refused => refused.into_iter().collect(),
    }
}

#[tokio::test]
async fn they_have_a_seat_of_max_client_conn_each() {
    let proxy = builder("neondb_owner").set("pool.max_client_conn", 1).start().await;
    let _seated = session(&proxy).await;
    assert_full(&proxy, "sorry, too many clients already", "max_client_conn is 1.").await;
}

#[tokio::test]
async fn a_login_that_takes_too_long_is_ended_wherever_it_stands() {
    let proxy = builder("neondb_owner").set("session.client_login_timeout", "300ms").start().await;
    for said in [&[][..], b"p", &[b'p', 0, 0, 0, 80], &[b'p', 0, 0, 0, 80, b'S']] {
        let mut raw = proxy.raw().await;
        raw.startup(&[("user", "neondb_owner"), ("database", "neondb")]).await;
        raw.receive().await;
        raw.send(said).await;
        refused(&mut raw, "57014").await;
    }
}

#[tokio::test]
async fn the_time_limits_of_sessions_are_theirs_too() {
    for (key, sql, code) in
        [("client_idle_timeout", "SELECT 1", "57P05"), ("idle_transaction_timeout", "BEGIN", "25P03")]
    {
        let proxy = builder("neondb_owner").set(&format!("pool.{key}"), "300ms").start().await;
        let mut raw = proxy.raw().await;
        log_in(&mut raw, "owner", &[]).await;
        raw.query(sql).await;
        refused(&mut raw, code).await;
    }
}
