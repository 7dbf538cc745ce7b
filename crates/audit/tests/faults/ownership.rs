//! Group 3.

use pgusher_audit::Group;

use crate::fault::{Fault, told, try_all, try_harmless};
use crate::fixture::fixture;

#[tokio::test]
async fn what_clients_own_is_told() {
    try_all(Group::Ownership, &FAULTS).await;
}

#[tokio::test]
async fn what_others_own_does_not_matter() {
    try_harmless(&[
        "CREATE ROLE {other}; CREATE SCHEMA theirs AUTHORIZATION {other}; ALTER TABLE todos OWNER TO {other}",
    ])
    .await;
}

#[tokio::test]
async fn a_temporary_table_of_a_client_is_nothing_that_it_owns() {
    let fixture = fixture().await;
    fixture.run("GRANT TEMPORARY ON DATABASE {database} TO {role}").await;
    let client = fixture.login().await;
    let statements = "SET ROLE {role}; CREATE TEMPORARY TABLE mine (id serial PRIMARY KEY, name text)";
    client.batch_execute(&fixture.named(statements)).await.unwrap();
    fixture.run("REVOKE TEMPORARY ON DATABASE {database} FROM {role}").await;

    assert_eq!(told(&fixture.report().await), [""; 0]);
}

#[tokio::test]
async fn what_a_client_owns_in_another_database_is_told_as_a_warning() {
    let (here, there) = (fixture().await, fixture().await);
    let role = here.named("{role}");
    there.run(&format!("ALTER TABLE todos OWNER TO {role}")).await;

    let expected =
        format!("client-owns: role {role}: it owns 2 objects in database {}; see there", there.named("{database}"));
    assert_eq!(told(&here.report().await), [expected]);
}

#[rustfmt::skip]
const FAULTS: [Fault; 8] = [
    Fault::new("client-owns", "ALTER TABLE todos OWNER TO {role}", "role {role}", "table public.todos"),
    Fault::new("client-owns", "CREATE SCHEMA theirs AUTHORIZATION {login}", "role {login}", "schema theirs"),
    Fault::new("client-owns", "ALTER DATABASE {database} OWNER TO {login}", "role {login}", "database {database}"),
    Fault::new("client-owns", r#"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION f OWNER TO {role}"#,
        "role {role}", "function public.f()"),
    Fault::new("client-owns", "CREATE VIEW v AS SELECT 1 AS one; ALTER VIEW v OWNER TO {anonymous}", "role {anonymous}", "view public.v"),
    Fault::new("owner-reached", "CREATE ROLE {other}; ALTER TABLE todos OWNER TO {other}; GRANT {other} TO {role}",
        "role {other}", "table public.todos; its rights are had by"),
    Fault::new("owner-reached", "CREATE ROLE {other}; ALTER TABLE todos OWNER TO {other}; GRANT {other} TO {role} WITH SET FALSE",
        "role {other}", "its rights are had by {role}").since(16),
    Fault::new("large-objects-owned", "SELECT lo_create(4242); ALTER LARGE OBJECT 4242 OWNER TO {role}",
        "role {role}", "large object"),
];
