//! Who gets in, as whom, and what those are told who do not.

use pgusher_tests::{Proxy, Stage};

#[tokio::test]
async fn a_token_as_the_password_shows_its_subject_their_rows_and_nobody_elses() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for (subject, rows) in [("alice", 3), ("bob", 2), ("carol", 0)] {
        let client = proxy.connect(&stage.token(subject)).await;
        let owners = client.query("SELECT user_id FROM todos", &[]).await.expect("rows");
        assert_eq!(owners.len(), rows);
        assert!(owners.iter().all(|row| row.get::<_, String>(0) == subject));
    }
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let error = proxy.refused(&stage.token("alice").expired()).await;
    assert_eq!(error.code().code(), "28P01");
    assert!(error.detail().is_some_and(|detail| detail.contains("expired")));
}
