//! Group 11.

use pgusher_audit::Group;

use crate::fault::{Fault, try_all, try_harmless};

#[tokio::test]
async fn dangerous_functions_that_clients_may_call_are_told() {
    try_all(Group::Functions, &FAULTS).await;
}

#[tokio::test]
async fn those_that_others_may_call_are_not() {
    try_harmless(&["CREATE ROLE {other}; GRANT EXECUTE ON FUNCTION pg_cancel_backend, pg_read_file(text) TO {other}"])
        .await;
}

const FAULTS: [Fault; 8] = [
    Fault::new(
        "function-ends-sessions",
        "GRANT EXECUTE ON FUNCTION pg_terminate_backend TO PUBLIC",
        "function pg_terminate_backend(integer,bigint)",
        "PUBLIC may call it",
    ),
    Fault::new(
        "function-ends-sessions",
        "GRANT EXECUTE ON FUNCTION pg_cancel_backend TO {role}, {login}",
        "function pg_cancel_backend(integer)",
        "{role}, {login} may call it",
    ),
    Fault::new(
        "function-shows-statements",
        "GRANT EXECUTE ON FUNCTION pg_stat_get_activity TO {role}",
        "function pg_stat_get_activity(integer)",
        "{role} may call it",
    ),
    Fault::new(
        "function-shows-statements",
        "GRANT EXECUTE ON FUNCTION pg_stat_get_backend_activity TO {anonymous}",
        "function pg_stat_get_backend_activity(integer)",
        "{anonymous} may call it",
    ),
    Fault::new(
        "function-makes-large-objects",
        "GRANT EXECUTE ON FUNCTION lo_from_bytea TO {role}",
        "function lo_from_bytea(oid,bytea)",
        "{role} may call it",
    ),
    Fault::new(
        "function-of-files",
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO {login}",
        "function pg_read_file(text)",
        "{login} may call it",
    ),
    // By a role that the served one is a member of.
    Fault::new(
        "function-of-files",
        "CREATE ROLE {other}; GRANT {other} TO {role}; GRANT EXECUTE ON FUNCTION lo_export TO {other}",
        "function lo_export(oid,text)",
        "{other} may call it",
    ),
    Fault::new(
        "function-of-administrators",
        "GRANT EXECUTE ON FUNCTION pg_reload_conf TO PUBLIC",
        "function pg_reload_conf()",
        "PUBLIC may call it",
    ),
];
