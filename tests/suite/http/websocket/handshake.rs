//! Who gets a WebSocket: the handshake of RFC 6455, origins, TLS, and how many there may be.

use pgusher_tests::request::query;
use pgusher_tests::{Handshake, Message, Proxy, Stage, Token, startup, wait};
use reqwest::StatusCode;

use super::{login, proxy};

/// The status that a request is refused with.
async fn refused(proxy: &Proxy, handshake: Handshake) -> (String, String) {
    let Err(head) = handshake.with(proxy).await else { panic!("a refusal of {handshake:?}") };
    (head["HTTP/1.1 ".len()..][..3].to_owned(), head.to_ascii_lowercase())
}

#[tokio::test]
async fn a_request_that_is_not_as_it_should_be_is_refused() {
    let proxy = proxy().await;
    let plain = Handshake::default;
    for (what, handshake, status) in [
        ("another method", plain().line("POST /v2 HTTP/1.1").header("Content-Length", "0"), "400"),
        ("an older HTTP", plain().line("GET /v2 HTTP/1.0"), "400"),
        ("no Connection", plain().without("Connection"), "400"),
        ("no key", plain().without("Sec-WebSocket-Key"), "400"),
        ("a short key", plain().without("Sec-WebSocket-Key").header("Sec-WebSocket-Key", "AAAA"), "400"),
        ("two keys", plain().header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), "400"),
        ("a body", plain().header("Content-Length", "5"), "400"),
        ("a body in chunks", plain().header("Transfer-Encoding", "chunked"), "400"),
        ("no version", plain().without("Sec-WebSocket-Version"), "426"),
        ("an older version", plain().without("Sec-WebSocket-Version").header("Sec-WebSocket-Version", "8"), "426"),
        ("no upgrade", plain().without("Upgrade"), "404"),
        ("another protocol", plain().without("Upgrade").header("Upgrade", "h2c"), "404"),
    ] {
        let (refused_with, head) = refused(&proxy, handshake).await;
        assert_eq!(refused_with, status, "{what}");
        assert_eq!(head.contains("sec-websocket-version: 13"), status != "404", "{what}: {head}");
    }
}

#[tokio::test]
async fn what_browsers_offer_besides_is_not_taken() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let offers = [("Accept-Encoding", "gzip, zstd"), ("Sec-WebSocket-Extensions", "permessage-deflate")];
    let handshake = offers.iter().fold(Handshake::default(), |handshake, (name, value)| handshake.header(name, value));
    let mut raw = handshake.with(&proxy).await.expect("a WebSocket").into_raw();
    raw.log_in(&stage.token("alice").to_string()).await;
    assert_eq!(raw.value("SELECT repeat('x', 100000)").await.len(), 100_000);
}

#[tokio::test]
async fn pages_connect_from_listed_origins_alone() {
    let stage = Stage::get();
    let from = |origin| Handshake::default().header("Origin", origin);
    let none_listed = proxy().await;
    let same = format!("http://{}", none_listed.http_address());
    for origin in ["https://app.example.com", "null", &same] {
        assert_eq!(refused(&none_listed, from(origin)).await.0, "403", "{origin}");
    }
    let listed = Proxy::builder(stage).http().set("http.cors_origins", "https://app.example.com").start().await;
    assert!(from("https://app.example.com").with(&listed).await.is_ok());
    for origin in ["https://app.example.com.evil.example", "http://app.example.com", "null", ""] {
        assert_eq!(refused(&listed, from(origin)).await.0, "403", "{origin}");
    }
    let two = from("https://app.example.com").header("Origin", "https://evil.example");
    assert_eq!(refused(&listed, two).await.0, "403");
    let any = Proxy::builder(stage).http().set("http.cors_origins", "*").start().await;
    assert!(from("https://anywhere.example").with(&any).await.is_ok());
}

#[tokio::test]
async fn a_token_travels_under_tls() {
    let stage = Stage::get();
    let builder = Proxy::builder(stage).http().tls().set("tls.required", "always");
    let proxy = builder.start().await;
    let mut raw = proxy.secure_websocket().await.into_raw();
    raw.log_in(&stage.token("alice").to_string()).await;
    assert_eq!(raw.value("SELECT length(repeat('x', 100000))").await, "100000");
    assert_eq!(raw.value("SELECT repeat('x', 100000)").await.len(), 100_000);

    let mut clear = proxy.websocket().await.into_raw();
    clear.send(&login(&stage.token("alice")).concat()).await;
    let refusal = clear.until_end().await;
    assert_eq!((Message::tags(&refusal), &*refusal[0].sqlstate()), ("E".to_owned(), "28000"));
}

#[tokio::test]
async fn a_trusted_proxy_says_whether_there_was_tls() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("http.trusted_proxies", "127.0.0.1").start().await;
    let from = |proto| Handshake::default().header("X-Forwarded-For", "192.0.2.1").header("X-Forwarded-Proto", proto);
    let mut secure = from("https").with(&proxy).await.expect("a WebSocket").into_raw();
    secure.log_in(&stage.token("alice").to_string()).await;
    assert_eq!(secure.value("SELECT 1").await, "1");
    let mut clear = from("http").with(&proxy).await.expect("a WebSocket").into_raw();
    clear.send(&login(&stage.token("alice")).concat()).await;
    assert_eq!(clear.until_end().await[0].sqlstate(), "28000");
    proxy.logs("\"peer\":\"192.0.2.1:0\"").await;
}

#[tokio::test]
async fn inside_it_there_is_no_other_tls() {
    let proxy = Proxy::builder(Stage::get()).http().tls().start().await;
    let mut raw = proxy.secure_websocket().await.into_raw();
    raw.send(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]).await;
    assert_eq!(raw.byte().await, Some(b'N'));
    raw.log_in(&Stage::get().token("alice").to_string()).await;
    assert_eq!(raw.value("SELECT 1").await, "1");
}

#[tokio::test]
async fn the_anonymous_role_has_a_session_whatever_password_is_sent() {
    let proxy = proxy().await;
    let packet = startup(3 << 16, &[("user", "anonymous"), ("database", "neondb")]);
    for password in ["", "whatever"] {
        let mut websocket = proxy.websocket().await;
        let password = pgusher_tests::message(b'p', &[password.as_bytes(), &[0]].concat());
        websocket.send([&packet[..], &password, &query("SELECT 1")].concat()).await;
        let mut raw = websocket.into_raw();
        assert!(Message::tags(&raw.until_ready().await).ends_with("KZ"));
        assert_eq!(Message::values(&raw.until_ready().await), ["1"]);
    }
}

#[tokio::test]
async fn a_bad_token_is_refused_as_by_tcp() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let mut websocket = proxy.websocket().await;
    websocket.send(login(&stage.token("alice").expired()).concat()).await;
    let (code, said) = websocket.closed().await;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("C28P01\0") && said.ends_with("\0\0"), "{said:?}");
    assert_eq!(code, 1000);
}

#[tokio::test]
async fn failed_logins_are_held_against_the_address_they_came_from() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("http.address_failures", 1).start().await;
    let bad = login(&stage.token("alice").issued_by("https://nobody.example/", &stage.keys[0])).concat();
    let mut websocket = proxy.websocket().await;
    websocket.send(bad).await;
    websocket.closed().await;
    let (status, head) = refused(&proxy, Handshake::default()).await;
    assert_eq!(status, "429");
    assert!(head.contains("retry-after: "), "{head}");
    assert_eq!(proxy.sql(&stage.token("alice"), "SELECT 1").await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn an_identity_that_logs_in_too_often_is_turned_away_and_others_are_not() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("http.identity_rate", 1).start().await;
    let log_in = async |token: &Token<'_>| {
        let mut websocket = proxy.websocket().await;
        websocket.send(login(token).concat()).await;
        websocket.into_raw().until_ready().await
    };
    let alice = stage.token("alice");
    let refused = async || {
        let heard = log_in(&alice).await;
        (!Message::tags(&heard).ends_with('Z')).then_some(heard)
    };
    let refused = wait::until("one too many", refused).await;
    assert_eq!(refused.last().map(Message::sqlstate).as_deref(), Some("53400"));
    assert!(Message::tags(&log_in(&stage.token("bob")).await).ends_with('Z'));
}

#[tokio::test]
async fn a_role_with_a_password_of_its_own_has_a_session() {
    let proxy = Proxy::builder(Stage::get()).http().set("passthrough.users", "neondb_owner").start().await;
    for (password, wanted) in [("owner", "KZ"), ("wrong", "E")] {
        let mut websocket = proxy.websocket().await;
        let packet = startup(3 << 16, &[("user", "neondb_owner"), ("database", "neondb")]);
        websocket.send([packet, pgusher_tests::message(b'p', &[password.as_bytes(), &[0]].concat())].concat()).await;
        let said = Message::tags(&websocket.into_raw().until_ready().await);
        assert!(said.ends_with(wanted), "{password}: {said}");
    }
}

#[tokio::test]
async fn one_is_a_connection_until_it_ends() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("http.max_connections", 1).start().await;
    let mut raw = proxy.websocket().await.into_raw();
    raw.log_in(&stage.token("alice").to_string()).await;
    let request = proxy.sql_request().bearer_auth(stage.token("bob")).body(r#"{"query":"SELECT 1"}"#);
    let request = tokio::spawn(pgusher_tests::Answer::to(request));
    raw.query("SELECT pg_sleep(0.3)").await;
    assert!(!request.is_finished());
    drop(raw);
    assert_eq!(request.await.expect("no panic").status, StatusCode::OK);
}

#[tokio::test]
async fn where_too_many_are_logging_in_there_is_no_other() {
    let proxy = Proxy::builder(Stage::get()).http().set("session.max_logins", 1).start().await;
    let mut first = proxy.websocket().await;
    let (status, head) = refused(&proxy, Handshake::default()).await;
    assert_eq!(status, "503");
    assert!(head.contains("retry-after: 1"), "{head}");
    first.send(login(&Stage::get().token("alice")).concat()).await;
    let mut raw = first.into_raw();
    raw.until_ready().await;
    assert!(Handshake::default().with(&proxy).await.is_ok());
}
