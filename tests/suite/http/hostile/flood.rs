//! As many requests as a client can send, and a client by TCP that goes on.

use pgusher_tests::{Answer, Proxy, Stage};
use reqwest::StatusCode;

use super::query;

#[tokio::test]
async fn a_flood_of_requests_leaves_transactions_by_tcp_alone() {
    let stage = Stage::get();
    let limits = [("pool.default_pool_size", 4), ("http.max_pool_servers", 3), ("http.max_requests", 50)];
    let builder = limits.iter().fold(Proxy::builder(stage).http(), |builder, (key, value)| builder.set(key, value));
    let proxy = builder.start().await;
    let mut client = proxy.connect(&stage.token("alice")).await;
    let crowd = ["bob", "carol", "dave", "erin", "frank"];
    let tokens = crowd.map(|subject| stage.token(subject).to_string());
    let body = query("SELECT auth.user_id() AS me, pg_sleep(0.01)");
    let ask = |index: usize| Answer::to(proxy.sql_request().bearer_auth(&tokens[index % 5]).body(body.clone()));
    let asking: Vec<_> = (0..300).map(|index| tokio::spawn(ask(index))).collect();
    for _ in 0..30 {
        let transaction = client.transaction().await.unwrap();
        let me: String = transaction.query_one("SELECT auth.user_id()", &[]).await.unwrap().get(0);
        let alone: bool =
            transaction.query_one("SELECT bool_and(user_id = 'alice') FROM todos", &[]).await.unwrap().get(0);
        transaction.commit().await.unwrap();
        assert_eq!((&*me, alone), ("alice", true));
    }
    let mut served = 0;
    for (index, answer) in asking.into_iter().enumerate() {
        let answer = answer.await.unwrap();
        if answer.status == StatusCode::OK {
            assert_eq!(answer.json()["rows"][0]["me"], crowd[index % 5]);
            served += 1;
        } else {
            // All have too many under way, or one of them has.
            let refused = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&answer.status);
            assert_eq!((refused, &*answer.code()), (true, "53300"), "{answer:?}");
        }
    }
    assert!(served > 0);
}
