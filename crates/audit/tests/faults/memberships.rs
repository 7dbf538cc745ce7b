//! Group 2.

use pgusher_audit::Group;

use crate::fault::{Fault, try_all, try_harmless};
use crate::fixture::version;

#[tokio::test]
async fn the_roles_that_a_client_reaches_are_told() {
    try_all(Group::Memberships, &FAULTS).await;
}

#[tokio::test]
async fn who_may_become_a_served_role_does_not_matter() {
    try_harmless(&["CREATE ROLE {other} SUPERUSER; GRANT {role}, {login} TO {other}"]).await;
}

#[tokio::test]
async fn rights_that_are_inherited_from_a_role_that_nobody_can_become_are_no_fault() {
    if version().await >= 160_000 {
        try_harmless(&["CREATE ROLE {other}; GRANT {other} TO {role} WITH INHERIT TRUE, SET FALSE"]).await;
    }
}

#[rustfmt::skip]
const FAULTS: [Fault; 19] = [
    Fault::new("powerful-role-reached", "CREATE ROLE {other} SUPERUSER; GRANT {other} TO {login}",
        "role {other}", "{login} can become it, it has SUPERUSER"),
    Fault::new("powerful-role-reached", "CREATE ROLE {other} BYPASSRLS CREATEDB; GRANT {other} TO {role}",
        "role {other}", "{role} can become it, it has BYPASSRLS, CREATEDB"),
    Fault::new("powerful-role-reached", "CREATE ROLE {other} CREATEROLE; CREATE ROLE {other}_b;
         GRANT {other} TO {other}_b; GRANT {other}_b TO {anonymous}",
        "role {other}", "{anonymous} can become it through {other}_b, it has CREATEROLE"),
    Fault::new("predefined-role-reached", "GRANT pg_read_all_data TO {role}",
        "role pg_read_all_data", "{role} can become it"),
    Fault::new("predefined-role-reached", "CREATE ROLE {other}; GRANT pg_monitor TO {other}; GRANT {other} TO {role}",
        "role pg_read_all_settings", "{role} can become it through {other}"),
    Fault::new("predefined-role-reached", "GRANT pg_signal_backend TO {role} WITH SET FALSE",
        "role pg_signal_backend", "{role} inherits its rights").since(16),
    Fault::new("login-has-other-role", "CREATE ROLE {other}; GRANT {other} TO {login}", "role {login}", "{other}"),
    Fault::new("login-has-other-role", "GRANT {anonymous} TO {login}", "role {login}", "{anonymous}"),
    // The same membership, once for each of two grantors.
    Fault::new("login-has-other-role", "CREATE ROLE {other}; CREATE ROLE {other}_b; GRANT {other} TO {other}_b WITH ADMIN TRUE;
         GRANT {other} TO {login}; GRANT {other} TO {login} GRANTED BY {other}_b", "role {login}", "{other}").since(16),
    Fault::new("login-has-other-role", "CREATE ROLE {other}; GRANT {other} TO {login} WITH SET FALSE, INHERIT FALSE",
        "role {login}", "{other}").since(16),
    Fault::new("served-role-becomes-other", "CREATE ROLE {other}; GRANT {other} TO {role}",
        "role {role}", "SET ROLE {other}"),
    Fault::new("served-role-becomes-other", "GRANT {role} TO {anonymous}", "role {anonymous}", "SET ROLE {role}"),
    Fault::new("admin-option", "GRANT {role} TO {login} WITH ADMIN OPTION", "role {login}", "may grant {role}"),
    Fault::new("admin-option", "CREATE ROLE {other}; GRANT {other} TO {role} WITH ADMIN OPTION",
        "role {role}", "may grant {other}"),
    Fault::new("admin-option", "CREATE ROLE {other}; CREATE ROLE {other}_b; GRANT {other}_b TO {other} WITH ADMIN OPTION;
         GRANT {other} TO {role}", "role {other}", "may grant {other}_b"),
    Fault::new("membership-missing", "REVOKE {role} FROM {login}", "role {login}", "no member of {role}"),
    Fault::new("membership-missing", "GRANT {role} TO {login} WITH SET FALSE", "role {login}", "SET FALSE").since(16),
    Fault::new("membership-inherits", "GRANT {role} TO {login} WITH INHERIT TRUE", "role {login}", "the rights of {role}")
        .since(16),
    Fault::new("served-role-becomes-other", "CREATE ROLE {other}; GRANT {other} TO {role} WITH INHERIT FALSE",
        "role {role}", "SET ROLE {other}").since(16),
];
