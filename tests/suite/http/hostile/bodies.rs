//! Bodies that are no query: told so, each with its status, and the connection goes on where it can.

use pgusher_tests::{RawHttp, Stage, post};
use serde_json::json;

use super::{goes_on, proxy, query};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_body_that_is_wrong_at_any_byte_is_refused_and_the_connection_goes_on() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let token = stage.token("alice").to_string();
    let body = json!({"query": "SELECT $1::text AS t", "params": ["é\\", 1, null], "arrayMode": true}).to_string();
    let valid = body.replace(",1,null", "");
    let mut raw = RawHttp::connect(&proxy).await;
    for at in (0..body.len()).filter(|at| body.is_char_boundary(*at)) {
        let next = at + body[at..].chars().next().unwrap().len_utf8();
        for broken in [body[..at].to_owned(), format!("{}\u{1}{}", &body[..at], &body[next..])] {
            raw.send(&post(&token, "", &broken)).await;
            let answer = raw.answer().await.expect("an answer");
            assert_eq!(answer.status, 400, "{broken:?}: {answer:?}");
            assert!(answer.json()["code"].is_string(), "{broken:?}: {answer:?}");
        }
    }
    raw.send(&post(&token, "", &valid)).await;
    assert_eq!(raw.answer().await.unwrap().json()["rows"], json!([["é\\"]]));
}

#[tokio::test]
async fn more_parameters_than_postgres_has_are_refused() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let body = json!({"query": "SELECT 1", "params": vec!["x"; 100_000]}).to_string();
    let mut raw = RawHttp::connect(&proxy).await;
    for _ in 0..3 {
        raw.send(&post(stage.token("alice"), "", &body)).await;
        let answer = raw.answer().await.unwrap();
        assert_eq!((answer.status, answer.json()["code"].is_string()), (400, true), "{answer:?}");
    }
    goes_on(&proxy).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_told_so_with_and_without_a_length() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let token = stage.token("alice").to_string();
    let body = query(&format!("SELECT '{}'", "x".repeat(11 * MIB)));
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for (lines, sent) in [
        (format!("Content-Length: {}\r\n", body.len()), &body),
        ("Content-Length: 1000000000000\r\n".to_owned(), &body),
        ("Transfer-Encoding: chunked\r\n".to_owned(), &chunked),
    ] {
        let mut raw = RawHttp::connect(&proxy).await;
        raw.send_framed(&token, &lines, sent).await;
        let answers = raw.until_end().await;
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [413], "{lines}");
        assert_eq!(answers[0].json()["code"], "54000");
    }
    goes_on(&proxy).await;
}

#[tokio::test]
async fn a_stranger_is_refused_before_a_byte_of_the_body_is_read() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let mut raw = RawHttp::connect(&proxy).await;
    raw.send_framed(stage.token("alice").expired(), "Content-Length: 1000000\r\n", "").await;
    assert_eq!(raw.until_end().await.iter().map(|answer| answer.status).collect::<Vec<_>>(), [401]);
}

#[tokio::test]
async fn depth_and_compression_do_nothing() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let token = stage.token("alice").to_string();
    for opening in ["[", "{\"a\":", "[[[{\"query\":"] {
        let deep = opening.repeat(1_000_000);
        for body in [deep.clone(), format!("{{\"query\":\"SELECT 1\",\"params\":[{deep}")] {
            let mut raw = RawHttp::connect(&proxy).await;
            raw.send(&post(&token, "", &body[..body.len().min(9 * MIB)])).await;
            let answer = raw.answer().await.expect("an answer");
            assert_eq!(answer.status, 400, "{opening}");
        }
    }
    for encoding in ["gzip", "zstd", "br", "identity, gzip"] {
        let mut raw = RawHttp::connect(&proxy).await;
        raw.send(&post(&token, &format!("Content-Encoding: {encoding}\r\n"), "\u{1f}\u{8b}")).await;
        let answer = raw.answer().await.unwrap();
        assert_eq!((answer.status, &answer.json()["code"]), (415, &"0A000".into()), "{encoding}");
    }
    goes_on(&proxy).await;
}
