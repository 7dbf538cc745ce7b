//! What cannot be taken along keeps its server with its client, until DISCARD ALL or the end.

use pgusher_tests::request::{bind_named, execute_named, extended, parse_named, query, sync};
use pgusher_tests::{Message, Stage};

use super::{Crowd, pool_of, run};

#[tokio::test]
async fn what_a_session_has_made_is_there_in_its_next_transaction() {
    let (stage, mut crowd) = (Stage::get(), Crowd::new().await);
    let (database, superuser) = stage.database().await;
    let sequence = "CREATE SEQUENCE numbers; GRANT USAGE ON SEQUENCE numbers TO authenticated; \
        GRANT TEMPORARY ON DATABASE DATABASE_NAME TO PUBLIC"
        .replace("DATABASE_NAME", &database);
    superuser.batch_execute(&sequence).await.expect("a sequence");
    let advisory = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    for (sql, look, expected, cause) in [
        ("LISTEN doors", "SELECT pg_listening_channels()", "doors", "listen"),
        ("CREATE TEMP TABLE t AS SELECT 5 n", "SELECT n FROM t", "5", "temporary object"),
        ("SELECT 6 n INTO TEMPORARY t", "SELECT n FROM t", "6", "temporary object"),
        ("CREATE TABLE pg_temp.t (n int)", "SELECT count(*) FROM t", "0", "temporary object"),
        ("PREPARE p AS SELECT 7", "EXECUTE p", "7", "prepare"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 8", "FETCH c", "8", "cursor with hold"),
        ("SELECT pg_advisory_lock(42)", advisory, "1", "advisory lock"),
        ("SELECT pg_try_advisory_lock_shared(4, 2)", advisory, "1", "advisory lock"),
        ("SELECT set_config('work_mem', '3MB', 1 = 2)", "SHOW work_mem", "3MB", "set_config"),
        (
            "SELECT ts_stat('SELECT to_tsvector(set_con' || 'fig(''work_mem'', ''3MB'', false))')",
            "SHOW work_mem",
            "3MB",
            "unclear statement",
        ),
        ("SELECT nextval('numbers') * 0", "SELECT currval('numbers') > 0", "t", "nextval"),
        ("SELECT setseed(0.5)", "SELECT 1", "1", "random seed"),
        ("SET seed = 0.5", "SELECT 1", "1", "random seed"),
        ("SET ROLE NONE", "SELECT current_user", "pgusher_authenticated", "role"),
    ] {
        let mut client = crowd.proxy.session_with(&stage.token("alice"), &[("database", &database)]).await;
        let mut other = crowd.proxy.session_with(&stage.token("bob"), &[("database", &database)]).await;
        let backend = client.backend().await;
        run(&mut client, sql).await;

        assert_ne!(other.backend().await, backend, "{sql}");
        assert_eq!(client.value(look).await, expected, "{sql}");
        assert_eq!(client.backend().await, backend, "{sql}");

        run(&mut client, "DISCARD ALL").await;
        // One that is idle shares its server.
        run(&mut other, "BEGIN").await;
        let taken = other.backend().await;
        assert_ne!(client.backend().await, taken, "{sql}");
        run(&mut other, "COMMIT").await;
        drop(client);
        crowd.proxy.logs(&format!("\"pins\":\"{cause} ")).await;
    }
    // In the stage's own database the crowd is in the way of a client that has nothing any more.
    let mut client = crowd.proxy.session(&stage.token("alice")).await;
    run(&mut client, "PREPARE p AS SELECT 1").await;
    run(&mut client, "DISCARD ALL").await;
    crowd.push(&mut client).await;
}

/// As the pools of drivers do it between two users.
#[tokio::test]
async fn who_gives_up_all_of_a_kind_keeps_no_server_for_it() {
    let (stage, mut crowd) = (Stage::get(), Crowd::new().await);
    let reset = "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;";
    // Npgsql's.
    let all = "SET SESSION AUTHORIZATION DEFAULT;RESET ALL;CLOSE ALL;UNLISTEN *;SELECT pg_advisory_unlock_all();\
        DISCARD SEQUENCES;DISCARD TEMP";
    for (made, given_up) in [
        ("LISTEN doors", "UNLISTEN *"),
        ("PREPARE p AS SELECT 7", "DEALLOCATE ALL"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 8", "CLOSE ALL"),
        ("SELECT pg_advisory_lock(44)", "SELECT pg_advisory_unlock_all()"),
        ("SELECT set_config('work_mem', '3MB', 1 = 2)", "RESET ALL"),
        ("LISTEN doors; SELECT pg_advisory_lock(44); SELECT set_config('work_mem', '3MB', 1 = 2)", reset),
        ("LISTEN doors; SELECT pg_advisory_lock(44)", all),
        ("SET ROLE NONE", "SET SESSION AUTHORIZATION DEFAULT"),
    ] {
        for other in &mut crowd.others {
            run(other, "ROLLBACK").await;
        }
        let mut client = crowd.proxy.session(&stage.token("alice")).await;
        for sql in [made, "BEGIN", given_up, "ROLLBACK"] {
            run(&mut client, sql).await;
        }
        let backend = client.backend().await;
        for other in &mut crowd.others {
            assert_ne!(other.backend().await, backend, "{made}");
        }
        // Not before it is given up for good.
        assert_eq!(client.backend().await, backend, "{made}");
        run(&mut client, given_up).await;
        crowd.push(&mut client).await;
        assert_eq!(client.value("SHOW work_mem").await, "4MB", "{made}");
    }
}

/// As Qt, psqlODBC and lib/pq do it.
#[tokio::test]
async fn who_gives_up_each_by_its_name_keeps_no_server_for_it() {
    let (stage, mut crowd) = (Stage::get(), Crowd::new().await);
    let mut client = crowd.proxy.session(&stage.token("alice")).await;
    for (made, given_up) in [
        ("LISTEN \"Doors\"", "UNLISTEN \"Doors\""),
        ("PREPARE qpsqlpstmt_1 (int) AS SELECT $1", "DEALLOCATE qpsqlpstmt_1"),
        ("BEGIN;declare \"C\" cursor with hold for select 8;fetch 1 in \"C\"", "close \"C\";commit"),
    ] {
        for other in &mut crowd.others {
            run(other, "ROLLBACK").await;
        }
        run(&mut client, made).await;
        run(&mut client, given_up).await;
        crowd.push(&mut client).await;
    }
}

#[tokio::test]
async fn what_was_prepared_keeps_its_server_again_when_it_is_run_again() {
    let (stage, mut crowd) = (Stage::get(), Crowd::new().await);
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    let lock = [bind_named("", "lock", &[]), execute_named("", 0), sync()].concat();
    let mut client = crowd.proxy.session(&stage.token("alice")).await;
    let prepared = [parse_named("lock", "SELECT pg_advisory_lock(46)"), lock.clone()].concat();
    client.answers(&prepared, 1).await;
    run(&mut client, "SELECT pg_advisory_unlock_all()").await;
    crowd.push(&mut client).await;
    for other in &mut crowd.others {
        run(other, "ROLLBACK").await;
    }
    client.answers(&lock, 1).await;
    for other in &mut crowd.others {
        run(other, "SELECT 1").await;
    }
    assert_eq!(client.value(held).await, "1");
}

/// What was given up in between is there again.
#[tokio::test]
async fn what_is_run_again_keeps_its_server_again() {
    let (stage, mut crowd) = (Stage::get(), Crowd::new().await);
    let held = "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    let rows = "SELECT pg_advisory_lock(g) FROM generate_series(47, 49) g";
    let portal = [parse_named("", rows), bind_named("", "", &[]), execute_named("", 1)].concat();
    let unlock =
        [parse_named("u", "SELECT pg_advisory_unlock_all()"), bind_named("u", "u", &[]), execute_named("u", 0)];
    for (requests, answers) in [
        (
            [
                query("PREPARE l AS SELECT pg_advisory_lock(47)"),
                query("EXECUTE l; SELECT pg_advisory_unlock_all()"),
                query("EXECUTE l"),
                query("DEALLOCATE l"),
            ]
            .concat(),
            4,
        ),
        (
            [
                query("BEGIN; DECLARE c CURSOR FOR SELECT pg_advisory_lock(47)"),
                query("SELECT pg_advisory_unlock_all()"),
                query("FETCH c; COMMIT"),
            ]
            .concat(),
            3,
        ),
        ([query("BEGIN"), portal, unlock.concat(), execute_named("", 0), sync(), query("COMMIT")].concat(), 3),
    ] {
        let mut client = crowd.proxy.session(&stage.token("alice")).await;
        for answer in client.answers(&requests, answers).await {
            assert!(answer.iter().all(|message| message.tag != b'E'), "{answer:?}");
        }
        for other in &mut crowd.others {
            run(other, "SELECT 1").await;
        }
        assert_eq!(client.value(held).await, "t");
    }
}

#[tokio::test]
async fn what_is_given_up_and_taken_back_at_once_keeps_its_server() {
    let (stage, mut crowd) = (Stage::get(), Crowd::new().await);
    let mut client = crowd.proxy.session(&stage.token("alice")).await;
    run(&mut client, "LISTEN doors").await;
    let batch = [extended("BEGIN"), extended("UNLISTEN *"), extended("ROLLBACK"), sync()].concat();
    client.answers(&batch, 1).await;
    for other in &mut crowd.others {
        run(other, "SELECT 1").await;
    }
    assert_eq!(client.value("SELECT pg_listening_channels()").await, "doors");
}

#[tokio::test]
async fn what_is_made_behind_discard_all_in_one_batch_keeps_its_server() {
    let (stage, mut crowd) = (Stage::get(), Crowd::new().await);
    let mut client = crowd.proxy.session(&stage.token("alice")).await;
    let batch = [extended("DISCARD ALL"), extended("SELECT pg_advisory_lock(45)"), sync()].concat();
    client.answers(&batch, 1).await;
    for other in &mut crowd.others {
        run(other, "SELECT 1").await;
    }
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    assert_eq!(client.value(held).await, "1");
}

#[tokio::test]
async fn what_ends_with_its_transaction_keeps_no_server() {
    let (stage, mut crowd) = (Stage::get(), Crowd::new().await);
    let mut client = crowd.proxy.session(&stage.token("alice")).await;
    for sql in [
        "SELECT set_config('work_mem', '3MB', true)",
        "SELECT set_config('work_mem', '3MB', false)",
        "BEGIN; SET LOCAL work_mem = '3MB'; COMMIT",
        "BEGIN; SET TRANSACTION READ ONLY; COMMIT",
        "SELECT pg_advisory_xact_lock(43)",
        "BEGIN; DECLARE c CURSOR FOR SELECT 1; FETCH c; COMMIT",
        "SELECT 'LISTEN; CREATE TEMP TABLE t' AS \"nextval(\" -- PREPARE p AS SELECT 1",
        "NOTIFY doors",
        "DEALLOCATE ALL",
        "UNLISTEN *",
        "CLOSE ALL",
        "DO $$ BEGIN END $$",
    ] {
        run(&mut client, sql).await;
        crowd.push(&mut client).await;
    }
}

#[tokio::test]
async fn a_notification_arrives_at_an_idle_client_and_at_nobody_else() {
    let (stage, proxy) = (Stage::get(), pool_of(2).await);
    let mut listener = proxy.session(&stage.token("alice")).await;
    let mut other = proxy.session(&stage.token("bob")).await;
    run(&mut listener, "LISTEN pooling_doors").await;
    for _ in 0..2 {
        assert_eq!(Message::tags(&run(&mut other, "NOTIFY pooling_doors").await), "CZ");
        assert_eq!(listener.receive().await.expect("a notification").tag, b'A');
    }
    drop(listener);
    proxy.logs("session ended").await;
    for _ in 0..3 {
        assert_eq!(Message::tags(&run(&mut other, "NOTIFY pooling_doors").await), "CZ");
    }
}
