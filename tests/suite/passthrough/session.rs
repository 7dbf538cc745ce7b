//! What a session has that came by a password: a server to itself, and no identity.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use pgusher_tests::request::query;
use pgusher_tests::{Message, Proxy, Raw, Stage};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use tokio::net::TcpStream;

use super::{WHO, begin, builder, connect, log_in, session, value, with_owner};
use crate::drivers::cancels_a_query;

/// A session that waits for a lock, so that it is the test which decides when its statement ends.
async fn waiting(proxy: &Proxy, lock: i64) -> (Raw, Vec<u8>, tokio_postgres::Client) {
    let (stage, (mut raw, key)) = (Stage::get(), session(proxy).await);
    let holder = stage.superuser().await;
    holder.execute("SELECT pg_advisory_lock($1)", &[&lock]).await.expect("a lock");
    let backend = raw.backend().await;
    raw.send(&query(format!("SELECT pg_advisory_lock({lock})"))).await;
    stage.until_backend(backend, "wait_event = 'advisory'").await;
    (raw, key, holder)
}

#[tokio::test]
async fn it_has_no_claims_and_pooled_servers_never_see_it() {
    let (stage, proxy) = (Stage::get(), builder("neondb_owner").set("pool.default_pool_size", 1).start().await);
    let mut alice = proxy.session(&stage.token("alice")).await;
    let pooled = alice.backend().await;

    let (mut owner, _) = session(&proxy).await;
    assert_eq!(owner.value("SELECT auth.user_id() IS NULL").await, "t");
    assert_eq!(owner.value(WHO).await, "neondb_owner neondb_owner");
    assert_ne!(owner.backend().await, pooled);
    owner.query("SET search_path = nowhere; CREATE TEMPORARY TABLE todos (user_id text)").await;

    assert_eq!(alice.backend().await, pooled);
    assert_eq!(alice.value("SELECT DISTINCT user_id FROM todos").await, "alice");
}

#[tokio::test]
async fn no_two_sessions_share_a_server_and_it_is_gone_with_its_client() {
    let (stage, proxy) = (Stage::get(), with_owner().await);
    let (first, second) = (connect(&proxy).await, connect(&proxy).await);
    let mut backends = Vec::new();
    for client in [&first, &second] {
        client.batch_execute("LISTEN news; SET application_name = 'left behind'").await.expect("it may");
        backends.push(client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a row").get::<_, i32>(0));
    }
    assert_ne!(backends[0], backends[1]);
    drop((first, second));
    for backend in &backends {
        stage.until_gone(*backend).await;
    }
    let third = connect(&proxy).await;
    assert!(!backends.contains(&third.query_one("SELECT pg_backend_pid()", &[]).await.expect("a row").get(0)));
    assert_ne!(value(&third, "SHOW application_name").await, "left behind");
}

#[tokio::test]
async fn a_cancel_reaches_it_by_its_own_key_which_is_not_the_servers() {
    let proxy = with_owner().await;
    let (mut raw, key, holder) = waiting(&proxy, 5200).await;
    let (_other, others) = session(&proxy).await;

    let mut wrong = key.clone();
    wrong[7] ^= 1;
    for key in [&wrong, &others, &[&others[..4], &key[4..]].concat(), &[&key[..4], &others[4..]].concat()] {
        proxy.cancel(key).await;
    }
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 5200 AND NOT granted";
    assert_eq!(holder.query_one(waits, &[]).await.expect("a row").get::<_, i64>(0), 1);
    let process_id = i32::from_be_bytes(key[..4].try_into().expect("four bytes"));
    let pids = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1";
    assert_eq!(holder.query_one(pids, &[&process_id]).await.expect("a row").get::<_, i64>(0), 0);

    proxy.cancel(&key).await;
    let answer = raw.until_ready().await;
    assert_eq!((Message::tags(&answer), answer[1].sqlstate()), ("TEZ".to_owned(), "57014".to_owned()));
    assert_eq!(raw.value(WHO).await, "neondb_owner neondb_owner");
}

#[tokio::test]
async fn a_driver_cancels_its_statement() {
    let (stage, proxy) = (Stage::get(), with_owner().await);
    cancels_a_query(stage, &connect(&proxy).await).await.expect("delivered");
}

#[tokio::test]
async fn what_runs_when_its_client_is_gone_is_cancelled() {
    let (stage, proxy) = (Stage::get(), with_owner().await);
    let socket = TcpStream::connect(proxy.address()).await.expect("it listens");
    socket.set_zero_linger().expect("a socket");
    let mut raw = Raw::over(socket);
    log_in(&mut raw, "owner", &[]).await;
    let backend = raw.backend().await;
    raw.send(&query("SELECT pg_sleep(600)")).await;
    stage.until_backend(backend, "wait_event = 'PgSleep'").await;

    drop(raw);

    stage.until_gone(backend).await;
}

#[tokio::test]
async fn the_rest_of_a_message_that_is_cut_off_is_nobodys_to_supply() {
    let (stage, proxy) = (Stage::get(), with_owner().await);
    let (mut raw, _) = session(&proxy).await;
    raw.query("CREATE TABLE cut_off (id int)").await;
    let backend = raw.backend().await;
    let whole = query("INSERT INTO cut_off VALUES (1) --     ");
    raw.send(&whole[..whole.len() - 5]).await;
    raw.finish().await;
    assert_eq!(raw.receive().await, None);
    stage.until_gone(backend).await;
    let (mut raw, _) = session(&proxy).await;
    assert_eq!(raw.value("SELECT count(*) FROM cut_off").await, "0");
    raw.query("DROP TABLE cut_off").await;
}

#[tokio::test]
async fn whatever_passes_arrives_as_it_was_sent() {
    let proxy = with_owner().await;
    let client = connect(&proxy).await;
    client.batch_execute("CREATE TEMPORARY TABLE big (number bigint, text text)").await.expect("a table");
    let mut sink = Box::pin(client.copy_in("COPY big FROM STDIN").await.expect("a copy"));
    let line = "x".repeat(997);
    for number in 0..5_000 {
        sink.send(Bytes::from(format!("{number}\t{line}\n"))).await.expect("a row");
    }
    assert_eq!(sink.as_mut().finish().await.expect("a copy"), 5_000);
    let rows = client.query("SELECT number, text FROM big ORDER BY number", &[]).await.expect("rows");
    assert!(
        rows.iter().enumerate().all(|(at, row)| row.get::<_, i64>(0) == at as i64 && row.get::<_, &str>(1) == line)
    );
    let out = client.copy_out("COPY big TO STDOUT").await.expect("a copy");
    let size = out.fold(0, async |size, part| size + part.expect("data").len()).await;
    assert_eq!(size, (0..5_000).map(|number: i32| number.to_string().len() + 999).sum::<usize>());
    let (one, two) = tokio::join!(client.query_one("SELECT 1", &[]), client.query_one("SELECT 2", &[]));
    assert_eq!((one.expect("a row").get::<_, i32>(0), two.expect("a row").get::<_, i32>(0)), (1, 2));
}

#[tokio::test]
async fn at_sigterm_it_ends_between_transactions() {
    let mut proxy = with_owner().await;
    let (mut idle, _) = session(&proxy).await;
    let (mut open, _) = session(&proxy).await;
    open.query("BEGIN").await;
    let mut asked = proxy.raw().await;
    let scram = ScramSha256::new(b"owner", ChannelBinding::unsupported());
    begin(&mut asked, &scram, &[]).await;
    asked.receive().await;

    proxy.signal("TERM").await;

    for raw in [&mut idle, &mut asked] {
        assert_told_to_go(raw).await;
    }
    assert_eq!(open.value("SELECT 'still here'").await, "still here");
    assert_eq!(Message::tags(&open.query("COMMIT").await), "CZ");
    assert_told_to_go(&mut open).await;
    assert_eq!(proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn at_the_second_signal_it_ends_where_it_stands() {
    let stage = Stage::get();
    let mut proxy = builder("neondb_owner").set("session.shutdown_grace", "1d").start().await;
    let (mut raw, _) = session(&proxy).await;
    let backend = raw.backend().await;
    raw.send(&query("SELECT pg_sleep(600)")).await;
    stage.until_backend(backend, "wait_event = 'PgSleep'").await;
    proxy.signal("TERM").await;
    proxy.logs("shutting down").await;

    proxy.signal("TERM").await;

    assert_told_to_go(&mut raw).await;
    stage.until_gone(backend).await;
    assert_eq!(proxy.exit_code().await, Some(0));
}

async fn assert_told_to_go(raw: &mut Raw) {
    let end = raw.until_end().await;
    assert_eq!(Message::tags(&end), "E");
    assert_eq!(end[0].sqlstate(), "57P01");
}
