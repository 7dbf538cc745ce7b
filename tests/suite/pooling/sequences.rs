//! What a session has of its sequences (`currval`, `lastval`) is its own, also among sessions of one identity, which else
//! leave their servers to each other as they are.

use pgusher_tests::request::{bind, bind_named, execute_named, extended, parse, parse_named, query, sync};
use pgusher_tests::{Message, Proxy, Raw, Stage};

use super::{pool_of, run};

/// A proxy with one server, and a database with a sequence.
async fn numbers() -> (Proxy, String) {
    let stage = Stage::get();
    let (database, superuser) = stage.database().await;
    let sql =
        "CREATE TABLE numbers (number serial, by text); GRANT ALL ON numbers, numbers_number_seq TO authenticated";
    superuser.batch_execute(sql).await.expect("a table");
    (pool_of(1).await, database)
}

async fn alice(proxy: &Proxy, database: &str, more: &[(&str, &str)]) -> Raw {
    let parameters = [&[("database", database)], more].concat();
    proxy.session_with(&Stage::get().token("alice"), &parameters).await
}

fn error(answer: &[Message]) -> Option<String> {
    answer.iter().find(|message| message.tag == b'E').map(Message::sqlstate)
}

const INSERT: &str = "INSERT INTO numbers (by) VALUES (pg_backend_pid()::text)";

#[tokio::test]
async fn another_sessions_number_is_told_to_nobody() {
    let (proxy, database) = numbers().await;
    for (index, look) in [
        "SELECT lastval()",
        "SELECT currval('numbers_number_seq')",
        "SELECT currval(pg_get_serial_sequence('numbers', 'number'))",
    ]
    .into_iter()
    .enumerate()
    {
        for startup in [&[][..], &[("default_transaction_read_only", "on")]] {
            let (mut one, mut other) =
                (alice(&proxy, &database, startup).await, alice(&proxy, &database, startup).await);
            let backend = one.backend().await;
            for client in [&mut one, &mut other] {
                run(client, &format!("BEGIN READ WRITE; {INSERT}; COMMIT")).await;
                assert_eq!(client.backend().await, backend);
            }
            // Another's is none, as where the session has used no sequence.
            let answer = match index {
                0 => one.query(look).await,
                _ => one.answers(&[extended(look), sync()].concat(), 1).await.remove(0),
            };
            assert_eq!(error(&answer).as_deref(), Some("55000"), "{look}: {answer:?}");
            assert_eq!(one.value("SELECT auth.user_id()").await, "alice", "{look}");
        }
    }
}

#[tokio::test]
async fn ones_own_number_is_told_as_long_as_nobody_else_had_the_server() {
    let (proxy, database) = numbers().await;
    let mut client = alice(&proxy, &database, &[]).await;
    let number = Message::values(&run(&mut client, &format!("{INSERT} RETURNING number")).await).remove(0);
    assert_eq!(client.value("SELECT lastval()").await, number);
    // And from then on it keeps the server.
    run(&mut client, INSERT).await;
    assert_ne!(client.value("SELECT lastval()").await, number);
}

#[tokio::test]
async fn who_only_looked_at_something_else_has_drawn_no_number() {
    let (proxy, database) = numbers().await;
    let (mut one, mut other) = (alice(&proxy, &database, &[]).await, alice(&proxy, &database, &[]).await);
    run(&mut other, INSERT).await;
    run(&mut one, "SELECT 1").await;
    one.answers(&[extended("SELECT 2"), sync()].concat(), 1).await;
    assert_eq!(error(&one.query("SELECT lastval()").await).as_deref(), Some("55000"));
    // Who has asked keeps the server, and gives it back clean.
    drop(one);
    assert_eq!(error(&other.query("SELECT lastval()").await).as_deref(), Some("55000"));
}

#[tokio::test]
async fn a_number_that_is_drawn_and_asked_for_at_once_is_told() {
    let (proxy, database) = numbers().await;
    let (mut one, mut other) = (alice(&proxy, &database, &[]).await, alice(&proxy, &database, &[]).await);
    run(&mut other, INSERT).await;
    let mine = Message::values(&run(&mut one, &format!("{INSERT} RETURNING number; SELECT lastval()")).await);
    assert_eq!(mine[0], mine[1]);
    drop(one);
    let mut one = alice(&proxy, &database, &[]).await;
    run(&mut other, "SELECT 1").await;
    run(&mut one, &format!("BEGIN; {INSERT}")).await;
    assert!(one.value("SELECT lastval()").await > mine[1]);
}

/// As object-relational mappers draw identifiers, which they remember themselves.
#[tokio::test]
async fn what_is_drawn_in_a_transaction_keeps_no_server() {
    let (proxy, database) = numbers().await;
    let mut client = alice(&proxy, &database, &[]).await;
    let mut other = proxy.session_with(&Stage::get().token("bob"), &[("database", &database)]).await;
    let draw = "SELECT nextval('numbers_number_seq')";
    let drawn = [bind_named("", "draw", &[]), execute_named("", 0), sync()].concat();
    for begun in [
        query(format!("BEGIN; {draw}")),
        [extended("BEGIN"), parse_named("draw", draw), drawn.clone()].concat(),
        [extended("BEGIN"), drawn].concat(),
        [extended("BEGIN"), extended("SELECT setval('numbers_number_seq', 100)"), sync()].concat(),
    ] {
        let answer = client.answers(&begun, 1).await.remove(0);
        assert_eq!(error(&answer), None, "{answer:?}");
        assert_eq!(client.value("SELECT is_called FROM numbers_number_seq").await, "t");
        run(&mut client, "COMMIT").await;
        assert_eq!(other.value("SELECT auth.user_id()").await, "bob");
    }
}

#[tokio::test]
async fn what_was_prepared_on_another_server_draws_and_asks_for_its_own_session() {
    let (proxy, database) = numbers().await;
    let (mut one, mut other) = (alice(&proxy, &database, &[]).await, alice(&proxy, &database, &[]).await);
    let run_of = |name| [bind_named("", name, &[]), execute_named("", 0), sync()].concat();
    let prepared = [parse_named("draw", format!("{INSERT} RETURNING number")), run_of("draw")].concat();
    one.answers(&prepared, 1).await;
    run(&mut other, INSERT).await;
    let drawn = one.answers(&run_of("draw"), 1).await.remove(0);
    assert_eq!(one.value("SELECT lastval()").await, Message::values(&drawn)[0]);
    run(&mut one, "DISCARD SEQUENCES").await;

    run(&mut one, "BEGIN").await;
    one.answers(&[parse_named("next", "SELECT nextval('numbers_number_seq')"), run_of("next")].concat(), 1).await;
    run(&mut one, "COMMIT").await;
    run(&mut other, INSERT).await;
    let drawn = one.answers(&run_of("next"), 1).await.remove(0);
    assert_eq!(one.value("SELECT lastval()").await, Message::values(&drawn)[0]);

    one.answers(&[parse_named("ask", "SELECT lastval()"), sync()].concat(), 1).await;
    run(&mut one, "DISCARD SEQUENCES").await;
    run(&mut other, INSERT).await;
    let asked = one.answers(&run_of("ask"), 1).await.remove(0);
    assert_eq!(error(&asked).as_deref(), Some("55000"), "{asked:?}");
}

/// Whatever its command tag says, or though there is none.
#[tokio::test]
async fn what_was_drawn_unseen_is_told_to_nobody_else_and_is_ones_own() {
    let (proxy, database) = numbers().await;
    let returning = format!("{INSERT} RETURNING number");
    let rows = "INSERT INTO numbers (by) VALUES ('x'), ('y') RETURNING number";
    let suspended = [parse(rows), bind(), execute_named("", 1), sync()].concat();
    for request in [
        query(format!("WITH made AS ({returning}) SELECT number FROM made")),
        [extended(format!("WITH made AS ({returning}) SELECT number FROM made")), sync()].concat(),
        query("INSERT INTO numbers (by) VALUES ((1 / (random() * 0)::int)::text)"),
        query(format!("EXPLAIN ANALYZE {INSERT}")),
        suspended,
    ] {
        let (mut one, mut other) = (alice(&proxy, &database, &[]).await, alice(&proxy, &database, &[]).await);
        run(&mut one, INSERT).await;
        other.answers(&request, 1).await;
        assert_eq!(error(&one.query("SELECT lastval()").await).as_deref(), Some("55000"), "{request:?}");
        drop(one);
        let mut another = alice(&proxy, &database, &[]).await;
        run(&mut another, INSERT).await;
        other.answers(&request, 1).await;
        other.value("SELECT lastval()").await;
    }
}

#[tokio::test]
async fn who_does_not_wait_for_an_answer_is_not_told_anothers_number() {
    let (proxy, database) = numbers().await;
    let (mut one, mut other) = (alice(&proxy, &database, &[]).await, alice(&proxy, &database, &[]).await);
    run(&mut other, INSERT).await;
    let pipeline = [query("SELECT 1"), query("SELECT lastval()"), query("SELECT 2")].concat();
    let answers = one.answers(&pipeline, 3).await;
    let errors: Vec<_> = answers.iter().map(|answer| error(answer)).collect();
    assert_eq!(errors, [None, Some("55000".to_owned()), None]);
    drop(one);
    let mut one = alice(&proxy, &database, &[]).await;
    run(&mut other, INSERT).await;
    let pipeline = [query(format!("{INSERT} RETURNING number")), query("SELECT lastval()")].concat();
    let answers = one.answers(&pipeline, 2).await;
    assert_eq!(Message::values(&answers[0]), Message::values(&answers[1]));
}
