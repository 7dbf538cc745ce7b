//! Servers that are broken, or are somebody else.

use std::path::PathBuf;
use std::time::Duration;

use pgusher_upstream::{ClaimsMode, Error, MethodError, RootCertificates, SslMode, Step, Tls, TlsError};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use wire::frame::read_frame;
use wire::startup::{FirstPacket, read_first_packet};
use wire::stream::Stream;

use crate::harness::Attempt;
use crate::scripted::{WELCOME, accept_tls, frame, hear_out, self_signed, serve, serve_login, serve_tls_answer};

// Codes of authentication requests.
const OK: u8 = 0;
const SASL: u8 = 10;
const CHALLENGE: u8 = 11;
const PROOF: u8 = 12;

fn request(code: u8, body: &[u8]) -> Vec<u8> {
    frame(b'R', &[&[0, 0, 0, code], body].concat())
}

async fn refusal(port: u16) -> Error {
    Attempt::new("localhost", port).open().await.expect_err("it is refused")
}

async fn tls_refusal(port: u16) -> TlsError {
    let mut attempt = Attempt::new("localhost", port);
    attempt.config.tls = Tls::new(SslMode::Require, None, None).unwrap();
    match attempt.open().await {
        Err(Error::Tls(error)) => error,
        other => panic!("a TLS error: {other:?}"),
    }
}

#[tokio::test]
async fn bytes_behind_the_yes_to_tls_are_refused() {
    let port = serve_tls_answer(b"SR\0\0\0\x08\0\0\0\0").await;
    assert!(matches!(tls_refusal(port).await, TlsError::EarlyBytes));
}

#[tokio::test]
async fn an_error_in_place_of_a_yes_is_not_read() {
    let port = serve_tls_answer(b"E\0\0\0\x10MYou must pay\0\0").await;
    assert!(matches!(tls_refusal(port).await, TlsError::Errored));
}

#[tokio::test]
async fn any_other_byte_is_no_answer() {
    let port = serve_tls_answer(b"s").await;
    assert!(matches!(tls_refusal(port).await, TlsError::Answer(b's')));
}

#[tokio::test]
async fn absurd_lengths_are_refused_before_their_body() {
    for length in [0_u32, 3, 65_537 + 4, i32::MAX as u32, u32::MAX] {
        let port = serve_login([&b"R"[..], &length.to_be_bytes()].concat()).await;
        let refused = refusal(port).await;
        assert!(matches!(refused, Error::Protocol(_)), "{length}: {refused}");
    }
}

#[tokio::test]
async fn a_login_cut_off_at_any_byte_is_a_lost_connection() {
    for end in 0..WELCOME.len() {
        let script = move |mut client: Stream| async move {
            read_first_packet(&mut client).await.expect("a startup packet");
            client.write_all(&WELCOME[..end]).await.expect("the client listens");
        };
        let (port, _) = serve(script).await;
        let refused = refusal(port).await;
        assert!(matches!(refused, Error::Lost(_)), "{end}: {refused}");
    }
    assert!(Attempt::new("localhost", serve_login(WELCOME.to_vec()).await).open().await.is_ok());
}

#[tokio::test]
async fn messages_out_of_place_are_refused() {
    let ready = frame(b'Z', b"I");
    let ok = request(OK, b"");
    for says in [
        ready.clone(),
        frame(b'K', &[0; 8]),
        frame(b'D', b"\0\0"),
        [ok.clone(), ready].concat(),
        [ok.clone(), ok.clone()].concat(),
        [ok.clone(), frame(b'K', &[0; 8]), frame(b'Z', b"T")].concat(),
        [ok, frame(b'D', b"\0\0")].concat(),
    ] {
        let refused = refusal(serve_login(says.clone()).await).await;
        assert!(matches!(refused, Error::Protocol(_)), "{says:?}: {refused}");
    }
}

#[tokio::test]
async fn unknown_ways_of_authentication_are_named() {
    for code in [2, 6, 7, 9, 255] {
        let refused = refusal(serve_login(request(code, b"")).await).await;
        assert!(matches!(refused, Error::Method(MethodError::Unsupported)), "{code}: {refused}");
    }
    let refused = refusal(serve_login(request(SASL, b"OAUTHBEARER\0\0")).await).await;
    assert!(matches!(refused, Error::Method(MethodError::Mechanism(offered)) if offered == "OAUTHBEARER"));
}

/// Offers SCRAM, hears the client's first message and answers with the challenge that is made of it.
async fn serve_challenge(challenge: fn(&str) -> Vec<u8>) -> u16 {
    let script = move |mut client: Stream| async move {
        read_first_packet(&mut client).await.expect("a startup packet");
        client.write_all(&request(SASL, b"SCRAM-SHA-256\0\0")).await.expect("the client listens");
        let first = read_frame(&mut client, 1024).await.expect("the client's first message");
        let first = String::from_utf8_lossy(&first.body);
        // A nonce may hold any printable character, "r=" too, but no comma (RFC 5802, section 7).
        let nonce = first.split_once(",r=").expect("a nonce").1;
        client.write_all(&challenge(nonce)).await.expect("the client listens");
        hear_out(&mut client).await;
    };
    serve(script).await.0
}

#[tokio::test]
async fn an_iteration_count_that_would_keep_us_busy_is_refused() {
    let port = serve_challenge(|nonce| request(CHALLENGE, format!("r={nonce}x,s=c2FsdA==,i=4294967295").as_bytes()));
    assert!(matches!(refusal(port.await).await, Error::Scram(_)));
}

#[tokio::test]
async fn a_challenge_to_somebody_else_is_refused() {
    let port = serve_challenge(|_| request(CHALLENGE, b"r=another,s=c2FsdA==,i=4096"));
    assert!(matches!(refusal(port.await).await, Error::Scram(_)));
}

fn challenge(nonce: &str) -> Vec<u8> {
    request(CHALLENGE, format!("r={nonce}x,s=c2FsdA==,i=1").as_bytes())
}

#[tokio::test]
async fn a_server_must_prove_that_it_knows_the_password_too() {
    let in_place_of_the_challenge = serve_challenge(|_| request(OK, b""));
    assert!(matches!(refusal(in_place_of_the_challenge.await).await, Error::Protocol(_)));

    let in_place_of_the_proof = serve_challenge(|nonce| [challenge(nonce), request(OK, b"")].concat());
    assert!(matches!(refusal(in_place_of_the_proof.await).await, Error::Protocol(_)));

    let a_wrong_proof = serve_challenge(|nonce| [challenge(nonce), request(PROOF, b"v=d3Jvbmc=")].concat());
    assert!(matches!(refusal(a_wrong_proof.await).await, Error::Scram(_)));
}

#[tokio::test]
async fn silence_is_bounded_in_time() {
    let silent_login = serve_login(Vec::new()).await;
    let mut attempt = Attempt::new("localhost", silent_login);
    attempt.config.login_timeout = Duration::from_millis(1);
    assert!(matches!(attempt.open().await, Err(Error::TimedOut(Step::Login))));

    let silent_tls = serve_tls_answer(b"").await;
    let mut attempt = Attempt::new("localhost", silent_tls);
    attempt.config.tls = Tls::new(SslMode::Require, None, None).unwrap();
    attempt.config.connect_timeout = Duration::from_millis(1);
    assert!(matches!(attempt.open().await, Err(Error::TimedOut(Step::Connect))));
}

/// It may be at something still, and as long as it is it has one of the database's connections.
#[tokio::test]
async fn a_server_that_does_not_say_what_it_has_is_told_to_go_and_waited_for() {
    let (gone, mut is_gone) = oneshot::channel();
    let script = |mut client: Stream| async move {
        assert!(matches!(read_first_packet(&mut client).await, Ok(FirstPacket::Startup(_))));
        client.write_all(WELCOME).await.expect("the client listens");
        let question = read_frame(&mut client, 1 << 16).await.expect("a question");
        let goodbye = read_frame(&mut client, 0).await.expect("a goodbye");
        gone.send([question.tag.0, goodbye.tag.0]).expect("somebody asks");
    };
    let (port, _played) = serve(script).await;
    let mut attempt = Attempt::new("localhost", port);
    attempt.mode = ClaimsMode::SessionJwt;
    attempt.config.login_timeout = Duration::from_secs(1);

    assert!(matches!(attempt.open().await, Err(Error::TimedOut(Step::Login))));

    assert_eq!(is_gone.try_recv(), Ok([b'Q', b'X']));
}

/// Somebody in between took the connection and had no server to hand the request to.
#[tokio::test]
async fn a_cancel_that_is_cut_off_has_not_arrived() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let attempt = Attempt::new("127.0.0.1", listener.local_addr().unwrap().port());
    let playing = tokio::spawn(async move {
        let mut login: Stream = listener.accept().await.unwrap().0.into();
        assert!(matches!(read_first_packet(&mut login).await, Ok(FirstPacket::Startup(_))));
        login.write_all(WELCOME).await.unwrap();
        let (cancel, _) = listener.accept().await.unwrap();
        cancel.readable().await.unwrap();
        // What lies unread makes it a reset.
        drop(cancel);
        login
    });
    let server = attempt.open().await.unwrap();

    assert!(matches!(server.cancel.send().await, Err(Error::Lost(_))));

    playing.await.unwrap();
}

/// Under TLS, what the client's first SCRAM message says to an offer: the mechanism and the kind of binding.
async fn first_scram_message(offer: &'static [u8]) -> String {
    let server = self_signed(2000..2100);
    let script = move |client: Stream| async move {
        let (_, mut client) = accept_tls(client, server.config).await.expect("TLS");
        client.write_all(&request(SASL, offer)).await.expect("the client listens");
        let first = read_frame(&mut client, 1024).await.expect("the client's first message");
        String::from_utf8_lossy(&first.body).into_owned()
    };
    let (port, heard) = serve(script).await;
    let mut attempt = Attempt::new("localhost", port);
    attempt.config.tls = Tls::new(SslMode::Require, None, None).unwrap();
    assert!(attempt.open().await.is_err());
    heard.await.expect("the script runs to its end")
}

#[tokio::test]
async fn under_tls_scram_binds_to_the_channel() {
    let first = first_scram_message(b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0").await;
    assert!(first.starts_with("SCRAM-SHA-256-PLUS\0") && first.contains("p=tls-server-end-point,,"), "{first}");
}

#[tokio::test]
async fn who_takes_the_binding_out_of_the_offer_is_given_away() {
    let first = first_scram_message(b"SCRAM-SHA-256\0\0").await;
    assert!(first.starts_with("SCRAM-SHA-256\0") && first.contains("y,,"), "{first}");
}

async fn login_to_self_signed(years: std::ops::Range<i32>, host: &str) -> Result<(), Error> {
    let server = self_signed(years);
    let script = move |client: Stream| async move {
        if let Ok((_, mut client)) = accept_tls(client, server.config).await {
            client.write_all(WELCOME).await.expect("the client listens");
            hear_out(&mut client).await;
        }
    };
    let (port, _) = serve(script).await;
    let file = PathFile::new(port, &server.pem);
    let mut attempt = Attempt::new(host, port);
    attempt.config.tls = Tls::new(SslMode::VerifyFull, Some(&RootCertificates::File(file.0.clone())), None).unwrap();
    attempt.open().await.map(drop)
}

/// A file that goes when the test does.
struct PathFile(PathBuf);

impl PathFile {
    fn new(port: u16, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pgusher-upstream-{}-{port}.crt", std::process::id()));
        std::fs::write(&path, text).expect("a file");
        Self(path)
    }
}

impl Drop for PathFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_its_own_root_for_its_name_and_its_time() {
    assert!(login_to_self_signed(2000..2100, "localhost").await.is_ok());
    assert!(matches!(login_to_self_signed(2000..2100, "127.0.0.1").await, Err(Error::Tls(TlsError::Handshake(_)))));
    assert!(matches!(login_to_self_signed(2000..2001, "localhost").await, Err(Error::Tls(TlsError::Handshake(_)))));
    assert!(matches!(login_to_self_signed(2099..2100, "localhost").await, Err(Error::Tls(TlsError::Handshake(_)))));
}
