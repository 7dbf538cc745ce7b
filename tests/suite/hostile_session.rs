//! Bytes that no driver sends, once somebody is logged in: what is no message ends the session, what is one is
//! Postgres's to judge, and neither costs the proxy memory.

use std::ops::Range;

use pgusher_tests::request::{
    bind, bind_named, close_named, execute, execute_named, extended, parse, parse_named, query, sync,
};
use pgusher_tests::{Message, Proxy, Random, Raw, Stage, message, startup, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};

/// What a client may send once it is in.
const REQUESTS: &[u8] = b"BCDEFHPQSXcdf";

/// By how much the proxy may grow under an attack.
const LITTLE: u64 = 8 << 20;

async fn session(proxy: &Proxy) -> Raw {
    let mut raw = proxy.raw().await;
    raw.startup(&[("user", "anonymous"), ("database", "neondb")]).await;
    assert_eq!(raw.until_ready().await.last().map(|message| message.tag), Some(b'Z'));
    raw
}

/// The SQLSTATE with which a session is ended by what it sends.
async fn ended_by(proxy: &Proxy, bytes: &[u8]) -> String {
    let mut raw = session(proxy).await;
    raw.send(bytes).await;
    let heard = raw.until_end().await;
    let [error] = &heard[..] else { panic!("one error, not {heard:?}") };
    assert_eq!(error.field(b'V').as_deref(), Some("FATAL"));
    error.sqlstate()
}

#[tokio::test]
async fn a_message_that_no_client_sends_ends_the_session() {
    let proxy = Proxy::start(Stage::get()).await;
    // All letters and digits, and the edges of the rest: each costs a login.
    let tags = (0..0x7f).filter(u8::is_ascii_alphanumeric).chain([0, 1, 0x16, b' ', 0x7f, 0x80, 0xff]);
    for tag in tags.filter(|tag| !REQUESTS.contains(tag)) {
        assert_eq!(ended_by(&proxy, &message(tag, b"x\0")).await, "08P01", "{tag:#x}");
    }
    // A Flush has no answer, and Postgres would have one to this.
    for before in [vec![], query("BEGIN")] {
        let mut raw = session(&proxy).await;
        raw.send(&[before, message(b'H', b"x"), query("SELECT 1")].concat()).await;
        assert_eq!(raw.until_end().await.last().map(Message::sqlstate).as_deref(), Some("08P01"));
    }
    assert_eq!(session(&proxy).await.value("SELECT 1").await, "1");
}

#[tokio::test]
async fn a_length_that_cannot_be_ends_the_session() {
    let proxy = Proxy::start(Stage::get()).await;
    for length in [i32::MIN, -1, 0, 1, 2, 3] {
        for tag in [b'Q', b'd', b'X'] {
            let frame = [&[tag][..], &length.to_be_bytes()].concat();
            assert_eq!(ended_by(&proxy, &frame).await, "08P01", "{length}");
        }
    }
}

#[tokio::test]
async fn there_is_no_second_startup() {
    let proxy = Proxy::start(Stage::get()).await;
    let again = startup(3 << 16, &[("user", "authenticated"), ("database", "neondb")]);
    assert_eq!(ended_by(&proxy, &again).await, "08P01");
    assert_eq!(ended_by(&proxy, &message(b'p', b"another password\0")).await, "08P01");
}

#[tokio::test]
async fn a_message_cut_off_anywhere_leaves_nobody_behind() {
    let proxy = Proxy::builder(Stage::get()).set("pool.default_pool_size", 1).start().await;
    let requests = [parse("SELECT 1"), bind(), sync()].concat();
    for end in (1..requests.len()).step_by(3) {
        let mut raw = session(&proxy).await;
        raw.send(&requests[..end]).await;
        raw.finish().await;
        raw.until_end().await;
        // The only server there is works for the next one.
        assert_eq!(session(&proxy).await.value("SELECT 1").await, "1", "{end}");
    }
}

#[tokio::test]
async fn a_huge_message_that_is_announced_and_not_sent_reserves_nothing() {
    let proxy = Proxy::start(Stage::get()).await;
    session(&proxy).await.value("SELECT 1").await;
    let before = proxy.peak_memory();
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut raw = session(&proxy).await;
        raw.send(&[&b"Q\x3f\xff\xff\xf0"[..], &vec![b' '; 1 << 20]].concat()).await;
        waiting.push(raw);
    }
    assert_eq!(session(&proxy).await.value("SELECT 1").await, "1");
    assert!(proxy.peak_memory() - before < LITTLE);
}

#[tokio::test]
async fn a_million_tiny_messages_are_answered_and_cost_no_memory() {
    const COUNT: usize = 1_000_000;
    let proxy = Proxy::start(Stage::get()).await;
    let raw = session(&proxy).await;
    let before = proxy.peak_memory();
    let (mut answers, mut requests) = split(raw.into_stream());
    let asking = tokio::spawn(async move { requests.write_all(&sync().repeat(COUNT)).await });
    let (mut heard, all) = (Vec::new(), message(b'Z', b"I").repeat(COUNT));
    while heard.len() < all.len() {
        let read = wait::within("more answers", answers.read_buf(&mut heard)).await;
        assert!(read.is_ok_and(|read| read > 0), "it ended behind {} bytes", heard.len());
    }
    assert!(heard == all);
    asking.await.expect("no panic").expect("all was taken");
    assert!(proxy.peak_memory() - before < LITTLE);
}

/// Postgres ignores the end of a COPY where there is none, and says nothing.
#[tokio::test]
async fn messages_that_nobody_answers_cost_no_memory() {
    let proxy = Proxy::start(Stage::get()).await;
    let mut raw = session(&proxy).await;
    let before = proxy.peak_memory();
    raw.send(&parse("SELECT 1")).await;
    for _ in 0..100 {
        raw.send(&message(b'c', b"").repeat(50_000)).await;
    }
    raw.send(&sync()).await;
    assert_eq!(Message::tags(&raw.until_ready().await), "1Z");
    assert!(proxy.peak_memory() - before < LITTLE);
}

#[tokio::test]
async fn what_a_client_sends_before_it_reads_its_error_costs_no_memory() {
    let proxy = Proxy::start(Stage::get()).await;
    let mut raw = session(&proxy).await;
    let before = proxy.peak_memory();
    raw.send(&parse("SELECT no_such_column")).await;
    for _ in 0..100 {
        raw.send(&bind().repeat(20_000)).await;
    }
    raw.send(&sync()).await;
    assert_eq!(Message::tags(&raw.until_ready().await), "EZ");
    assert!(proxy.peak_memory() - before < LITTLE);
}

#[tokio::test]
async fn a_statement_that_is_run_again_and_again_is_not_kept_as_often() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let superuser = stage.superuser().await;
    superuser.batch_execute("SELECT pg_advisory_lock(4830)").await.expect("a lock");
    let mut raw = session(&proxy).await;
    let backend = raw.backend().await;
    let set = format!("SET application_name = '{}'", "x".repeat(4000));
    let before = proxy.peak_memory();
    raw.send(&[extended("SELECT pg_advisory_xact_lock(4830)"), parse_named("s", set)].concat()).await;
    raw.send(&[bind_named("", "s", &[]), execute()].concat().repeat(8000)).await;
    raw.send(&sync()).await;
    stage.until_backend(backend, "wait_event = 'advisory'").await;
    superuser.batch_execute("SELECT pg_advisory_unlock(4830)").await.expect("an end");
    assert!(raw.until_ready().await.iter().all(|message| message.tag != b'E'));
    assert!(proxy.peak_memory() - before < LITTLE, "{} bytes", proxy.peak_memory() - before);
}

#[tokio::test]
async fn random_bytes_end_the_session_that_sends_them_and_no_other() {
    let proxy = Proxy::start(Stage::get()).await;
    let mut bystander = session(&proxy).await;
    let mut random = Random(1);
    for _ in 0..20 {
        let mut raw = session(&proxy).await;
        raw.send(&random.bytes(500)).await;
        raw.finish().await;
        raw.until_end().await;
        assert_eq!(bystander.value("SELECT 1").await, "1");
    }
}

#[tokio::test]
async fn random_messages_get_answers_that_are_messages() {
    let proxy = Proxy::start(Stage::get()).await;
    let mut random = Random(2);
    for _ in 0..20 {
        let mut raw = session(&proxy).await;
        for _ in 0..50 {
            let tag = REQUESTS[random.below(REQUESTS.len())];
            let size = random.below(40);
            raw.message(tag, &random.bytes(size)).await;
        }
        raw.send(&[sync(), query("SELECT 1")].concat()).await;
        raw.finish().await;
        assert!(raw.until_end().await.iter().all(|message| message.tag.is_ascii_alphanumeric()));
    }
    assert_eq!(session(&proxy).await.value("SELECT 1").await, "1");
}

#[tokio::test]
async fn statements_that_are_prepared_without_end_cost_little_memory_and_are_refused() {
    for mode in ["transaction", "session"] {
        let proxy = Proxy::builder(Stage::get()).set("pool.pool_mode", mode).start().await;
        let mut raw = session(&proxy).await;
        let backend = raw.backend().await;
        let before = proxy.peak_memory();
        let long = prepare_all(&mut raw, 0..1500, &" ".repeat(16_000)).await;
        assert!(proxy.peak_memory() - before < LITTLE, "{} of {long} bytes", proxy.peak_memory() - before);
        prepare_all(&mut raw, 1500..10_000, "").await;
        assert!(proxy.peak_memory() - before < 2 * LITTLE, "{} bytes", proxy.peak_memory() - before);

        // Each is there, whether it could be made again or not.
        for index in [0, 100, 1499, 9_999] {
            assert_eq!(Message::values(&run_prepared(&mut raw, index).await), [index.to_string()], "{mode}");
        }
        assert_eq!(raw.backend().await, backend);
        let more = [parse_named("s10000", "SELECT 10000"), sync()].concat();
        let missing = [bind_named("", "nothing", &[]), more.clone(), more.clone()].concat();
        for (requests, answers) in [(more.repeat(3), &["54000"; 3][..]), (missing, &["26000", "54000"])] {
            let told = raw.answers(&requests, answers.len()).await;
            let told: Vec<_> = told.iter().map(|answer| (Message::tags(answer), answer[0].sqlstate())).collect();
            let expected: Vec<_> = answers.iter().map(|code| ("EZ".to_owned(), (*code).to_owned())).collect();
            assert_eq!(told, expected, "{mode}");
        }
        let room = [close_named(b'S', "s7"), parse_named("s10000", "SELECT 10000"), sync()].concat();
        assert_eq!(Message::tags(&raw.answers(&room, 1).await[0]), "31Z", "{mode}");
        assert_eq!(Message::values(&run_prepared(&mut raw, 10_000).await), ["10000"], "{mode}");
    }
}

/// Prepares `SELECT index` under the name `s` and index. How long the texts are together.
async fn prepare_all(raw: &mut Raw, indices: Range<usize>, padding: &str) -> usize {
    let mut length = 0;
    for index in indices {
        let requests = [parse_named(&format!("s{index}"), format!("SELECT {index} {padding}")), sync()].concat();
        length += requests.len();
        assert_eq!(Message::tags(&raw.answers(&requests, 1).await[0]), "1Z");
    }
    length
}

async fn run_prepared(raw: &mut Raw, index: usize) -> Vec<Message> {
    let requests = [bind_named("", &format!("s{index}"), &[]), execute_named("", 0), sync()].concat();
    raw.answers(&requests, 1).await.remove(0)
}
