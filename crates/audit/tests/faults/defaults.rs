//! Group 9.

use pgusher_audit::Group;

use crate::fault::{Fault, try_all, try_harmless};

#[tokio::test]
async fn rights_on_what_is_to_come_are_told() {
    try_all(Group::Defaults, &FAULTS).await;
}

#[tokio::test]
async fn rights_of_others_and_on_sequences_do_not_matter() {
    try_harmless(&[
        "CREATE ROLE {other}; ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {other}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO {role}",
        "ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO {role}",
        "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
    ])
    .await;
}

#[rustfmt::skip]
const FAULTS: [Fault; 4] = [
    Fault::new("default-table-grant", "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT ON TABLES TO {role}",
        "default privileges of postgres in schema public", "INSERT, SELECT on tables to {role}"),
    Fault::new("default-table-grant", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        "default privileges of postgres", "SELECT on tables to PUBLIC"),
    Fault::new("default-table-grant", "CREATE ROLE {other}; ALTER DEFAULT PRIVILEGES FOR ROLE {other} GRANT ALL ON TABLES TO {login}
         WITH GRANT OPTION", "default privileges of {other}", "who may grant it on"),
    Fault::new("default-schema-grant", "ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO {role}",
        "default privileges of postgres", "CREATE on schemas to {role}"),
];
