//! Cancel requests reach the connection they are about.

use std::sync::Arc;

use bytes::BytesMut;
use pgusher_upstream::{SslMode, Tls};
use postgres_protocol::message::frontend;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use wire::startup::FirstPacket;

use crate::harness::{Attempt, send, trusting, value};
use crate::postgres::WITH_TLS;
use crate::scripted::{WELCOME, accept_tls, self_signed};

async fn cancel_interrupts(attempt: &Attempt<'_>) {
    let mut server = attempt.open().await.unwrap();
    let mut request = BytesMut::new();
    frontend::query("SELECT pg_sleep(3600)", &mut request).unwrap();
    server.stream.write_all(&request).await.unwrap();

    let target = server.cancel.clone();
    // A cancel that comes before the query begins does nothing, so it is repeated until one has worked.
    let cancelling = tokio::spawn(async move {
        loop {
            target.send().await.unwrap();
        }
    });

    assert_eq!(send(&mut server, b"").await, Err("57014".to_owned()));
    cancelling.abort();
    let _ = cancelling.await;
    server.terminate().await;
}

#[tokio::test]
async fn a_cancel_interrupts_what_runs_in_clear() {
    cancel_interrupts(&Attempt::to(&WITH_TLS)).await;
}

#[tokio::test]
async fn a_cancel_interrupts_what_runs_under_tls() {
    let mut attempt = Attempt::to(&WITH_TLS);
    attempt.config.tls = trusting(&WITH_TLS, SslMode::VerifyFull, "ca.crt");
    cancel_interrupts(&attempt).await;
}

#[tokio::test]
async fn a_cancel_interrupts_what_runs_over_a_unix_socket() {
    cancel_interrupts(&Attempt::new(WITH_TLS.dir.to_str().unwrap(), WITH_TLS.port)).await;
}

#[tokio::test]
async fn the_target_is_the_backend_itself() {
    let mut server = Attempt::to(&WITH_TLS).open().await.unwrap();
    assert_eq!(value(&mut server, "SELECT pg_backend_pid()").await, server.cancel.pid().to_string());
}

#[tokio::test]
async fn a_cancel_key_goes_under_tls_where_the_login_did() {
    let certificate = self_signed(2000..2100);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut attempt = Attempt::new("localhost", listener.local_addr().unwrap().port());
    attempt.config.tls = Tls::new(SslMode::Prefer, None, None).unwrap();
    let serving = tokio::spawn(async move {
        let (_, mut login) = accept_tls(listener.accept().await?.0.into(), Arc::clone(&certificate.config)).await?;
        login.write_all(WELCOME).await?;
        accept_tls(listener.accept().await?.0.into(), certificate.config).await.map(|(packet, _)| packet)
    });

    attempt.open().await.unwrap().cancel.send().await.unwrap();

    let said = serving.await.unwrap().unwrap();
    assert!(matches!(said, FirstPacket::Cancel(cancel) if cancel.process_id == 1 && cancel.key[..] == [0, 0, 0, 2]));
}
