//! The first who use a statement again after its table got other columns: Postgres refuses theirs as well, and nothing of
//! it is run.

use pgusher_tests::request::{bind_named, close_named, describe, describe_named, execute, parse_named, query, sync};
use pgusher_tests::{Message, Raw, Stage, message};
use tokio_postgres::Client;

use super::altered::{RESULT_CHANGED, alter, change_hands, table};
use super::statements::{batch, call};
use super::{pool_of, run};

/// A table that has two columns.
async fn two_columns(stage: &Stage) -> (String, Client) {
    let (name, superuser) = table(stage).await;
    alter(&superuser, &format!("ALTER TABLE {name} ADD m int")).await;
    (name, superuser)
}

/// Binds "s", which has no parameters, with these formats of the result, and executes it.
fn call_with(formats: &[u8]) -> Vec<u8> {
    [message(b'B', &[b"\0s\0\0\0\0\0", formats].concat()), execute()].concat()
}

/// What alice is told of a pipeline whose statements were prepared before all this was done to a table, directly and
/// through a proxy that does not know of it: of each part up to a Sync its tags, and the error's SQLSTATE.
async fn told(prepare: &[&str], change: &str, pipeline: &[Vec<u8>]) -> [Vec<(String, String)>; 2] {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let (table, superuser) = two_columns(stage).await;
    let fill = |text: &str| text.replace("{table}", &table);
    let mut bob = proxy.session(&stage.token("bob")).await;
    let (mut alice, mut direct) = (proxy.session(&stage.token("alice")).await, stage.direct_session().await);
    let parses: Vec<_> =
        prepare.iter().enumerate().map(|(number, text)| parse_named(["s", "t", "u"][number], fill(text))).collect();
    for session in [&mut direct, &mut alice] {
        batch(session, &parses).await;
    }
    change_hands(&mut bob).await;
    alter(&superuser, &fill(change)).await;

    let (bytes, count) =
        (pipeline.iter().flat_map(|part| [&part[..], &sync()].concat()).collect::<Vec<_>>(), pipeline.len());
    let (direct, through) = (direct.answers(&bytes, count).await, alice.answers(&bytes, count).await);
    let inserted = format!("SELECT FROM {table} WHERE n = 7");
    assert_eq!(superuser.query(&inserted, &[]).await.expect("rows").len(), 0, "what is refused is not run");
    [direct, through].map(|answers| answers.iter().map(|answer| summary(answer)).collect())
}

fn summary(answer: &[Message]) -> (String, String) {
    let error = answer.iter().find(|message| message.tag == b'E').map(Message::sqlstate);
    (Message::tags(answer), error.unwrap_or_default())
}

/// Has a pipeline be answered as it is directly, and that with a refusal in each part in which one is expected.
async fn assert_refused(prepare: &[&str], change: &str, pipeline: &[Vec<u8>], refused: &[bool]) {
    let [direct, through] = told(prepare, change, pipeline).await;
    let is_refused: Vec<_> = direct.iter().map(|(_, code)| code == RESULT_CHANGED).collect();
    assert_eq!(is_refused, refused, "directly: {direct:?}");
    assert_eq!(through, direct, "{change}");
}

#[tokio::test]
async fn whatever_formats_a_bind_has() {
    for formats in [&[0, 0][..], &[0, 1, 0, 0], &[0, 1, 0, 1], &[0, 2, 0, 1, 0, 0]] {
        for change in ["ALTER TABLE {table} ADD more text", "ALTER TABLE {table} DROP m"] {
            let call = call_with(formats);
            assert_refused(&["SELECT * FROM {table}"], change, &[call.clone(), call], &[true, true]).await;
        }
    }
}

#[tokio::test]
async fn whatever_it_would_have_done() {
    let insert = [bind_named("", "s", &["7"]), describe(), execute()].concat();
    let change = "ALTER TABLE {table} ADD more text";
    assert_refused(&["INSERT INTO {table} (n) VALUES ($1) RETURNING *"], change, &[insert], &[true]).await;
}

#[tokio::test]
async fn wherever_in_a_pipeline_it_is() {
    let statements = ["SELECT * FROM {table}", "SELECT n FROM {table}", "SELECT m, * FROM {table}"];
    let pipeline = [
        call("t"),
        call("s"),
        [call("t"), call("u"), call("t")].concat(),
        [call("s"), query("SELECT 'skipped'")].concat(),
        call("u"),
        [close_named(b'S', "s"), parse_named("s", "SELECT 1, 2"), call("s")].concat(),
    ];
    let refused = [false, true, true, true, true, false];
    assert_refused(&statements, "ALTER TABLE {table} ADD more text", &pipeline, &refused).await;
}

#[tokio::test]
async fn a_statement_is_not_described_otherwise_than_it_was() {
    for change in [
        "ALTER TABLE {table} ADD more text",
        "ALTER TABLE {table} ALTER m TYPE text",
        "ALTER TABLE {table} RENAME m TO o",
    ] {
        let parts = [[describe_named(b'S', "s"), call("s")].concat(), describe_named(b'S', "s"), call("s")];
        assert_refused(&["SELECT * FROM {table}"], change, &parts, &[true; 3]).await;
    }
}

#[tokio::test]
async fn what_else_is_wrong_with_a_bind_is_told_before() {
    let (statement, change) = (["SELECT * FROM {table} WHERE n = $1"], "ALTER TABLE {table} ADD more text");
    for wrong in [&["many", "more"][..], &["not a number"], &[]] {
        let parts = [[bind_named("", "s", wrong), execute()].concat(), bind_named("", "s", &["1"])];
        assert_refused(&statement, change, &parts, &[false, true]).await;
    }
}

/// The error that the refusal stands for is a client's own as well.
#[tokio::test]
async fn another_number_of_formats_than_there_are_columns_is_the_clients_mistake() {
    let pipeline = [call_with(&[0, 3, 0, 0, 0, 0, 0, 0]), call_with(&[0, 2, 0, 0, 0, 0])];
    assert_refused(&["SELECT * FROM {table}"], "ALTER TABLE {table} ALTER m DROP NOT NULL", &pipeline, &[false; 2])
        .await;
}

#[tokio::test]
async fn the_refusal_is_postgres_own_and_ends_a_transaction() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let (table, superuser) = two_columns(stage).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    let (mut alice, mut direct) = (proxy.session(&stage.token("alice")).await, stage.direct_session().await);
    for session in [&mut direct, &mut alice] {
        batch(session, &[parse_named("s", format!("SELECT * FROM {table}"))]).await;
    }
    change_hands(&mut bob).await;
    alter(&superuser, &format!("ALTER TABLE {table} ADD more text")).await;
    let mut refusals = Vec::new();
    for session in [&mut direct, &mut alice] {
        run(session, &format!("BEGIN; INSERT INTO {table} VALUES (8)")).await;
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
    prepare_anew(&mut alice, &table).await;
    change_hands(&mut bob).await;
    assert_eq!(batch(&mut alice, &[call("s")]).await.0, "2DCZ");
}

/// What a driver does that gets such a refusal.
async fn prepare_anew(session: &mut Raw, table: &str) {
    let anew = [close_named(b'S', "s"), parse_named("s", format!("SELECT * FROM {table}")), call("s")];
    assert_eq!(batch(session, &anew).await.0, "312DCZ");
}
