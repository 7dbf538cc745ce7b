//! Bytes that are no frames of a client, and frames that are too many.

use pgusher_tests::request::query;
use pgusher_tests::{Handshake, Proxy, Random, Stage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use super::{login, proxy, session};

/// All that is said to bytes on a new WebSocket, in whatever pieces.
async fn answer(proxy: &Proxy, bytes: &[u8]) -> Vec<u8> {
    let mut stream = proxy.websocket().await.into_stream();
    stream.write_all(bytes).await.expect("it is read");
    let mut said = Vec::new();
    pgusher_tests::wait::within("the end", stream.read_to_end(&mut said)).await.expect("an end");
    said
}

#[tokio::test]
async fn what_is_no_frame_of_a_client_is_told_so_and_the_end() {
    let proxy = proxy().await;
    for (what, bytes, code) in [
        ("text", &[0x81, 0x81, 0, 0, 0, 0, b'x'][..], 1003),
        ("no mask", &[0x82, 1, b'x'], 1002),
        ("compressed", &[0xc2, 0x81, 0, 0, 0, 0, b'x'], 1002),
        ("no such opcode", &[0x83, 0x80, 0, 0, 0, 0], 1002),
        ("nothing to go on with", &[0x80, 0x80, 0, 0, 0, 0], 1002),
        ("a ping in parts", &[0x09, 0x80, 0, 0, 0, 0], 1002),
        ("a ping of 64 KiB", &[0x89, 0xfe, 0xff, 0xff, 0, 0, 0, 0], 1002),
        ("a frame of 2^63 bytes", &[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1002),
        ("half a code", &[0x88, 0x81, 0, 0, 0, 0, 3], 1002),
        ("HTTP", b"GET /sql HTTP/1.1\r\nHost: localhost\r\n\r\n", 1002),
    ] {
        let [high, low] = u16::to_be_bytes(code);
        assert_eq!(answer(&proxy, bytes).await, [0x88, 2, high, low], "{what}");
    }
}

#[tokio::test]
async fn those_who_say_nothing_leave_logins_to_those_who_come_by_tcp() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("session.max_logins", 4).start().await;
    let mut silent = Vec::new();
    let refused = loop {
        match Handshake::default().with(&proxy).await {
            Ok(websocket) => silent.push(websocket),
            Err(head) => break head,
        }
    };
    assert!(silent.len() == 3 && refused.starts_with("HTTP/1.1 503 "), "{} {refused}", silent.len());
    let client = proxy.connect(&stage.token("alice")).await;
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
}

#[tokio::test]
async fn what_is_no_startup_packet_is_the_sessions_to_refuse() {
    let proxy = proxy().await;
    let mut websocket = proxy.websocket().await;
    websocket.send(b"GET / HTTP/1.1\r\n\r\n".repeat(100)).await;
    assert_eq!(websocket.closed().await.0, 1000);
}

#[tokio::test]
async fn a_flood_of_pings_costs_no_memory_and_the_last_is_answered() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let mut websocket = proxy.websocket().await;
    websocket.send(login(&stage.token("alice")).concat()).await;
    // Of a session that is there nothing comes between the pongs, nor behind the last.
    let mut greeting = Vec::new();
    while !greeting.ends_with(b"Z\0\0\0\x05I") {
        greeting.extend_from_slice(&websocket.receive().await.expect("a session").into_data());
    }
    let before = proxy.peak_memory();
    // Masked with zeros, and all alike but the last: 100,000 of them, 13 MB.
    let ping = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[b'a'; 125]].concat();
    let last = [0x89, 0x84, 0, 0, 0, 0, b'l', b'a', b's', b't'];
    let mut stream = websocket.into_stream();
    for _ in 0..100 {
        stream.write_all(&ping.repeat(1000)).await.expect("it is read");
    }
    stream.write_all(&last).await.expect("it is read");
    let mut said = Vec::new();
    while !said.ends_with(b"\x8a\x04last") {
        let read = pgusher_tests::wait::within("a pong", stream.read_buf(&mut said)).await.expect("an answer");
        let end = &said[said.len().saturating_sub(300)..];
        assert!(read > 0, "it ended with {}", end.escape_ascii());
    }
    let grown = proxy.peak_memory() - before;
    assert!(grown < 4 << 20, "{grown} bytes more");
}

#[tokio::test]
async fn a_ping_is_answered_before_there_is_a_session() {
    let proxy = proxy().await;
    let mut websocket = proxy.websocket().await;
    websocket.send_message(Message::Ping(vec![1, 2, 3].into())).await;
    assert_eq!(websocket.receive().await, Some(Message::Pong(vec![1, 2, 3].into())));
}

#[tokio::test]
async fn who_says_nothing_gets_no_place_for_long() {
    let builder = Proxy::builder(Stage::get()).http().set("session.client_login_timeout", "200ms");
    let proxy = builder.start().await;
    assert_eq!(proxy.websocket().await.closed().await, (1000, vec![]));
}

#[tokio::test]
async fn nothing_that_is_sent_harms_the_others() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let mut raw = session(&proxy, &stage.token("alice")).await;
    let mut random = Random(7);
    let good = [login(&stage.token("bob")).concat(), query("SELECT 1")].concat();
    for _ in 0..100 {
        let mut stream = proxy.websocket().await.into_stream();
        let mut bytes = [&[0x82, 0xfe][..], &(good.len() as u16).to_be_bytes(), &[0; 4], &good].concat();
        for _ in 0..=random.below(8) {
            let at = random.below(bytes.len());
            bytes[at] = random.bytes(1)[0];
        }
        bytes.truncate(random.below(bytes.len()));
        let _ = stream.write_all(&bytes).await;
        drop(stream);
        assert_eq!(raw.value("SELECT auth.user_id()").await, "alice");
    }
}
