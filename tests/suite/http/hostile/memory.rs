//! Streams of any size in memory that does not grow.

use pgusher_tests::{Answer, Proxy, Stage};
use reqwest::Response;
use serde_json::json;

use super::{goes_on, proxy, query};

/// What may be on its way through the proxy, with room for what the allocator keeps.
const GROWTH: u64 = 48 << 20;

async fn stream(proxy: &Proxy, sql: &str) -> Response {
    let request = proxy.sql_request().bearer_auth(Stage::get().token("alice")).header("accept", "application/x-ndjson");
    request.body(query(sql)).send().await.expect("an answer")
}

/// Reads all; how many bytes and lines there were, what the last bytes are, and how much memory at the most was taken.
async fn read(proxy: &Proxy, mut response: Response) -> (u64, usize, Vec<u8>, u64) {
    let (mut bytes, mut lines, mut last, mut most) = (0, 0, Vec::new(), 0);
    let mut looked = 0;
    while let Some(part) = response.chunk().await.expect("a part") {
        bytes += part.len() as u64;
        lines += part.iter().filter(|byte| **byte == b'\n').count();
        last.extend_from_slice(&part);
        last.drain(..last.len().saturating_sub(100));
        if bytes - looked > 1 << 20 {
            (looked, most) = (bytes, most.max(proxy.memory()));
        }
    }
    (bytes, lines, last, most)
}

#[tokio::test]
async fn a_million_rows_pass_in_memory_for_a_few() {
    let proxy = proxy().await;
    goes_on(&proxy).await;
    let before = proxy.memory();
    let response = stream(&proxy, "SELECT n, repeat('x', 50) AS x FROM generate_series(1, 1000000) n").await;
    let (bytes, lines, last, most) = read(&proxy, response).await;
    assert!(bytes > 60_000_000 && lines == 1_000_002, "{bytes} {lines}");
    assert!(last.ends_with(b"{\"command\":\"SELECT\",\"rowCount\":1000000}\n"), "{last:?}");
    assert!(most.saturating_sub(before) < GROWTH, "{before} → {most}");
}

#[tokio::test]
async fn a_row_of_two_hundred_megabytes_passes_in_parts() {
    let proxy = proxy().await;
    goes_on(&proxy).await;
    let before = proxy.memory();
    let (bytes, lines, last, most) = read(&proxy, stream(&proxy, "SELECT repeat('x', 200000000) AS x").await).await;
    assert!(bytes > 200_000_000 && lines == 3, "{bytes} {lines}");
    assert!(last.ends_with(b"{\"command\":\"SELECT\",\"rowCount\":1}\n"), "{last:?}");
    assert!(most.saturating_sub(before) < GROWTH, "{before} → {most}");
}

#[tokio::test]
async fn a_large_body_takes_little_more_than_what_postgres_is_sent_of_it() {
    const LARGE: usize = 9_900_000;
    let text = json!({"query": "SELECT length($1) AS n", "params": ["x".repeat(LARGE)]}).to_string();
    // Five bytes to Postgres for two here.
    let numbers = format!(r#"{{"query":"SELECT 1","params":[{}1]}}"#, "1,".repeat(65_534));
    let numbers = format!(r#"{{"queries":[{}{numbers}]}}"#, format!("{numbers},").repeat(LARGE / numbers.len() - 1));
    for (body, status, tenths) in [(text, 200, 25), (numbers, 400, 45)] {
        let proxy = proxy().await;
        goes_on(&proxy).await;
        let (before, size) = (proxy.memory(), body.len() as u64);
        let answer = Answer::to(proxy.sql_request().bearer_auth(Stage::get().token("alice")).body(body)).await;
        assert_eq!(answer.status, status, "{answer:?}");
        let taken = proxy.most_memory() - before;
        assert!(taken < size * tenths / 10, "{size} → {taken}");
    }
}
