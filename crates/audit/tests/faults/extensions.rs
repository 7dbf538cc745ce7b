//! Group 14.

use pgusher_audit::Group;

use crate::fault::{Fault, told, try_all, try_harmless};
use crate::fixture::{fixture, is_at_hand};

#[tokio::test]
async fn extensions_and_languages_that_clients_may_use_are_told() {
    try_all(Group::Extensions, &FAULTS).await;
}

#[tokio::test]
async fn what_clients_may_not_use_is_not() {
    try_harmless(&HARMLESS).await;
}

#[tokio::test]
async fn an_extension_that_clients_do_not_reach_is_not_told() {
    if !is_at_hand("dblink").await {
        return;
    }
    let fixture = fixture().await;
    fixture.run("CREATE SCHEMA closed; CREATE EXTENSION dblink SCHEMA closed").await;
    assert_eq!(told(&fixture.report().await), [""; 0]);
}

const FAULTS: [Fault; 8] = [
    Fault::new(
        "extension-reaches-out",
        "CREATE EXTENSION dblink",
        "extension dblink",
        "clients may call public.dblink(text) and 37 more",
    )
    .with_extension("dblink"),
    Fault::new(
        "extension-reads-below",
        "CREATE EXTENSION pg_walinspect; GRANT EXECUTE ON FUNCTION pg_get_wal_record_info TO {role}",
        "extension pg_walinspect",
        "clients may call public.pg_get_wal_record_info(pg_lsn)",
    )
    .with_extension("pg_walinspect"),
    Fault::new(
        "extension-shows-statements",
        "CREATE EXTENSION pg_stat_statements",
        "extension pg_stat_statements",
        "public.pg_stat_statements(boolean)",
    )
    .with_extension("pg_stat_statements"),
    Fault::new(
        "foreign-server-usable",
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; GRANT USAGE ON FOREIGN SERVER s TO {role}",
        "foreign server s",
        "{role} may use it",
    ),
    Fault::new(
        "foreign-server-usable",
        "CREATE FOREIGN DATA WRAPPER w; GRANT USAGE ON FOREIGN DATA WRAPPER w TO PUBLIC",
        "foreign data wrapper w",
        "PUBLIC may make servers with it",
    ),
    // A language without TRUSTED, whatever runs it.
    Fault::new(
        "language-untrusted",
        "CREATE LANGUAGE boundless HANDLER plpgsql_call_handler;
         CREATE FUNCTION f() RETURNS int LANGUAGE boundless AS 'BEGIN RETURN 1; END'",
        "function public.f()",
        "PUBLIC may call it; it is written in boundless",
    ),
    Fault::new("language-usable", "GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC", "language plpgsql", "PUBLIC may use it"),
    Fault::new("language-usable", "GRANT USAGE ON LANGUAGE sql TO {role}", "language sql", "{role} may use it"),
];

const HARMLESS: [&str; 2] = [
    "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE ROLE {other};
     GRANT USAGE ON FOREIGN SERVER s TO {other}",
    "CREATE LANGUAGE boundless HANDLER plpgsql_call_handler;
     CREATE FUNCTION f() RETURNS trigger LANGUAGE boundless AS 'BEGIN RETURN NEW; END'",
];
