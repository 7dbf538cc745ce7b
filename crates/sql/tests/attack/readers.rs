//! What the four readers mean, and that plans of every kind keep that meaning.

use crate::postgres::Postgres;
use crate::session::{ALICE, BOB, Session};

const UUID: &str = "0b2f9f0a-6d3c-4c62-9d49-3f4a1b7d2e11";

#[tokio::test]
async fn a_session_without_claims_is_nobody() {
    let session = Session::open(Postgres::shared().await).await;

    session.assert_nobody("no claims").await;
    assert_eq!(session.text("auth.uid()").await.unwrap(), None);
    assert_eq!(session.text("auth.jwt()").await.unwrap().as_deref(), Some("null"));
}

#[tokio::test]
async fn signed_claims_are_read_by_every_reader() {
    let session = Session::open(Postgres::shared().await).await;

    session.become_user(&format!(r#"{{"sub":"{UUID}","org":{{"id":7}}}}"#)).await;

    assert_eq!(session.user_id().await.as_deref(), Some(UUID));
    assert_eq!(session.text("auth.uid()").await.unwrap().as_deref(), Some(UUID));
    assert_eq!(session.text("auth.session() #>> '{org,id}'").await.unwrap().as_deref(), Some("7"));
    assert_eq!(session.text("auth.jwt() = auth.session()").await.unwrap().as_deref(), Some("true"));
}

#[tokio::test]
async fn a_sub_that_is_no_uuid_has_no_uid() {
    let session = Session::open(Postgres::shared().await).await;

    for sub in ["alice", "", &format!("{UUID}\\n"), &format!("{UUID}0"), &UUID[1..], &UUID.replace('b', "g")] {
        session.become_user(&format!(r#"{{"sub":"{sub}"}}"#)).await;

        assert_eq!(session.text("auth.uid()").await.unwrap(), None, "{sub}");
        assert_ne!(session.user_id().await, None, "{sub}");
    }
}

#[tokio::test]
async fn a_uuid_may_be_written_in_capitals_or_without_hyphens() {
    let session = Session::open(Postgres::shared().await).await;

    for sub in [UUID.to_uppercase(), UUID.replace('-', "")] {
        session.become_user(&format!(r#"{{"sub":"{sub}"}}"#)).await;

        assert_eq!(session.text("auth.uid()").await.unwrap().as_deref(), Some(UUID), "{sub}");
    }
}

#[tokio::test]
async fn a_sub_that_is_no_string_names_nobody() {
    let session = Session::open(Postgres::shared().await).await;

    for json in [r#"{"sub":7}"#, r#"{"sub":["alice"]}"#, r#"{"sub":{"sub":"alice"}}"#, r#"{"sub":null}"#, "{}"] {
        session.become_user(json).await;

        assert_eq!(session.user_id().await, None, "{json}");
        assert_eq!(session.text("auth.uid()").await.unwrap(), None, "{json}");
    }
}

#[tokio::test]
async fn escaped_characters_of_any_language_arrive() {
    let session = Session::open(Postgres::shared().await).await;

    session.become_user(r#"{"sub":"Zo\u00eb \ud83d\ude00 \"O'Brien\" \\ "}"#).await;

    assert_eq!(session.user_id().await.as_deref(), Some(r#"Zoë 😀 "O'Brien" \ "#));
}

#[tokio::test]
async fn claims_of_64_kib_are_read() {
    let session = Session::open(Postgres::shared().await).await;
    let groups = "g".repeat(64 * 1024);

    session.become_user(&format!(r#"{{"groups":"{groups}","sub":"alice"}}"#)).await;

    assert_eq!(session.user_id().await.as_deref(), Some("alice"));
}

#[tokio::test]
async fn row_security_shows_each_user_his_rows_and_nobody_elses() {
    let session = Session::alice(Postgres::shared().await).await;
    let owners = "string_agg(DISTINCT user_id, ',') FROM todos";

    assert_eq!(session.text(&format!("(SELECT {owners})")).await.unwrap().as_deref(), Some("alice"));
    session.become_user(BOB).await;
    assert_eq!(session.text(&format!("(SELECT {owners})")).await.unwrap().as_deref(), Some("bob"));
    session.batch_execute("RESET pgusher.claims").await.unwrap();
    assert_eq!(session.text(&format!("(SELECT {owners})")).await.unwrap(), None);
}

#[tokio::test]
async fn a_new_row_belongs_to_the_user_by_default() {
    let session = Session::alice(Postgres::shared().await).await;

    let row = session.query_one("INSERT INTO todos (task) VALUES ('new') RETURNING user_id", &[]).await.unwrap();

    assert_eq!(row.get::<_, &str>(0), "alice");
}

#[tokio::test]
async fn a_wrapped_reader_is_one_verification_for_the_whole_statement() {
    let session = Session::alice(Postgres::shared().await).await;

    let plan = plan_of(&session, "SELECT FROM todos").await;

    assert!(plan.contains("InitPlan"), "{plan}");
    assert!(plan.contains("auth.session()"), "user_id is not inlined: {plan}");
    assert!(!plan.contains("auth.user_id()"), "user_id is not inlined: {plan}");
}

#[tokio::test]
async fn a_generic_plan_follows_the_identity() {
    let session = Session::open(Postgres::shared().await).await;
    session.batch_execute("SET plan_cache_mode = force_generic_plan").await.unwrap();
    let statement = session.prepare("SELECT count(*), min(user_id), auth.user_id() FROM todos").await.unwrap();

    for (json, name) in [(ALICE, "alice"), (BOB, "bob"), (ALICE, "alice")] {
        session.become_user(json).await;

        let row = session.query_one(&statement, &[]).await.unwrap();
        assert!(row.get::<_, i64>(0) > 0);
        assert_eq!((row.get(1), row.get(2)), (Some(name), Some(name)));
    }
}

#[tokio::test]
async fn a_parallel_plan_sees_the_identity_and_its_refusal() {
    let session = Session::alice(Postgres::shared().await).await;
    session
        .batch_execute(
            "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
             SET max_parallel_workers_per_gather = 2",
        )
        .await
        .unwrap();
    let query = "SELECT count(*) FROM todos WHERE task <> ''";
    assert!(plan_of(&session, query).await.contains("Gather"));

    assert!(session.query_one(query, &[]).await.unwrap().get::<_, i64>(0) >= 10000);
    session.forge("not signed").await;
    assert_eq!(crate::session::state(session.query_one(query, &[]).await), "28000");
}

#[tokio::test]
async fn forced_parallelism_leaves_the_readers_to_the_leader() {
    let postgres = Postgres::shared().await;
    let session = Session::alice(postgres).await;
    let version: i32 = session.text("current_setting('server_version_num')").await.unwrap().unwrap().parse().unwrap();
    let setting = if version >= 160_000 { "debug_parallel_query" } else { "force_parallel_mode" };
    session.batch_execute(&format!("SET {setting} = on")).await.unwrap();

    session.become_user(BOB).await;

    // Without an InitPlan: the whole statement would go to a worker if the readers let it.
    for query in ["SELECT max(auth.user_id()) FROM pg_class", "SELECT auth.user_id()", "SELECT min(user_id) FROM todos"]
    {
        assert_eq!(session.query_one(query, &[]).await.unwrap().get::<_, &str>(0), "bob", "{query}");
    }
}

async fn plan_of(session: &Session, query: &str) -> String {
    let rows = session.query(&format!("EXPLAIN (VERBOSE, COSTS OFF) {query}"), &[]).await.unwrap();
    rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
}
