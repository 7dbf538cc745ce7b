//! A signing key that the database does not go by: told before the first user meets it, and to users as what it is.

use pgusher::demo::home::{random_hex, write_private};
use pgusher_tests::{Proxy, ProxyBuilder, Stage};

const STRANGER: &str = "the database does not go by the signing key";

/// A proxy with the key of another installation.
fn proxy_with_another_key(stage: &Stage, mode: &str) -> ProxyBuilder<'static> {
    let file = stage.files().join(format!("{}.secret", random_hex(4)));
    write_private(&file, &random_hex(32)).expect("a file");
    Proxy::builder(Stage::get()).claims(&format!("mode = \"{mode}\"\nsecret_file = \"{}\"", file.display()))
}

#[tokio::test]
async fn with_a_key_that_a_database_does_not_know_the_proxy_does_not_start() {
    let stage = Stage::get();
    for mode in ["signed", "auto"] {
        let mut proxy = proxy_with_another_key(stage, mode).set("upstream.databases", "neondb").spawn().await;

        assert_eq!(proxy.exit_code().await, Some(69), "{mode}");
        let told = proxy.logs(STRANGER).await;
        assert!(told.contains("login pgusher_authenticated") && told.contains("`pgusher setup --apply`"), "{told}");
    }
}

#[tokio::test]
async fn whichever_way_the_claims_go_they_are_tried_at_start() {
    let stage = Stage::get();
    let (with_extension, _one) = stage.session_jwt_database().await;
    let (with_schema, _other) = stage.database().await;
    let secret = format!("secret_file = \"{}\"", stage.files().join("claims.secret").display());
    let plain = "mode = \"claims\"\n[safety]\nallow = [\"claims-forgeable\"]";
    for (claims, databases) in [
        (format!("mode = \"auto\"\n{secret}"), format!("{with_extension},{with_schema}")),
        ("mode = \"pg_session_jwt\"".to_owned(), with_extension.clone()),
        (format!("mode = \"signed\"\n{secret}"), with_schema.clone()),
        (plain.to_owned(), with_schema.clone()),
    ] {
        let proxy = Proxy::builder(stage).claims(&claims).set("upstream.databases", &databases);
        proxy.set("upstream.settings.default_transaction_read_only", "on").start().await;
    }
}

#[tokio::test]
async fn what_keeps_the_users_of_a_role_out_is_told_at_start_if_tokens_lead_to_it() {
    let stage = Stage::get();
    let (database, superuser) = stage.database().await;
    let revoke = |role: &str| format!("REVOKE EXECUTE ON FUNCTION auth.pgusher_init FROM {role}");
    superuser.batch_execute(&revoke("anonymous")).await.expect("a superuser may");
    Proxy::builder(stage).set("upstream.databases", &database).start().await;

    superuser.batch_execute(&revoke("authenticated")).await.expect("a superuser may");

    let mut refused = Proxy::builder(stage).set("upstream.databases", &database).spawn().await;
    assert_eq!(refused.exit_code().await, Some(69));
    refused.logs("permission denied for function pgusher_init").await;
}

#[tokio::test]
async fn a_user_is_refused_for_good_and_the_log_says_what_to_do() {
    let stage = Stage::get();
    let token = stage.token("alice");
    for mode in ["session", "transaction"] {
        let proxy = proxy_with_another_key(stage, "signed").set("pool.pool_mode", mode).http().start().await;

        let refused = proxy.refused(&token).await;
        assert_eq!(refused.code().code(), "28000", "{mode}: {refused:?}");
        assert_eq!(refused.hint(), None, "{mode}: to connect again is of no use");
        let told = proxy.logs(STRANGER).await;
        assert!(told.contains("`pgusher setup --apply`") && told.contains("--verify"), "{told}");

        let answer = proxy.sql(&token, "SELECT 1").await;
        assert_eq!(answer.json()["code"], "28000", "{mode}: {answer:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_retired_meanwhile_is_told_in_the_log_too() {
    let stage = Stage::get();
    let (database, superuser) = stage.database().await;
    let proxy = Proxy::start(stage).await;
    let mut alice = proxy.session_with(&stage.token("alice"), &[("database", &database)]).await;
    superuser.batch_execute("UPDATE auth.keys SET valid_until = now()").await.expect("a retirement");

    alice.query("RESET ALL").await;
    let answer = alice.query("SELECT 1").await;

    assert_eq!(answer[0].sqlstate(), "28000");
    proxy.logs(STRANGER).await;
}
