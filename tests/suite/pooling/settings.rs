//! What a client sets goes with it from server to server, and to nobody else.

use std::collections::HashMap;

use pgusher_tests::request::{bind_named, execute_named, extended, parse, query, sync};
use pgusher_tests::{Message, Raw, Stage};

use super::{Crowd, pool_of, run};
use pgusher_tests::Random;

const STARTUP: [(&str, &str); 3] =
    [("TimeZone", "Europe/Berlin"), ("application_name", "here"), ("options", "-c work_mem=5MB -c my.own=start")];

#[tokio::test]
async fn settings_follow_their_client() {
    let (stage, mut crowd) = (Stage::get(), Crowd::new().await);
    for (sql, name, expected) in [
        ("SELECT 1", "TimeZone", "Europe/Berlin"),
        ("SELECT 1", "application_name", "here"),
        ("SELECT 1", "work_mem", "5MB"),
        ("SELECT 1", "my.own", "start"),
        ("SET TimeZone = 'Asia/Tokyo'", "TimeZone", "Asia/Tokyo"),
        ("SET TIME ZONE 'Asia/Tokyo'", "TimeZone", "Asia/Tokyo"),
        ("SET NAMES 'LATIN1'", "client_encoding", "LATIN1"),
        ("SET SESSION work_mem TO '7MB'", "work_mem", "7MB"),
        ("set MY.own = 'x''y'; SELECT 1", "my.own", "x'y"),
        ("SET search_path = a, \"B c\"", "search_path", "a, \"B c\""),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "default_transaction_isolation",
            "serializable",
        ),
        ("SET work_mem = '7MB'; SET work_mem = '8MB'", "work_mem", "8MB"),
        ("SET work_mem = '7MB'; RESET work_mem", "work_mem", "5MB"),
        ("SET work_mem = '7MB'; SET work_mem TO DEFAULT", "work_mem", "5MB"),
        ("SET TimeZone = 'Asia/Tokyo'; RESET TIME ZONE", "TimeZone", "Europe/Berlin"),
        ("SET work_mem = '7MB'; SET my.own = 'y'; RESET ALL", "work_mem", "5MB"),
        ("BEGIN; SET work_mem = '7MB'; COMMIT", "work_mem", "7MB"),
        ("BEGIN; SET work_mem = '7MB'; ROLLBACK", "work_mem", "5MB"),
        ("SET work_mem = '6MB'; BEGIN; SET work_mem = '7MB'; ROLLBACK", "work_mem", "5MB"),
        ("BEGIN; SET LOCAL work_mem = '7MB'; COMMIT", "work_mem", "5MB"),
        ("BEGIN; SAVEPOINT s; SET work_mem = '7MB'; RELEASE s; COMMIT", "work_mem", "7MB"),
        ("SELECT set_config('work_mem', '7MB', true)", "work_mem", "5MB"),
        ("SELECT set_config('work_mem', '7MB', false)", "work_mem", "7MB"),
        ("select pg_catalog.set_config('TimeZone', 'Asia/Tokyo', FALSE);", "TimeZone", "Asia/Tokyo"),
        ("RESET TimeZone; SET TimeZone = 'Asia/Tokyo'", "TimeZone", "Asia/Tokyo"),
        ("BEGIN; RESET ALL; SET TimeZone = 'Asia/Tokyo'; COMMIT", "TimeZone", "Asia/Tokyo"),
        ("BEGIN; SET work_mem = '7MB'; RESET work_mem; COMMIT", "work_mem", "5MB"),
    ] {
        let mut client = crowd.proxy.session_with(&stage.token("alice"), &STARTUP).await;
        run(&mut client, sql).await;
        assert_eq!(client.value(&format!("SHOW {name}")).await, expected, "{sql}; at once");
        crowd.push(&mut client).await;
        assert_eq!(client.value(&format!("SHOW {name}")).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn a_reset_that_is_taken_back_leaves_what_was_set_before() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    for taken_back in [
        &["BEGIN", "RESET TimeZone", "ROLLBACK"][..],
        &["BEGIN", "RESET ALL", "ROLLBACK"],
        &["BEGIN; RESET TimeZone; ROLLBACK"],
        &["BEGIN; SAVEPOINT s; RESET TimeZone; ROLLBACK TO s; COMMIT"],
        &["RESET TimeZone; SELECT 1 / 0"],
    ] {
        let mut client = proxy.session_with(&stage.token("alice"), &STARTUP).await;
        run(&mut client, "SET TimeZone = 'Asia/Tokyo'").await;
        for sql in taken_back {
            client.query(sql).await;
        }
        for _ in 0..2 {
            assert_eq!(client.value("SHOW TimeZone").await, "Asia/Tokyo", "{taken_back:?}");
        }
    }
}

#[tokio::test]
async fn settings_made_by_message_follow_their_client_whichever_portal_they_went_through() {
    let (stage, mut crowd) = (Stage::get(), Crowd::new().await);
    let set = |portal: &str, value: &str| {
        let sql = format!("SET work_mem = '{value}'");
        [parse(sql), bind_named(portal, "", &[]), execute_named(portal, 0), sync()].concat()
    };
    let other =
        |portal: &str| [parse("SELECT 1"), bind_named(portal, "", &[]), execute_named(portal, 0), sync()].concat();
    for (requests, ready, expected) in [
        (vec![set("", "7MB")], 1, "7MB"),
        (vec![set("p", "7MB")], 1, "7MB"),
        (vec![set("p", "7MB"), other("p")], 2, "7MB"),
        (vec![query("SELECT 1/0"), set("p", "7MB"), query("SELECT 1/0")], 3, "7MB"),
        (vec![set("p", "7MB"), query("SELECT 1/0"), set("q", "8MB")], 3, "8MB"),
        (vec![parse("SET work_mem = '7MB'"), bind_named("p", "", &[]), other("p")], 1, "5MB"),
        (
            vec![parse("SET work_mem = '7MB'"), bind_named("p", "", &[]), extended("SELECT 1/0"), set("p", "8MB")],
            1,
            "5MB",
        ),
    ] {
        let mut client = crowd.proxy.session_with(&stage.token("alice"), &STARTUP).await;
        client.answers(&requests.concat(), ready).await;
        crowd.push(&mut client).await;
        assert_eq!(client.value("SHOW work_mem").await, expected, "{}", String::from_utf8_lossy(&requests.concat()));
    }
}

#[tokio::test]
async fn a_setting_behind_a_savepoint_is_never_wrong() {
    let (stage, proxy) = (Stage::get(), pool_of(2).await);
    for (sql, expected) in [
        ("BEGIN; SET work_mem = '7MB'; SAVEPOINT s; SET work_mem = '8MB'; ROLLBACK TO s; COMMIT", "7MB"),
        ("BEGIN; SAVEPOINT s; SET work_mem = '8MB'; ROLLBACK TO s; SET work_mem = '9MB'; COMMIT", "9MB"),
        ("BEGIN; SAVEPOINT s; SET work_mem = '8MB'; ROLLBACK TO s; COMMIT", "5MB"),
    ] {
        let mut bob = proxy.session(&stage.token("bob")).await;
        let mut client = proxy.session_with(&stage.token("alice"), &STARTUP).await;
        run(&mut client, sql).await;
        run(&mut bob, "SELECT 1").await;
        assert_eq!(client.value("SHOW work_mem").await, expected, "{sql}");
    }
}

#[tokio::test]
async fn a_setting_that_failed_is_none() {
    let (stage, mut crowd) = (Stage::get(), Crowd::new().await);
    for sql in [
        "SET work_mem = '7MB'; SELECT 1 / 0",
        "SET work_mem = 'much'",
        "BEGIN; SET work_mem = '7MB'; SELECT 1 / 0; COMMIT",
    ] {
        let mut client = crowd.proxy.session_with(&stage.token("alice"), &STARTUP).await;
        client.query(sql).await;
        client.query("COMMIT").await;
        assert_eq!(client.value("SHOW work_mem").await, "5MB", "{sql}");
        crowd.push(&mut client).await;
        assert_eq!(client.value("SHOW work_mem").await, "5MB", "{sql}");
    }
}

#[tokio::test]
async fn clients_of_one_identity_do_not_see_each_others_settings() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let token = stage.token("alice").to_string();
    let (mut one, mut other) = (proxy.session(&token).await, proxy.session(&token).await);
    run(&mut one, "SET my.own = 'one'").await;
    for _ in 0..3 {
        assert_eq!(one.value("SELECT current_setting('my.own', true)").await, "one");
        let others = other.query("SELECT nullif(current_setting('my.own', true), '')").await;
        assert_eq!(Message::values(&others), [""; 0], "{others:?}");
    }
}

#[tokio::test]
async fn discard_all_leads_back_to_what_the_client_came_with() {
    let (stage, mut crowd) = (Stage::get(), Crowd::new().await);
    let mut client = crowd.proxy.session_with(&stage.token("alice"), &STARTUP).await;
    run(&mut client, "SET work_mem = '7MB'; SET TimeZone = 'Asia/Tokyo'; SET my.own = 'y'").await;
    run(&mut client, "DISCARD ALL").await;
    for _ in 0..2 {
        for (name, expected) in [("work_mem", "5MB"), ("TimeZone", "Europe/Berlin"), ("my.own", "start")] {
            assert_eq!(client.value(&format!("SHOW {name}")).await, expected);
        }
        crowd.push(&mut client).await;
    }
}

/// A client that notes what it is told of its settings.
struct Attentive {
    session: Raw,
    told: HashMap<String, String>,
}

impl Attentive {
    fn hear(&mut self, messages: &[Message]) {
        for message in messages.iter().filter(|message| message.tag == b'S') {
            let text = String::from_utf8(message.body.clone()).expect("text");
            let mut parts = text.split('\0').map(str::to_owned);
            self.told.insert(parts.next().expect("a name"), parts.next().expect("a value"));
        }
    }

    async fn say(&mut self, sql: &str) -> Vec<Message> {
        let answer = run(&mut self.session, sql).await;
        self.hear(&answer);
        answer
    }

    /// What it knows is how it is.
    async fn is_right(&mut self) {
        let mut names: Vec<_> = self.told.keys().cloned().collect();
        names.sort();
        let shown = names.iter().map(|name| format!("SELECT current_setting('{name}')"));
        let answer = self.say(&shown.collect::<Vec<_>>().join(";")).await;
        let told: Vec<_> = names.iter().map(|name| (name.clone(), self.told[name].clone())).collect();
        let is: Vec<_> = names.into_iter().zip(Message::values(&answer)).collect();
        assert_eq!(told, is);
    }
}

#[tokio::test]
async fn what_a_client_was_told_of_its_settings_is_true_at_each_of_its_statements() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let mut clients = Vec::new();
    for (subject, startup) in [("alice", &STARTUP[..]), ("bob", &STARTUP[..1]), ("alice", &[]), ("carol", &[])] {
        let mut session = proxy.raw().await;
        let greeting = session.log_in_with(&stage.token(subject).to_string(), startup).await;
        let mut client = Attentive { session, told: HashMap::new() };
        client.hear(&greeting);
        assert!(client.told.len() > 10, "{:?}", client.told);
        clients.push(client);
    }
    let mut random = Random(4);
    let statements = [
        "SET TimeZone = 'Asia/Tokyo'",
        "SET TIME ZONE 'UTC'",
        "SET client_encoding = 'LATIN1'",
        "SET DateStyle = 'German'",
        "SET application_name = 'other'",
        "SET IntervalStyle = iso_8601",
        "BEGIN; SET TimeZone = 'Asia/Tokyo'; ROLLBACK",
        "BEGIN; SET DateStyle = 'SQL, DMY'; COMMIT",
        "RESET ALL",
        "RESET application_name",
        "DISCARD ALL",
        "SELECT 1",
    ];
    for _ in 0..150 {
        let client = random.below(clients.len());
        clients[client].say(statements[random.below(statements.len())]).await;
        let other = random.below(clients.len());
        clients[other].is_right().await;
        clients[client].is_right().await;
    }
}
