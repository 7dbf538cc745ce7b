//! Session init: a client sees nothing of it, and without it nothing of the client's runs.

use pgusher_tests::request::query;
use pgusher_tests::{Message, Proxy, Raw, Stage, WHO};
use tokio_postgres::Client;

/// What a client of both kinds of session sends: resets, errors, notices, a transaction.
const SCRIPT: [&str; 12] = [
    "SELECT 1",
    "RESET ALL",
    "SELECT current_user",
    "SET client_min_messages = notice; DO $$ BEGIN RAISE NOTICE 'mine'; END $$",
    "DISCARD ALL",
    "SET default_transaction_read_only = on; RESET pgusher.claims",
    "SELECT 1 / 0",
    "BEGIN; RESET pgusher.claims",
    "SELECT count(*) FROM pg_cursors",
    "ROLLBACK",
    "SELECT count(*) FROM pg_prepared_statements",
    "",
];

#[tokio::test]
async fn a_client_gets_the_messages_that_it_would_get_without_the_proxy() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut direct = stage.direct_session().await;
    let mut relayed = proxy.session(&stage.token("alice")).await;
    for sql in SCRIPT {
        assert_eq!(relayed.query(sql).await, direct.query(sql).await, "{sql}");
    }
}

#[tokio::test]
async fn with_every_debug_message_on_nothing_of_session_init_shows() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let loud = [("client_min_messages", "debug5"), ("options", "-c work_mem=1MB")];
    let mut client = proxy.raw().await;
    let mut seen = client.log_in_with(&stage.token("alice").to_string(), &loud).await;
    let louder = "SET debug_print_plan = on; SET log_parameter_max_length_on_error = -1; SET debug_print_parse = on";
    for sql in [louder, "RESET pgusher.claims", "SELECT 1", "DISCARD SEQUENCES", "SELECT 1", "RESET ALL", "SELECT 1"] {
        seen.extend(client.query(sql).await);
    }
    let text: String = seen.iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect();
    assert!(text.contains("DEBUG"), "debug messages arrive");
    for trace in ["pgusher_init", "set_config", "claims1", "epoch1", "BEGIN READ WRITE", "auth.", "SECURITY"] {
        assert!(!text.contains(trace), "{trace} in {text}");
    }
}

/// A database in which init waits for the superuser, who holds the lock that it needs, or does not. Sequence `ran`
/// tells whether a request of the client's has run.
async fn lockable(stage: &Stage) -> (String, Client) {
    let (database, superuser) = stage.database().await;
    let sequence = "CREATE SEQUENCE ran; GRANT USAGE ON SEQUENCE ran TO authenticated";
    superuser.batch_execute(sequence).await.expect("a sequence");
    (database, superuser)
}

const LOCK: &str = "BEGIN; LOCK auth.keys IN ACCESS EXCLUSIVE MODE";
const RETIRE: &str = "UPDATE auth.keys SET valid_until = now()";

async fn has_run(superuser: &Client) -> bool {
    superuser.query_one("SELECT is_called FROM ran", &[]).await.expect("a row").get(0)
}

/// Asserts that this is the end of a session whose identity could not be set, and that nothing else is told.
async fn assert_ended(client: &mut Raw, answer: &[Message]) {
    let words = answer.last().map(|message| (message.sqlstate(), message.field(b'M').unwrap_or_default()));
    let expected = "the session could not be set up on its server connection";
    assert_eq!(words, Some(("28000".to_owned(), expected.to_owned())), "{answer:?}");
    assert_eq!(client.receive().await, None);
    let text = format!("{:?}", answer.iter().map(|m| String::from_utf8_lossy(&m.body)).collect::<Vec<_>>());
    assert!(!text.contains("pgusher_init") && !text.contains("claims1") && !text.contains("parameters"), "{text}");
}

#[tokio::test]
async fn no_request_runs_behind_an_init_that_fails() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let (database, superuser) = lockable(stage).await;
    let count = query("SELECT nextval('ran')");
    for reset in ["RESET ALL", "DISCARD ALL", "RESET pgusher.claims"] {
        for apart in [false, true] {
            let mut client = proxy.session_with(&stage.token("alice"), &[("database", &database)]).await;
            client.query("SELECT 1").await;
            superuser.batch_execute(RETIRE).await.expect("a retirement");

            let mut rest = [&query(reset)[..], &count, &count].concat();
            if apart {
                client.query(reset).await;
                rest = count.clone();
            }
            let answers = client.answers(&rest, if apart { 1 } else { 2 }).await;
            let last = answers.last().expect("an answer");

            assert_eq!(Message::tags(last), "E", "{reset}: {answers:?}");
            assert_ended(&mut client, last).await;
            assert!(!has_run(&superuser).await, "{reset}");
            superuser.batch_execute("UPDATE auth.keys SET valid_until = 'infinity'").await.expect("a way back");
        }
    }
}

#[tokio::test]
async fn a_timeout_that_the_client_set_stops_its_own_session_and_shows_nothing() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let (database, superuser) = lockable(stage).await;
    for timeout in ["statement_timeout", "lock_timeout"] {
        let mut client = proxy.session_with(&stage.token("alice"), &[("database", &database)]).await;
        client.query("SET log_parameter_max_length_on_error = -1; SET client_min_messages = debug5").await;
        superuser.batch_execute(LOCK).await.expect("a lock");

        // The timeout is for what follows: the reset itself it could stop, and the claims were still there then.
        client.query(&format!("RESET pgusher.claims; SET {timeout} = 1")).await;
        client.send(&query("SELECT nextval('ran')")).await;
        let answer = client.until_ready().await;

        assert_ended(&mut client, &answer).await;
        superuser.batch_execute("ROLLBACK").await.expect("an end");
        assert!(!has_run(&superuser).await, "{timeout}");
    }
}

#[tokio::test]
async fn a_login_whose_init_fails_is_none() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let (database, superuser) = lockable(stage).await;
    superuser.batch_execute(LOCK).await.expect("a lock");
    for timeout in ["lock_timeout", "statement_timeout"] {
        let parameters = [("database", database.as_str()), (timeout, "1"), ("client_min_messages", "debug5")];
        let mut client = proxy.raw().await;
        let answer = client.log_in_with(&stage.token("alice").to_string(), &parameters).await;
        assert_eq!((Message::tags(&answer).as_str(), answer[0].sqlstate().as_str()), ("E", "57P03"), "{timeout}");
        assert_eq!(client.receive().await, None);
    }
}

#[tokio::test]
async fn a_key_that_is_retired_ends_sessions_at_their_next_reset() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let (database, superuser) = lockable(stage).await;
    let mut client = proxy.session_with(&stage.token("alice"), &[("database", &database)]).await;
    superuser.batch_execute(RETIRE).await.expect("a retirement");

    let refused = client.query(WHO).await;
    assert!(refused.iter().any(|message| message.tag == b'E' && message.sqlstate() == "28000"), "{refused:?}");
    let answer = client.answers(&[query("RESET ALL"), query("SELECT nextval('ran')")].concat(), 2).await;

    assert_ended(&mut client, &answer[1]).await;
    assert!(!has_run(&superuser).await);
}
