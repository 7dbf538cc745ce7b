//! Group 10.

use pgusher_audit::Group;

use crate::fault::{Fault, try_all, try_harmless};

#[tokio::test]
async fn settings_that_are_stored_for_sessions_are_told() {
    try_all(Group::Settings, &FAULTS).await;
}

#[tokio::test]
async fn settings_that_are_an_operators_or_never_in_force_are_not() {
    try_harmless(&HARMLESS).await;
}

const FAULTS: [Fault; 9] = [
    Fault::new(
        "setting-dangerous",
        "ALTER ROLE {login} SET search_path = trap",
        "role {login}",
        "search_path is stored as 'trap'",
    ),
    Fault::new(
        "setting-dangerous",
        "ALTER ROLE {login} IN DATABASE {database} SET local_preload_libraries = 'none'",
        "role {login} in database {database}",
        "local_preload_libraries is stored",
    ),
    Fault::new(
        "setting-dangerous",
        r#"ALTER ROLE {login} SET request.jwt.claims = '{"sub":"bob"}'"#,
        "role {login}",
        "request.jwt.claims is stored",
    ),
    Fault::new(
        "setting-dangerous",
        "ALTER DATABASE {database} SET session_replication_role = 'replica'",
        "database {database}",
        "session_replication_role is stored as 'replica'",
    ),
    Fault::new(
        "setting-dangerous",
        "ALTER ROLE ALL SET row_security = off",
        "role ALL",
        "row_security is stored as 'off'",
    )
    .alone(),
    Fault::new(
        "setting-of-login",
        "ALTER ROLE {login} SET work_mem = '1GB'",
        "role {login}",
        "work_mem is stored as '1GB'",
    ),
    Fault::new("setting-of-login", r#"ALTER ROLE {login} SET "app.x" = 1"#, "role {login}", "app.x is stored as '1'"),
    Fault::new(
        "parameter-granted",
        "GRANT SET ON PARAMETER session_replication_role TO {role}",
        "parameter session_replication_role",
        "{role} may set it",
    )
    .since(15),
    Fault::new(
        "parameter-granted",
        "GRANT ALTER SYSTEM ON PARAMETER log_statement TO PUBLIC",
        "parameter log_statement",
        "PUBLIC may change it for the whole server",
    )
    .since(15)
    .alone(),
];

const HARMLESS: [&str; 5] = [
    "ALTER ROLE {role} SET search_path = trap",
    "ALTER ROLE {login} SET log_parameter_max_length = 0",
    "ALTER DATABASE {database} SET work_mem = '16MB'; ALTER DATABASE {database} SET search_path = public",
    "CREATE ROLE {other} LOGIN; ALTER ROLE {other} SET search_path = trap",
    "ALTER ROLE {login} IN DATABASE postgres SET work_mem = '1GB'",
];
