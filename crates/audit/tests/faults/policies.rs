//! Group 6.

use pgusher_audit::Group;

use crate::fault::{Fault, told, try_all, try_harmless};
use crate::fixture::fixture;

#[tokio::test]
async fn policies_that_do_not_hold_or_cost_too_much_are_told() {
    try_all(Group::Policies, &FAULTS).await;
}

#[tokio::test]
async fn policies_that_hold_are_not() {
    try_harmless(&HARMLESS).await;
}

#[tokio::test]
async fn a_claim_that_a_session_can_set_is_no_fault_where_none_is_verified() {
    let mut fixture = fixture().await;
    fixture.served.claims_are_verified = false;
    fixture
        .run("CREATE POLICY p ON todos USING (user_id = current_setting('request.jwt.claims')::json ->> 'sub')")
        .await;
    let findings = fixture.report().await.findings;
    assert!(!findings.iter().any(|finding| finding.rule.id == "policy-forgeable"), "{findings:#?}");
}

#[tokio::test]
async fn a_table_that_is_open_on_purpose_may_have_a_policy_for_every_row() {
    let mut fixture = fixture().await;
    fixture.served.allowed_tables.push("todos".to_owned());
    fixture.run("CREATE POLICY p ON todos FOR SELECT USING (true)").await;
    assert_eq!(told(&fixture.report().await), [""; 0]);
}

const P: &str = "policy p on public.todos";

const FAULTS: [Fault; 27] = [
    // Claims that a session can set, asked for in the usual ways and in others.
    Fault::new(
        "policy-forgeable",
        "CREATE POLICY p ON todos USING (user_id = current_setting('request.jwt.claims', true)::json ->> 'sub')",
        P,
        "USING reads request.jwt.claims",
    ),
    Fault::new(
        "policy-forgeable",
        "CREATE POLICY p ON todos FOR INSERT WITH CHECK ((SELECT nullif(current_setting('request.jwt.claims', true), '')
             ::jsonb ->> 'sub') = user_id)",
        P,
        "WITH CHECK reads request.jwt.claims",
    ),
    Fault::new(
        "policy-forgeable",
        "CREATE POLICY p ON todos USING (current_setting('request.jwt.claim.sub') = user_id)",
        P,
        "USING reads request.jwt.claim.sub",
    ),
    Fault::new(
        "policy-forgeable",
        "CREATE POLICY p ON todos USING (task = current_setting('request.jwt.claims')::jsonb -> 'org' ->> 'id')",
        P,
        "USING reads request.jwt.claims",
    ),
    Fault::new(
        "policy-forgeable",
        "CREATE POLICY p ON todos USING (task = current_setting('app.tenant'))",
        P,
        "USING reads app.tenant",
    ),
    Fault::new(
        "policy-forgeable",
        "CREATE POLICY p ON todos USING (task = current_setting('app.' || user_id))",
        P,
        "USING reads a parameter with a computed name",
    ),
    Fault::new(
        "policy-forgeable",
        "CREATE POLICY p ON todos AS RESTRICTIVE USING (user_id = (SELECT current_setting('pgusher.claims')))",
        P,
        "USING reads pgusher.claims",
    ),
    Fault::new(
        "policy-forgeable",
        "CREATE FUNCTION tenant() RETURNS text LANGUAGE sql STABLE RETURN current_setting('app.tenant');
         CREATE POLICY p ON todos USING (task = tenant())",
        P,
        "public.tenant() reads app.tenant",
    ),
    Fault::new(
        "policy-forgeable",
        "CREATE SCHEMA app;
         CREATE FUNCTION app.one() RETURNS text LANGUAGE sql STABLE AS
             $$ SELECT /* the claims */ current_setting('request.jwt.claims') -- as a text $$;
         CREATE FUNCTION app.other() RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN app.one(); END';
         CREATE POLICY p ON todos USING (user_id = (SELECT app.other()))",
        P,
        "app.one() reads request.jwt.claims",
    ),
    Fault::new(
        "policy-forgeable",
        "CREATE ROLE {other}; GRANT {other} TO {role};
         CREATE POLICY p ON todos TO {other} USING (task = current_setting('app.tenant'))",
        P,
        "USING reads app.tenant",
    ),
    Fault::new(
        "policy-immutable",
        "CREATE FUNCTION me() RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT auth.user_id()';
         CREATE POLICY p ON todos USING (user_id = (SELECT me()))",
        P,
        "public.me() is IMMUTABLE",
    ),
    // Without a sub-select of its own, in whichever place.
    Fault::new(
        "policy-calls-per-row",
        "CREATE POLICY p ON todos USING (auth.user_id() = user_id)",
        P,
        "USING calls auth.user_id() once per row; with it in (select …), 100,000 rows took 0.03 s instead of 1.9 s",
    ),
    Fault::new(
        "policy-calls-per-row",
        "CREATE POLICY p ON todos USING ((SELECT auth.user_id() = user_id))",
        P,
        "USING calls auth.user_id()",
    ),
    Fault::new(
        "policy-calls-per-row",
        "CREATE POLICY p ON todos USING ((SELECT auth.user_id()) = user_id)
             WITH CHECK ((SELECT auth.user_id()) = user_id AND auth.session() ->> 'org' = task)",
        P,
        "WITH CHECK calls auth.session()",
    ),
    Fault::new(
        "policy-calls-per-row",
        "CREATE POLICY p ON todos USING (EXISTS (SELECT FROM todos o WHERE o.user_id = auth.uid()::text AND o.id = todos.id))",
        P,
        "USING calls auth.uid()",
    ),
    Fault::new(
        "policy-calls-per-row",
        "CREATE POLICY p ON todos USING (task IN (SELECT o.task FROM todos o WHERE auth.jwt() ->> 'sub' = o.user_id))",
        P,
        "USING calls auth.jwt()",
    ),
    Fault::new(
        "policy-calls-per-row",
        r#"CREATE FUNCTION "My ""id""" () RETURNS text LANGUAGE sql STABLE AS 'SELECT auth.user_id()';
         CREATE POLICY p ON todos USING ("My ""id""" () = user_id)"#,
        P,
        r#"USING calls public."My ""id"""()"#,
    ),
    Fault::new(
        "policy-calls-per-row",
        r#"CREATE POLICY "a {brace \ " ON todos USING ((SELECT auth.user_id() AS "{") = user_id OR auth.user_id() = task)"#,
        r#"policy "a {brace \ " on public.todos"#,
        "USING calls auth.user_id()",
    ),
    // For every row.
    Fault::new("policy-always-true", "CREATE POLICY p ON todos FOR SELECT USING (true)", P, "USING (true)"),
    Fault::new("policy-always-true", "CREATE POLICY p ON todos FOR INSERT WITH CHECK (true)", P, "WITH CHECK (true)"),
    Fault::new("policy-always-true", "CREATE POLICY p ON todos USING (1 = 1)", P, "USING ((1 = 1))"),
    Fault::new("policy-always-true", "CREATE POLICY p ON todos USING (user_id = user_id)", P, "(user_id = user_id)"),
    Fault::new("policy-always-true", "CREATE POLICY p ON todos USING (id = 1 OR true)", P, "OR true)"),
    Fault::new(
        "policy-always-true",
        "CREATE POLICY p ON todos FOR UPDATE USING ((SELECT auth.user_id()) = user_id) WITH CHECK (true)",
        P,
        "WITH CHECK (true)",
    ),
    // A restriction for one of two roles is none for the other.
    Fault::new(
        "policy-always-true",
        "GRANT SELECT ON todos TO {anonymous}; CREATE POLICY p ON todos USING (true);
         CREATE POLICY r ON todos AS RESTRICTIVE TO {role} USING ((SELECT auth.user_id()) = user_id)",
        P,
        "USING (true)",
    ),
    Fault::new(
        "policy-none",
        "CREATE TABLE notes (); ALTER TABLE notes ENABLE ROW LEVEL SECURITY; GRANT SELECT ON notes TO {role}",
        "table public.notes",
        "no policy lets clients see a row",
    ),
    Fault::new(
        "policy-none",
        "CREATE TABLE notes (a int); ALTER TABLE notes ENABLE ROW LEVEL SECURITY; GRANT SELECT (a) ON notes TO PUBLIC;
         CREATE POLICY r ON notes AS RESTRICTIVE USING (a = 1)",
        "table public.notes",
        "no policy lets clients see a row",
    ),
];

const HARMLESS: [&str; 16] = [
    "CREATE POLICY p ON todos USING (user_id = (SELECT auth.session() -> 'a' ->> 'b'))",
    "CREATE POLICY p ON todos USING (user_id = (SELECT (SELECT auth.user_id())))",
    "CREATE POLICY p ON todos USING ((SELECT auth.uid())::text = user_id AND (SELECT auth.uid()::text) = task)",
    "CREATE POLICY p ON todos USING (task = ANY (SELECT jsonb_array_elements_text((SELECT auth.jwt()) -> 'tasks')))",
    "CREATE POLICY p ON todos USING (EXISTS (SELECT FROM todos o WHERE o.user_id = (SELECT auth.user_id()) AND o.id = todos.id))",
    "CREATE FUNCTION me() RETURNS text LANGUAGE sql STABLE AS 'SELECT auth.user_id()';
     CREATE POLICY p ON todos USING (user_id = (SELECT me()))",
    // Not a setting that a session can change, and not a call.
    "CREATE POLICY p ON todos USING (task = current_setting('server_version'))",
    "CREATE FUNCTION me() RETURNS text LANGUAGE sql STABLE AS $$ SELECT 'x' -- was: current_setting('request.jwt.claims') $$;
     CREATE POLICY p ON todos USING (user_id = (SELECT me()))",
    "CREATE FUNCTION folded(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';
     CREATE POLICY p ON todos USING (folded(user_id) = (SELECT auth.user_id()))",
    "CREATE POLICY p ON todos USING (task = 'auth.user_id() in current_setting(''request.jwt.claims'')')",
    // Holds for no row, for some, or not alone.
    "CREATE POLICY p ON todos USING (false)",
    "CREATE POLICY p ON todos USING (is_complete AND (id = 1 OR true))",
    "CREATE POLICY p ON todos USING (true);
     CREATE POLICY r ON todos AS RESTRICTIVE USING ((SELECT auth.user_id()) = user_id)",
    // For others, or on what clients do not reach.
    "CREATE ROLE {other}; CREATE POLICY p ON todos TO {other} USING (task = current_setting('app.tenant') OR true)",
    "CREATE TABLE notes (a text); ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
     CREATE POLICY p ON notes USING (a = current_setting('app.tenant') OR auth.user_id() = a OR true)",
    "CREATE SCHEMA closed; CREATE TABLE closed.notes (); ALTER TABLE closed.notes ENABLE ROW LEVEL SECURITY;
     GRANT SELECT ON closed.notes TO {role}",
];
