//! How large, how many, and what happens to who goes away.

use futures_util::future::select_all;
use pgusher_tests::{Answer, Proxy, Stage, Token, wait};
use reqwest::{Client, StatusCode};
use serde_json::json;
use tokio::task::JoinHandle;

#[tokio::test]
async fn a_request_or_a_response_that_is_too_large_is_told_so() {
    let stage = Stage::get();
    let limits = [("http.max_request_size", "64KiB"), ("http.max_response_size", "64KiB")];
    let builder = limits.iter().fold(Proxy::builder(stage).http(), |builder, (key, value)| builder.set(key, value));
    let proxy = builder.start().await;
    let token = stage.token("alice");
    let large = proxy.sql(&token, &format!("SELECT '{}'", "x".repeat(70_000))).await;
    assert_eq!((large.status, &*large.code()), (StatusCode::PAYLOAD_TOO_LARGE, "54000"));
    let large = proxy.sql(&token, "SELECT repeat('x', 100000)").await;
    assert_eq!((large.status, &*large.code()), (StatusCode::INSUFFICIENT_STORAGE, "54000"));
    assert_eq!(proxy.sql_rows(&token, "SELECT 1 AS one").await, json!([{"one": 1}]));
}

#[tokio::test]
async fn who_goes_away_has_its_query_cancelled() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().start().await;
    let asking = ask_for_ever(&proxy, &stage.token("alice"), "who_goes_away");
    until_running(stage, "who_goes_away", 1).await;
    asking.abort();
    until_running(stage, "who_goes_away", 0).await;
}

#[tokio::test]
async fn requests_leave_servers_to_those_who_come_by_tcp() {
    let stage = Stage::get();
    let proxy =
        Proxy::builder(stage).http().set("pool.default_pool_size", 2).set("http.max_pool_servers", 1).start().await;
    let token = stage.token("flood");
    let asking: Vec<_> = (0..20).map(|_| ask_for_ever(&proxy, &token, "a_flood")).collect();
    until_running(stage, "a_flood", 1).await;
    let client = proxy.connect(&stage.token("alice")).await;
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    until_running(stage, "a_flood", 1).await;
    asking.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn an_identity_that_has_all_its_servers_lets_others_pass() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("pool.max_identity_servers", 1).set("http.max_pool_servers", 2);
    let proxy = proxy.start().await;
    let token = stage.token("mallory");
    let asking: Vec<_> = (0..20).map(|_| ask_for_ever(&proxy, &token, "lets_pass")).collect();
    until_running(stage, "lets_pass", 1).await;
    assert_eq!(proxy.sql_rows(&stage.token("bob"), "SELECT 1 AS one").await, json!([{"one": 1}]));
    asking.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn who_asks_one_after_the_other_needs_one_place() {
    let builder = Proxy::builder(Stage::get()).http().set("pool.max_identity_conn", 1).set("runtime.http_threads", 2);
    let (proxy, token) = (builder.start().await, Stage::get().token("alice"));
    // A connection at each thread.
    let requests = [(), ()].map(|()| proxy.sql_request().bearer_auth(&token));
    let queries = ["SELECT 1", "BEGIN", "SELECT 1 / 0", "BEGIN; SELECT 1 / 0"];
    for number in 0..2000 {
        let (query, form) = (queries[number / 2 % 4], ["application/json", "application/x-ndjson"][number / 8 % 2]);
        let request = requests[number % 2].try_clone().expect("its body is still to come").header("accept", form);
        let answer = Answer::to(request.body(json!({"query": query}).to_string())).await;
        assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{query}, {form}, request {number}: {answer:?}");
    }
}

#[tokio::test]
async fn one_request_too_many_is_told_to_come_back() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("http.max_requests", 1).start().await;
    let token = stage.token("alice");
    let asking = ask_for_ever(&proxy, &token, "the_only_one");
    until_running(stage, "the_only_one", 1).await;
    let refused = proxy.sql(&token, "SELECT 1").await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, Some("1")));
    assert_eq!(refused.code(), "53300");
    asking.abort();
    wait::until("room", async || (proxy.sql(&token, "SELECT 1").await.status == StatusCode::OK).then_some(())).await;
}

#[tokio::test]
async fn the_requests_of_one_identity_leave_room_for_others() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("http.max_requests", 8).set("http.max_pool_servers", 1);
    let proxy = proxy.set("pool.query_wait_timeout", "1h").start().await;
    let (alice, bob) = (stage.token("alice"), stage.token("bob"));
    // One runs, one waits for its server, and one is too many.
    let mut asking: Vec<_> = (0..3).map(|_| ask_for_ever(&proxy, &alice, "leaves_room")).collect();
    let (refused, ..) = wait::within("a refusal", select_all(&mut asking)).await;
    let refused = refused.unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, Some("1")));
    assert_eq!(refused.code(), "53300");
    let another = ask_for_ever(&proxy, &bob, "has_room");
    asking.iter().for_each(JoinHandle::abort);
    until_running(stage, "has_room", 1).await;
    another.abort();
}

#[tokio::test]
async fn requests_without_a_token_leave_room_for_identities() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("http.max_requests", 8).start().await;
    let ask = |query: &str| {
        let body = json!({"query": query}).to_string();
        let request = Client::new().post(proxy.sql_url()).header("pgusher-role", "anonymous");
        tokio::spawn(Answer::to(request.header("pgusher-database", "neondb").body(body)))
    };
    let asking: Vec<_> = (0..6).map(|_| ask("SELECT pg_sleep(3600), 'leave_room'")).collect();
    until_running(stage, "leave_room", 6).await;
    let refused = wait::within("an answer", ask("SELECT 1")).await.unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, Some("1")));
    assert_eq!(refused.code(), "53300");
    assert_eq!(proxy.sql_rows(&stage.token("alice"), "SELECT 1 AS one").await, json!([{"one": 1}]));
    asking.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn an_identity_that_asks_too_often_is_told_when_to_come_back_and_others_are_served() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("http.identity_rate", 1).start().await;
    let (alice, bob) = (stage.token("alice"), stage.token("bob"));
    let refused = async || {
        let answer = proxy.sql(&alice, "SELECT 1").await;
        (answer.status != StatusCode::OK).then_some(answer)
    };
    let refused = wait::until("one too many", refused).await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, Some("1")));
    assert_eq!(refused.code(), "53400");
    assert_eq!(proxy.sql_rows(&bob, "SELECT 1 AS one").await, json!([{"one": 1}]));
}

#[tokio::test]
async fn an_address_that_guesses_is_turned_away_and_one_whose_tokens_expire_is_not() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("http.address_failures", 3).start().await;
    let good = stage.token("alice");
    for _ in 0..10 {
        assert_eq!(proxy.sql(&stage.token("alice").expired(), "SELECT 1").await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(proxy.sql(&good, "SELECT 1").await.status, StatusCode::OK);
    let good_text = good.to_string();
    let forged = format!("{}AAAA", &good_text[..good_text.len() - 4]);
    for _ in 0..3 {
        assert_eq!(proxy.sql(&forged, "SELECT 1").await.status, StatusCode::UNAUTHORIZED);
    }
    let turned_away = proxy.sql(&good, "SELECT 1").await;
    assert_eq!((turned_away.status, &*turned_away.code()), (StatusCode::TOO_MANY_REQUESTS, "53400"));
}

/// A request that takes for ever, and whose statement has this word in it.
pub(super) fn ask_for_ever(proxy: &Proxy, token: &Token<'_>, word: &str) -> JoinHandle<Answer> {
    let body = json!({"query": format!("SELECT pg_sleep(3600), '{word}'")}).to_string();
    tokio::spawn(Answer::to(proxy.sql_request().bearer_auth(token).body(body)))
}

/// Waits until so many such statements run.
pub(super) async fn until_running(stage: &Stage, word: &str, wanted: i64) {
    let superuser = stage.superuser().await;
    let query =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE $1 AND state = 'active' AND pid <> pg_backend_pid()";
    let look = async || {
        let running: i64 = superuser.query_one(query, &[&format!("%{word}%")]).await.expect("a count").get(0);
        (running == wanted).then_some(())
    };
    wait::until(&format!("{wanted} statements about {word}"), look).await;
}
