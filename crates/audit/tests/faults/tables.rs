//! Group 5.

use pgusher_audit::Group;

use crate::fault::{Fault, told, try_all, try_harmless};
use crate::fixture::fixture;

#[tokio::test]
async fn what_clients_reach_past_policies_is_told() {
    try_all(Group::Tables, &FAULTS).await;
}

#[tokio::test]
async fn what_clients_do_not_reach_does_not_matter() {
    try_harmless(&[
        "CREATE TABLE secret (id int); CREATE MATERIALIZED VIEW m AS SELECT * FROM todos",
        "CREATE ROLE {other}; CREATE TABLE secret (id int); GRANT ALL ON secret TO {other}",
        "CREATE SCHEMA hidden; CREATE TABLE hidden.secret (id int); GRANT ALL ON hidden.secret TO {role}",
        "REVOKE SELECT ON pg_catalog.pg_stat_activity FROM PUBLIC",
    ])
    .await;
}

#[tokio::test]
async fn a_table_that_is_public_on_purpose_is_not_told() {
    for (allowed, finding) in [("countries", false), ("public.countries", false), ("other.countries", true)] {
        let mut fixture = fixture().await;
        fixture.served.allowed_tables.push(allowed.to_owned());
        fixture.run("CREATE TABLE countries (code text); GRANT SELECT ON countries TO {anonymous}").await;
        assert_eq!(told(&fixture.report().await).is_empty(), !finding, "{allowed}");
    }
}

#[tokio::test]
async fn even_a_public_table_must_not_be_truncated() {
    let mut fixture = fixture().await;
    fixture.served.allowed_tables.push("countries".to_owned());
    fixture.run("CREATE TABLE countries (code text); GRANT SELECT, TRUNCATE ON countries TO {role}").await;

    let evidence = fixture.named("{role} has TRUNCATE, granted to {role}");
    assert_eq!(told(&fixture.report().await), [format!("truncate-granted: table public.countries: {evidence}")]);
}

#[tokio::test]
async fn what_an_extension_grants_itself_is_not_told() {
    // An extension that can be installed everywhere and grants something needs a file of its own; this is what
    // CREATE EXTENSION leaves behind for one.
    let fixture = fixture().await;
    fixture.run("CREATE TABLE spatial_ref_sys (srid int); GRANT SELECT ON spatial_ref_sys TO PUBLIC").await;
    assert!(told(&fixture.report().await)[0].starts_with("table-without-rls: table public.spatial_ref_sys"));

    let of_plpgsql = "INSERT INTO pg_depend SELECT 'pg_class'::regclass, 'spatial_ref_sys'::regclass, 0,
                        'pg_extension'::regclass, oid, 0, 'e' FROM pg_extension WHERE extname = 'plpgsql';
                      INSERT INTO pg_init_privs SELECT oid, 'pg_class'::regclass, 0, 'e', relacl FROM pg_class
                       WHERE oid = 'spatial_ref_sys'::regclass";
    fixture.run(of_plpgsql).await;
    assert_eq!(told(&fixture.report().await), [""; 0]);

    fixture.run("GRANT UPDATE ON spatial_ref_sys TO {role}").await;
    assert!(told(&fixture.report().await)[0].contains("has UPDATE"));
}

const FOREIGN: &str = "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
     CREATE FOREIGN TABLE elsewhere (id int) SERVER s; GRANT SELECT ON elsewhere TO {role}";

#[rustfmt::skip]
const FAULTS: [Fault; 19] = [
    Fault::new("table-without-rls", "ALTER TABLE todos DISABLE ROW LEVEL SECURITY", "table public.todos",
        "{role} has DELETE, INSERT, SELECT, UPDATE, granted to {role}"),
    Fault::new("table-without-rls", "CREATE TABLE t (id int); GRANT SELECT ON t TO PUBLIC", "table public.t", "granted to PUBLIC"),
    Fault::new("table-without-rls", "CREATE TABLE t (id int, name text); GRANT SELECT (name) ON t TO {role}", "table public.t",
        "{role} has SELECT"),
    Fault::new("table-without-rls", "CREATE TABLE t (id int); GRANT INSERT ON t TO {login}", "table public.t",
        "{login} has INSERT"),
    Fault::new("table-without-rls", r#"CREATE SCHEMA "My App"; GRANT USAGE ON SCHEMA "My App" TO {role};
         CREATE TABLE "My App"."A table" (id int); GRANT DELETE ON "My App"."A table" TO {role}"#,
        r#"table "My App"."A table""#, "{role} has DELETE"),
    Fault::new("table-without-rls", "CREATE TABLE t (id int) PARTITION BY LIST (id); GRANT SELECT ON t TO {anonymous}",
        "table public.t", "{anonymous} has SELECT"),
    Fault::new("table-without-rls", "CREATE ROLE {other}; CREATE TABLE t (id int); GRANT SELECT ON t TO {other}; GRANT {other} TO {role}",
        "table public.t", "{role} has SELECT"),
    Fault::new("table-without-rls", "CREATE ROLE {other}; CREATE TABLE t (id int); GRANT SELECT ON t TO {other};
         GRANT USAGE ON SCHEMA public TO {other}; GRANT {other} TO {login}", "table public.t", "{other} has SELECT"),
    Fault::new("table-without-rls", "CREATE TABLE t (id int); GRANT pg_read_all_data TO {role}", "table public.t",
        "{role} has SELECT"),
    Fault::new("materialized-view-readable", "CREATE MATERIALIZED VIEW m AS SELECT * FROM todos; GRANT SELECT ON m TO {role}",
        "materialized view public.m", "{role} has SELECT"),
    Fault::new("foreign-table-reachable", FOREIGN, "foreign table public.elsewhere", "{role} has SELECT"),
    Fault::new("catalog-granted", "GRANT SELECT ON pg_catalog.pg_authid TO {role}", "table pg_catalog.pg_authid", "{role} has SELECT"),
    Fault::new("catalog-granted", "GRANT SELECT (stavalues1) ON pg_catalog.pg_statistic TO PUBLIC", "table pg_catalog.pg_statistic",
        "granted to PUBLIC"),
    Fault::new("catalog-granted", "GRANT SELECT ON pg_catalog.pg_shadow TO {login}", "view pg_catalog.pg_shadow", "{login}"),
    Fault::new("truncate-granted", "GRANT TRUNCATE ON todos TO {role}", "table public.todos", "{role} has TRUNCATE"),
    Fault::new("trigger-granted", "GRANT TRIGGER ON todos TO PUBLIC", "table public.todos", "TRIGGER, granted to PUBLIC"),
    Fault::new("references-granted", "GRANT REFERENCES ON todos TO {anonymous}", "table public.todos", "REFERENCES"),
    Fault::new("references-granted", "GRANT REFERENCES (id) ON todos TO {role}", "table public.todos", "REFERENCES"),
    Fault::new("maintain-granted", "GRANT MAINTAIN ON todos TO {role}", "table public.todos", "MAINTAIN").since(17),
];
