//! TLS between a client and the proxy: who gets it, who has to have it, and what may not go before it.

use pgusher_tests::{Authority, Message, Proxy, Raw, Stage, Token, startup, wait};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;

const ALPN: &[&[u8]] = &[b"postgresql"];

/// SSLRequest and GSSENCRequest.
const SSL: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const GSS: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];

async fn with_certificate() -> Proxy {
    Proxy::builder(Stage::get()).tls().start().await
}

fn anonymous() -> Vec<u8> {
    startup(3 << 16, &[("user", "anonymous"), ("database", "neondb")])
}

/// The messages by which a connection is refused: one error, of this code, and then its end.
async fn refused(raw: &mut Raw, code: &str) -> Message {
    let heard = raw.until_end().await;
    let [error] = &heard[..] else { panic!("one error, not {heard:?}") };
    assert_eq!(error.sqlstate(), code);
    error.clone()
}

/// Asks for TLS and gets it.
async fn negotiated(proxy: &Proxy) -> Raw {
    let mut raw = proxy.raw().await;
    raw.send(&SSL).await;
    assert_eq!(raw.byte().await, Some(b'S'));
    raw.into_tls(Stage::get().authority.client_config(ALPN)).await.expect("TLS")
}

async fn reads_her_rows(mut raw: Raw, token: &Token<'_>) {
    raw.log_in(&token.to_string()).await;
    assert_eq!(raw.value("SELECT count(*) FROM todos").await, "3");
}

#[tokio::test]
async fn a_token_travels_under_either_version_of_tls() {
    let (stage, proxy) = (Stage::get(), with_certificate().await);
    for versions in [&[&TLS12], &[&TLS13]] {
        let mut raw = proxy.raw().await;
        raw.send(&SSL).await;
        assert_eq!(raw.byte().await, Some(b'S'));
        let tls = raw.into_tls(stage.authority.client_config_of(versions, &[])).await;
        reads_her_rows(tls.expect("TLS"), &stage.token("alice")).await;
    }
}

#[tokio::test]
async fn a_large_answer_passes_through_tls() {
    let (stage, proxy) = (Stage::get(), with_certificate().await);
    let mut raw = negotiated(&proxy).await;
    raw.log_in(&stage.token("alice").to_string()).await;
    let long = "ü".repeat(200_000);
    assert_eq!(raw.value(&format!("SELECT '{long}' || '{long}'")).await, long.repeat(2));
}

#[tokio::test]
async fn tls_from_the_first_byte_on_works_with_its_protocol_named() {
    let (stage, proxy) = (Stage::get(), with_certificate().await);
    let tls = proxy.raw().await.into_tls(stage.authority.client_config(ALPN)).await;
    reads_her_rows(tls.expect("TLS"), &stage.token("alice")).await;
}

#[tokio::test]
async fn tls_from_the_first_byte_on_without_a_protocol_is_refused() {
    let (stage, proxy) = (Stage::get(), with_certificate().await);
    let mut raw = proxy.raw().await.into_tls(stage.authority.client_config(&[])).await.expect("TLS");
    raw.send(&anonymous()).await;
    refused(&mut raw, "08P01").await;
}

#[tokio::test]
async fn another_protocols_tls_gets_no_session() {
    let (stage, proxy) = (Stage::get(), with_certificate().await);
    let http = stage.authority.client_config(&[b"h2", b"http/1.1"]);
    assert!(proxy.raw().await.into_tls(http.clone()).await.is_err());

    let mut raw = proxy.raw().await;
    raw.send(&SSL).await;
    assert_eq!(raw.byte().await, Some(b'S'));
    assert!(raw.into_tls(http).await.is_err());
}

#[tokio::test]
async fn without_a_certificate_tls_is_declined_or_closed() {
    let (stage, proxy) = (Stage::get(), Proxy::start(Stage::get()).await);
    let mut raw = proxy.raw().await;
    for request in [SSL, GSS] {
        raw.send(&request).await;
        assert_eq!(raw.byte().await, Some(b'N'));
    }
    reads_her_rows(raw, &stage.token("alice")).await;

    assert!(proxy.raw().await.into_tls(stage.authority.client_config(ALPN)).await.is_err());
    proxy.logs("there is no certificate").await;
}

#[tokio::test]
async fn gssapi_encryption_is_declined_and_tls_may_follow() {
    let (stage, proxy) = (Stage::get(), with_certificate().await);
    let mut raw = proxy.raw().await;
    raw.send(&GSS).await;
    assert_eq!(raw.byte().await, Some(b'N'));
    raw.send(&SSL).await;
    assert_eq!(raw.byte().await, Some(b'S'));
    let tls = raw.into_tls(stage.authority.client_config(ALPN)).await;
    reads_her_rows(tls.expect("TLS"), &stage.token("alice")).await;
}

#[tokio::test]
async fn encryption_is_negotiated_once() {
    let (secure, plain) = (with_certificate().await, Proxy::start(Stage::get()).await);
    for (proxy, request) in [(&secure, GSS), (&plain, GSS), (&plain, SSL)] {
        let mut raw = proxy.raw().await;
        raw.send(&request).await;
        assert_eq!(raw.byte().await, Some(b'N'));
        raw.send(&request).await;
        refused(&mut raw, "08P01").await;
    }
    for request in [GSS, SSL] {
        let mut raw = negotiated(&secure).await;
        raw.send(&request).await;
        refused(&mut raw, "08P01").await;
    }
}

#[tokio::test]
async fn bytes_in_clear_behind_a_request_for_encryption_end_the_connection_unread() {
    let (secure, plain) = (with_certificate().await, Proxy::start(Stage::get()).await);
    for (proxy, request) in [(&secure, SSL), (&secure, GSS), (&plain, SSL), (&plain, GSS)] {
        for behind in [&anonymous()[..], &SSL, &[0x16], &[0]] {
            let mut raw = proxy.raw().await;
            raw.send(&[&request, behind].concat()).await;
            let error = refused(&mut raw, "08P01").await;
            assert!(error.field(b'M').is_some_and(|message| message.contains("unencrypted data")));
        }
        assert!(!proxy.log().iter().any(|line| line.contains("\"login\"")));
    }
}

#[tokio::test]
async fn bytes_in_clear_where_tls_has_to_begin_reach_nobody() {
    let proxy = with_certificate().await;
    let mut raw = proxy.raw().await;
    raw.send(&SSL).await;
    assert_eq!(raw.byte().await, Some(b'S'));
    raw.send(&anonymous()).await;
    proxy.logs("TLS handshake failed").await;
    assert!(!proxy.log().iter().any(|line| line.contains("\"login\"")));
}

#[tokio::test]
async fn bytes_in_clear_within_tls_end_the_session() {
    let (stage, proxy) = (Stage::get(), with_certificate().await);
    let socket = TcpStream::connect(proxy.address()).await.expect("it listens");
    let connector = TlsConnector::from(stage.authority.client_config(ALPN));
    let tls = connector.connect("localhost".try_into().expect("a name"), socket).await.expect("TLS");

    let (mut socket, _) = tls.into_inner();
    socket.write_all(&anonymous()).await.expect("a socket");
    // An alert, and the end, perhaps as a reset.
    let _ = wait::within("the end", socket.read_to_end(&mut Vec::new())).await;
    assert!(!proxy.log().iter().any(|line| line.contains("\"login\"")));
}

#[tokio::test]
async fn where_tls_is_always_required_nobody_is_asked_for_a_token_in_clear() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).tls().set("tls.required", "always").start().await;
    for user in ["authenticated", "anonymous"] {
        let mut raw = proxy.raw().await;
        raw.startup(&[("user", user), ("database", "neondb")]).await;
        let error = refused(&mut raw, "28000").await;
        assert!(error.field(b'H').is_some_and(|hint| hint.contains("sslmode=require")));
    }
    reads_her_rows(negotiated(&proxy).await, &stage.token("alice")).await;
}

/// This machine's address towards others. To choose it nothing is sent; connections to it stay on the machine.
async fn own_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").await.expect("a socket");
    socket.connect("192.0.2.1:9").await.ok()?;
    let own = socket.local_addr().expect("an address").ip();
    (!own.is_loopback()).then(|| own.to_string())
}

#[tokio::test]
async fn who_comes_from_elsewhere_has_to_come_by_tls() {
    // A machine without a network has no elsewhere.
    let Some(own) = own_address().await else { return };
    for (tls, hint) in [(true, "sslmode=require"), (false, "Configure [tls]")] {
        let proxy = Proxy::builder(Stage::get()).set("listen.postgres", format!("127.0.0.1:0,{own}:0"));
        let proxy = proxy.set("passthrough.users", "neondb_owner");
        let proxy = if tls { proxy.tls() } else { proxy }.start().await;
        let line: serde_json::Value =
            serde_json::from_str(&proxy.logs(&format!("\"{own}:")).await).expect("a line in JSON");
        for user in ["authenticated", "neondb_owner"] {
            let mut raw = Raw::connect(line["address"].as_str().expect("an address")).await;
            raw.startup(&[("user", user), ("database", "neondb")]).await;
            let error = refused(&mut raw, "28000").await;
            assert!(error.field(b'H').is_some_and(|told| told.contains(hint)), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_is_replaced_at_sighup_and_who_is_in_stays_in() {
    let (stage, proxy) = (Stage::get(), with_certificate().await);
    let trusts = async |authority: &Authority| {
        let mut raw = proxy.raw().await;
        raw.send(&SSL).await;
        assert_eq!(raw.byte().await, Some(b'S'));
        raw.into_tls(authority.client_config(&[])).await.is_ok()
    };
    let mut before = negotiated(&proxy).await;
    before.log_in(&stage.token("alice").to_string()).await;
    let other = Authority::new(stage.files());
    assert!(trusts(&stage.authority).await && !trusts(&other).await);

    let new = other.certify("localhost");
    std::fs::write(proxy.directory().join("server.crt"), new.certificate_pem).expect("a file");
    proxy.signal("HUP").await;
    proxy.logs("certificate not renewed\",\"error\":\"the key does not fit").await;
    assert!(trusts(&stage.authority).await, "what is there stays");

    std::fs::write(proxy.directory().join("server.key"), new.key_pem).expect("a file");
    proxy.signal("HUP").await;
    proxy.logs("certificate loaded").await;
    assert!(trusts(&other).await && !trusts(&stage.authority).await);
    assert_eq!(before.value("SELECT count(*) FROM todos").await, "3");
}
