//! `--harden`.

use super::lab::{As, Lab, refusal, value};

/// What one session could do against others of its login, or leave behind for them.
const ATTACKS: [&str; 14] = [
    "SELECT pg_terminate_backend(0)",
    "SELECT pg_cancel_backend(0)",
    "TABLE pg_stat_activity",
    "SELECT pg_stat_get_activity(NULL)",
    "SELECT pg_stat_get_backend_activity(1)",
    "SELECT lo_create(0)",
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, '')",
    "CREATE TEMPORARY TABLE todos ()",
    "DO 'BEGIN END'",
    "DROP OWNED BY CURRENT_USER",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1",
    "GRANT USAGE ON SCHEMA public TO PUBLIC",
];

#[tokio::test]
async fn a_session_has_nothing_against_another_and_users_notice_nothing() {
    let lab = Lab::new().await;
    lab.apply_as(As::Superuser, &["--harden"]).await;
    let boss = lab.boss().await;
    let table = "CREATE TABLE todos (user_id text, task text); GRANT ALL ON todos TO authenticated;
                 CREATE TEMPORARY TABLE t (); CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'";
    boss.batch_execute(table).await.expect("the owner goes on working");
    let policies = lab.setup(&["rls", "--table", "todos", "--owner-column", "user_id"]).await.out;
    assert_eq!(lab.psql(&policies).await.code, Some(0));

    // Beside the proxy it is the login, which every session of its role can get back to.
    for session in [lab.login().await, lab.user(&lab.serve().await, "mallory").await] {
        for attack in ATTACKS {
            assert_eq!(refusal(&session, attack).await, "42501", "{attack}");
        }
    }

    let proxy = lab.serve().await;
    let alice = lab.user(&proxy, "alice").await;
    alice
        .batch_execute("SET statement_timeout = '5s'; INSERT INTO todos (task) VALUES ('Take a seat')")
        .await
        .expect("a row");
    assert_eq!(value(&alice, "SELECT user_id || ': ' || task FROM todos").await.as_deref(), Some("alice: Take a seat"));
    assert_eq!(value(&alice, "SELECT set_config('application_name', 'mine', false)").await.as_deref(), Some("mine"));
    assert_eq!(value(&lab.user(&proxy, "bob").await, "SELECT count(*)::text FROM todos").await.as_deref(), Some("0"));
    lab.close().await;
}

#[tokio::test]
async fn an_owner_who_is_no_superuser_does_what_he_can_and_is_told_the_rest() {
    let lab = Lab::new().await;

    let told = lab.apply_as(As::Boss, &["--harden"]).await;

    for words in ["~ privileges of everybody on database app", "skipped", "pg_terminate_backend", "event trigger"] {
        assert!(told.out.contains(words), "{words:?} is not in {told:?}");
    }
    let session = lab.login().await;
    assert_eq!(refusal(&session, "CREATE TEMPORARY TABLE t ()").await, "42501");
    session.batch_execute("SELECT pg_cancel_backend(0)").await.expect("that was skipped");
    lab.close().await;
}

#[tokio::test]
async fn without_it_nothing_is_taken_from_anybody() {
    let lab = Lab::new().await;
    let before = lab.dump().await;

    let told = lab.apply_as(As::Superuser, &[]).await;

    let surplus = |line: &&str| line.trim_start().starts_with(['-', '~']);
    assert_eq!(told.out.lines().find(surplus), None);
    let after = lab.dump().await;
    let lost = before.lines().find(|line| !after.contains(line));
    assert_eq!(lost, None);
    lab.close().await;
}
