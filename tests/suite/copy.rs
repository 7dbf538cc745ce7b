//! COPY in every form: the one part of the protocol in which a server reads without answering.

use pgusher_tests::request::{bind, copy_data, copy_done, copy_fail, execute, extended, parse, query, sync};
use pgusher_tests::{Message, Proxy, Raw, Stage, wait};

/// What passes in the tests of memory.
const GIBIBYTE: u64 = 1 << 30;

/// The most that a proxy may need for it.
const FLAT: u64 = 64 << 20;

/// A session with a temporary table `t (n int)`, and its proxy.
async fn session(stage: &Stage) -> (Proxy, Raw) {
    let proxy = Proxy::start(stage).await;
    let mut session = proxy.session(&stage.token("alice")).await;
    session.query("CREATE TEMP TABLE t (n int)").await;
    (proxy, session)
}

/// Whether the session is in step: its next statements, by both protocols, are answered by their own answers.
async fn assert_in_step(session: &mut Raw) {
    assert_eq!(session.value("SELECT 'in step'").await, "in step");
    session.send(&[extended("SELECT 1"), sync()].concat()).await;
    assert_eq!(Message::tags(&session.until_ready().await), "12TDCZ");
}

#[tokio::test]
async fn a_gibibyte_is_copied_out_under_a_flat_memory() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut session = proxy.session(&stage.token("alice")).await;

    let rows = GIBIBYTE / 8192;
    session.send(&query(format!("COPY (SELECT repeat('x', 8186) FROM generate_series(1, {rows})) TO STDOUT"))).await;

    // Each row has five bytes of header and one of line end; around them are CopyOutResponse, CopyDone and two more.
    let copied = wait::drain("a gibibyte", &mut session.into_stream(), GIBIBYTE).await;
    assert_eq!(copied, GIBIBYTE);
    assert!(proxy.peak_memory() < FLAT, "{} bytes", proxy.peak_memory());
}

#[tokio::test]
async fn a_gibibyte_is_copied_in_under_a_flat_memory() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut session = proxy.session(&stage.token("alice")).await;
    session.query("CREATE TEMP TABLE t (line text)").await;

    session.send(&query("COPY t FROM STDIN WHERE length(line) = 1")).await;
    let row = copy_data([&[b'x'; 8191][..], b"\n"].concat());
    let rows = row.repeat(128);
    for _ in 0..GIBIBYTE / (128 * 8192) {
        session.send(&rows).await;
    }
    session.send(&[copy_data("x\n"), copy_done()].concat()).await;

    let answer = session.until_ready().await;
    assert_eq!(Message::tags(&answer), "GCZ");
    assert_eq!(answer[1].body, b"COPY 1\0");
    assert!(proxy.peak_memory() < FLAT, "{} bytes", proxy.peak_memory());
}

#[tokio::test]
async fn a_copy_that_the_client_gives_up_leaves_nothing() {
    let stage = Stage::get();
    let (_proxy, mut session) = session(stage).await;

    session.send(&[query("COPY t FROM STDIN"), copy_data("1\n"), copy_fail()].concat()).await;

    let answer = session.until_ready().await;
    assert_eq!(Message::tags(&answer), "GEZ");
    assert_eq!(answer[1].sqlstate(), "57014");
    assert_eq!(session.value("SELECT count(*) FROM t").await, "0");
    assert_in_step(&mut session).await;
}

#[tokio::test]
async fn data_behind_a_row_that_fails_is_ignored() {
    let stage = Stage::get();
    let (_proxy, mut session) = session(stage).await;
    let data = [copy_data("one\n"), copy_data("2\n"), copy_done()].concat();

    session.send(&[query("COPY t FROM STDIN"), data.clone()].concat()).await;
    assert_eq!(Message::tags(&session.until_ready().await), "GEZ");
    assert_in_step(&mut session).await;

    session.send(&[extended("COPY t FROM STDIN"), data, sync()].concat()).await;
    assert_eq!(Message::tags(&session.until_ready().await), "12nGEZ");
    assert_in_step(&mut session).await;
}

#[tokio::test]
async fn the_sync_that_libpq_sends_ahead_of_its_data_is_eaten() {
    let stage = Stage::get();
    let (_proxy, mut session) = session(stage).await;

    session.send(&[extended("COPY t FROM STDIN"), sync()].concat()).await;
    assert_eq!(Message::tags(&session.until(b'G').await), "12nG");
    session.send(&[copy_data("1\n"), copy_data("2\n"), copy_done(), sync()].concat()).await;

    assert_eq!(Message::tags(&session.until_ready().await), "CZ");
    assert_eq!(session.value("SELECT count(*) FROM t").await, "2");
    assert_in_step(&mut session).await;
}

#[tokio::test]
async fn a_copy_that_fails_before_it_reads_eats_no_sync() {
    let stage = Stage::get();
    let (_proxy, mut session) = session(stage).await;
    session
        .query(
            "CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.refuse()",
        )
        .await;

    session.send(&[extended("COPY t FROM STDIN"), sync()].concat()).await;
    assert_eq!(Message::tags(&session.until_ready().await), "12nGEZ");
    // Now the client has heard of the COPY, and ends what has failed already.
    session.send(&[copy_data("1\n"), copy_done(), sync()].concat()).await;
    assert_eq!(Message::tags(&session.until_ready().await), "Z");
    assert_in_step(&mut session).await;
}

#[tokio::test]
async fn claims_are_set_again_behind_a_copy_whose_sync_was_eaten() {
    let stage = Stage::get();
    let (_proxy, mut session) = session(stage).await;
    session.send(&[extended("COPY t FROM STDIN"), sync()].concat()).await;
    session.until(b'G').await;

    session.send(&[copy_data("1\n"), copy_done(), sync(), query("DISCARD ALL")].concat()).await;
    assert_eq!(Message::tags(&session.until_ready().await), "CZ");
    assert_eq!(Message::tags(&session.until_ready().await), "CZ");

    assert_eq!(session.value("SELECT auth.user_id()").await, "alice");
}

#[tokio::test]
async fn the_end_of_a_copy_that_never_began_is_ignored() {
    let stage = Stage::get();
    let (_proxy, mut session) = session(stage).await;

    session.send(&[copy_done(), copy_fail(), copy_data("1\n")].concat()).await;
    assert_in_step(&mut session).await;

    session.send(&[query("SELECT 1"), copy_done(), query("SELECT 2")].concat()).await;
    assert_eq!(Message::tags(&session.until_ready().await), "TDCZ");
    assert_eq!(Message::tags(&session.until_ready().await), "TDCZ");
    assert_in_step(&mut session).await;
}

#[tokio::test]
async fn data_may_be_sent_ahead_of_the_servers_word() {
    let stage = Stage::get();
    let (_proxy, mut session) = session(stage).await;
    let copy = [parse("COPY t FROM STDIN"), bind(), execute(), copy_data("1\n"), copy_done(), sync()].concat();

    session.send(&[copy.repeat(2), query("SELECT count(*) FROM t")].concat()).await;

    assert_eq!(Message::tags(&session.until_ready().await), "12GCZ");
    assert_eq!(Message::tags(&session.until_ready().await), "12GCZ");
    assert!(session.until_ready().await[1].body.ends_with(b"2"));
}

#[tokio::test]
async fn replication_and_with_it_copy_in_both_directions_is_refused() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for value in ["true", "database", "1"] {
        let mut client = proxy.raw().await;
        client.startup(&[("user", "authenticated"), ("database", "neondb"), ("replication", value)]).await;
        let refused = client.receive().await.expect("a refusal");
        assert_eq!(refused.sqlstate(), "0A000");
        assert_eq!(client.receive().await, None);
    }
}
