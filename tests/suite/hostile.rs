//! Bytes that no driver sends, before anybody is logged in: each gets an answer or a quiet end, and the next one in line
//! gets in.

use pgusher_tests::request::terminate;
use pgusher_tests::{Message, Proxy, Raw, Stage, message, startup};

/// The longest startup packet, and the longest token.
const LONGEST_STARTUP: usize = 10_000;
const LONGEST_TOKEN: usize = 64 * 1024;

fn authenticated() -> Vec<u8> {
    startup(3 << 16, &[("user", "authenticated"), ("database", "neondb")])
}

/// A startup packet of this size, filled by an option of the protocol that we do not know.
fn startup_of(size: usize) -> Vec<u8> {
    let filled =
        |value: &str| startup(3 << 16, &[("user", "authenticated"), ("database", "neondb"), ("_pq_.x", value)]);
    filled(&"x".repeat(size - filled("").len()))
}

/// A frame that says of itself how long it is.
fn frame(tag: u8, length: i32, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

/// All that is said to a connection that says this and no more.
async fn answer(proxy: &Proxy, bytes: &[u8]) -> Vec<Message> {
    let mut raw = proxy.raw().await;
    raw.send(bytes).await;
    raw.finish().await;
    raw.until_end().await
}

/// The same of one that is refused; the SQLSTATE.
async fn refusal(proxy: &Proxy, bytes: &[u8]) -> String {
    let heard = answer(proxy, bytes).await;
    let [error] = &heard[..] else { panic!("one error, not {heard:?}") };
    error.sqlstate()
}

/// What is answered to this in the password's place.
async fn password_answer(proxy: &Proxy, bytes: &[u8]) -> String {
    let mut raw = asked_for_a_password(proxy).await;
    raw.send(bytes).await;
    let error = raw.receive().await.expect("an answer").sqlstate();
    assert_eq!(raw.receive().await, None);
    error
}

async fn asked_for_a_password(proxy: &Proxy) -> Raw {
    let mut raw = proxy.raw().await;
    raw.send(&authenticated()).await;
    assert_eq!(raw.receive().await, Some(Message { tag: b'R', body: vec![0, 0, 0, 3] }));
    raw
}

async fn still_serves(proxy: &Proxy) {
    let client = proxy.connect(&Stage::get().token("alice")).await;
    assert_eq!(client.query("SELECT FROM todos", &[]).await.expect("rows").len(), 3);
}

#[tokio::test]
async fn a_first_packet_of_an_impossible_length_is_refused() {
    let proxy = Proxy::start(Stage::get()).await;
    for length in 0..=8_u8 {
        let packet = [&[0, 0, 0, length][..], &vec![0; usize::from(length.saturating_sub(4))]].concat();
        assert_eq!(refusal(&proxy, &packet).await, "08P01", "{length} bytes");
    }
    for length in [LONGEST_STARTUP as u32 + 1, 1 << 30, u32::MAX] {
        assert_eq!(refusal(&proxy, &length.to_be_bytes()).await, "08P01", "{length} bytes");
    }
    still_serves(&proxy).await;
}

/// As node-postgres does where `connect()` is followed by `end()`, and it does not expect an error then.
#[tokio::test]
async fn who_leaves_before_he_has_begun_is_not_answered() {
    let proxy = Proxy::start(Stage::get()).await;
    assert_eq!(answer(&proxy, &terminate()).await, []);
    still_serves(&proxy).await;
}

#[tokio::test]
async fn a_startup_packet_has_at_most_10_000_bytes() {
    let proxy = Proxy::start(Stage::get()).await;
    let longest = answer(&proxy, &startup_of(LONGEST_STARTUP)).await;
    assert_eq!(Message::tags(&longest), "vR");
    assert_eq!(refusal(&proxy, &startup_of(LONGEST_STARTUP + 1)).await, "08P01");
}

#[tokio::test]
async fn a_startup_packet_cut_off_anywhere_ends_quietly_and_holds_no_place() {
    let proxy = Proxy::builder(Stage::get()).set("session.max_logins", 10).start().await;
    let (packet, told_at_start) = (authenticated(), proxy.log().len());
    for end in 0..packet.len() {
        assert_eq!(answer(&proxy, &packet[..end]).await, [], "{end} bytes");
    }
    let log = proxy.log().split_off(told_at_start);
    assert!(!log.iter().any(|line| line.contains("WARN") || line.contains("ERROR")), "{log:?}");
    still_serves(&proxy).await;
}

#[tokio::test]
async fn a_startup_packet_may_come_in_two_parts_cut_anywhere() {
    let proxy = Proxy::start(Stage::get()).await;
    let packet = authenticated();
    for cut in 1..packet.len() {
        let mut raw = proxy.raw().await;
        raw.send(&packet[..cut]).await;
        tokio::task::yield_now().await;
        raw.send(&packet[cut..]).await;
        assert_eq!(raw.receive().await.map(|message| message.tag), Some(b'R'), "cut at {cut}");
    }
}

#[tokio::test]
async fn a_login_may_come_byte_by_byte() {
    let (stage, proxy) = (Stage::get(), Proxy::start(Stage::get()).await);
    let token = stage.token("alice").to_string();
    let mut raw = proxy.raw().await;
    for byte in [authenticated(), message(b'p', &[token.as_bytes(), &[0]].concat())].concat() {
        raw.send(&[byte]).await;
    }
    assert!(Message::tags(&raw.until_ready().await).starts_with("RR"));
    assert_eq!(raw.value("SELECT count(*) FROM todos").await, "3");
}

#[tokio::test]
async fn another_protocol_is_told_that_it_is_wrong_here() {
    let proxy = Proxy::start(Stage::get()).await;
    for greeting in ["GET / HTTP/1.1\r\nHost: db\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "EHLO db\r\n", "\r\n\r\n"] {
        assert_eq!(refusal(&proxy, greeting.as_bytes()).await, "08P01", "{greeting:?}");
    }
    still_serves(&proxy).await;
}

#[tokio::test]
async fn a_hello_of_tls_1_0_is_answered_by_an_alert_at_most() {
    const HELLO: &[u8] =
        b"\x16\x03\x01\0\x2f\x01\0\0\x2b\x03\x01abcdefghijklmnopqrstuvwxyz012345\0\0\x04\0\x2f\0\x35\x01\0";
    let stage = Stage::get();
    for proxy in [Proxy::start(stage).await, Proxy::builder(stage).tls().start().await] {
        let mut raw = proxy.raw().await;
        raw.send(HELLO).await;
        let first = raw.byte().await;
        assert!(matches!(first, None | Some(0x15)), "{first:?}");
        still_serves(&proxy).await;
    }
}

#[tokio::test]
async fn a_password_is_one_zero_terminated_utf8_string() {
    let proxy = Proxy::start(Stage::get()).await;
    let broken: [&[u8]; 7] = [b"", b"x", b"xy", b"\0\0", b"x\0y\0", b"\0x", b"\xff\0"];
    for body in broken {
        assert_eq!(password_answer(&proxy, &message(b'p', body)).await, "08P01", "{body:?}");
    }
    for body in [&b"\0"[..], b"x\0", b"xy\0", "ü\0".as_bytes()] {
        assert_eq!(password_answer(&proxy, &message(b'p', body)).await, "28P01", "{body:?}");
    }
    still_serves(&proxy).await;
}

#[tokio::test]
async fn a_password_has_at_most_64_kib() {
    let proxy = Proxy::start(Stage::get()).await;
    let password = |size| message(b'p', &[&vec![b'x'; size][..], &[0]].concat());
    assert_eq!(password_answer(&proxy, &password(LONGEST_TOKEN)).await, "28P01");
    assert_eq!(password_answer(&proxy, &password(LONGEST_TOKEN + 1)).await, "08P01");
    for length in [i32::MIN, -1, 0, 1, 2, 3, 1 << 20, i32::MAX] {
        assert_eq!(password_answer(&proxy, &frame(b'p', length, b"")).await, "08P01", "{length}");
    }
    still_serves(&proxy).await;
}

#[tokio::test]
async fn in_the_passwords_place_no_other_message_will_do() {
    let (stage, proxy) = (Stage::get(), Proxy::start(Stage::get()).await);
    let token = [stage.token("alice").to_string().as_bytes(), &[0]].concat();
    for tag in (0..=u8::MAX).filter(|tag| *tag != b'p') {
        assert_eq!(password_answer(&proxy, &message(tag, &token)).await, "08P01", "{tag:#x}");
    }
    still_serves(&proxy).await;
}

#[tokio::test]
async fn a_password_message_cut_off_anywhere_ends_quietly() {
    let (stage, proxy) = (Stage::get(), Proxy::builder(Stage::get()).set("session.max_logins", 10).start().await);
    let token = stage.token("alice").to_string();
    let password = message(b'p', &[token.as_bytes(), &[0]].concat());
    for end in 0..password.len() {
        let mut raw = asked_for_a_password(&proxy).await;
        raw.send(&password[..end]).await;
        raw.finish().await;
        assert_eq!(raw.until_end().await, [], "{end} bytes");
    }
    assert!(!proxy.log().iter().any(|line| line.contains("\"login\"") || line.contains(&token[..20])));
    still_serves(&proxy).await;
}
