//! Requests that wait while a session's claims are set again: they go on whatever comes of those before them.

use pgusher_tests::request::query;
use pgusher_tests::{Message, Proxy, Raw, Stage};

/// A session that has lost its claims in a transaction, and runs a statement there that is going to fail.
async fn in_a_transaction_that_will_fail(proxy: &Proxy) -> Raw {
    let mut raw = proxy.session(&Stage::get().token("alice")).await;
    raw.send(&[query("BEGIN"), query("RESET ALL"), query("SELECT 1 / 0 FROM pg_sleep(0.3)")].concat()).await;
    assert_eq!(Message::tags(&raw.until_ready().await), "CZ");
    assert!(Message::tags(&raw.until_ready().await).ends_with("CZ"));
    raw
}

#[tokio::test]
async fn a_request_behind_a_failed_transaction_goes_on() {
    let proxy = Proxy::start(Stage::get()).await;
    let mut raw = in_a_transaction_that_will_fail(&proxy).await;
    raw.send(&query("ROLLBACK")).await;
    assert!(Message::tags(&raw.until_ready().await).ends_with("EZ"));
    assert_eq!(Message::tags(&raw.until_ready().await), "CZ");
    assert_eq!(raw.value("SELECT count(*) FROM todos").await, "3");
}

#[tokio::test]
async fn a_client_that_has_said_all_is_let_go_when_the_transaction_failed() {
    let proxy = Proxy::start(Stage::get()).await;
    let mut raw = in_a_transaction_that_will_fail(&proxy).await;
    raw.finish().await;
    assert!(Message::tags(&raw.until_end().await).ends_with("EZ"));
}

#[tokio::test]
async fn more_requests_than_a_buffer_holds_may_stand_behind_a_reset() {
    const COUNT: usize = 3_000;
    let proxy = Proxy::start(Stage::get()).await;
    let mut raw = proxy.session(&Stage::get().token("alice")).await;
    let rows = query("SELECT count(*) FROM todos").repeat(COUNT);
    assert!(rows.len() > 2 * wire::lane::CHUNK);
    raw.send(&[query("RESET ALL"), rows].concat()).await;
    raw.until_ready().await;
    for _ in 0..COUNT {
        let answer = raw.until_ready().await;
        let row = answer.iter().find(|message| message.tag == b'D').expect("a row");
        assert_eq!(row.body.last(), Some(&b'3'));
    }
}
