//! Roles: what a client reaches that leaves the role it was given, and what it can leave behind for others.

use pgusher_tests::{Message, Proxy, Raw, Stage};

/// The SQLSTATE of the answer; of one without an error, `00000`.
async fn state(client: &mut Raw, sql: &str) -> String {
    let answer = client.query(sql).await;
    answer.iter().find(|message| message.tag == b'E').map_or_else(|| "00000".to_owned(), Message::sqlstate)
}

/// Ways back to the login role, none of which anything can take from a client.
const WAYS_TO_THE_LOGIN: [&str; 8] = [
    "SET ROLE NONE",
    "SET SESSION ROLE 'none'",
    "SET LOCAL ROLE NONE",
    "SET SESSION AUTHORIZATION pgusher_authenticated",
    "SELECT set_config('role', 'none', false)",
    "DO $$ BEGIN EXECUTE 'SET ROLE ' || 'NONE'; END $$",
    "SELECT FROM ts_stat($$SELECT to_tsvector(set_config('role', 'none', false))$$)",
    "SET role = pgusher_authenticated",
];

/// Roles that are not this client's.
const OTHER_ROLES: [&str; 6] =
    ["anonymous", "pgusher_anonymous", "pgusher_auth", "neondb_owner", "pg_read_all_data", "pg_signal_backend"];

#[tokio::test]
async fn whoever_goes_back_to_the_login_role_finds_nothing_there() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let token = stage.token("alice");
    for way in WAYS_TO_THE_LOGIN {
        let mut client = proxy.session(&token).await;
        client.query("BEGIN").await;
        assert_eq!(state(&mut client, way).await, "00000", "{way}");
        assert_eq!(client.value("SELECT current_user").await, "pgusher_authenticated", "{way}");
        client.query("SAVEPOINT here").await;
        for beyond in [
            "SELECT FROM todos",
            "SELECT FROM posts",
            "INSERT INTO todos (task) VALUES ('x')",
            "CREATE TABLE public.mine ()",
            "CREATE SCHEMA mine",
            "SELECT auth.pgusher_init('', '')",
            "TABLE auth.keys",
            "SELECT FROM pg_authid",
            "SELECT pg_read_file('PG_VERSION')",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "CREATE ROLE mine",
            "GRANT authenticated TO anonymous",
            "ALTER ROLE authenticated LOGIN PASSWORD 'mine'",
            "ALTER ROLE pgusher_anonymous PASSWORD 'mine'",
            "ALTER ROLE pgusher_anonymous SET search_path = mine",
            "ALTER DATABASE neondb SET search_path = mine",
            "COMMENT ON ROLE authenticated IS 'mine'",
        ] {
            assert_eq!(state(&mut client, beyond).await, "42501", "{way}; {beyond}");
            client.query("ROLLBACK TO here").await;
        }
    }
}

#[tokio::test]
async fn no_other_role_is_within_reach_from_either() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.session(&stage.token("alice")).await;
    for start in ["RESET ROLE", "SET ROLE NONE"] {
        for role in OTHER_ROLES {
            for way in [
                format!("SET ROLE {role}"),
                format!("SELECT set_config('role', '{role}', false)"),
                format!("SET SESSION AUTHORIZATION {role}"),
                format!("GRANT {role} TO CURRENT_USER"),
                format!("REASSIGN OWNED BY {role} TO CURRENT_USER"),
            ] {
                client.query(start).await;
                assert_eq!(state(&mut client, &way).await, "42501", "{start}; {way}");
            }
        }
    }
}

#[tokio::test]
async fn the_login_owns_nothing_and_is_a_member_of_one_role() {
    let stage = Stage::get();
    let superuser = stage.superuser().await;
    for (login, role) in [("pgusher_authenticated", "authenticated"), ("pgusher_anonymous", "anonymous")] {
        let sql = "SELECT array(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = $1::text::regrole),
                          (SELECT count(*) FROM pg_shdepend WHERE refobjid = $1::text::regrole),
                          rolinherit OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
                     FROM pg_roles WHERE oid = $1::text::regrole";
        let row = superuser.query_one(sql, &[&login]).await.expect("a row");
        let found: (Vec<String>, i64, bool) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(found, (vec![role.to_owned()], 0, false), "{login}");
    }
}

#[tokio::test]
async fn a_reset_as_the_login_role_ends_the_session_because_nothing_can_be_set_from_there() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.session(&stage.token("alice")).await;
    client.query("SET ROLE NONE; RESET ALL").await;
    let answer = client.query("SELECT 1").await;
    assert_eq!((Message::tags(&answer).as_str(), answer[0].sqlstate().as_str()), ("E", "28000"));
}

/// What a session shows of settings that a login can have by default.
const SETTINGS: &str = "SELECT concat_ws(' ', auth.user_id(), current_user, current_setting('search_path'),
    current_setting('transaction_read_only'), current_setting('transaction_isolation'),
    current_setting('statement_timeout'), current_setting('lock_timeout'), current_setting('row_security'),
    '[' || current_setting('local_preload_libraries') || ']', '[' || current_setting('request.jwt.claims') || ']',
    current_setting('idle_session_timeout'), current_setting('standard_conforming_strings'),
    current_setting('transform_null_equals'), current_setting('DateStyle'), current_setting('client_encoding'),
    current_setting('plpgsql.extra_errors'), current_setting('plpgsql.check_asserts'),
    current_setting('client_min_messages'), current_setting('debug_print_plan'))";

#[tokio::test]
async fn defaults_that_a_client_gave_its_login_change_no_session() {
    let stage = Stage::alone().await;
    // As where it is hardened, and the operator wants nothing written by default.
    stage
        .superuser()
        .await
        .batch_execute("REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC")
        .await
        .expect("a superuser may");
    let proxy = Proxy::builder(&stage).set("upstream.settings.default_transaction_read_only", "on").start().await;
    let mut attacker = proxy.session_with(&stage.token("mallory"), &[("default_transaction_read_only", "off")]).await;
    let forged = attacker.value("SELECT current_setting('pgusher.claims')").await;
    attacker.query("SET ROLE NONE").await;
    for poison in [
        &format!("SET pgusher.claims = '{forged}'"),
        r#"SET request.jwt.claims = '{"sub":"mallory"}'"#,
        "SET role = 'none'",
        "SET role = 'pgusher_authenticated'",
        "SET search_path = 'pg_temp'",
        "SET local_preload_libraries = 'nonexistent'",
        "SET default_transaction_read_only = on",
        "SET default_transaction_isolation = 'serializable'",
        "SET statement_timeout = 1",
        "SET lock_timeout = 1",
        "SET idle_in_transaction_session_timeout = 1",
        "SET idle_session_timeout = 1",
        "SET row_security = off",
        "SET client_min_messages = 'debug1'",
        "SET debug_print_parse = on",
        "SET debug_print_rewritten = on",
        "SET debug_print_plan = on",
        // Its library is loaded here, for session init needs it, and not where a session begins.
        "SET plpgsql.extra_errors = 'all'",
        "SET plpgsql.check_asserts = off",
        "SET standard_conforming_strings = off",
        "SET client_encoding = 'LATIN1'",
        "IN DATABASE neondb SET transform_null_equals = on",
        "IN DATABASE neondb SET DateStyle = 'SQL, DMY'",
    ] {
        // A setting that Postgres does not know may only be given away by a superuser from 15 on.
        let verdict = state(&mut attacker, &format!("ALTER ROLE CURRENT_USER {poison}")).await;
        assert!(verdict == "00000" || verdict == "42501" && poison.contains("claims"), "{poison}: {verdict}");
    }
    // Her server was opened before, and as long as she has it bob gets another.
    attacker.query("BEGIN").await;

    let mut bob = proxy.session(&stage.token("bob")).await;
    let expected = concat!(
        r#"bob authenticated "$user", public on read committed 0 0 on [] [] 0 on off ISO, MDY UTF8"#,
        " none on notice off"
    );
    for reset in ["SELECT 1", "RESET ALL", "DISCARD ALL", "RESET ROLE"] {
        bob.query(reset).await;
        assert_eq!(bob.value(SETTINGS).await, expected, "{reset}");
    }
    assert_eq!(bob.value("SELECT count(*) FROM todos").await, "2");
    let told = proxy.logs("the login had defaults").await;
    assert!(told.contains("standard_conforming_strings") && told.contains("DateStyle"), "{told}");
}

#[tokio::test]
async fn defaults_that_only_a_superuser_can_give_a_login_stay() {
    let stage = Stage::alone().await;
    let defaults = "ALTER ROLE pgusher_authenticated SET log_min_messages = 'error'";
    stage.superuser().await.batch_execute(defaults).await.expect("a superuser may");
    let proxy = Proxy::start(&stage).await;
    let mut client = proxy.session(&stage.token("alice")).await;
    assert_eq!(client.value("SHOW log_min_messages").await, "error");
    assert!(!proxy.log().iter().any(|line| line.contains("the login had defaults")));
}

/// Functions with the names of those that session init calls. Each tells what it was called with.
const TRAPS: &str = "
    CREATE TABLE evil.caught (what text);
    CREATE FUNCTION evil.set_config(text, text, bool) RETURNS text LANGUAGE sql AS
        $$ INSERT INTO evil.caught VALUES ($2) RETURNING what $$;
    CREATE FUNCTION evil.pgusher_init(text, text) RETURNS void LANGUAGE sql AS
        $$ INSERT INTO evil.caught VALUES ($1) $$;
    CREATE FUNCTION evil.current_setting(text, bool) RETURNS text LANGUAGE sql AS
        $$ INSERT INTO evil.caught VALUES ($1) RETURNING what $$;
    GRANT USAGE ON SCHEMA evil TO PUBLIC; GRANT INSERT, SELECT ON evil.caught TO PUBLIC;
    CREATE TEMP TABLE keys (kid text, ipad bytea, opad bytea, valid_until timestamptz);
    CREATE TEMP SEQUENCE epoch;";

#[tokio::test]
async fn names_planted_in_the_search_path_catch_no_session_init() {
    let stage = Stage::get();
    let (database, superuser) = stage.database().await;
    let path = [("database", database.as_str()), ("search_path", "evil, pg_temp, pg_catalog")];
    for (proxy, resets) in [
        (Proxy::start(stage).await, ["RESET pgusher.claims", "DISCARD SEQUENCES", "DISCARD ALL"]),
        (Proxy::builder(stage).plain_claims().start().await, ["RESET request.jwt.claims", "RESET ALL", "DISCARD ALL"]),
    ] {
        let schema = "DROP SCHEMA IF EXISTS evil CASCADE; CREATE SCHEMA evil AUTHORIZATION authenticated";
        superuser.batch_execute(schema).await.expect("a schema");
        let mut attacker = proxy.session_with(&stage.token("mallory"), &path).await;
        assert_eq!(state(&mut attacker, TRAPS).await, "00000");
        assert_eq!(attacker.value("SELECT set_config('a.b', 'it works', false)").await, "it works");

        let mut bob = proxy.session_with(&stage.token("bob"), &path).await;
        for reset in resets {
            for client in [&mut attacker, &mut bob] {
                assert_eq!(state(client, reset).await, "00000");
                client.query("SELECT 1").await;
            }
        }

        assert_eq!(bob.value("SELECT string_agg(what, ' ') FROM evil.caught").await, "it works");
    }
}
