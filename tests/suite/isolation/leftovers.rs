//! What a session leaves on its server: the next identity finds nothing of it.

use pgusher_tests::{Message, Proxy, Stage};
use tokio::task::JoinSet;

use super::{BOB, OWN, narrow, playground, run, state};

/// Everything that Postgres shows of what a session has made for itself.
const REMAINS: &str = "SELECT coalesce(string_agg(what, ' '), 'nothing') FROM (
    SELECT relname::pg_catalog.text FROM pg_class WHERE relnamespace = pg_my_temp_schema()
    UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = pg_my_temp_schema()
    UNION ALL SELECT typname FROM pg_type WHERE typnamespace = pg_my_temp_schema()
    UNION ALL SELECT oprname FROM pg_operator WHERE oprnamespace = pg_my_temp_schema()
    UNION ALL SELECT name FROM pg_prepared_statements
    UNION ALL SELECT name FROM pg_cursors
    UNION ALL SELECT channel FROM pg_listening_channels() AS channel
    UNION ALL SELECT 'lock' FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
    UNION ALL SELECT name FROM pg_settings WHERE source = 'session'
) AS remains(what)";

/// Each leaves something, in the open or where no text shows it.
const DEEDS: [&str; 40] = [
    "CREATE TEMP TABLE todos AS SELECT 'evil'::text AS user_id",
    "CREATE TEMP TABLE todos (user_id text) ON COMMIT DELETE ROWS",
    "CREATE TEMP VIEW todos AS SELECT 'evil'::text AS user_id",
    "CREATE VIEW pg_temp.pg_settings AS SELECT 'evil'::text AS name, 'none' AS source",
    "SELECT 'evil'::text AS user_id INTO TEMP todos",
    "CREATE TEMP SEQUENCE todos_id_seq",
    "CREATE FUNCTION pg_temp.user_id() RETURNS text LANGUAGE sql AS $$ SELECT 'evil' $$",
    "CREATE FUNCTION pg_temp.set_config(text, text, bool) RETURNS text LANGUAGE sql AS $$ SELECT 'evil' $$",
    "CREATE OPERATOR pg_temp.= (LEFTARG = text, RIGHTARG = text, FUNCTION = textne)",
    "CREATE TYPE pg_temp.text AS ENUM ('evil')",
    "CREATE DOMAIN pg_temp.name AS text CHECK (VALUE = 'evil')",
    "DO $$ BEGIN EXECUTE 'CREATE TEM' || 'P TABLE todos (user_id text)'; END $$",
    "PREPARE pgusher_1 AS SELECT 'evil'",
    "PREPARE s AS SELECT 'evil'; PREPARE \"a b\" AS SELECT 'evil'",
    "DO $$ BEGIN EXECUTE 'PREPARE s AS SELECT ''evil'''; END $$",
    "DECLARE c CURSOR WITH HOLD FOR SELECT task FROM todos",
    "BEGIN; DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT * FROM todos; FETCH c; COMMIT",
    "LISTEN news",
    "DO $$ BEGIN EXECUTE 'LIS' || 'TEN news'; END $$",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_try_advisory_lock_shared(1, 2), pg_advisory_lock(1)",
    "DO $$ BEGIN PERFORM pg_advisory_lock(3); END $$",
    "SELECT ts_rewrite('a', 'SELECT ''a''::tsquery, (pg_advisory_' || 'lock(4) IS NULL)::text::tsquery')",
    "SET work_mem = '1MB'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE",
    "SELECT set_config('search_path', 'pg_temp, evil', false)",
    "SELECT ts_rewrite('a', $$SELECT 'a'::tsquery, set_config('row_' || 'security', 'off', false)::tsquery$$)",
    "DO $$ BEGIN PERFORM set_config('TimeZone', 'Asia/Tokyo', false); END $$",
    "DO $$ BEGIN SET DateStyle = 'German'; END $$",
    "SET default_transaction_read_only = on",
    "SET statement_timeout = '20s'",
    "SET lock_timeout = 1",
    "SET idle_in_transaction_session_timeout = 1",
    "SET client_encoding = 'SJIS'",
    "SET standard_conforming_strings = off",
    "SET row_security = off",
    "SET check_function_bodies = off; SET quote_all_identifiers = on; SET transform_null_equals = on",
    "SET plan_cache_mode = force_generic_plan",
    "SET synchronous_commit = off",
    "BEGIN; SET work_mem = '1MB'; SAVEPOINT a; SET jit = off; ROLLBACK TO a; COMMIT",
];

#[tokio::test]
async fn nothing_that_one_leaves_is_there_for_the_next() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    let backend = bob.backend().await;
    for deed in DEEDS {
        let mut mallory = proxy.session(&stage.token("mallory")).await;
        run(&mut mallory, deed).await;
        assert_ne!(mallory.value(REMAINS).await, "nothing", "{deed}");
        assert_eq!(mallory.backend().await, backend);
        drop(mallory);

        assert_eq!(bob.value(OWN).await, "bob", "{deed}");
        assert_eq!(bob.value(REMAINS).await, "nothing", "{deed}");
        assert_eq!((bob.who().await.as_str(), bob.backend().await), (BOB, backend), "{deed}");
    }
}

#[tokio::test]
async fn a_role_that_one_took_is_not_the_next_ones() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    let backend = bob.backend().await;
    for deed in [
        "SET ROLE NONE",
        "SET SESSION AUTHORIZATION pgusher_authenticated",
        "DO $$ BEGIN EXECUTE 'SET RO' || 'LE NONE'; END $$",
        "SELECT ts_rewrite('a', $$SELECT 'a'::tsquery, set_config('ro' || 'le', 'none', false)::tsquery$$)",
        "SELECT ts_rewrite('a', $$SELECT 'a'::tsquery, set_config('pgusher.' || 'claims', '', false)::tsquery$$)",
        "DO $$ BEGIN RESET ALL; END $$",
        "SET ROLE NONE; SET ROLE authenticated; RESET ALL",
        "SELECT set_config('request.jwt.claims', '{\"sub\":\"mallory\"}', false)",
    ] {
        let mut mallory = proxy.session(&stage.token("mallory")).await;
        run(&mut mallory, deed).await;
        drop(mallory);
        assert_eq!((bob.who().await.as_str(), bob.backend().await), (BOB, backend), "{deed}");
        assert_eq!(bob.value("SELECT '[' || current_setting('request.jwt.claims', true) || ']'").await, "[]", "{deed}");
    }
}

/// Functions and operators that pass what they see on, under the names of those that others call.
const TRAPS: &str = "
    CREATE SCHEMA evil; CREATE TABLE evil.caught (what text);
    CREATE FUNCTION evil.set_config(text, text, bool) RETURNS text LANGUAGE sql AS
        $$ INSERT INTO evil.caught VALUES ($2) RETURNING what $$;
    CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql AS
        $$ INSERT INTO evil.caught VALUES ($1) RETURNING what $$;
    CREATE FUNCTION evil.pgusher_init(text, text) RETURNS void LANGUAGE sql AS
        $$ INSERT INTO evil.caught VALUES ($1) $$;
    CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE sql AS $$ INSERT INTO evil.caught VALUES ($1) RETURNING '' $$;
    CREATE FUNCTION evil.same(text, text) RETURNS bool LANGUAGE sql AS
        $$ INSERT INTO evil.caught VALUES ($1) RETURNING true $$;
    CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);";

#[tokio::test]
async fn a_search_path_that_was_left_catches_no_call_of_the_next_one_or_the_proxys() {
    let stage = Stage::get();
    for (proxy, reset) in [
        (narrow(stage).await, "RESET ALL"),
        (Proxy::builder(stage).plain_claims().set("pool.default_pool_size", 1).start().await, "DISCARD ALL"),
    ] {
        let (database, superuser) = playground(stage).await;
        let here = [("database", database.as_str()), ("TimeZone", "UTC")];
        let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
        let mut mallory = proxy.session_with(&stage.token("mallory"), &here).await;
        run(&mut mallory, TRAPS).await;
        drop(mallory);
        let mut mallory = proxy.session_with(&stage.token("mallory"), &here).await;
        for path in ["SET search_path = evil, pg_catalog", "SELECT public.hide('SET search_path = evil, pg_catalog')"] {
            run(&mut mallory, path).await;
            let seen =
                bob.value("SELECT lower('A') || ('a'::text = 'b'::text) || current_setting('search_path')").await;
            assert_eq!(seen, "afalse\"$user\", public", "{path}");
            run(&mut bob, reset).await;
            run(&mut mallory, "SELECT 1").await;
        }
        let caught = superuser.query_one("SELECT count(*) FROM evil.caught", &[]).await.expect("a row");
        assert_eq!(caught.get::<_, i64>(0), 0);
    }
}

#[tokio::test]
async fn of_a_setting_with_a_name_of_its_own_the_value_is_gone_and_the_name_is_known() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    for (number, deed) in [
        "SET my.mark0 = 'secret'",
        "SELECT set_config('my.mark' || '1', 'secret', false)",
        "DO $$ BEGIN PERFORM set_config('my.mark2', 'secret', false); END $$",
        "SELECT ts_rewrite('a', $$SELECT 'a'::tsquery, set_config('my.mark' || '3', 'secret', false)::tsquery$$)",
    ]
    .into_iter()
    .enumerate()
    {
        let look = format!("SELECT coalesce(current_setting('my.mark{number}', true), 'unknown')");
        assert_eq!(bob.value(&look).await, "unknown", "{deed}");
        let mut mallory = proxy.session(&stage.token("mallory")).await;
        run(&mut mallory, deed).await;
        assert_eq!(mallory.value(&look).await, "secret", "{deed}");
        drop(mallory);
        // Postgres has no way to forget such a name. It says that somebody set it here, and no more.
        assert_eq!(bob.value(&look).await, "", "{deed}");
    }
}

#[tokio::test]
async fn nobody_chooses_what_another_finds_random() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    let mut mallory = proxy.session(&stage.token("mallory")).await;
    run(&mut mallory, "SELECT setseed(0.5)").await;
    let foreseen = mallory.value("SELECT random()").await;
    run(&mut mallory, "SELECT setseed(0.5)").await;
    drop(mallory);
    assert_ne!(bob.value("SELECT random()").await, foreseen);
}

#[tokio::test]
async fn the_last_values_of_sequences_are_forgotten() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let (database, superuser) = playground(stage).await;
    let here = [("database", database.as_str())];
    superuser.batch_execute("CREATE SEQUENCE s; GRANT ALL ON SEQUENCE s TO authenticated").await.expect("a sequence");
    for deed in ["SELECT nextval('s')", "SELECT hide('SELECT nextval(''s'')')"] {
        let mut mallory = proxy.session_with(&stage.token("mallory"), &here).await;
        run(&mut mallory, deed).await;
        run(&mut mallory, "SELECT currval('s')").await;
        drop(mallory);
        for look in ["SELECT currval('s')", "SELECT lastval()"] {
            let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
            assert_eq!(state(&bob.query(look).await), "55000", "{deed}; {look}");
        }
    }
}

#[tokio::test]
async fn what_one_listened_to_is_told_to_nobody_else() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let (database, superuser) = playground(stage).await;
    let here = [("database", database.as_str())];
    let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
    let mut mallory = proxy.session_with(&stage.token("mallory"), &here).await;
    for round in 0..30 {
        run(&mut mallory, "SELECT hide('LISTEN hidden')").await;
        // Behind the reset, before it, or amid it.
        let (answer, told) = tokio::join!(bob.query("SELECT auth.user_id()"), superuser.batch_execute("NOTIFY hidden"));
        told.expect("a notification");
        assert_eq!((Message::tags(&answer).as_str(), Message::values(&answer)[0].as_str()), ("TDCZ", "bob"), "{round}");
    }
}

#[tokio::test]
async fn large_objects_that_one_opened_are_closed() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    let mut mallory = proxy.session(&stage.token("mallory")).await;
    let opened = mallory.value("SELECT lo_open(lo_create(0), 131072)").await;
    drop(mallory);
    assert_eq!(state(&bob.query(&format!("SELECT loread({opened}, 10)")).await), "42704");
}

#[tokio::test]
async fn fifty_who_share_one_server_meet_only_themselves() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let (database, _superuser) = playground(stage).await;
    let mut users = JoinSet::new();
    for user in 0..50 {
        let name = format!("user{user}");
        let mut session = proxy.session_with(&stage.token(&name), &[("database", &database)]).await;
        users.spawn(async move {
            run(&mut session, &format!("SET work_mem = {}", 1025 + user)).await;
            for _ in 0..10 {
                let hide = format!("SELECT hide('SET my.name = {name}')");
                run(&mut session, &hide).await;
                let look = "SELECT concat_ws(' ', auth.user_id(), current_setting('work_mem'),
                    coalesce(nullif(current_setting('my.name', true), ''), auth.user_id()))";
                assert_eq!(session.value(look).await, format!("{name} {}kB {name}", 1025 + user));
            }
        });
    }
    users.join_all().await;
}
