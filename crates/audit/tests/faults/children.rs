//! Group 13.

use pgusher_audit::Group;

use crate::fault::{Fault, told, try_all, try_harmless};
use crate::fixture::fixture;

#[tokio::test]
async fn children_that_are_reached_past_their_parents_policies_are_told() {
    try_all(Group::Children, &FAULTS).await;
}

#[tokio::test]
async fn children_that_only_their_parent_reaches_or_that_have_row_security_do_not_matter() {
    try_harmless(&[
        "CREATE TABLE old_todos () INHERITS (todos)",
        "CREATE TABLE old_todos () INHERITS (todos); ALTER TABLE old_todos ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON old_todos TO {role} USING ((select auth.user_id()) = user_id);
         GRANT SELECT ON old_todos TO {role}",
    ])
    .await;
}

#[tokio::test]
async fn a_child_is_told_once() {
    let fixture = fixture().await;
    fixture.run("CREATE TABLE old_todos () INHERITS (todos); GRANT SELECT ON old_todos TO {role}").await;
    assert_eq!(told(&fixture.report().await).len(), 1);
}

#[rustfmt::skip]
const FAULTS: [Fault; 4] = [
    Fault::new("child-without-rls", "CREATE TABLE old_todos () INHERITS (todos); GRANT SELECT ON old_todos TO {role}",
        "table public.old_todos", "public.todos has row security and this part of it has not; {role} has SELECT"),
    Fault::new("child-without-rls", "CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
         ALTER TABLE p ENABLE ROW LEVEL SECURITY; GRANT SELECT (id) ON p1 TO PUBLIC", "table public.p1", "{role} has SELECT"),
    Fault::new("child-without-rls", "CREATE TABLE p (id int, n int) PARTITION BY LIST (id);
         CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1) PARTITION BY LIST (n); CREATE TABLE p1n PARTITION OF p1 FOR VALUES IN (1);
         ALTER TABLE p ENABLE ROW LEVEL SECURITY; GRANT DELETE ON p1n TO {login}", "table public.p1n", "{login} has DELETE"),
    Fault::new("child-without-rls", "CREATE TABLE p (id int) PARTITION BY LIST (id); ALTER TABLE p ENABLE ROW LEVEL SECURITY;
         CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
         CREATE FOREIGN TABLE p1 PARTITION OF p FOR VALUES IN (1) SERVER s; GRANT SELECT ON p1 TO {role}",
        "foreign table public.p1", "{role} has SELECT"),
];
