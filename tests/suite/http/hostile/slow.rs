//! Clients that take their time, or stop: what they hold is free again, and others go on meanwhile.

use axum::http::Response;
use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use pgusher_tests::{Proxy, RawHttp, Stage, Token, post, wait};
use reqwest::StatusCode;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{goes_on, query};
use crate::http::limits::until_running;

async fn impatient() -> Proxy {
    let builder = Proxy::builder(Stage::get()).http().set("pool.default_pool_size", 1);
    let limits = ["header_timeout", "body_timeout", "write_timeout"];
    limits.iter().fold(builder, |builder, limit| builder.set(&format!("http.{limit}"), "1s")).start().await
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let (stage, proxy) = (Stage::get(), impatient().await);
    let request = post(stage.token("alice"), "", &query("SELECT 1"));
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for begun in [&b""[..], b"P", b"POST /sql", b"PRI", &preface[..], &request[..300], b"\x16\x03\x01"] {
        let mut raw = RawHttp::connect(&proxy).await;
        raw.send(begun).await;
        goes_on(&proxy).await;
        raw.ended().await;
    }
    // One that has been answered may not wait for ever either.
    let mut raw = RawHttp::connect(&proxy).await;
    raw.send(&request).await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
    raw.ended().await;
}

#[tokio::test]
async fn an_http2_connection_without_requests_is_ended() {
    let (stage, proxy) = (Stage::get(), impatient().await);
    let (mut client, ended) = http2(&proxy, 65_535).await;
    let answer = super::http2::ask(&mut client, &stage.token("alice"), "SELECT 1 AS one").await.unwrap();
    assert_eq!(answer["rows"][0]["one"], 1);
    wait::within("the end of the connection", ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_body_that_does_not_come_is_told_so_and_holds_no_server() {
    let (stage, proxy) = (Stage::get(), impatient().await);
    let mut raw = RawHttp::connect(&proxy).await;
    raw.send_framed(stage.token("bob"), "Content-Length: 1000\r\n", "{").await;
    goes_on(&proxy).await;
    let answers = raw.until_end().await;
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [408], "{answers:?}");
    assert_eq!(answers[0].json()["code"], "57014");
}

#[tokio::test]
async fn who_reads_nothing_of_a_stream_loses_it_and_its_server_is_free() {
    let (stage, proxy) = (Stage::get(), impatient().await);
    let mut raw = RawHttp::connect(&proxy).await;
    let rows = query("SELECT generate_series(1, 2000000000), 'reads_nothing'");
    raw.send(&post(stage.token("bob"), "Accept: application/x-ndjson\r\n", &rows)).await;
    until_running(stage, "reads_nothing", 1).await;
    until_running(stage, "reads_nothing", 0).await;
    goes_on(&proxy).await;
    raw.ended().await;
}

#[tokio::test]
async fn who_closes_one_direction_has_gone() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("pool.default_pool_size", 1).start().await;
    let mut raw = RawHttp::connect(&proxy).await;
    raw.send(&post(stage.token("bob"), "", &query("SELECT pg_sleep(3600), 'half_closed'"))).await;
    until_running(stage, "half_closed", 1).await;
    raw.finish().await;
    until_running(stage, "half_closed", 0).await;
    goes_on(&proxy).await;
    raw.ended().await;
}

/// A client of HTTP/2 whose streams take so many bytes that nobody has read, and its connection.
async fn http2(proxy: &Proxy, window: u32) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let socket = TcpStream::connect(proxy.http_address()).await.expect("it listens");
    let mut http2 = h2::client::Builder::new();
    // What one stream does not take is not kept from the others.
    http2.initial_window_size(window).initial_connection_window_size(1 << 30);
    let (client, connection) = http2.handshake::<_, Bytes>(socket).await.expect("HTTP/2");
    (client.ready().await.expect("room for a stream"), tokio::spawn(connection))
}

/// Asks, and takes the head of the answer and nothing behind it.
async fn ask(client: &mut SendRequest<Bytes>, token: &Token<'_>, accept: &str, sql: &str) -> Response<RecvStream> {
    let request = axum::http::Request::post("http://localhost/sql").header("accept", accept);
    let request = request.header("authorization", format!("Bearer {token}"));
    let request = request
        .header("pgusher-role", "authenticated")
        .header("pgusher-database", "neondb")
        .body(())
        .expect("a request");
    let (answer, mut body) = client.send_request(request, false).expect("a stream");
    body.send_data(query(sql).into(), true).expect("it is open");
    wait::within("an answer", answer).await.expect("a head")
}

#[tokio::test]
async fn who_opens_no_window_for_a_stream_loses_it_too() {
    let (stage, proxy) = (Stage::get(), impatient().await);
    for window in [0, 65_535] {
        let (mut client, ended) = http2(&proxy, window).await;
        let rows = "SELECT generate_series(1, 2000000000), 'no_window'";
        let held = ask(&mut client, &stage.token("bob"), "application/x-ndjson", rows).await;
        until_running(stage, "no_window", 0).await;
        goes_on(&proxy).await;
        drop(wait::within("the end of the connection", ended).await.unwrap());
        drop(held);
    }
}

#[tokio::test]
async fn who_goes_on_asking_loses_a_stream_that_it_does_not_take_as_well() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("http.write_timeout", "1s").start().await;
    let (mut client, ended) = http2(&proxy, 65_535).await;
    let token = stage.token("bob");
    let rows = "SELECT generate_series(1, 2000000000), 'one_of_many'";
    let held = ask(&mut client, &token, "application/x-ndjson", rows).await;
    let asking = async {
        while !ended.is_finished() {
            // The last one may find that it is over.
            let _ = super::http2::ask(&mut client, &token, "SELECT 1 AS one").await;
        }
    };
    wait::within("the end of the connection", asking).await;
    until_running(stage, "one_of_many", 0).await;
    drop(held);
}

#[tokio::test]
async fn a_document_that_is_not_taken_is_a_request_still() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("http.max_requests", 1).start().await;
    let token = stage.token("alice");
    let (mut client, connection) = http2(&proxy, 0).await;
    let held = ask(&mut client, &token, "*/*", "SELECT repeat('x', 1000000)").await;
    assert_eq!(proxy.sql(&token, "SELECT 1").await.status, StatusCode::SERVICE_UNAVAILABLE);
    connection.abort();
    wait::until("room", async || (proxy.sql(&token, "SELECT 1").await.status == StatusCode::OK).then_some(())).await;
    drop((client, held));
}
