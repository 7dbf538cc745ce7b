//! The admin listener.

use pgusher_tests::{Proxy, Stage, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn with_admin(stage: &Stage) -> Proxy {
    Proxy::builder(stage).set("listen.admin", "127.0.0.1:0").start().await
}

#[tokio::test]
async fn it_counts_clients_and_servers() {
    let stage = Stage::get();
    let proxy = with_admin(stage).await;
    assert_eq!(proxy.metric("pgusher_clients").await.as_deref(), Some("0"));
    let mut alice = proxy.session(&stage.token("alice")).await;
    alice.query("BEGIN").await;

    let pool = |state: &str| format!(r#"pgusher_servers{{database="neondb",role="authenticated",state="{state}"}}"#);
    assert_eq!(proxy.metric("pgusher_clients").await.as_deref(), Some("1"));
    assert_eq!(proxy.metric(&pool("lent")).await.as_deref(), Some("1"));
    let waiting = r#"pgusher_clients_waiting{database="neondb",role="authenticated"}"#;
    assert_eq!(proxy.metric(waiting).await.as_deref(), Some("0"));

    drop(alice);
    let nobody = async || (proxy.metric("pgusher_clients").await? == "0").then_some(());
    wait::until("the client to be gone", nobody).await;
}

#[tokio::test]
async fn it_speaks_the_text_format_of_prometheus() {
    let proxy = with_admin(Stage::get()).await;
    let answer = proxy.asked("GET /metrics").await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    for line in body.lines().filter(|line| !line.starts_with("# ")) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let family = name.split('{').next().expect("a name");
        assert!(body.contains(&format!("# HELP {family} ")), "{line}");
        assert!(body.contains(&format!("# TYPE {family} gauge\n")), "{line}");
    }
    assert!(body.contains(&format!("pgusher_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn it_has_two_pages_to_read_and_nothing_else() {
    let proxy = with_admin(Stage::get()).await;
    for (request, status) in [
        ("GET /healthz", "200 OK"),
        ("HEAD /metrics", "200 OK"),
        ("POST /metrics", "405 Method Not Allowed"),
        ("DELETE /healthz", "405 Method Not Allowed"),
        ("GET /", "404 Not Found"),
        ("GET /metrics/../../etc/passwd", "404 Not Found"),
        ("nonsense", "400 Bad Request"),
    ] {
        let answer = proxy.asked(request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
    }
    assert!(proxy.asked("GET /healthz").await.ends_with("\r\n\r\nok\n"));
}

#[tokio::test]
async fn a_request_has_a_limit_in_size_and_time() {
    let proxy = with_admin(Stage::get()).await;
    let long = proxy.asked(&format!("GET /metrics?{}", "x".repeat(100_000))).await;
    assert!(long.is_empty() || long.starts_with("HTTP/1.1 4"), "{long}");

    let mut silent = proxy.admin().await;
    silent.write_all(b"GET /metrics HTTP/1.1\r\n").await.expect("it listens");
    let mut answer = Vec::new();
    // It hangs up, with an answer or without.
    let _ = wait::within("the end", silent.read_to_end(&mut answer)).await;
    assert!(!String::from_utf8_lossy(&answer).contains(" 200 "));
    assert!(proxy.asked("GET /healthz").await.contains(" 200 "));
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_at_start() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("an address");
    let mut proxy = Proxy::builder(Stage::get()).set("listen.admin", address).spawn().await;
    assert_eq!(proxy.exit_code().await, Some(1));
    proxy.logs(&format!("cannot listen on {address}")).await;
}
