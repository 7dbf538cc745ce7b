//! Requests whose end two readers may see in two places: they are refused, or read in one way and are the last of their
//! connection, so that nothing behind them is ever taken for a request.

use pgusher_tests::{RawHttp, Stage, post};

use super::{goes_on, proxy, query};

/// The body of an honest query in one chunk.
fn chunked() -> String {
    let body = query("SELECT 1 AS honest");
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

#[tokio::test]
async fn a_head_that_two_may_read_in_two_ways_is_refused_and_what_follows_is_no_request() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let token = stage.token("alice").to_string();
    let smuggled = String::from_utf8(post(&token, "", &query("SELECT 'smuggled'"))).unwrap();
    for lines in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length : 5\r\n",
        "Content-Length:\r\n 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunk\u{e9}d\r\n",
        "Transfer-Encoding:\u{b}chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: a\rTransfer-Encoding: chunked\r\n",
        "X: a\0\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding\r\n",
        ": chunked\r\n",
    ] {
        let mut raw = RawHttp::connect(&proxy).await;
        raw.send_framed(&token, lines, &format!("{}{smuggled}", chunked())).await;
        let answers = raw.until_end().await;
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [400], "{lines:?}: {answers:?}");
    }
    goes_on(&proxy).await;
}

#[tokio::test]
async fn a_request_in_chunks_is_the_last_of_its_connection_whatever_else_is_said_of_its_length() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let token = stage.token("alice").to_string();
    let smuggled = String::from_utf8(post(&token, "", &query("SELECT 'smuggled'"))).unwrap();
    for lines in [
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: Chunked\r\n",
        "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 4\nTransfer-Encoding: chunked\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 4\r\nTransfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let mut raw = RawHttp::connect(&proxy).await;
        raw.send_framed(&token, lines, &format!("{}{smuggled}", chunked())).await;
        let answers = raw.until_end().await;
        assert_eq!(answers.len(), 1, "{lines:?}: {answers:?}");
        assert_eq!(answers[0].json()["rows"][0]["honest"], 1, "{lines:?}");
        assert!(answers[0].head.contains("connection: close"), "{lines:?}: {answers:?}");
    }
}

#[tokio::test]
async fn a_chunk_that_is_none_ends_the_request_and_the_connection() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let token = stage.token("alice").to_string();
    let smuggled = String::from_utf8(post(&token, "", &query("SELECT 'smuggled'"))).unwrap();
    let body = query("SELECT 1 AS honest");
    let size = format!("{:x}", body.len());
    for chunks in [
        format!("0x{size}\r\n{body}\r\n0\r\n\r\n"),
        format!("-{size}\r\n{body}\r\n0\r\n\r\n"),
        format!("{size}\r\n{body}\n0\r\n\r\n"),
        format!("{size}\r\n{body}0\r\n\r\n"),
        format!("{size};a=\n{body}\r\n0\r\n\r\n"),
        format!("{size};{}\r\n{body}\r\n0\r\n\r\n", "x".repeat(100_000)),
        format!("fffffffffffffffff\r\n{body}\r\n0\r\n\r\n"),
        format!("\r\n{body}\r\n0\r\n\r\n"),
        format!("g\r\n{body}\r\n0\r\n\r\n"),
    ] {
        let mut raw = RawHttp::connect(&proxy).await;
        raw.send_framed(&token, "Transfer-Encoding: chunked\r\n", &format!("{chunks}{smuggled}")).await;
        let answers = raw.until_end().await;
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [400], "{chunks:?}: {answers:?}");
    }
    goes_on(&proxy).await;
}

#[tokio::test]
async fn what_stands_before_the_path_does_not_matter() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let honest = String::from_utf8(post(stage.token("alice"), "", &query("SELECT 1 AS honest"))).unwrap();
    let mut raw = RawHttp::connect(&proxy).await;
    for target in ["http://elsewhere.example/sql", "/sql?a=b", "/sql"] {
        raw.send(honest.replacen("/sql", target, 1).as_bytes()).await;
        assert_eq!(raw.answer().await.unwrap().json()["rows"][0]["honest"], 1, "{target}");
    }
    raw.send(honest.replacen("HTTP/1.1", "HTTP/1.0", 1).replacen("Content-Length", "Transfer-Encoding", 1).as_bytes())
        .await;
    assert_eq!(raw.until_end().await.iter().map(|answer| answer.status).collect::<Vec<_>>(), [400]);
}
