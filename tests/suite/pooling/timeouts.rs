//! What takes too long is ended, and what keeps within its limits is left alone.

use pgusher_tests::request::{extended, flush, query};
use pgusher_tests::{Message, Proxy, Raw, Stage};

use tokio_postgres::Client;

use super::{copy_table, run};

/// A proxy with one server and one limit of 300 ms.
async fn limited(key: &str) -> Proxy {
    limited_pool(key, 1).await
}

/// The same with so many servers.
async fn limited_pool(key: &str, size: usize) -> Proxy {
    let builder = Proxy::builder(Stage::get()).set("pool.default_pool_size", size);
    builder.set(&format!("pool.{key}"), "300ms").start().await
}

/// Asserts that the session ends with this, and that its server works for the next client as if nothing had been.
async fn assert_ended(proxy: &Proxy, mut client: Raw, code: &str, key: &str) {
    let end = client.until_end().await;
    let last = end.last().expect("a last word");
    assert_eq!((last.sqlstate().as_str(), last.field(b'S').as_deref()), (code, Some("FATAL")));
    assert!(last.field(b'D').is_some_and(|detail| detail.contains(key)), "{last:?}");
    let mut next = proxy.session(&Stage::get().token("bob")).await;
    assert_eq!(next.value("SELECT concat_ws(' ', auth.user_id(), pg_current_xact_id_if_assigned())").await, "bob");
}

/// A session whose backend is known.
async fn session(proxy: &Proxy) -> (Raw, i32) {
    let mut client = proxy.session(&Stage::get().token("alice")).await;
    let backend = client.backend().await;
    (client, backend)
}

#[tokio::test]
async fn a_statement_that_takes_longer_than_query_timeout_is_cancelled() {
    let (stage, proxy) = (Stage::get(), limited("query_timeout").await);
    let batch = [extended("SELECT pg_sleep(600)"), flush()].concat();
    for request in [query("SELECT pg_sleep(600)"), query("BEGIN; SELECT pg_sleep(600)"), batch] {
        let (mut client, backend) = session(&proxy).await;
        client.send(&request).await;
        stage.until_gone(backend).await;
        assert_ended(&proxy, client, "57014", "query_timeout").await;
    }
}

#[tokio::test]
async fn a_transaction_that_takes_longer_than_transaction_timeout_is_ended() {
    let (stage, proxy) = (Stage::get(), limited("transaction_timeout").await);
    for begin in ["BEGIN", "BEGIN; SELECT pg_sleep(600)", "SELECT pg_sleep(600)"] {
        let (mut client, backend) = session(&proxy).await;
        client.send(&query(begin)).await;
        stage.until_gone(backend).await;
        assert_ended(&proxy, client, "25P04", "transaction_timeout").await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_go_on_with_its_transaction_loses_it() {
    let (stage, proxy) = (Stage::get(), limited("idle_transaction_timeout").await);
    for begin in ["BEGIN; INSERT INTO todos (user_id, task) VALUES ('alice', 'late')", "BEGIN; SELECT 1 / 0"] {
        let (mut client, backend) = session(&proxy).await;
        client.query(begin).await;
        stage.until_gone(backend).await;
        assert_ended(&proxy, client, "25P03", "idle_transaction_timeout").await;
    }
    let late = stage.superuser().await.query("SELECT FROM todos WHERE task = 'late'", &[]).await;
    assert_eq!(late.expect("rows").len(), 0);
}

#[tokio::test]
async fn a_client_that_begins_nothing_is_ended_after_client_idle_timeout() {
    let proxy = limited("client_idle_timeout").await;
    let asked_nothing = proxy.session(&Stage::get().token("alice")).await;
    assert_ended(&proxy, asked_nothing, "57P05", "client_idle_timeout").await;
    let (mut pinned, _) = session(&proxy).await;
    run(&mut pinned, "PREPARE p AS SELECT 1").await;
    assert_ended(&proxy, pinned, "57P05", "client_idle_timeout").await;
}

/// A statement that works until it is let go.
struct Work {
    table: String,
    sql: String,
    lock: Client,
}

impl Work {
    async fn new() -> Self {
        let stage = Stage::get();
        let (table, lock) = (copy_table(stage).await, stage.superuser().await);
        lock.batch_execute(&format!("BEGIN; LOCK TABLE {table}")).await.expect("a lock");
        Self { sql: format!("SELECT count(*) FROM {table}"), table, lock }
    }

    async fn let_go(&self) {
        self.lock.batch_execute("COMMIT").await.expect("the lock is released");
    }
}

/// Waits until a session has been ended by the limit that began after this.
async fn outlast(proxy: &Proxy, begin: Option<&str>) {
    let mut other = proxy.session(&Stage::get().token("carol")).await;
    if let Some(begin) = begin {
        other.query(begin).await;
    }
    let end = other.until_end().await;
    assert_eq!(end.last().and_then(|last| last.field(b'S')).as_deref(), Some("FATAL"), "{end:?}");
}

/// Each limit has its own standing; in any other its time may pass.
#[tokio::test]
async fn a_limit_is_for_what_it_says_and_for_nothing_else() {
    let stage = Stage::get();
    for (key, begin) in [("idle_transaction_timeout", Some("BEGIN")), ("client_idle_timeout", None)] {
        let proxy = limited_pool(key, 2).await;
        let works = [Work::new().await, Work::new().await];
        let (mut client, backend) = session(&proxy).await;
        // At once, so that the client stands in no other way between.
        let requests = [query(&works[0].sql), query(format!("BEGIN; {}", works[1].sql)), query("COMMIT")];
        client.send(&requests.concat()).await;
        for work in works {
            let waits = format!("wait_event_type = 'Lock' AND query ~ '{}'", work.table);
            stage.until_backend(backend, &waits).await;
            outlast(&proxy, begin).await;
            work.let_go().await;
        }
        for tags in ["TDCZ", "CTDCZ", "CZ"] {
            assert_eq!(Message::tags(&client.until_ready().await), tags, "{key}");
        }
    }
}

#[tokio::test]
async fn a_client_that_waits_in_line_is_not_idle() {
    let (stage, proxy) = (Stage::get(), limited("client_idle_timeout").await);
    let work = Work::new().await;
    let (mut holder, backend) = session(&proxy).await;
    holder.send(&query(&work.sql)).await;
    stage.until_backend(backend, "wait_event_type = 'Lock'").await;
    let mut waiting = proxy.session(&stage.token("bob")).await;
    waiting.send(&query("SELECT 1")).await;
    outlast(&proxy, None).await;
    work.let_go().await;
    assert_eq!(Message::tags(&waiting.until_ready().await), "TDCZ");
}
