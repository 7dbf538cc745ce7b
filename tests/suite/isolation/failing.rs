//! A switch that fails: nothing of what the next client sent has run, neither as the one before nor as nobody.

use std::sync::{Arc, Mutex};

use pgusher_tests::request::{bind_named, execute, extended, flush, parse_named, query, sync};
use pgusher_tests::{Message, Proxy, Raw, Stage, message};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::Client;

use super::{BOB, WITNESS, narrow, playground, run, state, unlike};

/// Tells by a sequence, which no rollback takes back, whether anything of a client's has run.
const TRACE: &str = "
    CREATE SEQUENCE ran; GRANT ALL ON SEQUENCE ran TO authenticated;
    CREATE TABLE own (id int); ALTER TABLE own OWNER TO authenticated;";

/// The statement that leaves the trace.
const RUN: &str = "SELECT nextval('ran')";

/// The first requests of a client, each in one write.
fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let batch = [extended(RUN), sync()].concat();
    // FunctionCall of nextval(regclass), with its argument as text.
    let call = message(b'F', &[&1574_u32.to_be_bytes()[..], b"\0\x01\0\0\0\x01\0\0\0\x03ran\0\0"].concat());
    vec![
        ("a Query", query(RUN)),
        ("Queries", query(RUN).repeat(3)),
        ("a batch", batch.clone()),
        ("batches", batch.repeat(3)),
        ("a batch, then Queries", [batch.clone(), query(RUN).repeat(2)].concat()),
        ("a Query, then batches", [query(RUN), batch.repeat(2)].concat()),
        ("Syncs, then Queries", [sync().repeat(3), query(RUN).repeat(2)].concat()),
        ("a batch without its Sync, then a Query", [extended(RUN), query(RUN), sync(), query(RUN)].concat()),
        ("a FunctionCall", call),
        ("a transaction", [query("BEGIN"), query(RUN), query("COMMIT")].concat()),
        ("a wrong batch, then others", [extended("nonsense"), sync(), batch, query(RUN)].concat()),
    ]
}

/// A database of one test, with what keeps the trace.
async fn traced(stage: &Stage) -> (String, Client) {
    let (database, superuser) = playground(stage).await;
    superuser.batch_execute(TRACE).await.expect("a trace");
    (database, superuser)
}

/// Asserts that the client is told that it is over and nothing else, and that nothing of it has run.
async fn assert_refused(client: &mut Raw, requests: &[u8], superuser: &Client, what: &str) {
    client.send(requests).await;
    let heard = client.until_end().await;
    let [error] = &heard[..] else { panic!("{what}: one error, not {heard:?}") };
    assert_eq!((error.field(b'V').as_deref(), error.sqlstate().as_str()), (Some("FATAL"), "28000"), "{what}");
    assert!(error.field(b'D').is_some() && error.field(b'H').is_some(), "{what}: {error:?}");
    let ran = superuser.query_one("SELECT is_called FROM ran", &[]).await.expect("a row");
    assert!(!ran.get::<_, bool>(0), "{what}: something has run");
}

/// Asserts that whoever comes next has a server that works, and not this one.
async fn assert_next_works(proxy: &Proxy, stage: &Stage, database: &str, failed: i32, what: &str) {
    let mut next = proxy.session_with(&stage.token("bob"), &[("database", database)]).await;
    assert_eq!(next.who().await, BOB);
    assert_ne!(next.backend().await, failed, "{what}");
}

#[tokio::test]
async fn nothing_runs_behind_a_discard_that_fails() {
    let stage = Stage::get();
    for builder in [Proxy::builder(stage), Proxy::builder(stage).plain_claims()] {
        // The operator's limit is the reset's as well.
        let proxy = builder.set("pool.default_pool_size", 1).set("upstream.settings.lock_timeout", "5ms").start().await;
        let (database, superuser) = traced(stage).await;
        let here = [("database", database.as_str())];
        for (what, requests) in requests() {
            let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
            let mut mallory = proxy.session_with(&stage.token("mallory"), &here).await;
            // Unseen, for what is seen is cleared out when its client leaves.
            run(&mut mallory, "SELECT hide('CREATE TEMP TABLE t ()')").await;
            let schema = mallory.value("SELECT pg_my_temp_schema()::regnamespace").await;
            superuser.batch_execute(&format!("BEGIN; LOCK {schema}.t IN ACCESS SHARE MODE")).await.expect("a lock");
            let backend = mallory.backend().await;
            // Which is what limits the reset as well, for it began before the timeouts were reset.
            mallory.query("SET statement_timeout = 5").await;
            drop(mallory);

            assert_refused(&mut bob, &requests, &superuser, what).await;
            superuser.batch_execute("ROLLBACK").await.expect("an end");
            let mut next = proxy.session_with(&stage.token("bob"), &here).await;
            assert_ne!(next.backend().await, backend, "{what}");
        }
    }
}

/// A cancel that finds the reset waiting for a lock ends it, and with it the session: who cancels wants to wait no more.
#[tokio::test]
async fn nothing_runs_behind_a_switch_that_is_cancelled() {
    let (stage, proxy) = (Stage::get(), narrow(Stage::get()).await);
    let (database, superuser) = traced(stage).await;
    let here = [("database", database.as_str())];
    // Where one leaves transactions read only, there is a COMMIT before the reset too, which is not the switch's.
    let reset = requests().into_iter().map(|request| (request, "off"));
    let reset_in_two = requests().into_iter().map(|request| (request, "on"));
    for ((what, requests), read_only) in reset.chain(reset_in_two) {
        let mut bob = proxy.raw().await;
        let greeting = bob.log_in_with(&stage.token("bob").to_string(), &here).await;
        let key = greeting.into_iter().find(|message| message.tag == b'K').expect("a key to cancel with");
        let mut mallory = proxy.session_with(&stage.token("mallory"), &here).await;
        // Unseen, for what is seen is cleared out when its client leaves.
        run(&mut mallory, "SELECT hide('CREATE TEMP TABLE t ()')").await;
        let schema = mallory.value("SELECT pg_my_temp_schema()::regnamespace").await;
        superuser.batch_execute(&format!("BEGIN; LOCK {schema}.t IN ACCESS SHARE MODE")).await.expect("a lock");
        let backend = mallory.backend().await;
        run(&mut mallory, &format!("SET default_transaction_read_only = {read_only}")).await;
        drop(mallory);
        bob.send(&requests).await;
        stage.until_backend(backend, "wait_event_type = 'Lock'").await;

        proxy.cancel(&key.body).await;

        assert_refused(&mut bob, &[], &superuser, what).await;
        superuser.batch_execute("ROLLBACK").await.expect("an end");
        assert_next_works(&proxy, stage, &database, backend, what).await;
    }
}

#[tokio::test]
async fn nothing_runs_behind_an_init_that_fails() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let (database, superuser) = traced(stage).await;
    let here = [("database", database.as_str())];
    for (spoil, mend) in [
        ("UPDATE auth.keys SET valid_until = now()", "UPDATE auth.keys SET valid_until = 'infinity'"),
        (
            "REVOKE EXECUTE ON FUNCTION auth.pgusher_init FROM authenticated",
            "GRANT EXECUTE ON FUNCTION auth.pgusher_init TO authenticated",
        ),
        ("ALTER SCHEMA auth RENAME TO gone", "ALTER SCHEMA gone RENAME TO auth"),
    ] {
        for (what, requests) in requests() {
            let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
            let mut alice = proxy.session_with(&stage.token("alice"), &here).await;
            let backend = alice.backend().await;
            superuser.batch_execute(spoil).await.expect("a superuser may");
            assert_refused(&mut bob, &requests, &superuser, what).await;
            superuser.batch_execute(mend).await.expect("a superuser may");
            assert_next_works(&proxy, stage, &database, backend, what).await;
        }
    }
}

#[tokio::test]
async fn nothing_runs_behind_a_remembered_setting_that_cannot_be_made_again() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let (database, superuser) = traced(stage).await;
    let here = [("database", database.as_str())];
    for (what, requests) in requests() {
        let spoken = "CREATE TEXT SEARCH CONFIGURATION public.spoken (COPY = pg_catalog.simple)";
        superuser.batch_execute(spoken).await.expect("a configuration");
        let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
        run(&mut bob, "SET work_mem = '1MB'").await;
        run(&mut bob, "SET default_text_search_config = 'public.spoken'").await;
        let mut alice = proxy.session_with(&stage.token("alice"), &here).await;
        let backend = alice.backend().await;
        superuser.batch_execute("DROP TEXT SEARCH CONFIGURATION public.spoken").await.expect("a superuser may");

        assert_refused(&mut bob, &requests, &superuser, what).await;
        assert_next_works(&proxy, stage, &database, backend, what).await;
    }
}

/// Who reads only, and defers, waits for all that write.
#[tokio::test]
async fn what_one_lets_its_transactions_wait_for_is_nothing_to_the_next() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("pool.default_pool_size", 2).start().await;
    let (database, _superuser) = playground(stage).await;
    let here = [("database", database.as_str())];
    let mut writing = proxy.session_with(&stage.token("mallory"), &here).await;
    let mut mallory = proxy.session_with(&stage.token("mallory"), &here).await;
    let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
    run(&mut writing, "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE; SELECT now()").await;
    for setting in ["isolation = 'serializable'", "read_only = on", "deferrable = on"] {
        run(&mut mallory, &format!("SET default_transaction_{setting}")).await;
    }
    assert_eq!(bob.who().await, BOB);
}

/// Behind a simple Query that fails Postgres skips nothing; so nothing of a switch is one.
#[tokio::test]
async fn nothing_runs_as_nobody_where_a_cancel_hits_the_switch() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let (database, superuser) = playground(stage).await;
    superuser.batch_execute(WITNESS).await.expect("a witness");
    let hammer = format!(
        "DO $$ BEGIN FOR i IN 1..300 LOOP
            PERFORM pg_cancel_backend(pid) FROM pg_stat_activity
              WHERE datname = '{database}' AND usename = 'pgusher_authenticated';
            PERFORM pg_stat_clear_snapshot();
         END LOOP; END $$"
    );
    let cancels = async {
        let canceller = stage.superuser().await;
        loop {
            canceller.batch_execute(&hammer).await.expect("a superuser may");
        }
    };
    let work = async {
        let here = [("database", database.as_str())];
        for round in 0..3000 {
            let name = ["alice", "bob"][round % 2];
            let mut raw = proxy.raw().await;
            if raw.log_in_with(&stage.token(name).to_string(), &here).await.last().is_some_and(|m| m.tag == b'Z') {
                raw.query(&format!("SELECT note('{name}')")).await;
            }
        }
    };
    tokio::select! { () = work => {}, () = cancels => {} }
    assert_eq!(unlike(&superuser).await, "");
}

#[tokio::test]
async fn statements_that_want_no_transaction_run_first_behind_a_switch() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let (database, _superuser) = traced(stage).await;
    let here = [("database", database.as_str())];
    let mut alice = proxy.session_with(&stage.token("alice"), &here).await;
    let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
    run(&mut bob, "SET work_mem = '1MB'").await;
    for first in [
        "VACUUM own",
        "CREATE INDEX CONCURRENTLY own_id ON own (id)",
        "REINDEX INDEX CONCURRENTLY own_id",
        "DROP INDEX CONCURRENTLY own_id",
        "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1; COMMIT",
        "DISCARD ALL",
    ] {
        alice.query("SELECT 1").await;
        run(&mut bob, first).await;
        assert_eq!(bob.who().await, BOB, "{first}");
    }
    for first in ["VACUUM own", "CREATE INDEX CONCURRENTLY own_id ON own (id)", "DISCARD ALL"] {
        alice.query("SELECT 1").await;
        let answer = bob.answers(&[extended(first), sync()].concat(), 1).await;
        assert_eq!(state(&answer[0]), "00000", "{first}: {answer:?}");
        assert_eq!(bob.who().await, BOB, "{first}");
    }
}

#[tokio::test]
async fn a_first_statement_that_fails_undoes_nothing_of_the_switch() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    let who = "SELECT concat_ws(' ', auth.user_id(), current_setting('work_mem'))";
    run(&mut bob, "SET work_mem = '1MB'").await;
    for (first, count) in [
        (query("SELECT 1 / 0"), 1),
        (query("nonsense"), 1),
        (query("BEGIN; SELECT 1 / 0; COMMIT; ROLLBACK"), 1),
        (query("SELECT 1; ROLLBACK"), 1),
        ([extended("SELECT 1 / 0"), sync()].concat(), 1),
        ([extended("SELECT 1"), extended("nonsense"), sync()].concat(), 1),
        ([query("SELECT 1 / 0"), query("SELECT 1 / 0")].concat(), 2),
    ] {
        alice.query("SELECT 1").await;
        let answers = bob.answers(&first, count).await;
        bob.query("ROLLBACK").await;
        assert_eq!(bob.value(who).await, "bob 1MB", "{answers:?}");
    }
    assert_eq!(Message::values(&alice.query("SELECT auth.user_id()").await), ["alice"]);
}

/// Bytes that a server says before the next that it really says.
type Lie = Arc<Mutex<Vec<u8>>>;

/// A port behind which there is this Postgres, and the lie that it tells next.
async fn lying(stage: &Stage) -> (u16, Lie) {
    let (listener, postgres) = (TcpListener::bind("127.0.0.1:0").await.expect("a port"), stage.postgres_port());
    let port = listener.local_addr().expect("its address").port();
    let lie = Lie::default();
    let told = lie.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", postgres)).await.expect("Postgres listens");
            let ((mut hears, mut tells), (mut answers, mut asks)) = (client.into_split(), server.into_split());
            let told = told.clone();
            tokio::spawn(async move { copy(&mut hears, &mut asks).await });
            tokio::spawn(async move {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(count @ 1..) = answers.read(&mut buffer).await {
                    let lie = std::mem::take(&mut *told.lock().expect("nobody panics"));
                    if tells.write_all(&[&lie, &buffer[..count]].concat()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, lie)
}

/// A server that is out of step could give one client what it has for another.
#[tokio::test]
async fn a_server_that_is_ready_within_a_switch_is_not_believed() {
    let stage = Stage::get();
    let (port, lie) = lying(stage).await;
    let builder = Proxy::builder(stage).set("upstream.port", port).set("upstream.sslmode", "disable");
    let proxy = builder.set("pool.default_pool_size", 1).start().await;
    let (database, _superuser) = traced(stage).await;
    let here = [("database", database.as_str())];
    let others = [("a batch without its Sync", [extended(RUN), flush()].concat())];
    for (what, requests) in requests().into_iter().chain(others) {
        let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
        let backend = proxy.session_with(&stage.token("alice"), &here).await.backend().await;
        *lie.lock().expect("nobody panics") = message(b'Z', b"I");

        bob.send(&requests).await;

        let heard = bob.until_end().await;
        let [error] = &heard[..] else { panic!("{what}: one error, not {heard:?}") };
        assert_eq!((error.field(b'V').as_deref(), error.sqlstate().as_str()), (Some("FATAL"), "08006"), "{what}");
        assert_next_works(&proxy, stage, &database, backend, what).await;
    }
}

/// One that has not refused what it was made to would show a client other columns than it knows.
#[tokio::test]
async fn a_server_that_binds_what_it_was_made_to_refuse_is_not_believed() {
    let stage = Stage::get();
    let (port, lie) = lying(stage).await;
    let builder = Proxy::builder(stage).set("upstream.port", port).set("upstream.sslmode", "disable");
    // Of two statements one has to be made again each time.
    let proxy = builder.set("pool.default_pool_size", 1).set("pool.max_prepared_statements", 1).start().await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    let prepare = [parse_named("two", "SELECT 1, 2"), parse_named("other", "SELECT 3"), sync()].concat();
    assert_eq!(Message::tags(&alice.answers(&prepare, 1).await[0]), "11Z");
    // The old one is closed, and "two" made again, described with three columns, bound and run.
    let column = [&b"c\0"[..], &[0; 18]].concat();
    let described = message(b'T', &[&[0, 3][..], &column.repeat(3)].concat());
    let row = message(b'D', b"\0\x03\0\0\0\x01a\0\0\0\x01b\0\0\0\x01c");
    let before = [message(b'3', b""), message(b'1', b""), message(b't', b"\0\0"), described];
    *lie.lock().expect("nobody panics") = [before.concat(), message(b'2', b""), row].concat();

    alice.send(&[bind_named("", "two", &[]), execute(), sync()].concat()).await;

    let heard = alice.until_end().await;
    let [error] = &heard[..] else { panic!("one error, not {heard:?}") };
    assert_eq!((error.field(b'V').as_deref(), error.sqlstate().as_str()), (Some("FATAL"), "0A000"));
}
