//! Clients that take their time, or stop: what they hold is free again, and others go on meanwhile.

use pgusher_tests::{Proxy, RawHttp, Stage, post, wait};
use tokio::net::TcpStream;

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
    let socket = TcpStream::connect(proxy.http_address()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
    let ended = tokio::spawn(connection);
    client = client.ready().await.unwrap();
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

#[tokio::test]
async fn who_opens_no_window_for_a_stream_loses_it_too() {
    let (stage, proxy) = (Stage::get(), impatient().await);
    let socket = TcpStream::connect(proxy.http_address()).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    let ended = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = axum::http::Request::post("http://localhost/sql").header("accept", "application/x-ndjson");
    let request = request.header("authorization", format!("Bearer {}", stage.token("bob")));
    let request =
        request.header("pgusher-role", "authenticated").header("pgusher-database", "neondb").body(()).unwrap();
    let (answer, mut body) = client.send_request(request, false).unwrap();
    body.send_data(query("SELECT generate_series(1, 2000000000), 'no_window'").into(), true).unwrap();
    // It is held, and nothing of it read: no window is opened.
    let answer = wait::within("an answer", answer).await.unwrap();
    until_running(stage, "no_window", 0).await;
    goes_on(&proxy).await;
    drop(wait::within("the end of the connection", ended).await.unwrap());
    drop(answer);
}
