//! The six meanings of `sslmode`, against a server that speaks TLS and one that does not.

use pgusher_upstream::{ClientCertificate, Error, RootCertificates, SslMode, Tls, TlsError};
use tokio::io::AsyncWriteExt;
use wire::startup::{FirstPacket, read_first_packet};
use wire::stream::Stream;

use crate::harness::{Attempt, query, trusting, value};
use crate::postgres::{Postgres, WITH_TLS, WITHOUT_TLS};
use crate::scripted::{frame, serve};

const IN_CLEAR: Option<bool> = Some(false);
const UNDER_TLS: Option<bool> = Some(true);
const REFUSED: Option<bool> = None;

/// Logs in with that mode and authority; tells whether TLS is on, as the server sees it too.
async fn login(postgres: &Postgres, host: &str, mode: SslMode, authority: &str) -> Option<bool> {
    let mut attempt = Attempt::new(host, postgres.port);
    attempt.config.tls = trusting(postgres, mode, authority);
    let mut server = match attempt.open().await {
        Ok(server) => server,
        Err(Error::Tls(_)) => return None,
        Err(error) => panic!("{mode}: {error}"),
    };
    // The view shows a connection to whom it logged in as.
    query(&mut server, "SET ROLE NONE").await.unwrap();
    let seen = value(&mut server, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await;
    assert_eq!(server.stream.is_tls(), seen == "t");
    Some(server.stream.is_tls())
}

async fn logins(postgres: &Postgres, host: &str, authority: &str) -> Vec<(SslMode, Option<bool>)> {
    let mut outcomes = Vec::new();
    for mode in SslMode::ALL {
        outcomes.push((mode, login(postgres, host, mode, authority).await));
    }
    outcomes
}

fn each_mode(outcomes: [Option<bool>; 6]) -> Vec<(SslMode, Option<bool>)> {
    SslMode::ALL.into_iter().zip(outcomes).collect()
}

#[tokio::test]
async fn with_the_right_certificate_every_mode_gets_in() {
    let outcomes = logins(&WITH_TLS, "localhost", "ca.crt").await;
    assert_eq!(outcomes, each_mode([IN_CLEAR, IN_CLEAR, UNDER_TLS, UNDER_TLS, UNDER_TLS, UNDER_TLS]));
}

#[tokio::test]
async fn a_certificate_for_another_name_stops_only_verify_full() {
    let outcomes = logins(&WITH_TLS, "127.0.0.1", "ca.crt").await;
    assert_eq!(outcomes, each_mode([IN_CLEAR, IN_CLEAR, UNDER_TLS, UNDER_TLS, UNDER_TLS, REFUSED]));
}

#[tokio::test]
async fn a_certificate_of_another_authority_stops_whoever_demands_tls() {
    let outcomes = logins(&WITH_TLS, "localhost", "other_ca.crt").await;
    assert_eq!(outcomes, each_mode([IN_CLEAR, IN_CLEAR, IN_CLEAR, REFUSED, REFUSED, REFUSED]));
}

#[tokio::test]
async fn a_server_without_tls_stops_whoever_demands_it() {
    let outcomes = logins(&WITHOUT_TLS, "localhost", "ca.crt").await;
    assert_eq!(outcomes, each_mode([IN_CLEAR, IN_CLEAR, IN_CLEAR, REFUSED, REFUSED, REFUSED]));
}

#[tokio::test]
async fn require_without_authorities_trusts_anybody() {
    let mut attempt = Attempt::new("127.0.0.1", WITH_TLS.port);
    attempt.config.tls = Tls::new(SslMode::Require, None, None).unwrap();

    assert!(attempt.open().await.unwrap().stream.is_tls());
}

#[tokio::test]
async fn allow_goes_over_to_tls_where_the_server_wants_it() {
    let mut attempt = Attempt::to(&WITH_TLS);
    attempt.user = "tls_only";
    assert!(matches!(attempt.open().await, Err(Error::Login(_))));

    attempt.config.tls = Tls::new(SslMode::Allow, None, None).unwrap();
    assert!(attempt.open().await.unwrap().stream.is_tls());
}

#[tokio::test]
async fn prefer_goes_back_to_clear_where_the_server_wants_that() {
    let mut attempt = Attempt::to(&WITH_TLS);
    attempt.user = "plain_only";
    attempt.config.tls = Tls::new(SslMode::Require, None, None).unwrap();
    assert!(matches!(attempt.open().await, Err(Error::Login(_))));

    attempt.config.tls = Tls::new(SslMode::Prefer, None, None).unwrap();
    assert!(!attempt.open().await.unwrap().stream.is_tls());
}

#[tokio::test]
async fn prefer_asks_only_once_where_it_got_no_tls_to_go_back_from() {
    let script = |mut client: Stream| async move {
        assert!(matches!(read_first_packet(&mut client).await, Ok(FirstPacket::Ssl)));
        client.write_all(b"N").await.unwrap();
        assert!(matches!(read_first_packet(&mut client).await, Ok(FirstPacket::Startup(_))));
        client.write_all(&frame(b'E', b"C28P01\0Mno\0\0")).await.unwrap();
    };
    let (port, _) = serve(script).await;
    let mut attempt = Attempt::new("localhost", port);
    attempt.config.tls = Tls::new(SslMode::Prefer, None, None).unwrap();

    // A second connection would find nobody.
    let refused = attempt.open().await.unwrap_err();
    assert!(matches!(refused, Error::Login(_)), "{refused}");
}

#[tokio::test]
async fn a_demand_for_tls_names_what_is_missing() {
    let mut attempt = Attempt::to(&WITHOUT_TLS);
    attempt.config.tls = Tls::new(SslMode::Require, None, None).unwrap();

    assert!(matches!(attempt.open().await, Err(Error::Tls(TlsError::NotOffered))));
}

#[tokio::test]
async fn a_client_certificate_logs_in() {
    let roots = RootCertificates::File(WITH_TLS.dir.join("ca.crt"));
    let client = ClientCertificate {
        certificate_file: WITH_TLS.dir.join("client.crt"),
        key_file: WITH_TLS.dir.join("client.key"),
    };
    let mut attempt = Attempt::to(&WITH_TLS);
    attempt.user = "certified";
    attempt.password = None;
    attempt.config.tls = Tls::new(SslMode::VerifyFull, Some(&roots), Some(&client)).unwrap();

    let mut server = attempt.open().await.unwrap();

    assert_eq!(value(&mut server, "SELECT session_user").await, "certified");
}

#[tokio::test]
async fn a_unix_socket_is_in_clear_whatever_the_mode() {
    let mut attempt = Attempt::new(WITH_TLS.dir.to_str().unwrap(), WITH_TLS.port);
    attempt.config.tls = trusting(&WITH_TLS, SslMode::VerifyFull, "ca.crt");

    let mut server = attempt.open().await.unwrap();

    assert!(!server.stream.is_tls());
    assert!(query(&mut server, "SELECT 1").await.is_ok());
}
