//! A user who changes the world around the readers: names, settings, roles.

use crate::postgres::{Postgres, unique};
use crate::session::{ALICE, BOB, READERS, Session, state};

/// Functions and operators that the schema relies on, each made to fail loudly if it is ever called.
const TRAPS: [&str; 20] = [
    "FUNCTION sha256(bytea) RETURNS bytea",
    "FUNCTION current_setting(text, bool) RETURNS text",
    "FUNCTION set_config(text, text, bool) RETURNS text",
    "FUNCTION split_part(text, text, int) RETURNS text",
    "FUNCTION substr(text, int) RETURNS text",
    "FUNCTION \"left\"(text, int) RETURNS text",
    "FUNCTION strpos(text, text) RETURNS int",
    "FUNCTION encode(bytea, text) RETURNS text",
    "FUNCTION convert_to(text, text) RETURNS bytea",
    "FUNCTION currval(regclass) RETURNS bigint",
    "FUNCTION setval(regclass, bigint) RETURNS bigint",
    "FUNCTION pg_backend_pid() RETURNS int",
    "FUNCTION pg_is_in_recovery() RETURNS bool",
    "FUNCTION clock_timestamp() RETURNS timestamptz",
    "FUNCTION date_part(text, timestamptz) RETURNS float8",
    "FUNCTION concat(VARIADIC text[]) RETURNS text",
    "FUNCTION jsonb_path_query_first(jsonb, jsonpath, jsonb, bool) RETURNS jsonb",
    "FUNCTION texteq(text, text) RETURNS bool",
    "FUNCTION byteaeq(bytea, bytea) RETURNS bool",
    "FUNCTION byteacat(bytea, bytea) RETURNS bytea",
];

const TRAP_OPERATORS: &str = "
    CREATE OPERATOR = (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq);
    CREATE OPERATOR <> (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq);
    CREATE OPERATOR ~ (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq);
    CREATE OPERATOR = (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = byteaeq);
    CREATE OPERATOR || (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = byteacat);
    CREATE DOMAIN text AS pg_catalog.text CHECK (false);
    CREATE DOMAIN bool AS pg_catalog.bool CHECK (false);
    CREATE DOMAIN jsonb AS pg_catalog.jsonb CHECK (false);
    CREATE DOMAIN int8 AS pg_catalog.int8 CHECK (false);
    CREATE DOMAIN float8 AS pg_catalog.float8 CHECK (false);
    CREATE TEMP TABLE keys (kid pg_catalog.text, ipad bytea, opad bytea, valid_until timestamptz);
    CREATE TEMP SEQUENCE epoch;";

#[tokio::test]
async fn names_planted_before_pg_catalog_are_never_called() {
    let postgres = Postgres::shared().await;
    let schema = format!("evil_{}", unique());
    let admin = postgres.admin("app").await;
    admin.batch_execute(&format!("CREATE SCHEMA {schema} AUTHORIZATION authenticated")).await.unwrap();
    let session = Session::open(postgres).await;
    // Without USAGE for the owner of the readers, their search would pass the schema by.
    let lure = format!("GRANT USAGE ON SCHEMA {schema} TO PUBLIC; SET search_path = {schema}, pg_temp, pg_catalog");
    session.batch_execute(&lure).await.unwrap();
    for trap in TRAPS {
        // PL/pgSQL binds nothing when it is created, so that a trap can stand beside the others.
        let body = "LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'captured'; END $$";
        session.batch_execute(&format!("CREATE {trap} {body}")).await.unwrap();
    }
    session.batch_execute(TRAP_OPERATORS).await.unwrap();
    assert_eq!(state(session.batch_execute("SELECT sha256(''::bytea)").await), "P0001", "the traps work");

    session.become_user(ALICE).await;

    let rows = "SELECT auth.user_id(), auth.uid(), auth.session() IS NULL, auth.jwt() IS NULL";
    assert_eq!(session.query_one(rows, &[]).await.unwrap().get::<_, &str>(0), "alice");
    assert!(!session.query("SELECT 1 FROM public.todos LIMIT 1", &[]).await.unwrap().is_empty());
    session.batch_execute("SET pgusher.claims = 'forged'").await.unwrap();
    assert_eq!(state(session.query_one(rows, &[]).await), "28000");
}

#[tokio::test]
async fn no_setting_of_a_user_changes_the_verdict() {
    let postgres = Postgres::shared().await;
    let settings = [
        "transform_null_equals = on",
        "standard_conforming_strings = off",
        "backslash_quote = on",
        "escape_string_warning = off",
        "bytea_output = 'escape'",
        "check_function_bodies = off",
        "plpgsql.check_asserts = off",
        "plpgsql.extra_errors = 'all'",
        "plpgsql.extra_warnings = 'all'",
        "plan_cache_mode = force_custom_plan",
        "plan_cache_mode = force_generic_plan",
        "client_encoding = 'SJIS'",
        "client_encoding = 'SQL_ASCII'",
        "DateStyle = 'SQL, DMY'",
        "IntervalStyle = 'sql_standard'",
        "TimeZone = 'Pacific/Kiritimati'",
        "extra_float_digits = -15",
        "row_security = off",
        "quote_all_identifiers = on",
        "xmloption = 'document'",
        "array_nulls = off",
        "default_transaction_isolation = 'serializable'",
        "enable_indexscan = off; SET enable_seqscan = off; SET enable_bitmapscan = off",
        "work_mem = '64kB'",
        "jit = on; SET jit_above_cost = 0; SET jit_inline_above_cost = 0; SET jit_optimize_above_cost = 0",
        "search_path = ''",
        "search_path = pg_temp",
        "from_collapse_limit = 1; SET join_collapse_limit = 1",
        "constraint_exclusion = on",
    ];
    for setting in settings {
        let session = Session::open(postgres).await;
        session.batch_execute(&format!("SET {setting}")).await.unwrap();

        let good = session.become_user(ALICE).await;

        assert_eq!(session.user_id().await.as_deref(), Some("alice"), "{setting}");
        session.forge(&good.replace("alice", "bob")).await;
        session.assert_refused(setting).await;
    }
}

/// A backend keeps what it has planned of a domain, whoever was the first to use it.
#[tokio::test]
async fn who_uses_the_domains_first_has_them_check_no_less() {
    let session = Session::open(Postgres::shared().await).await;
    session.batch_execute("SET transform_null_equals = on; SET search_path = pg_temp").await.unwrap();
    for domain in ["signed", "genuine", "proven"] {
        assert_eq!(state(session.batch_execute(&format!("SELECT ' claims1'::auth.{domain}")).await), "42501");
    }
    session.batch_execute("DISCARD ALL").await.unwrap();

    let good = session.become_user(ALICE).await;

    assert_eq!(session.user_id().await.as_deref(), Some("alice"));
    for forged in [good.replace("alice", "bob"), good.replacen(" claims1", " claims2", 1)] {
        session.forge(&forged).await;
        session.assert_refused("another used the domains before").await;
    }
}

#[tokio::test]
async fn the_identity_is_the_sessions_whatever_role_it_takes() {
    let session = Session::alice(Postgres::shared().await).await;

    for change in ["SET ROLE NONE", "SET SESSION AUTHORIZATION pgusher_authenticated", "SET ROLE authenticated"] {
        session.batch_execute(change).await.unwrap();

        assert_eq!(session.user_id().await.as_deref(), Some("alice"), "{change}");
    }
}

#[tokio::test]
async fn the_login_role_has_nothing_and_leads_nowhere() {
    let session = Session::alice(Postgres::shared().await).await;
    for beyond in ["anonymous", "pgusher_anonymous", "pgusher_auth", "postgres", "pg_read_all_data"] {
        assert_eq!(state(session.batch_execute(&format!("SET ROLE {beyond}")).await), "42501", "{beyond}");
    }

    session.batch_execute("SET ROLE NONE").await.unwrap();

    assert_eq!(state(session.batch_execute("SELECT FROM todos").await), "42501");
    assert_eq!(state(session.init("", "").await), "42501");
    for beyond in ["anonymous", "pgusher_anonymous", "pgusher_auth", "postgres", "pg_read_all_data"] {
        assert_eq!(state(session.batch_execute(&format!("SET ROLE {beyond}")).await), "42501", "{beyond}");
    }
}

#[tokio::test]
async fn a_reset_of_the_role_returns_to_the_served_one() {
    let session = Session::alice(Postgres::shared().await).await;

    for reset in ["RESET ROLE", "SET SESSION AUTHORIZATION DEFAULT", "RESET SESSION AUTHORIZATION", "DISCARD ALL"] {
        session.batch_execute("SET ROLE NONE").await.unwrap();
        session.batch_execute(reset).await.unwrap();

        assert_eq!(session.text("current_user").await.unwrap().as_deref(), Some("authenticated"), "{reset}");
    }
}

#[tokio::test]
async fn nobody_but_the_owner_replaces_adds_or_drops_anything() {
    let session = Session::alice(Postgres::shared().await).await;
    let mut attempts = vec![
        "CREATE TABLE auth.mine ()".to_owned(),
        "CREATE FUNCTION auth.user_id(int) RETURNS text LANGUAGE sql RETURN 'bob'".to_owned(),
        "CREATE OPERATOR auth.= (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)".to_owned(),
        "DROP SCHEMA auth CASCADE".to_owned(),
        "ALTER SCHEMA auth RENAME TO gone".to_owned(),
        "GRANT CREATE ON SCHEMA auth TO authenticated; CREATE TABLE auth.mine ()".to_owned(),
        "DROP FUNCTION auth.pgusher_init".to_owned(),
        "ALTER FUNCTION auth.mac_matches RETURNS NULL ON NULL INPUT".to_owned(),
        "ALTER DOMAIN auth.signed DROP CONSTRAINT signed_check".to_owned(),
        "ALTER DOMAIN auth.genuine RENAME TO gone".to_owned(),
        "ALTER DOMAIN auth.proven OWNER TO authenticated".to_owned(),
        "DROP DOMAIN auth.proven".to_owned(),
        "CREATE DOMAIN auth.mine AS text".to_owned(),
        "CREATE TEMP TABLE mine (claims auth.signed)".to_owned(),
        "CREATE CAST (text AS auth.genuine) WITHOUT FUNCTION AS IMPLICIT".to_owned(),
    ];
    for reader in READERS {
        attempts.push(format!("CREATE OR REPLACE FUNCTION auth.{reader}() RETURNS text LANGUAGE sql RETURN 'bob'"));
        attempts.push(format!("ALTER FUNCTION auth.{reader}() SECURITY INVOKER"));
        attempts.push(format!("ALTER FUNCTION auth.{reader}() SET search_path = public"));
        attempts.push(format!("ALTER FUNCTION auth.{reader}() RENAME TO gone"));
        attempts.push(format!("ALTER FUNCTION auth.{reader}() OWNER TO authenticated"));
        attempts.push(format!("DROP FUNCTION auth.{reader}()"));
    }

    for attempt in &attempts {
        let verdict = state(session.batch_execute(attempt).await);
        assert!(["42501", "42809", "42P13"].contains(&verdict.as_str()), "{attempt}: {verdict}");
    }
    assert_eq!(session.user_id().await.as_deref(), Some("alice"));
}

#[tokio::test]
async fn only_served_roles_may_try_to_initialise() {
    let postgres = Postgres::shared().await;
    let admin = postgres.admin("app").await;
    let bystander = format!("bystander_{}", unique());
    admin.batch_execute(&format!("CREATE ROLE {bystander}; SET ROLE {bystander}")).await.unwrap();

    let answer = admin.batch_execute("SELECT auth.pgusher_init('', '')").await;

    assert_eq!(state(answer), "42501");
    assert_eq!(state(admin.batch_execute("SELECT auth.user_id(), auth.uid(), auth.session()").await), "00000");
}

#[tokio::test]
async fn a_change_of_identity_reaches_a_cursor_that_is_opened_after_it() {
    let session = Session::alice(Postgres::shared().await).await;
    session.batch_execute("PREPARE mine AS SELECT min(user_id) FROM todos; EXECUTE mine").await.unwrap();

    session.become_user(BOB).await;

    assert_eq!(session.query_one("EXECUTE mine", &[]).await.unwrap().get::<_, &str>(0), "bob");
}
