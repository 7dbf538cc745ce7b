//! A database that is not there, or does not want us: what the client is told, and what only the log.

use pgusher_tests::{Proxy, Stage};
use tokio_postgres::error::DbError;

fn assert_unavailable(error: &DbError) {
    assert_eq!((error.code().code(), error.message()), ("57P03", "the database is not available"));
    let told = format!("{error:?}");
    assert!(!told.contains("pgusher_authenticated") && !told.contains("127.0.0.1"), "{told}");
}

#[tokio::test]
async fn a_client_learns_that_the_database_is_not_available_and_only_the_log_why() {
    let stage = Stage::alone().await;
    let proxy = Proxy::builder(&stage).set("pool.server_login_retry", "0s").start().await;
    let token = stage.token("alice").to_string();

    let change = "ALTER ROLE pgusher_authenticated PASSWORD 'another'";
    stage.superuser().await.batch_execute(change).await.expect("the superuser may");
    assert_unavailable(&proxy.refused(&token).await);
    proxy.logs("password authentication failed").await;

    stage.postgres.stop().await.expect("it stops");
    assert_unavailable(&proxy.refused(&token).await);
    proxy.logs("Connection refused").await;
}

#[tokio::test]
async fn what_the_client_itself_asked_for_wrongly_it_is_told_in_the_databases_words() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut config = proxy.config(&stage.token("alice"));

    let zone = proxy.refused_with(config.clone().options("-c TimeZone=Nowhere/Here")).await;
    assert_eq!(zone.code().code(), "22023");
    assert_eq!(zone.message(), "invalid value for parameter \"TimeZone\": \"Nowhere/Here\"");

    let database = proxy.refused_with(config.dbname("nowhere")).await;
    assert_eq!((database.code().code(), database.message()), ("3D000", "database \"nowhere\" does not exist"));
}
