//! `pgusher setup rls`.

use super::lab::{As, Lab, refusal, value};

const TODOS: &str = "CREATE TABLE todos (user_id text NOT NULL, task text); GRANT ALL ON todos TO authenticated";
const RLS: [&str; 5] = ["rls", "--table", "todos", "--owner-column", "user_id"];

#[tokio::test]
async fn each_user_has_their_own_rows() {
    let lab = Lab::new().await;
    lab.apply_as(As::Boss, &[]).await;
    lab.boss().await.batch_execute(TODOS).await.expect("a table");

    let ran = lab.psql(&lab.setup(&RLS).await.out).await;

    assert_eq!(ran.code, Some(0), "{ran:?}");
    let proxy = lab.serve().await;
    let [alice, bob] = [lab.user(&proxy, "alice").await, lab.user(&proxy, "bob").await];
    for user in [&alice, &bob] {
        user.batch_execute("INSERT INTO todos (task) VALUES ('mine'); UPDATE todos SET task = task || '!'")
            .await
            .expect("a row");
    }
    for (user, name) in [(&alice, "alice"), (&bob, "bob")] {
        let seen = value(user, "SELECT string_agg(user_id || ' ' || task, ', ') FROM todos").await;
        assert_eq!(seen, Some(format!("{name} mine!")));
    }
    for theft in ["INSERT INTO todos VALUES ('bob', 'x')", "UPDATE todos SET user_id = 'bob'"] {
        assert_eq!(refusal(&alice, theft).await, "42501", "{theft}");
    }
    alice.batch_execute("DELETE FROM todos").await.expect("of her own");
    assert_eq!(
        value(&lab.superuser().await, "SELECT string_agg(user_id, ' ') FROM todos").await.as_deref(),
        Some("bob")
    );
    assert_eq!(value(&lab.boss().await, "SELECT count(*)::text FROM todos").await.as_deref(), Some("0"), "FORCE");
    let asked_once = "EXPLAIN SELECT FROM todos";
    let plan: Vec<String> = alice.query(asked_once, &[]).await.expect("a plan").iter().map(|row| row.get(0)).collect();
    assert!(plan.iter().any(|line| line.contains("InitPlan")), "{plan:?}");
    lab.close().await;
}

#[tokio::test]
async fn what_is_there_is_not_replaced() {
    let lab = Lab::new().await;
    lab.apply_as(As::Boss, &[]).await;
    let script = lab.setup(&RLS).await.out;
    for (own, words) in [
        ("CREATE POLICY \"view todos\" ON todos FOR SELECT TO authenticated USING (false)", "policy \"view todos\""),
        ("ALTER TABLE todos ALTER user_id SET DEFAULT 'nobody'", "has another default: 'nobody'"),
    ] {
        let table = format!("DROP TABLE IF EXISTS todos; {TODOS}; {own}");
        lab.boss().await.batch_execute(&table).await.expect("a table");
        let before = lab.dump().await;

        let ran = lab.psql(&script).await;

        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.err.contains(words), "{ran:?}");
        assert_eq!(lab.dump().await, before);
    }
    lab.close().await;
}

#[tokio::test]
async fn an_index_that_will_do_is_enough() {
    let lab = Lab::new().await;
    lab.apply_as(As::Boss, &[]).await;
    let table = format!("{TODOS}; CREATE INDEX mine ON todos (user_id, task)");
    lab.boss().await.batch_execute(&table).await.expect("a table");

    assert_eq!(lab.psql(&lab.setup(&RLS).await.out).await.code, Some(0));

    let indexes = "SELECT string_agg(indexname, ' ') FROM pg_indexes WHERE tablename = 'todos'";
    assert_eq!(value(&lab.boss().await, indexes).await.as_deref(), Some("mine"));
    lab.close().await;
}

#[tokio::test]
async fn a_name_is_what_it_is() {
    let lab = Lab::new().await;
    lab.apply_as(As::Boss, &[]).await;
    let table = r#"CREATE SCHEMA "My app"; CREATE TABLE "My app"."x""; $$ -- 'y' \" ("o'c" uuid); CREATE ROLE "r""s""#;
    lab.boss().await.batch_execute(table).await.expect("a table");
    let name = r#""My app"."x""; $$ -- 'y' \""#;

    let script = lab.setup(&["rls", "--table", name, "--owner-column", "o'c", "--uuid", "--role", "r\"s"]).await;

    let ran = lab.psql(&script.out).await;
    assert_eq!(ran.code, Some(0), "{ran:?}\n{}", script.out);
    let policies = "SELECT count(*)::text FROM pg_policies WHERE schemaname = 'My app' AND roles = '{\"r\\\"s\"}'";
    assert_eq!(value(&lab.boss().await, policies).await.as_deref(), Some("4"));
    lab.close().await;
}
