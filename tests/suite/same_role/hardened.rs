//! A database after `pgusher setup --harden`: what is taken from sessions, from the role and from its login, and what
//! goes on as before.

use pgusher_tests::{Proxy, Raw, Stage, harden};
use tokio_postgres::Client;

use super::{session, state, theatre};

/// The demo's tables in a database that is hardened.
async fn hardened(stage: &Stage) -> (String, Client) {
    let (database, superuser) = theatre(stage).await;
    harden(&superuser).await;
    (database, superuser)
}

/// Asserts that each of these is refused to the role and to the login.
async fn assert_refused(client: &mut Raw, attempts: &[&str]) {
    for start in ["RESET ROLE", "SET ROLE NONE"] {
        for attempt in attempts {
            assert_eq!(state(client, start).await, "00000");
            assert_eq!(state(client, attempt).await, "42501", "{start}; {attempt}");
        }
    }
}

#[tokio::test]
async fn nobody_sees_what_others_run_or_ends_it() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let (database, _superuser) = hardened(stage).await;
    let mut bob = session(&proxy, stage, "bob", &database).await;
    bob.query("BEGIN").await;
    let backend = bob.backend().await;
    let mut mallory = session(&proxy, stage, "mallory", &database).await;

    let [terminate, cancel] = ["terminate", "cancel"].map(|act| format!("SELECT pg_{act}_backend({backend})"));
    let others = [
        "TABLE pg_stat_activity",
        "SELECT query FROM pg_stat_activity",
        "SELECT pg_stat_get_activity(NULL)",
        "SELECT pg_stat_get_backend_activity(1)",
        &terminate,
        &cancel,
    ];
    assert_refused(&mut mallory, &others).await;

    assert_eq!((bob.value("SELECT count(*) FROM todos").await.as_str(), bob.backend().await), ("2", backend));
}

#[tokio::test]
async fn nobody_makes_what_outlives_them_or_stands_in_front_of_others() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let (database, _superuser) = hardened(stage).await;
    let mut mallory = session(&proxy, stage, "mallory", &database).await;
    let attempts = [
        "CREATE TEMP TABLE todos (user_id text)",
        "CREATE TEMP VIEW mine AS SELECT 1",
        "CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DO $$ BEGIN EXECUTE 'DROP OWNED BY CURRENT_USER'; END $$",
        "SELECT lo_create(0)",
        "SELECT lo_creat(-1)",
        "SELECT lo_from_bytea(0, 'mine')",
        "CREATE TABLE public.mine ()",
        "DROP OWNED BY CURRENT_USER",
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC",
        "GRANT authenticated TO anonymous",
        "REVOKE ALL ON todos FROM authenticated",
    ];
    assert_refused(&mut mallory, &attempts).await;
}

#[tokio::test]
async fn everything_else_goes_on_as_before() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("pool.default_pool_size", 1).start().await;
    let (database, _superuser) = hardened(stage).await;
    let mut alice = session(&proxy, stage, "alice", &database).await;
    let mut bob = session(&proxy, stage, "bob", &database).await;
    let backend = bob.backend().await;
    for (client, rows) in [(&mut alice, "3"), (&mut bob, "2")] {
        for statement in [
            "SET work_mem = '1MB'",
            "SELECT set_config('statement_timeout', '60s', false)",
            "BEGIN; SAVEPOINT a; ROLLBACK TO a; COMMIT",
            "RESET ALL",
            "PREPARE mine AS SELECT 1; EXECUTE mine; DEALLOCATE mine",
            "DECLARE mine CURSOR WITH HOLD FOR TABLE todos; CLOSE mine",
            "INSERT INTO todos (task) VALUES ('Take a seat'); DELETE FROM todos WHERE task = 'Take a seat'",
            "COPY (TABLE todos) TO STDOUT",
            "SELECT pg_advisory_lock(1), pg_advisory_unlock_all()",
            "LISTEN news; NOTIFY news; UNLISTEN *",
            "DISCARD ALL",
        ] {
            assert_eq!(state(client, statement).await, "00000", "{statement}");
            assert_eq!(client.value("SELECT count(*) FROM todos").await, rows, "{statement}");
        }
    }
    assert_eq!(bob.backend().await, backend);
}
