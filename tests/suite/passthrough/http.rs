//! The same over HTTP: the password is the connection string's, and a request has a server to itself.

use pgusher_tests::{Answer, Proxy, Stage, wait};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::{builder, session};

async fn proxy() -> Proxy {
    builder("neondb_owner").http().start().await
}

/// A request with this in the place of user and password.
fn request(proxy: &Proxy, who: &str, body: &Value) -> RequestBuilder {
    let request = Client::new().post(proxy.sql_url());
    request.header("neon-connection-string", format!("postgres://{who}@db.example.com/neondb")).body(body.to_string())
}

async fn rows(proxy: &Proxy, query: &str) -> Value {
    let answer = Answer::to(request(proxy, "neondb_owner:owner", &json!({"query": query}))).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()["rows"].clone()
}

#[tokio::test]
async fn a_request_has_a_server_to_itself_and_no_claims() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let query = "SELECT current_user AS me, auth.user_id() AS user_id, pg_backend_pid() AS pid, \
        set_config('application_name', 'left behind', false) <> current_setting('application_name') AS first";
    let mut backends = Vec::new();
    for _ in 0..3 {
        let row = rows(&proxy, query).await[0].clone();
        assert_eq!((&row["me"], &row["user_id"]), (&json!("neondb_owner"), &Value::Null));
        backends.push(row["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("a number"));
    }
    let mut distinct = backends.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 3, "{backends:?}");
    for backend in backends {
        stage.until_gone(backend).await;
    }
}

#[tokio::test]
async fn a_batch_is_a_transaction_and_its_error_is_told() {
    let proxy = proxy().await;
    let batch = |queries: [&str; 2]| {
        request(&proxy, "neondb_owner:owner", &json!({"queries": queries.map(|query| json!({"query": query}))}))
    };
    let failed = Answer::to(batch(["CREATE TABLE by_http (x int)", "SELECT 1/0"])).await;
    assert_eq!((failed.status, &*failed.code()), (StatusCode::BAD_REQUEST, "22012"));
    let done = Answer::to(batch(["CREATE TABLE by_http (x int)", "DROP TABLE by_http"])).await;
    assert_eq!(done.json()["results"][1]["command"], "DROP", "{done:?}");
    assert_eq!(rows(&proxy, "SELECT count(DISTINCT user_id) > 1 AS all FROM todos").await, json!([{"all": true}]));
}

#[tokio::test]
async fn no_token_is_a_password_and_no_password_a_token() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let token = stage.token("alice").to_string();
    let query = json!({"query": "SELECT 1"});
    for refused in [
        request(&proxy, "neondb_owner", &query),
        request(&proxy, &format!("neondb_owner:{token}"), &query),
        request(&proxy, "neondb_owner", &query).bearer_auth(&token),
        request(&proxy, "neondb_owner", &query).bearer_auth("owner"),
        request(&proxy, "authenticated:owner", &query),
    ] {
        let answer = Answer::to(refused).await;
        assert_eq!((answer.status, &*answer.code()), (StatusCode::BAD_REQUEST, "28P01"), "{answer:?}");
    }
    let off = Proxy::builder(stage).http().start().await;
    let answer = Answer::to(request(&off, "neondb_owner:owner", &query)).await;
    assert_eq!(answer.code(), "28P01", "{answer:?}");
}

#[tokio::test]
async fn lines_stream() {
    let proxy = proxy().await;
    let query = json!({"query": "SELECT generate_series(1, 50000) AS number"});
    let lines = request(&proxy, "neondb_owner:owner", &query).header("accept", "application/x-ndjson");
    let answer = Answer::to(lines).await;
    assert_eq!(answer.text.lines().filter(|line| line.contains("\"number\":")).count(), 50_000, "{:.300}", answer.text);
}

#[tokio::test]
async fn a_wrong_password_is_told_as_postgres_tells_it_with_the_status_that_the_client_reads() {
    let proxy = proxy().await;
    let query = json!({"query": "SELECT 1"});
    let answer = Answer::to(request(&proxy, "neondb_owner:wrong", &query)).await;
    assert_eq!((answer.status, &*answer.code()), (StatusCode::BAD_REQUEST, "28P01"));
    assert_eq!(answer.json()["message"], json!("password authentication failed for user \"neondb_owner\""));

    let plain = Client::new().post(proxy.sql_url()).header("pgusher-role", "neondb_owner");
    let plain = plain.header("pgusher-database", "neondb").bearer_auth("owner").body(query.to_string());
    let answer = Answer::to(plain).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (StatusCode::UNAUTHORIZED, Some("Bearer")));
}

#[tokio::test]
async fn no_password_is_taken_in_clear_where_tls_is_required() {
    let proxy = builder("neondb_owner").http().tls().set("tls.required", "always").start().await;
    let plain = Client::new().post(proxy.sql_url().replace("https://", "http://"));
    let plain = plain.header("neon-connection-string", "postgres://neondb_owner:owner@db.example.com/neondb");
    let answer = Answer::to(plain.body(json!({"query": "SELECT 1"}).to_string())).await;
    assert_eq!(answer.code(), "28000");
}

#[tokio::test]
async fn whoever_goes_away_takes_the_statement_along() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let superuser = stage.superuser().await;
    let asked = request(&proxy, "neondb_owner:owner", &json!({"query": "SELECT pg_sleep(600), 'goes away'"}));
    let asking = tokio::spawn(asked.send());
    let look = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%goes away%'";
    let running = async || superuser.query_opt(look, &[]).await.expect("it may look").map(|row| row.get(0));
    let backend = wait::until("the statement to run", running).await;

    asking.abort();

    stage.until_gone(backend).await;
}

#[tokio::test]
async fn requests_count_among_those_with_a_password() {
    let proxy = builder("neondb_owner").http().set("passthrough.max_conn", 1).start().await;
    let (_session, _) = session(&proxy).await;
    let answer = Answer::to(request(&proxy, "neondb_owner:owner", &json!({"query": "SELECT 1"}))).await;
    assert_eq!((answer.status, &*answer.code()), (StatusCode::SERVICE_UNAVAILABLE, "53300"));
    assert_eq!(answer.header("retry-after"), Some("1"));
}
