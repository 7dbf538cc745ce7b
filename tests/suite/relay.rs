//! What a client and its server say to each other arrives as it was said, whole, in order and both ways at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pgusher_tests::request::{bind, execute, extended, function_call, parse, query, sync, terminate};
use pgusher_tests::{Message, Proxy, Raw, Stage, message, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_pipeline_is_answered_in_order_with_one_ready_for_query() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut session = proxy.session(&stage.token("alice")).await;
    let requests: Vec<_> = (0..1000).map(|number| extended(format!("SELECT {number}"))).collect();

    session.send(&[requests.concat(), sync()].concat()).await;

    let answers = session.until_ready().await;
    assert_eq!(Message::tags(&answers), "12TDC".repeat(1000) + "Z");
    let rows: Vec<_> = answers.iter().filter(|answer| answer.tag == b'D').map(|row| row.body[6..].to_vec()).collect();
    assert_eq!(rows, (0..1000).map(|number| number.to_string().into_bytes()).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_error_in_a_pipeline_skips_to_its_sync_and_the_next_batch_runs() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut session = proxy.session(&stage.token("alice")).await;
    let failing = [extended("SELECT 1"), extended("SELECT nothing"), extended("SELECT 3"), query("SELECT 4"), sync()];

    session.send(&[failing.concat(), extended("SELECT 5"), sync()].concat()).await;

    assert_eq!(Message::tags(&session.until_ready().await), "12TDCEZ");
    assert_eq!(Message::tags(&session.until_ready().await), "12TDCZ");
}

#[tokio::test]
async fn a_client_may_send_far_more_than_buffers_hold_while_its_results_wait() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut session = proxy.session(&stage.token("alice")).await;
    let backend = session.backend().await;
    // No Sync in between, where the server would be free and need not be stuck itself. So many bytes that it is the
    // buffers that are full first, and not the account of what is owed.
    let request = extended(format!("SELECT repeat('x', 100000) /* {} */", " ".repeat(100_000)));
    let (mut answers, mut requests) = tokio::io::split(session.into_stream());
    let (sent, is_stuck) = (&AtomicUsize::new(0), &AtomicBool::new(false));

    // How much buffers hold is the system's to decide, and it may be tens of megabytes: it goes on until they are full.
    let sending = async move {
        while !is_stuck.load(Ordering::Relaxed) {
            requests.write_all(&request).await.expect("the proxy goes on");
            sent.fetch_add(1, Ordering::Relaxed);
        }
        requests.write_all(&[sync(), terminate()].concat()).await.expect("the proxy goes on");
    };
    let receiving = async move {
        // The server is stuck on a client that does not read, and so the client's requests are stuck too.
        stage.until_backend(backend, "wait_event = 'ClientWrite'").await;
        let (mut last, mut looks) = (0, 0);
        let stands = async || {
            looks = if sent.load(Ordering::Relaxed) == last { looks + 1 } else { 0 };
            last = sent.load(Ordering::Relaxed);
            (looks == 50).then_some(())
        };
        wait::until("requests to be stuck", stands).await;
        is_stuck.store(true, Ordering::Relaxed);

        let (mut count, mut buffer) = (0, vec![0; 1 << 16]);
        loop {
            match wait::within("results", answers.read(&mut buffer)).await.expect("the proxy goes on") {
                0 => return count,
                read => count += buffer[..read].iter().filter(|byte| **byte == b'x').count(),
            }
        }
    };
    let ((), count) = tokio::join!(sending, receiving);
    assert_eq!(count, sent.load(Ordering::Relaxed) * 100_000);
}

#[tokio::test]
async fn a_frame_of_hundreds_of_megabytes_passes_each_way_under_a_flat_memory() {
    const SIZE: u32 = 320 << 20;
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut session = proxy.session(&stage.token("alice")).await;

    session.send(&parse("SELECT octet_length($1::bytea)::text")).await;
    session.send(&bind_header(SIZE)).await;
    let chunk = vec![7; 1 << 20];
    for _ in 0..SIZE >> 20 {
        session.send(&chunk).await;
    }
    session.send(&[&[0, 0][..], &execute(), &sync()].concat()).await;
    let answers = session.until_ready().await;
    assert_eq!(Message::tags(&answers), "12DCZ");
    assert!(answers[2].body.ends_with(SIZE.to_string().as_bytes()));

    let columns = [parse(format!("SELECT repeat('x', {SIZE})")), bind(), execute(), sync()].concat();
    session.send(&columns).await;
    let mut stream = session.into_stream();
    let received = received(&mut stream, b'D').await;
    assert_eq!(received, u64::from(SIZE) + 6);
    assert!(proxy.peak_memory() < 64 << 20, "{} bytes", proxy.peak_memory());
}

/// The beginning of a Bind whose only parameter has so many bytes, in binary.
fn bind_header(size: u32) -> Vec<u8> {
    // Names, one format, one parameter, its size; behind it the number of result formats.
    let head = [&[0, 0, 0, 1, 0, 1, 0, 1][..], &size.to_be_bytes()].concat();
    let length = 4 + head.len() as u32 + size + 2;
    [&b"B"[..], &length.to_be_bytes(), &head].concat()
}

/// Reads up to the first message with this tag and through it; returns the size of its body.
async fn received(stream: &mut (impl tokio::io::AsyncRead + Unpin), tag: u8) -> u64 {
    loop {
        let found = wait::within("a tag", stream.read_u8()).await.expect("a tag");
        let length = wait::within("a length", stream.read_u32()).await.expect("a length");
        let body = u64::from(length) - 4;
        assert_eq!(wait::drain("a body", stream, body).await, body);
        if found == tag {
            return body;
        }
    }
}

#[tokio::test]
async fn large_objects_work_by_function_call() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut session = proxy.session(&stage.token("alice")).await;
    session.query("BEGIN").await;
    let oid = call(&mut session, "lo_creat", &[&0x60000_u32.to_be_bytes()]).await;
    let descriptor = call(&mut session, "lo_open", &[&oid, &0x60000_u32.to_be_bytes()]).await;

    let bytes: Vec<u8> = (0..=255).collect();
    call(&mut session, "lowrite", &[&descriptor, &bytes]).await;
    call(&mut session, "lo_lseek", &[&descriptor, &[0; 4], &[0; 4]]).await;

    assert_eq!(call(&mut session, "loread", &[&descriptor, &1000_u32.to_be_bytes()]).await, bytes);
    assert_eq!(Message::tags(&session.query("ROLLBACK").await), "CZ");
}

/// Calls a function of pg_catalog by the fast path, with parameters and result in binary.
async fn call(session: &mut Raw, function: &str, parameters: &[&[u8]]) -> Vec<u8> {
    let sql =
        format!("SELECT oid FROM pg_proc WHERE proname = '{function}' AND pronamespace = 'pg_catalog'::regnamespace");
    let oid: u32 = session.value(&sql).await.parse().expect("a number");
    session.send(&function_call(oid, parameters)).await;
    let answer = session.until_ready().await;
    assert_eq!(Message::tags(&answer), "VZ", "{function}: {answer:?}");
    answer[0].body[4..].to_vec()
}

#[tokio::test]
async fn notices_and_changed_parameters_arrive_in_their_place() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut session = proxy.session(&stage.token("alice")).await;

    let notice = session.query("DO $$ BEGIN RAISE NOTICE 'look here'; END $$").await;
    assert_eq!(Message::tags(&notice), "NCZ");
    assert_eq!(notice[0].field(b'M').as_deref(), Some("look here"));

    let changed = session.query("SET TimeZone = 'Asia/Tokyo'; SELECT 1").await;
    assert_eq!(Message::tags(&changed), "CTDCSZ");
    assert_eq!(changed[4].body, b"TimeZone\0Asia/Tokyo\0");
}

#[tokio::test]
async fn a_notification_reaches_a_client_that_asks_for_nothing() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut listener = proxy.session(&stage.token("alice")).await;
    listener.query("LISTEN relay_doors").await;

    proxy.session(&stage.token("bob")).await.query("NOTIFY relay_doors, 'open'").await;

    let notification = listener.receive().await.expect("a notification");
    assert_eq!((notification.tag, &notification.body[4..]), (b'A', &b"relay_doors\0open\0"[..]));
}

#[tokio::test]
async fn an_error_behind_rows_ends_the_statement_and_not_the_session() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut session = proxy.session(&stage.token("alice")).await;

    let answer = session.query("SELECT 1 / (n - 9000) FROM generate_series(1, 10000) n").await;

    assert_eq!(Message::tags(&answer), format!("T{}EZ", "D".repeat(8999)));
    assert_eq!(answer[9000].sqlstate(), "22012");
    assert_eq!(session.value("SELECT 'here'").await, "here");
}

#[tokio::test]
async fn text_that_is_not_utf_8_arrives_byte_for_byte() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut session = proxy.session(&stage.token("alice")).await;
    let text: Vec<u8> = (0xA0..=0xFF).collect();

    session.query("SET client_encoding = 'LATIN1'").await;
    session.send(&query([b"SELECT '", &text[..], b"'"].concat())).await;
    let answer = session.until_ready().await;
    assert_eq!(answer[1].body[6..], text);

    // Nothing is converted, so the database itself complains, and names the bytes that it got.
    session.query("SET client_encoding = 'SQL_ASCII'").await;
    session.send(&query(b"SELECT '\xFE\xFF'")).await;
    let refused = session.until_ready().await;
    assert_eq!(refused[0].sqlstate(), "22021");
    assert!(refused[0].field(b'M').is_some_and(|message| message.ends_with("0xfe")), "{refused:?}");
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_said_to_be() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for tag in [b'p', b'R', b'Z', 0, b'!'] {
        let mut session = proxy.session(&stage.token("alice")).await;
        session.send(&message(tag, b"")).await;
        let end = session.until_end().await;
        assert_eq!(Message::tags(&end), "E");
        assert_eq!(end[0].sqlstate(), "08P01");
    }
}
