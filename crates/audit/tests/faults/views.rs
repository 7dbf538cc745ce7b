//! Group 8.

use pgusher_audit::{Group, Level};

use crate::fault::{Fault, told, try_all, try_harmless};
use crate::fixture::{fixture, version};

#[tokio::test]
async fn views_that_pass_the_policies_are_told() {
    try_all(Group::Views, &FAULTS).await;
}

#[tokio::test]
async fn views_that_show_no_more_than_their_reader_may_see_are_not() {
    try_harmless(&HARMLESS).await;
}

#[tokio::test]
async fn views_that_ask_as_their_caller_are_not_told_where_there_are_such() {
    if version().await < 15_00_00 {
        return;
    }
    let fixture = fixture().await;
    fixture
        .run(
            "CREATE VIEW inner_view WITH (security_invoker) AS SELECT * FROM todos; GRANT SELECT ON inner_view TO {role};
             CREATE VIEW outer_view WITH (security_invoker = on) AS SELECT * FROM inner_view;
             GRANT SELECT ON outer_view TO {role}",
        )
        .await;
    assert_eq!(told(&fixture.report().await), [""; 0]);
}

#[tokio::test]
async fn a_view_that_is_open_on_purpose_is_not_told() {
    let mut fixture = fixture().await;
    fixture.served.allowed_tables.push("public.v".to_owned());
    fixture.run("CREATE VIEW v AS SELECT task FROM todos; GRANT SELECT ON v TO {role}").await;
    assert_eq!(told(&fixture.report().await), [""; 0]);
}

const RULE: &str = "view-owner-rights";

const FAULTS: [Fault; 8] = [
    Fault::new(
        RULE,
        "CREATE VIEW v AS SELECT * FROM todos; GRANT SELECT ON v TO {role}",
        "view public.v",
        "{role} may use it; it reads public.todos as postgres, who passes the policies",
    ),
    Fault::new(
        RULE,
        "CREATE VIEW v AS SELECT * FROM todos; GRANT UPDATE (task) ON v TO PUBLIC",
        "view public.v",
        "PUBLIC may use it",
    ),
    // The owner of a table is not held by its policies, unless they are forced on him.
    Fault::new(
        RULE,
        "CREATE ROLE {other}; ALTER TABLE todos OWNER TO {other};
         CREATE VIEW v AS SELECT * FROM todos; ALTER VIEW v OWNER TO {other}; GRANT SELECT ON v TO {role}",
        "view public.v",
        "it reads public.todos as {other}, who passes the policies",
    ),
    Fault::new(
        RULE,
        "CREATE ROLE {other}; ALTER TABLE todos OWNER TO {other}; ALTER TABLE todos FORCE ROW LEVEL SECURITY;
         CREATE VIEW v AS SELECT * FROM todos; ALTER VIEW v OWNER TO {other}; GRANT SELECT ON v TO {role}",
        "view public.v",
        "it reads public.todos as {other}",
    )
    .level(Level::Warning)
    .since(15),
    Fault::new(
        RULE,
        "CREATE VIEW hidden AS SELECT * FROM todos; CREATE VIEW v AS SELECT * FROM hidden; GRANT SELECT ON v TO {role}",
        "view public.v",
        "it reads public.todos as postgres",
    ),
    Fault::new(
        RULE,
        "CREATE VIEW inner_view WITH (security_invoker) AS SELECT * FROM todos;
         CREATE VIEW v AS SELECT * FROM inner_view; GRANT SELECT ON v TO {role}",
        "view public.v",
        "it reads public.todos as postgres, who passes the policies",
    )
    .since(15),
    Fault::new(
        RULE,
        "CREATE TABLE closed (); CREATE VIEW v AS SELECT count(*) FROM closed; GRANT SELECT ON v TO {role}",
        "view public.v",
        "it reads public.closed as postgres",
    )
    .level(Level::Warning),
    Fault::new(
        RULE,
        "CREATE VIEW v AS SELECT usename, passwd FROM pg_shadow; GRANT SELECT ON v TO {role}",
        "view public.v",
        "it reads pg_shadow as postgres",
    ),
];

const HARMLESS: [&str; 3] = [
    "CREATE VIEW v AS SELECT * FROM todos",
    "CREATE VIEW v AS SELECT now(); GRANT SELECT ON v TO {role}",
    "CREATE VIEW v AS SELECT tablename FROM pg_stats UNION SELECT table_name FROM information_schema.tables;
     GRANT SELECT ON v TO {role}",
];
