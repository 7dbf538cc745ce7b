//! Heads that are too large, too many, or about something else.

use pgusher_tests::{RawHttp, Stage, post};

use super::{goes_on, proxy, query};

#[tokio::test]
async fn a_head_that_is_too_large_is_told_so() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let token = stage.token("alice").to_string();
    let large = format!("X: {}\r\n", "x".repeat(1 << 20));
    let many = "X: y\r\n".repeat(10_000);
    for lines in [large, many] {
        let mut raw = RawHttp::connect(&proxy).await;
        raw.send(&post(&token, &lines, &query("SELECT 1"))).await;
        let statuses: Vec<_> = raw.until_end().await.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [431]);
    }
    let mut raw = RawHttp::connect(&proxy).await;
    raw.send(format!("POST /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)).as_bytes()).await;
    assert_eq!(raw.until_end().await.iter().map(|answer| answer.status).collect::<Vec<_>>(), [414]);
    goes_on(&proxy).await;
}

#[tokio::test]
async fn the_limits_of_a_head_are_the_same_however_its_bytes_come() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let token = stage.token("alice").to_string();
    let body = query("SELECT 1");
    let asked = |filling: usize| post(&token, &format!("X: {}\r\n", "x".repeat(filling)), &body);
    let least = asked(0).len() - body.len();
    for (size, status) in [(256 * 1024, 200), (256 * 1024 + 1, 431), (300_008, 431), (500_008, 431)] {
        for _ in 0..10 {
            let mut raw = RawHttp::connect(&proxy).await;
            raw.send(&asked(size - least)).await;
            assert_eq!(raw.answer().await.map(|answer| answer.status), Some(status), "{size}");
        }
    }
    for (more, status) in [(95, 200), (96, 431)] {
        let mut raw = RawHttp::connect(&proxy).await;
        raw.send(&post(&token, &"X: y\r\n".repeat(more), &body)).await;
        assert_eq!(raw.answer().await.map(|answer| answer.status), Some(status), "{more}");
    }
}

#[tokio::test]
async fn a_header_that_says_who_asks_comes_once() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let (alice, bob) = (stage.token("alice"), stage.token("bob"));
    let string = "Neon-Connection-String: postgres://authenticated@host/neondb\r\n";
    for lines in [
        format!("Authorization: Bearer {bob}\r\n"),
        string.repeat(2),
        "pgusher-role: anonymous\r\n".to_owned(),
        "PGUSHER-DATABASE: postgres\r\n".to_owned(),
    ] {
        let mut raw = RawHttp::connect(&proxy).await;
        raw.send(&post(&alice, &lines, &query("SELECT 1"))).await;
        let answer = raw.answer().await.unwrap();
        assert_eq!((answer.status, &answer.json()["code"]), (400, &"08P01".into()), "{lines}: {answer:?}");
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_told_what_there_is() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let request = String::from_utf8(post(stage.token("alice"), "", &query("SELECT 1"))).unwrap();
    for (line, status) in [
        ("GET /sql", 405),
        ("BREW /sql", 405),
        ("OPTIONS /sql", 405),
        ("POST /", 404),
        ("POST //sql", 404),
        ("POST /sql/", 404),
        ("POST /%73ql", 404),
        ("POST /x/../sql", 404),
        ("OPTIONS *", 404),
    ] {
        let mut raw = RawHttp::connect(&proxy).await;
        raw.send(request.replacen("POST /sql", line, 1).as_bytes()).await;
        assert_eq!(raw.answer().await.unwrap().status, status, "{line}");
    }
    goes_on(&proxy).await;
}

#[tokio::test]
async fn who_asks_before_sending_a_body_is_told_to_go_on_only_if_it_may() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let body = query("SELECT 1 AS one");
    let head = |token: &str| {
        let request = String::from_utf8(post(token, "Expect: 100-continue\r\n", &body)).unwrap();
        request.strip_suffix(&body).unwrap().to_owned()
    };
    let mut raw = RawHttp::connect(&proxy).await;
    raw.send(head(&stage.token("alice").to_string()).as_bytes()).await;
    assert_eq!(raw.answer().await.unwrap().status, 100);
    raw.send(body.as_bytes()).await;
    assert_eq!(raw.answer().await.unwrap().json()["rows"][0]["one"], 1);

    let mut raw = RawHttp::connect(&proxy).await;
    raw.send(head(&stage.token("alice").expired().to_string()).as_bytes()).await;
    assert_eq!(raw.until_end().await.iter().map(|answer| answer.status).collect::<Vec<_>>(), [401]);
}
