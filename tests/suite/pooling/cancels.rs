//! A cancel request reaches the statement of the client whose key it brings, whatever server that runs on, and never
//! one of a client that has the server now.

use pgusher_tests::request::{extended, query, sync};
use pgusher_tests::{Message, Proxy, ProxyBuilder, Raw, Stage, wait};

use super::{pool_of, run};

/// A session, and the body of its BackendKeyData.
async fn log_in(proxy: &Proxy, subject: &str) -> (Raw, Vec<u8>) {
    log_in_over(proxy.raw().await, subject).await
}

async fn log_in_over(mut session: Raw, subject: &str) -> (Raw, Vec<u8>) {
    let greeting = session.log_in(&Stage::get().token(subject).to_string()).await;
    let key = greeting.into_iter().find(|message| message.tag == b'K').expect("a key to cancel with");
    (session, key.body)
}

/// Begins a statement on this backend that ends when the superuser unlocks.
async fn begin_waiting(session: &mut Raw, lock: i64) {
    let backend = session.backend().await;
    session.send(&query(format!("SELECT pg_advisory_xact_lock({lock})"))).await;
    Stage::get().until_backend(backend, "wait_event = 'advisory'").await;
}

#[tokio::test]
async fn a_cancel_of_a_client_that_is_idle_or_has_gone_hits_nobody() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let holder = stage.superuser().await;
    holder.batch_execute("SELECT pg_advisory_lock(4700)").await.expect("a lock");
    let (mut idle, idles) = log_in(&proxy, "alice").await;
    let (mut gone, gones) = log_in(&proxy, "carol").await;
    let (mut busy, _) = log_in(&proxy, "bob").await;
    // Both have had the server.
    for session in [&mut idle, &mut gone] {
        run(session, "SELECT 1").await;
    }
    drop(gone);
    proxy.logs("client left").await;
    begin_waiting(&mut busy, 4700).await;

    for key in [&idles, &gones] {
        for _ in 0..3 {
            proxy.cancel(key).await;
        }
    }

    holder.batch_execute("SELECT pg_advisory_unlock(4700)").await.expect("its own lock");
    assert_eq!(Message::tags(&busy.until_ready().await), "TDCZ");
    assert_eq!(idle.value("SELECT 'here'").await, "here");
}

#[tokio::test]
async fn a_cancel_of_a_client_that_waits_for_a_server_ends_its_request_and_no_other() {
    let proxy = one_server().start().await;
    let alice = log_in(&proxy, "alice").await;
    cancel_in_line(&proxy, alice).await;
}

#[tokio::test]
async fn so_does_a_cancel_of_one_that_waits_at_the_end_of_a_websocket() {
    let proxy = one_server().http().start().await;
    let alice = log_in_over(proxy.websocket().await.into_raw(), "alice").await;
    cancel_in_line(&proxy, alice).await;
}

/// For which who waits is told so.
fn one_server() -> ProxyBuilder<'static> {
    Proxy::builder(Stage::get()).set("pool.default_pool_size", 1).set("pool.query_wait_notify", "1ms")
}

/// Requests of one who waits behind another are cancelled, each in its turn.
async fn cancel_in_line(proxy: &Proxy, (mut alice, key): (Raw, Vec<u8>)) {
    let (mut busy, _) = log_in(proxy, "bob").await;
    let insert = "INSERT INTO todos (task) VALUES ('cancelled') RETURNING 'here'";
    let batch = [extended(insert), extended(insert)].concat();
    let long = query(format!("{insert} /* {} */", "-".repeat(100_000)));
    for (request, end, expected) in [
        (query(insert), vec![], "EZ"),
        (batch.clone(), sync(), "EZ"),
        ([batch.clone(), sync(), query("SELECT 'here'")].concat(), vec![], "EZ"),
        ([batch, query(insert)].concat(), [query(insert), sync()].concat(), "EZ"),
        (long, vec![], "EZ"),
    ] {
        run(&mut busy, "BEGIN").await;
        alice.send(&request).await;
        let notice = alice.receive().await.expect("a notice");
        assert_eq!(notice.tag, b'N', "{notice:?}");

        proxy.cancel(&key).await;
        alice.send(&end).await;

        let answer = alice.until_ready().await;
        assert_eq!((Message::tags(&answer).as_str(), answer[0].sqlstate().as_str()), (expected, "57014"));
        run(&mut busy, "COMMIT").await;
        if request.ends_with(&query("SELECT 'here'")) {
            let values: Vec<_> = alice.until_ready().await.into_iter().filter(|message| message.tag != b'N').collect();
            assert_eq!(Message::values(&values), ["here"]);
        }
        let left = "SELECT count(*) FROM todos WHERE task = 'cancelled'";
        assert_eq!(alice.value(left).await, "0");
    }
}

#[tokio::test]
async fn a_cancel_hits_the_right_one_of_two_that_have_changed_servers() {
    let (stage, proxy) = (Stage::get(), pool_of(2).await);
    let holder = stage.superuser().await;
    holder.batch_execute("SELECT pg_advisory_lock(4701)").await.expect("a lock");
    let (mut alice, key) = log_in(&proxy, "alice").await;
    let (mut bob, _) = log_in(&proxy, "bob").await;
    for _ in 0..5 {
        run(&mut alice, "BEGIN").await;
        run(&mut bob, "BEGIN").await;
        begin_waiting(&mut alice, 4701).await;
        begin_waiting(&mut bob, 4701).await;

        proxy.cancel(&key).await;

        let answer = alice.until_ready().await;
        assert!(answer.iter().any(|message| message.tag == b'E' && message.sqlstate() == "57014"), "{answer:?}");
        run(&mut alice, "ROLLBACK").await;
        holder.batch_execute("SELECT pg_advisory_unlock(4701)").await.expect("its own lock");
        assert_eq!(Message::tags(&bob.until_ready().await), "TDCZ");
        run(&mut bob, "COMMIT").await;
        holder.batch_execute("SELECT pg_advisory_lock(4701)").await.expect("a lock");
    }
}

/// Cancels of statements that end at the same moment: the next client on the server must not be hit.
#[tokio::test]
async fn a_cancel_that_comes_too_late_hits_nobody() {
    let (stage, proxy) = (Stage::get(), std::sync::Arc::new(pool_of(1).await));
    let (mut alice, key) = log_in(&proxy, "alice").await;
    let (asking, late) = (proxy.clone(), key.clone());
    let cancelling = tokio::spawn(async move {
        for _ in 0..100 {
            asking.cancel(&late).await;
        }
    });
    let mut bob = proxy.session(&stage.token("bob")).await;
    while !cancelling.is_finished() {
        alice.send(&query("SELECT 1")).await;
        assert_eq!(Message::tags(&bob.query("SELECT count(*) FROM todos").await), "TDCZ");
        alice.until_ready().await;
    }
    wait::within("the last cancel", cancelling).await.expect("no panic");
}

/// The server answers for the change of identity only together with the statement behind it.
#[tokio::test]
async fn a_cancel_hits_the_first_statement_on_a_server_that_was_another_clients() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let holder = stage.superuser().await;
    holder.batch_execute("SELECT pg_advisory_lock(4702)").await.expect("a lock");
    let (mut alice, key) = log_in(&proxy, "alice").await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    for lock in
        [query("SELECT pg_advisory_xact_lock(4702)"), [extended("SELECT pg_advisory_xact_lock(4702)"), sync()].concat()]
    {
        let backend = bob.backend().await;
        alice.send(&lock).await;
        stage.until_backend(backend, "wait_event = 'advisory'").await;

        proxy.cancel(&key).await;

        let answer = alice.until_ready().await;
        assert!(answer.iter().any(|message| message.tag == b'E' && message.sqlstate() == "57014"), "{answer:?}");
        assert_eq!(alice.value("SELECT auth.user_id()").await, "alice");
    }
}
