//! Group 4.

use pgusher_audit::Group;

use crate::fault::{Fault, try_all, try_harmless};

#[tokio::test]
async fn where_clients_may_create_is_told() {
    try_all(Group::Create, &FAULTS).await;
}

#[tokio::test]
async fn where_others_may_create_does_not_matter() {
    try_harmless(&[
        "CREATE ROLE {other}; GRANT CREATE ON SCHEMA public TO {other}; GRANT ALL ON DATABASE {database} TO {other}",
    ])
    .await;
}

#[rustfmt::skip]
const FAULTS: [Fault; 8] = [
    Fault::new("schema-create", "GRANT CREATE ON SCHEMA public TO PUBLIC", "schema public",
        "CREATE is had by {anonymous}, {role}, pgusher_{anonymous}, {login}, granted to PUBLIC"),
    Fault::new("schema-create", "GRANT CREATE ON SCHEMA public TO {role}", "schema public", "had by {role}, granted to {role}"),
    Fault::new("schema-create", r#"CREATE SCHEMA "My App"; GRANT ALL ON SCHEMA "My App" TO {login}"#, r#"schema "My App""#,
        "had by {login}"),
    Fault::new("schema-create", "GRANT CREATE ON SCHEMA pg_catalog TO {role}", "schema pg_catalog", "had by {role}"),
    Fault::new("schema-create", "CREATE ROLE {other}; GRANT CREATE ON SCHEMA public TO {other}; GRANT {other} TO {role}",
        "schema public", "granted to {other}"),
    Fault::new("database-create", "GRANT CREATE ON DATABASE {database} TO {role}", "database {database}", "had by {role}"),
    Fault::new("database-create", "GRANT CREATE ON DATABASE {database} TO PUBLIC", "database {database}", "granted to PUBLIC"),
    Fault::new("database-temporary", "GRANT TEMPORARY ON DATABASE {database} TO PUBLIC", "database {database}",
        "TEMPORARY is had by"),
];
