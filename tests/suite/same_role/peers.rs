//! What one user of a role sees of another's session, and does to it: nothing as the role; from the login, to which
//! everybody can go back, what Postgres lets sessions of one login do.

use pgusher_tests::{Message, Proxy, Raw, Stage};
use tokio_postgres::{Config, NoTls};

use super::rows::is_mended;
use super::{session, state, theatre};

/// Bob in a transaction, having run a query with a secret in it, and his server.
async fn bob_at_work(proxy: &Proxy, stage: &Stage, database: &str) -> (Raw, i32) {
    let mut bob = session(proxy, stage, "bob", database).await;
    bob.query("BEGIN").await;
    let backend = bob.backend().await;
    assert_eq!(bob.value("SELECT 'a secret'").await, "a secret");
    (bob, backend)
}

#[tokio::test]
async fn the_statements_of_others_are_shown_to_the_login_and_not_to_the_role() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let (database, _superuser) = theatre(stage).await;
    let (_bob, backend) = bob_at_work(&proxy, stage, &database).await;
    let mut mallory = session(&proxy, stage, "mallory", &database).await;
    let look = format!("SELECT query FROM pg_stat_activity WHERE pid = {backend}");

    assert_eq!(mallory.value(&look).await, "<insufficient privilege>");
    mallory.query("SET ROLE NONE").await;
    assert_eq!(mallory.value(&look).await, "SELECT 'a secret'");
}

#[tokio::test]
async fn the_sessions_of_others_are_ended_by_the_login_and_not_by_the_role() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let (database, _superuser) = theatre(stage).await;
    let (mut bob, backend) = bob_at_work(&proxy, stage, &database).await;
    let mut mallory = session(&proxy, stage, "mallory", &database).await;
    let terminate = format!("SELECT pg_terminate_backend({backend})");

    for act in [&terminate, &format!("SELECT pg_cancel_backend({backend})")] {
        assert_eq!(state(&mut mallory, act).await, "42501", "{act}");
    }
    assert_eq!(bob.value("SELECT count(*) FROM todos").await, "2");
    mallory.query("SET ROLE NONE").await;
    assert_eq!(mallory.value(&terminate).await, "t");

    // It is told as the end that it is, and a new session is bob's as before.
    let end = bob.until_end().await;
    assert_eq!(end.first().map(Message::sqlstate).as_deref(), Some("57P01"), "{end:?}");
    let mut bob = session(&proxy, stage, "bob", &database).await;
    assert_eq!(bob.value("SELECT count(*) FROM todos").await, "2");
}

#[tokio::test]
async fn advisory_locks_and_channels_are_everybodys() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let (database, _superuser) = theatre(stage).await;
    let mut bob = session(&proxy, stage, "bob", &database).await;
    let mut mallory = session(&proxy, stage, "mallory", &database).await;
    assert_eq!(state(&mut bob, "LISTEN news").await, "00000");

    assert_eq!(mallory.value("SELECT pg_try_advisory_lock(1)").await, "t");
    assert_eq!(state(&mut mallory, "NOTIFY news, 'from mallory'").await, "00000");

    let heard = bob.until(b'A').await;
    assert_eq!(bob.value("SELECT pg_try_advisory_lock(1)").await, "f");
    assert!(heard.iter().any(|message| String::from_utf8_lossy(&message.body).contains("from mallory")), "{heard:?}");
}

#[tokio::test]
async fn whoever_changes_the_logins_password_keeps_others_out_and_is_nobody_beside_the_proxy() {
    let stage = Stage::alone().await;
    let proxy = Proxy::builder(&stage).set("pool.default_pool_size", 1).start().await;
    let change = "ALTER ROLE pgusher_authenticated PASSWORD 'mine'";
    let mut mallory = proxy.session(&stage.token("mallory")).await;
    assert_eq!(state(&mut mallory, change).await, "42501");
    assert_eq!(state(&mut mallory, &format!("SET ROLE NONE; {change}")).await, "00000");

    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(stage.postgres_port())
        .dbname("neondb")
        .user("pgusher_authenticated")
        .password("mine");
    let (client, connection) = config.connect(NoTls).await.expect("a way in");
    tokio::spawn(connection);
    client.batch_execute("SET ROLE authenticated").await.expect("its one membership");
    let row = client.query_one("SELECT auth.user_id(), (SELECT count(*) FROM todos)", &[]).await.expect("a row");
    assert_eq!((row.get::<_, Option<String>>(0), row.get::<_, i64>(1)), (None, 0));

    // Servers that are open stay; who needs a new one gets none.
    let elsewhere = [("database", "postgres")];
    let shut_out = proxy.raw().await.log_in_with(&stage.token("bob").to_string(), &elsewhere).await;
    assert_eq!(shut_out.first().map(Message::sqlstate).as_deref(), Some("57P03"), "{shut_out:?}");
    proxy.logs("password authentication failed").await;
    stage.close().await;
}

/// A policy that is to hold in any case, for this role.
const RESTRICTIVE: &str = "CREATE POLICY \"not the stage\" ON todos AS RESTRICTIVE TO authenticated
    USING (task <> 'Sweep the stage')";

#[tokio::test]
async fn a_role_that_drops_its_policies_sees_no_more_on_a_server_that_is_up_to_date() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let (database, superuser) = theatre(stage).await;
    superuser.batch_execute(RESTRICTIVE).await.expect("a superuser may");
    let mut bob = session(&proxy, stage, "bob", &database).await;
    let mut mallory = session(&proxy, stage, "mallory", &database).await;
    let count = "SELECT count(*) FROM todos";
    assert_eq!((bob.value(count).await.as_str(), mallory.value(count).await.as_str()), ("1", "0"));

    assert_eq!(state(&mut mallory, "DROP OWNED BY CURRENT_USER").await, "00000");

    // Older servers drop what names the role, the seed's policies among them: whose rows these were has none then.
    assert_eq!(mallory.value(count).await, "0");
    let bobs = if is_mended(&mut mallory).await { "1" } else { "0" };
    assert_eq!(bob.value(count).await, bobs);
}
