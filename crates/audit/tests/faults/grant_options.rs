//! Group 12.

use pgusher_audit::Group;

use crate::fault::{Fault, try_all, try_harmless};

#[tokio::test]
async fn rights_that_clients_may_pass_on_are_told() {
    try_all(Group::GrantOptions, &FAULTS).await;
}

#[tokio::test]
async fn rights_that_others_may_pass_on_do_not_matter() {
    try_harmless(&["CREATE ROLE {other}; GRANT ALL ON todos TO {other} WITH GRANT OPTION"]).await;
}

#[rustfmt::skip]
const FAULTS: [Fault; 7] = [
    Fault::new("grant-option", "GRANT SELECT, UPDATE ON todos TO {role} WITH GRANT OPTION", "table public.todos",
        "{role} may grant SELECT, UPDATE"),
    Fault::new("grant-option", "CREATE ROLE {other}; GRANT SELECT ON todos TO {role} WITH GRANT OPTION;
         SET SESSION AUTHORIZATION {role}; GRANT SELECT ON todos TO {other}; RESET SESSION AUTHORIZATION",
        "table public.todos", "{role} may grant SELECT"),
    Fault::new("grant-option", "GRANT SELECT (task) ON todos TO {role} WITH GRANT OPTION", "table public.todos",
        "{role} may grant SELECT on the column task"),
    Fault::new("grant-option", r#"CREATE SCHEMA "My App"; GRANT USAGE ON SCHEMA "My App" TO {login} WITH GRANT OPTION"#,
        r#"schema "My App""#, "{login} may grant USAGE"),
    Fault::new("grant-option", "CREATE FUNCTION f(a int, b text) RETURNS int LANGUAGE sql AS 'SELECT 1';
         GRANT EXECUTE ON FUNCTION f TO {role} WITH GRANT OPTION", "routine public.f(a integer, b text)", "EXECUTE"),
    Fault::new("grant-option", "GRANT CONNECT ON DATABASE {database} TO {role} WITH GRANT OPTION", "database {database}", "CONNECT"),
    Fault::new("grant-option", "CREATE ROLE {other}; GRANT USAGE ON SEQUENCE todos_id_seq TO {other} WITH GRANT OPTION;
         GRANT {other} TO {role}", "sequence public.todos_id_seq", "{other} may grant USAGE"),
];
