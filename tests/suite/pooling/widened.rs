//! The first who use a statement again after its table got other columns: Postgres refuses theirs as well, and nothing of
//! it is run.

use pgusher_tests::message;
use pgusher_tests::request::{bind_named, close_named, describe, describe_named, execute, parse_named, query, sync};

use super::run;
use super::scene::{RESULT_CHANGED, Scene, change_hands};
use super::statements::{batch, call};

/// What makes the result of most statements another one.
const ADD: &str = "ALTER TABLE {table} ADD more text";

/// A table that has two columns, and statements about it that were prepared before, on a server that does not have them
/// any more.
async fn prepared(statements: &[(&str, &str)]) -> Scene {
    let mut scene = Scene::new().await;
    scene.alter("ALTER TABLE {table} ADD m int").await;
    scene.prepare(statements).await;
    change_hands(&mut scene.bob).await;
    scene
}

/// Has batches, sent in one write after this change, be answered as they are directly, and that with a refusal where one
/// is expected.
async fn assert_refused(statements: &[(&str, &str)], change: &str, pipeline: &[Vec<u8>], refused: &[bool]) {
    let mut scene = prepared(statements).await;
    scene.alter(change).await;
    let [direct, through] = scene.told(pipeline).await;
    let is_refused: Vec<_> = direct.iter().map(|(_, values)| *values == [RESULT_CHANGED]).collect();
    assert_eq!(is_refused, refused, "directly: {direct:?}");
    assert_eq!(through, direct, "{change}");
    assert_eq!(scene.rows(7).await, 0, "what is refused is not run");
}

/// Binds "s", which has no parameters, with these formats of the result, and executes it.
fn call_with(formats: &[u8]) -> Vec<u8> {
    [message(b'B', &[b"\0s\0\0\0\0\0", formats].concat()), execute()].concat()
}

#[tokio::test]
async fn whatever_formats_a_bind_has() {
    for formats in [&[0, 0][..], &[0, 1, 0, 0], &[0, 1, 0, 1], &[0, 2, 0, 1, 0, 0]] {
        for change in [ADD, "ALTER TABLE {table} DROP m"] {
            let call = call_with(formats);
            assert_refused(&[("s", "SELECT * FROM {table}")], change, &[call.clone(), call], &[true, true]).await;
        }
    }
}

#[tokio::test]
async fn whatever_it_would_have_done() {
    let insert = [bind_named("", "s", &["7"]), describe(), execute()].concat();
    assert_refused(&[("s", "INSERT INTO {table} (n) VALUES ($1) RETURNING *")], ADD, &[insert], &[true]).await;
}

#[tokio::test]
async fn wherever_in_a_pipeline_it_is() {
    let statements =
        [("s", "SELECT * FROM {table}"), ("t", "SELECT n FROM {table}"), ("u", "SELECT m, * FROM {table}")];
    let pipeline = [
        call("t"),
        call("s"),
        [call("t"), call("u"), call("t")].concat(),
        [call("s"), query("SELECT 'skipped'")].concat(),
        call("u"),
        [close_named(b'S', "s"), parse_named("s", "SELECT 1, 2"), call("s")].concat(),
    ];
    assert_refused(&statements, ADD, &pipeline, &[false, true, true, true, true, false]).await;
}

#[tokio::test]
async fn a_statement_is_not_described_otherwise_than_it_was() {
    for change in [ADD, "ALTER TABLE {table} ALTER m TYPE text", "ALTER TABLE {table} RENAME m TO o"] {
        let parts = [[describe_named(b'S', "s"), call("s")].concat(), describe_named(b'S', "s"), call("s")];
        assert_refused(&[("s", "SELECT * FROM {table}")], change, &parts, &[true; 3]).await;
    }
}

#[tokio::test]
async fn what_else_is_wrong_with_a_bind_is_told_before() {
    for wrong in [&["many", "more"][..], &["not a number"], &[]] {
        let parts = [[bind_named("", "s", wrong), execute()].concat(), bind_named("", "s", &["1"])];
        assert_refused(&[("s", "SELECT * FROM {table} WHERE n = $1")], ADD, &parts, &[false, true]).await;
    }
}

/// The error that the refusal stands for is a client's own as well.
#[tokio::test]
async fn another_number_of_formats_than_there_are_columns_is_the_clients_mistake() {
    let pipeline = [call_with(&[0, 3, 0, 0, 0, 0, 0, 0]), call_with(&[0, 2, 0, 0, 0, 0])];
    let unchanging = "ALTER TABLE {table} ALTER m DROP NOT NULL";
    assert_refused(&[("s", "SELECT * FROM {table}")], unchanging, &pipeline, &[false; 2]).await;
}

#[tokio::test]
async fn the_refusal_is_postgres_own_and_ends_a_transaction() {
    let mut scene = prepared(&[("s", "SELECT * FROM {table}")]).await;
    scene.alter(ADD).await;
    let mut refusals = Vec::new();
    for session in [&mut scene.direct, &mut scene.alice] {
        run(session, &format!("BEGIN; INSERT INTO {} VALUES (8)", scene.table)).await;
        let refused = session.answers(&[call("s"), sync()].concat(), 1).await.remove(0);
        assert_eq!(refused.last().map(|ready| ready.body.clone()), Some(b"E".to_vec()));
        assert_eq!(session.query("SELECT 1").await[0].sqlstate(), "25P02");
        run(session, "ROLLBACK").await;
        refusals.push(refused);
    }
    // File and line are where its source has it.
    for field in [b'S', b'V', b'C', b'M', b'D', b'H', b'R'] {
        assert_eq!(refusals[1][0].field(field), refusals[0][0].field(field), "{}", char::from(field));
    }
    // What a driver does that gets such a refusal.
    let anew = [close_named(b'S', "s"), parse_named("s", scene.fill("SELECT * FROM {table}")), call("s")];
    assert_eq!(batch(&mut scene.alice, &anew).await.0, "312DCZ");
    change_hands(&mut scene.bob).await;
    assert_eq!(batch(&mut scene.alice, &[call("s")]).await.0, "2DCZ");
}
