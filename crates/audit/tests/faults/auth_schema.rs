//! Group 16.

use pgusher_audit::{Group, Level, checks};

use crate::fault::{Fault, told, try_all, try_harmless};
use crate::fixture::fixture;

#[tokio::test]
async fn a_schema_auth_that_is_not_as_it_was_shipped_is_told() {
    try_all(Group::AuthSchema, &FAULTS).await;
}

#[tokio::test]
async fn what_the_setup_adds_is_part_of_it() {
    try_harmless(&HARMLESS).await;
}

#[tokio::test]
async fn where_nothing_is_verified_the_schema_may_be_absent() {
    let mut fixture = fixture().await;
    fixture.served.claims_are_verified = false;
    fixture.run("DROP SCHEMA auth CASCADE").await;
    let check = checks().filter(|check| check.group == Group::AuthSchema);
    let report = fixture.audit(&mut fixture.session().await, check).await;
    assert_eq!(told(&report), [""; 0]);
}

const FAULTS: [Fault; 36] = [
    // The owner is one for all databases.
    Fault::new("auth-owner-role", "ALTER ROLE pgusher_auth LOGIN", OWNER, "it has LOGIN").alone(),
    Fault::new("auth-owner-role", "ALTER ROLE pgusher_auth BYPASSRLS", OWNER, "it has BYPASSRLS").alone(),
    Fault::new("auth-owner-role", "CREATE ROLE {other}; GRANT pgusher_auth TO {other}", OWNER, "{other} is a member")
        .alone(),
    Fault::new("auth-owner-role", "GRANT pg_monitor TO pgusher_auth", OWNER, "it is a member of pg_monitor").alone(),
    Fault::new("auth-missing", "DROP SCHEMA auth CASCADE", "schema auth", "there is none"),
    Fault::new("auth-missing", "DROP FUNCTION auth.pgusher_init", "schema auth", "has no auth.pgusher_init()"),
    Fault::new("auth-owner", "ALTER SCHEMA auth OWNER TO postgres", "schema auth", "it belongs to postgres"),
    Fault::new(
        "auth-owner",
        "CREATE ROLE {other}; ALTER FUNCTION auth.session() OWNER TO {other}",
        "function auth.session()",
        "it belongs to {other}",
    ),
    Fault::new(
        "auth-owner",
        "CREATE ROLE {other}; ALTER DOMAIN auth.genuine OWNER TO {other}",
        "domain auth.genuine",
        "it belongs to {other}",
    ),
    Fault::new("auth-owner", "ALTER TABLE auth.keys OWNER TO postgres", "table auth.keys", "it belongs to postgres"),
    Fault::new(
        "auth-owner",
        "ALTER SEQUENCE auth.epoch OWNER TO postgres",
        "sequence auth.epoch",
        "it belongs to postgres",
    ),
    Fault::new("auth-grant", "GRANT CREATE ON SCHEMA auth TO {role}", "schema auth", "{role} has CREATE"),
    Fault::new("auth-grant", "GRANT SELECT ON auth.keys TO PUBLIC", "table auth.keys", "PUBLIC has SELECT"),
    Fault::new(
        "auth-grant",
        "GRANT SELECT (opad) ON auth.keys TO {role}",
        "table auth.keys",
        "{role} has SELECT (opad)",
    ),
    Fault::new(
        "auth-grant",
        "CREATE ROLE {other}; GRANT INSERT ON auth.keys TO {other}",
        "table auth.keys",
        "{other} has INSERT",
    ),
    Fault::new(
        "auth-grant",
        "GRANT UPDATE ON SEQUENCE auth.epoch TO {role}",
        "sequence auth.epoch",
        "{role} has UPDATE",
    ),
    Fault::new("auth-grant", "GRANT USAGE ON SEQUENCE auth.epoch TO {role}", "sequence auth.epoch", "{role} has USAGE"),
    Fault::new(
        "auth-grant",
        "GRANT EXECUTE ON FUNCTION auth.mac_matches TO {role}",
        "function auth.mac_matches(text,text,text)",
        "{role} has EXECUTE",
    ),
    Fault::new(
        "auth-grant",
        "GRANT EXECUTE ON FUNCTION auth.pgusher_init TO PUBLIC",
        "function auth.pgusher_init(text,text)",
        "PUBLIC has EXECUTE",
    )
    .level(Level::Warning),
    Fault::new("auth-grant", "GRANT USAGE ON DOMAIN auth.signed TO {role}", "domain auth.signed", "{role} has USAGE")
        .level(Level::Warning),
    Fault::new("auth-keys-exposed", "ALTER TABLE auth.keys DISABLE ROW LEVEL SECURITY", KEYS, "it has no row security"),
    Fault::new(
        "auth-keys-exposed",
        r#"CREATE POLICY "a b" ON auth.keys USING (true)"#,
        KEYS,
        r#"the policy "a b" shows it"#,
    ),
    Fault::new("auth-keys-exposed", "ALTER TABLE auth.keys ALTER ipad SET STATISTICS 9", KEYS, "the column ipad"),
    Fault::new(
        "auth-keys-exposed",
        "CREATE PUBLICATION keys FOR TABLE auth.keys",
        KEYS,
        "the publication keys sends it",
    ),
    Fault::new(
        "auth-keys-exposed",
        "CREATE PUBLICATION everything FOR ALL TABLES",
        KEYS,
        "the publication everything sends it",
    ),
    Fault::new(
        "auth-keys-exposed",
        "CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TRIGGER spy BEFORE INSERT ON auth.keys FOR EACH ROW EXECUTE FUNCTION spy()",
        KEYS,
        "the trigger spy is told of it",
    ),
    Fault::new(
        "auth-source",
        "CREATE OR REPLACE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE PARALLEL RESTRICTED
             RETURN current_setting('request.jwt.claims')::jsonb",
        "function auth.jwt()",
        "its hash is",
    ),
    Fault::new(
        "auth-source",
        "ALTER FUNCTION auth.session() SECURITY INVOKER",
        "function auth.session()",
        "its hash is",
    ),
    Fault::new(
        "auth-source",
        "ALTER FUNCTION auth.session() RESET search_path",
        "function auth.session()",
        "its hash is",
    ),
    Fault::new("auth-source", "DROP FUNCTION auth.uid", "function auth.uid()", "there is none"),
    Fault::new(
        "auth-source",
        "ALTER DOMAIN auth.signed DROP CONSTRAINT signed_check",
        "domain auth.signed",
        "its hash is",
    ),
    Fault::new(
        "auth-source",
        "ALTER DOMAIN auth.genuine DROP CONSTRAINT genuine_check; ALTER DOMAIN auth.genuine ADD CHECK (VALUE <> 'x')",
        "domain auth.genuine",
        "its hash is",
    ),
    Fault::new("auth-source", "DROP DOMAIN auth.proven", "domain auth.proven", "there is none"),
    Fault::new(
        "auth-stranger",
        "CREATE FUNCTION auth.user_id(text) RETURNS text LANGUAGE sql RETURN $1",
        "function auth.user_id(text)",
        "it is no part of the schema",
    ),
    Fault::new(
        "auth-stranger",
        "CREATE VIEW auth.users AS SELECT 1",
        "relation auth.users",
        "it is no part of the schema",
    ),
    Fault::new(
        "auth-stranger",
        "CREATE OPERATOR auth.= (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)",
        "operator auth.=(text,text)",
        "it is no part of the schema",
    ),
];

const OWNER: &str = "role pgusher_auth";

const KEYS: &str = "table auth.keys";

const HARMLESS: [&str; 2] = [
    "CREATE FUNCTION auth.pgusher_guard() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "CREATE ROLE {other}; GRANT EXECUTE ON FUNCTION auth.pgusher_init TO {other}; GRANT USAGE ON SCHEMA auth TO {other}",
];
