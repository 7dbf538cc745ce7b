//! Group 7.

use pgusher_audit::{Group, Level};

use crate::fault::{Fault, try_all, try_harmless};

#[tokio::test]
async fn functions_that_lend_clients_their_owners_rights_are_told() {
    try_all(Group::Definers, &FAULTS).await;
}

#[tokio::test]
async fn functions_that_clients_cannot_call_are_not() {
    try_harmless(&HARMLESS).await;
}

const FAULTS: [Fault; 12] = [
    Fault::new(
        "definer-callable",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1",
        "function public.f()",
        "PUBLIC may call it; it runs as postgres, whom no policy holds",
    )
    .level(Level::High),
    Fault::new(
        "definer-callable",
        "CREATE ROLE {other}; CREATE PROCEDURE f() LANGUAGE sql SECURITY DEFINER SET search_path = '' AS 'SELECT 1';
         ALTER PROCEDURE f() OWNER TO {other}",
        "function public.f()",
        "PUBLIC may call it; it runs as {other}",
    ),
    Fault::new(
        "definer-callable",
        "CREATE ROLE {other}; GRANT {other} TO {role};
         CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1;
         REVOKE EXECUTE ON FUNCTION f() FROM PUBLIC; GRANT EXECUTE ON FUNCTION f() TO {other}",
        "function public.f()",
        "{other} may call it",
    )
    .level(Level::High),
    // With rows of one's own, in a temporary table of one's own.
    Fault::new(
        "definer-callable",
        "GRANT TEMPORARY ON DATABASE {database} TO {role}; CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql
             SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN NEW; END'",
        "function public.f()",
        "PUBLIC may use it as a trigger",
    )
    .level(Level::High),
    Fault::new(
        "definer-search-path",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "function public.f()",
        "PUBLIC may call it, and it runs with the caller's search_path",
    ),
    Fault::new(
        "definer-search-path",
        "CREATE SCHEMA shared; GRANT CREATE, USAGE ON SCHEMA shared TO {role};
         CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = public, shared AS 'SELECT 1'",
        "function public.f()",
        "its search_path has shared, where clients may create",
    ),
    Fault::new(
        "definer-search-path",
        "GRANT TEMPORARY ON DATABASE {database} TO PUBLIC;
         CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = public AS 'SELECT 1'",
        "function public.f()",
        "leaves temporary tables in front of all others",
    )
    .level(Level::Warning),
    Fault::new(
        "definer-search-path",
        "GRANT TEMPORARY ON DATABASE {database} TO PUBLIC;
         CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = pg_temp, public AS 'SELECT 1'",
        "function public.f()",
        "leaves temporary tables in front of all others",
    )
    .level(Level::Warning),
    Fault::new(
        "definer-forgeable",
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
             AS $$ SELECT current_setting('request.jwt.claims') $$",
        "function public.f()",
        "it reads request.jwt",
    ),
    Fault::new(
        "definer-forgeable",
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql SECURITY DEFINER RETURN current_setting('request.jwt.claims')",
        "function public.f()",
        "it reads request.jwt",
    ),
    Fault::new(
        "definer-callable",
        r#"CREATE SCHEMA "An Odd"; GRANT USAGE ON SCHEMA "An Odd" TO {role};
         CREATE FUNCTION "An Odd"."f(g" (text) RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1"#,
        r#"function "An Odd"."f(g"(text)"#,
        "PUBLIC may call it",
    )
    .level(Level::High),
    Fault::new(
        "definer-search-path",
        r#"CREATE SCHEMA "An Odd"; GRANT USAGE ON SCHEMA "An Odd" TO {role};
         CREATE FUNCTION "An Odd"."f(g" (text) RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'"#,
        r#"function "An Odd"."f(g"(text)"#,
        "PUBLIC may call it",
    ),
];

const HARMLESS: [&str; 4] = [
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'; REVOKE EXECUTE ON FUNCTION f FROM PUBLIC",
    "CREATE SCHEMA closed; CREATE FUNCTION closed.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
    // Without temporary tables a client has none to put it on.
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NEW; END'",
];
