//! HTTP/2 by hand: peers that are there, and do not do their part.

use std::fmt::Display;

use pgusher_tests::{Proxy, Stage, wait};
use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::limits::until_running;

// RFC 9113, section 6: the kinds of frames, and their flags.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// SETTINGS_INITIAL_WINDOW_SIZE: nothing of an answer may be sent.
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];

struct Peer {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
}

impl Peer {
    async fn new(proxy: &Proxy) -> Self {
        let (from, to) = TcpStream::connect(proxy.http_address()).await.expect("it listens").into_split();
        let mut peer = Self { from, to };
        peer.to.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("it reads");
        peer.send(SETTINGS, 0, 0, &NO_WINDOW).await;
        peer
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = &(payload.len() as u32).to_be_bytes()[1..];
        let frame = [length, &[kind, flags], &stream.to_be_bytes(), payload].concat();
        // It may have gone: then that is what a test waits for.
        let _ = self.to.write_all(&frame).await;
    }

    /// Asks for a query, with this for `Accept`.
    async fn ask(&mut self, token: &impl Display, query: &str, accept: &str) {
        let authorization = format!("Bearer {token}");
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "localhost"),
            (":path", "/sql"),
            ("authorization", &authorization),
            ("accept", accept),
            ("pgusher-role", "authenticated"),
            ("pgusher-database", "neondb"),
        ];
        // Each is a literal that is not indexed (RFC 7541, section 6.2.2).
        let block = fields.map(|(name, value)| [vec![0], string(name), string(value)].concat()).concat();
        self.send(HEADERS, END_HEADERS, 1, &block).await;
        self.send(DATA, END_STREAM, 1, json!({"query": query}).to_string().as_bytes()).await;
    }

    /// The kind of the next frame, having answered to it as every peer does; none at the end.
    async fn next(&mut self) -> Option<u8> {
        let mut head = [0; 9];
        self.from.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.from.read_exact(&mut payload).await.ok()?;
        match kind {
            SETTINGS if flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]).await,
            PING if flags & ACK == 0 => self.send(PING, ACK, 0, &payload).await,
            _ => {}
        }
        Some(kind)
    }

    async fn until(&mut self, what: &str, wanted: Option<u8>) {
        wait::within(what, async { while self.next().await != wanted {} }).await;
    }
}

/// A string of a literal, whose length is in seven bits and what is beyond (RFC 7541, section 5.1).
fn string(text: &str) -> Vec<u8> {
    let mut length = text.len();
    let mut out = vec![length.min(127) as u8];
    if length >= 127 {
        length -= 127;
        while length >= 128 {
            out.push(128 | (length % 128) as u8);
            length /= 128;
        }
        out.push(length as u8);
    }
    [out, text.as_bytes().to_vec()].concat()
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_loses_the_connection_and_its_query_is_cancelled() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("http.write_timeout", "1s").start().await;
    let mut peer = Peer::new(&proxy).await;
    let query = "SELECT generate_series(1, 1000000000), 'takes_nothing'";
    peer.ask(&stage.token("alice"), query, "application/x-ndjson").await;
    peer.until("the head of an answer", Some(HEADERS)).await;
    peer.until("the end", None).await;
    until_running(stage, "takes_nothing", 0).await;
}

#[tokio::test]
async fn a_document_that_is_not_taken_is_a_request_still() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("http.max_requests", 1).start().await;
    let token = stage.token("alice");
    let mut peer = Peer::new(&proxy).await;
    peer.ask(&token, "SELECT repeat('x', 1000000)", "*/*").await;
    peer.until("the head of an answer", Some(HEADERS)).await;
    assert_eq!(proxy.sql(&token, "SELECT 1").await.status, StatusCode::SERVICE_UNAVAILABLE);
    drop(peer);
    wait::until("room", async || (proxy.sql(&token, "SELECT 1").await.status == StatusCode::OK).then_some(())).await;
}

#[tokio::test]
async fn a_connection_that_asks_for_nothing_is_closed() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("http.header_timeout", "1s").start().await;
    Peer::new(&proxy).await.until("the end", None).await;
}
