//! Group 1.

use pgusher_audit::Group;

use crate::fault::{Fault, try_all, try_harmless};

#[tokio::test]
async fn the_attributes_of_served_roles_and_logins_are_told() {
    try_all(Group::Attributes, &FAULTS).await;
}

#[tokio::test]
async fn the_attributes_of_others_do_not_matter() {
    try_harmless(&["CREATE ROLE {other} SUPERUSER LOGIN BYPASSRLS REPLICATION"]).await;
}

const FAULTS: [Fault; 12] = [
    Fault::new("role-superuser", "ALTER ROLE {role} SUPERUSER", "role {role}", "the served role has SUPERUSER"),
    Fault::new("role-superuser", "ALTER ROLE {login} SUPERUSER", "role {login}", "the login has SUPERUSER"),
    Fault::new("role-bypassrls", "ALTER ROLE {role} BYPASSRLS", "role {role}", "BYPASSRLS"),
    Fault::new("role-createrole", "ALTER ROLE {login} CREATEROLE", "role {login}", "CREATEROLE"),
    Fault::new("role-replication", "ALTER ROLE {anonymous} REPLICATION", "role {anonymous}", "REPLICATION"),
    Fault::new("role-createdb", "ALTER ROLE {role} CREATEDB", "role {role}", "CREATEDB"),
    Fault::new("served-role-can-login", "ALTER ROLE {role} LOGIN", "role {role}", "LOGIN"),
    Fault::new("login-cannot-login", "ALTER ROLE {login} NOLOGIN", "role {login}", "NOLOGIN"),
    Fault::new("login-inherits", "ALTER ROLE {login} INHERIT", "role {login}", "INHERIT").before(16),
    Fault::new("role-missing", "DROP OWNED BY {role}; DROP ROLE {role}", "role {role}", "no such role"),
    Fault::new(
        "role-missing",
        r#"ALTER ROLE {login} RENAME TO "somebody else {role}""#,
        "role {login}",
        "there is no such login",
    ),
    Fault::new(
        "role-createrole",
        r#"ALTER ROLE {role} CREATEROLE; ALTER ROLE {login} CREATEROLE"#,
        "role {role}",
        "CREATEROLE",
    ),
];
