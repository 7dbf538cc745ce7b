//! Roles with a password of their own, which comes in the connection string.

use pgusher_tests::{Answer, Proxy, Stage};
use reqwest::{Client, RequestBuilder};
use serde_json::json;

const OWNER: &str = "[passthrough]\nusers = [\"neondb_owner\"]\n";

fn request(proxy: &Proxy, who: &str, query: &str) -> RequestBuilder {
    let connection = format!("postgres://{who}@elsewhere.example/neondb");
    let request = Client::new().post(proxy.sql_url()).header("neon-connection-string", connection);
    request.body(json!({"query": query, "params": []}).to_string())
}

#[tokio::test]
async fn the_owner_works_by_its_password_and_has_no_claims() {
    let proxy = Proxy::builder(Stage::get()).http().tables(OWNER).start().await;
    let query =
        "SELECT current_user::text AS who, auth.user_id() AS me, count(DISTINCT user_id)::int > 1 AS all FROM todos";
    for _ in 0..2 {
        let answer = Answer::to(request(&proxy, "neondb_owner:owner", query)).await;
        assert_eq!(answer.json()["rows"], json!([{"who": "neondb_owner", "me": null, "all": true}]), "{answer:?}");
    }
}

#[tokio::test]
async fn a_batch_of_the_owners_is_a_transaction_and_an_error_is_told() {
    let proxy = Proxy::builder(Stage::get()).http().tables(OWNER).start().await;
    let batch = |queries: [&str; 2]| {
        let queries = queries.map(|query| json!({"query": query}));
        request(&proxy, "neondb_owner:owner", "").body(json!({"queries": queries}).to_string())
    };
    let failed = Answer::to(batch(["CREATE TABLE by_http (x int)", "SELECT 1/0"])).await;
    assert_eq!((failed.status.as_u16(), &*failed.code()), (400, "22012"));
    let done = Answer::to(batch(["CREATE TABLE by_http (x int)", "DROP TABLE by_http"])).await;
    assert_eq!(done.json()["results"][1]["command"], "DROP", "{done:?}");
}

#[tokio::test]
async fn no_token_is_a_password_and_no_password_a_token() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().tables(OWNER).start().await;
    let token = stage.token("alice").to_string();
    for refused in [
        request(&proxy, "neondb_owner:wrong", "SELECT 1"),
        request(&proxy, "neondb_owner", "SELECT 1"),
        request(&proxy, &format!("neondb_owner:{token}"), "SELECT 1"),
        request(&proxy, "neondb_owner", "SELECT 1").bearer_auth(&token),
        request(&proxy, "neondb_owner", "SELECT 1").bearer_auth("owner"),
        request(&proxy, "authenticated:owner", "SELECT 1"),
    ] {
        let answer = Answer::to(refused).await;
        assert_eq!((answer.status.as_u16(), &*answer.code()), (400, "28P01"), "{answer:?}");
    }
    let off = Proxy::builder(stage).http().start().await;
    let answer = Answer::to(request(&off, "neondb_owner:owner", "SELECT 1")).await;
    assert_eq!(answer.code(), "28P01", "{answer:?}");
}
