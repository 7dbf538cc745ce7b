//! HTTP/2 in frames of a test's own (RFC 9113): floods of what costs a client nothing.

use std::fmt::Display;

use bytes::Bytes;
use h2::client::SendRequest;
use pgusher_tests::{Proxy, RawHttp, wait};
use serde_json::Value;

use super::{goes_on, proxy, query};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What a flood may leave behind, in bytes: buffers of a connection that has ended, and what the allocator keeps.
const GROWTH: u64 = 64 << 20;

/// `POST http://localhost/sql`, as HPACK has it (RFC 7541).
const POST_SQL: &[u8] = b"\x83\x86\x04\x04/sql\x01\x09localhost";

/// The answer to a query; none if the stream or the connection is reset.
pub(super) async fn ask(client: &mut SendRequest<Bytes>, token: impl Display, sql: &str) -> Option<Value> {
    let request = axum::http::Request::post("http://localhost/sql").header("authorization", format!("Bearer {token}"));
    let request = request
        .header("pgusher-role", "authenticated")
        .header("pgusher-database", "neondb")
        .body(())
        .expect("a request");
    let (answer, mut body) = client.send_request(request, false).ok()?;
    body.send_data(Bytes::from(query(sql)), true).ok()?;
    let mut body = wait::within("an answer", answer).await.ok()?.into_body();
    let mut text = Vec::new();
    while let Some(part) = wait::within("a part of it", body.data()).await {
        let part = part.ok()?;
        body.flow_control().release_capacity(part.len()).ok()?;
        text.extend_from_slice(&part);
    }
    Some(serde_json::from_slice(&text).expect("JSON"))
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Sends a flood until it is over or the proxy has had enough; then the proxy is as it was.
async fn flooded_by(proxy: &Proxy, frames: impl Iterator<Item = Vec<u8>>) {
    let before = proxy.memory();
    let mut raw = RawHttp::connect(proxy).await;
    raw.send(PREFACE).await;
    let frames: Vec<_> = frames.collect();
    // Many of them to a write; who floods does not wait either.
    for some in frames.chunks(100) {
        raw.send(&some.concat()).await;
    }
    goes_on(proxy).await;
    drop(raw);
    goes_on(proxy).await;
    let after = proxy.memory();
    assert!(after.saturating_sub(before) < GROWTH, "{before} → {after}");
}

/// The streams of a client.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|index| index * 2 + 1)
}

#[tokio::test]
async fn streams_that_are_reset_as_soon_as_they_are_opened_cost_nothing() {
    let proxy = proxy().await;
    for flags in [END_HEADERS, END_HEADERS | END_STREAM] {
        let opened_and_reset = streams(20_000)
            .map(|id| [frame(HEADERS, flags, id, POST_SQL), frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())].concat());
        flooded_by(&proxy, opened_and_reset).await;
    }
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused() {
    let proxy = proxy().await;
    flooded_by(&proxy, streams(10_000).map(|id| frame(HEADERS, END_HEADERS, id, POST_SQL))).await;
}

#[tokio::test]
async fn header_lists_without_an_end_end_the_connection() {
    let proxy = proxy().await;
    // A literal that is never indexed: name `x`, and a value of 4,096 bytes.
    let header = [&b"\x10\x01x\x7f\x81\x1f"[..], &vec![b'y'; 4096]].concat();
    let begun = [frame(HEADERS, 0, 1, POST_SQL)].into_iter();
    let continued = (0..10_000).map(move |_| frame(CONTINUATION, 0, 1, &header));
    flooded_by(&proxy, begun.chain(continued)).await;
}

#[tokio::test]
async fn a_header_that_is_named_again_and_again_counts_each_time() {
    let proxy = proxy().await;
    // A literal that is indexed, and then 16,000 references to it: some 60 MiB of headers in 20 KiB, on every stream.
    let literal = [&b"\x40\x01x\x7f\xa1\x1e"[..], &vec![b'y'; 4000]].concat();
    let first = [POST_SQL, &literal, &[0xbe; 12_000]].concat();
    let bombs = streams(200).map(move |id| {
        let block = if id == 1 { first.clone() } else { [POST_SQL, &[0xbe; 16_000]].concat() };
        frame(HEADERS, END_HEADERS | END_STREAM, id, &block)
    });
    flooded_by(&proxy, bombs).await;
}

#[tokio::test]
async fn floods_of_frames_that_want_an_answer_are_not_kept() {
    let proxy = proxy().await;
    flooded_by(&proxy, (0..100_000).map(|_| frame(SETTINGS, 0, 0, &[]))).await;
    flooded_by(&proxy, (0..100_000).map(|_| frame(PING, 0, 0, &[7; 8]))).await;
    flooded_by(&proxy, (0..100_000).map(|_| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()))).await;
}
