//! Prepared statements go with their client from server to server, under the names that the client gave them.

use std::slice::from_ref;

use pgusher_tests::request::{
    bind_named, close_named, describe_named, execute, execute_named, parse_named, query, sync, terminate,
};
use pgusher_tests::{Message, Proxy, Raw, Stage};

use super::{Crowd, pool_of, run};

/// Sends a batch with its Sync; returns the tags, and the SQLSTATE of an error or the values.
pub(super) async fn batch(client: &mut Raw, requests: &[Vec<u8>]) -> (String, Vec<String>) {
    batches(client, &[requests.concat()]).await.remove(0)
}

/// The same of several, sent in one write.
pub(super) async fn batches(client: &mut Raw, batches: &[Vec<u8>]) -> Vec<(String, Vec<String>)> {
    let bytes: Vec<_> = batches.iter().flat_map(|requests| [&requests[..], &sync()].concat()).collect();
    let answers = client.answers(&bytes, batches.len()).await;
    let summary = |answer: &Vec<Message>| {
        let error = answer.iter().find(|message| message.tag == b'E').map(Message::sqlstate);
        (Message::tags(answer), error.map_or_else(|| Message::values(answer), |code| vec![code]))
    };
    answers.iter().map(summary).collect()
}

/// Executes a statement without parameters.
pub(super) fn call(name: &str) -> Vec<u8> {
    [bind_named("", name, &[]), execute()].concat()
}

pub(super) async fn value_of(client: &mut Raw, name: &str) -> String {
    batch(client, &[call(name)]).await.1.concat()
}

const NO_SUCH_STATEMENT: &str = "26000";

#[tokio::test]
async fn a_statement_is_there_on_every_server() {
    let (stage, mut crowd) = (Stage::get(), Crowd::new().await);
    let mut client = crowd.proxy.session(&stage.token("alice")).await;
    for name in ["s", "pgusher_1", "Aa \u{e4}", &"n".repeat(62)] {
        batch(&mut client, &[parse_named(name, "SELECT $1::int + 1, auth.user_id()")]).await;
        for _ in 0..3 {
            let requests = [describe_named(b'S', name), bind_named("", name, &["41"]), execute()];
            assert_eq!(batch(&mut client, &requests).await, ("tT2DCZ".to_owned(), vec!["42".to_owned()]), "{name}");
            crowd.push(&mut client).await;
        }
    }
}

#[tokio::test]
async fn one_name_is_another_statement_to_each_client() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let token = stage.token("alice").to_string();
    let mut clients = Vec::new();
    for number in 0..4 {
        let mut client = proxy.session(&token).await;
        batch(&mut client, &[parse_named("s", format!("SELECT {}", number / 2))]).await;
        clients.push(client);
    }
    for _ in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(value_of(client, "s").await, (number / 2).to_string());
        }
    }
    // Equal ones are one on the server; to close the one leaves the other.
    assert_eq!(batch(&mut clients[0], &[close_named(b'S', "s")]).await.0, "3Z");
    assert_eq!(value_of(&mut clients[0], "s").await, NO_SUCH_STATEMENT);
    assert_eq!(value_of(&mut clients[1], "s").await, "0");
}

/// Batches behind each other, the server being somebody else's between any two: tags, and SQLSTATE or values.
async fn assert_dialogue(title: &str, dialogue: &[(&[Vec<u8>], &str, &str)]) {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let mut bob = proxy.session(&stage.token("bob")).await;
    let mut direct = stage.direct_session().await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    for (number, (requests, tags, values)) in dialogue.iter().enumerate() {
        let expected = ((*tags).to_owned(), (*values).to_owned());
        let (directly, through) = (batch(&mut direct, requests).await, batch(&mut alice, requests).await);
        assert_eq!((directly.0, directly.1.concat()), expected, "{title}, {number}, directly");
        assert_eq!((through.0, through.1.concat()), expected, "{title}, {number}");
        batch(&mut bob, &[parse_named("s", "SELECT 'bob'"), parse_named("", "SELECT 'bob'"), call("s"), call("")])
            .await;
    }
}

#[tokio::test]
async fn names_are_taken_and_free_as_they_are_directly() {
    let (one, two) = (parse_named("s", "SELECT 1"), parse_named("s", "SELECT 2"));
    let (run_s, close, bad) = (call("s"), close_named(b'S', "s"), parse_named("s", "SELECT nothing"));
    let long = ["x".repeat(63), "x".repeat(64), "x".repeat(900)];
    assert_dialogue(
        "a name that is taken",
        &[(from_ref(&one), "1Z", ""), (from_ref(&two), "EZ", "42P05"), (from_ref(&run_s), "2DCZ", "1")],
    )
    .await;
    assert_dialogue(
        "a name that is free again",
        &[
            (&[one.clone(), close.clone(), two.clone(), run_s.clone()], "1312DCZ", "2"),
            (from_ref(&run_s), "2DCZ", "2"),
            (&[close.clone(), one.clone()], "31Z", ""),
            (&[run_s.clone(), close.clone()], "2DC3Z", "1"),
            (from_ref(&run_s), "EZ", "26000"),
            (from_ref(&close), "3Z", ""),
        ],
    )
    .await;
    assert_dialogue(
        "errors",
        &[
            (from_ref(&bad), "EZ", "42703"),
            (from_ref(&run_s), "EZ", "26000"),
            (&[one.clone(), bad.clone(), close.clone()], "1EZ", "42703"),
            (from_ref(&run_s), "2DCZ", "1"),
            (&[close.clone(), bad.clone(), one.clone()], "3EZ", "42703"),
            (from_ref(&run_s), "EZ", "26000"),
            (&[one.clone(), call("t"), close.clone()], "1EZ", "26000"),
            (&[run_s.clone(), close.clone(), call("t"), two.clone()], "2DC3EZ", "26000"),
            (&[two, run_s.clone()], "12DCZ", "2"),
        ],
    )
    .await;
    assert_dialogue(
        "names that Postgres cuts",
        &[
            (&[parse_named(&long[0], "SELECT 1")], "1Z", ""),
            (&[parse_named(&long[1], "SELECT 2")], "EZ", "42P05"),
            (&[call(&long[2])], "2DCZ", "1"),
            (&[close_named(b'S', &long[1])], "3Z", ""),
            (&[call(&long[0])], "EZ", "26000"),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_unnamed_statement_lives_as_long_as_it_does_directly() {
    let (one, call, call_named) = (parse_named("", "SELECT 1"), call(""), call);
    assert_dialogue(
        "prepared in one batch, run in the next",
        &[
            (&[one.clone(), describe_named(b'S', "")], "1tTZ", ""),
            (from_ref(&call), "2DCZ", "1"),
            (&[describe_named(b'S', ""), call.clone()], "tT2DCZ", "1"),
            (&[query("SELECT 3")], "TDCZ", "3"),
        ],
    )
    .await;
    assert_dialogue(
        "left there by an error before the Parse of another",
        &[
            (from_ref(&one), "1Z", ""),
            (&[call.clone(), call_named("nothing"), parse_named("", "SELECT 2")], "2DCEZ", "26000"),
            (from_ref(&call), "2DCZ", "1"),
            (&[call_named("nothing"), parse_named("", "SELECT 2"), parse_named("", "SELECT 3")], "EZ", "26000"),
            (from_ref(&call), "2DCZ", "1"),
            (&[parse_named("", "SELECT 2"), call_named("nothing"), parse_named("", "SELECT 3")], "1EZ", "26000"),
            (from_ref(&call), "2DCZ", "2"),
            (&[parse_named("", "SELECT nothing"), parse_named("", "SELECT 3")], "EZ", "42703"),
            (from_ref(&call), "EZ", "26000"),
        ],
    )
    .await;
    assert_dialogue(
        "none",
        &[
            (from_ref(&call), "EZ", "26000"),
            (&[describe_named(b'S', "")], "EZ", "26000"),
            (&[one.clone(), close_named(b'S', "")], "13Z", ""),
            (from_ref(&call), "EZ", "26000"),
            (from_ref(&one), "1Z", ""),
            (&[parse_named("", "SELECT nothing")], "EZ", "42703"),
            (from_ref(&call), "EZ", "26000"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_simple_query_drops_the_unnamed_statement() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let mut alice = proxy.session(&stage.token("alice")).await;
    batch(&mut alice, &[parse_named("", "SELECT 1")]).await;
    run(&mut alice, "SELECT 2").await;
    assert_eq!(value_of(&mut alice, "").await, NO_SUCH_STATEMENT);
}

#[tokio::test]
async fn sql_deallocates_what_was_prepared_by_message() {
    let (stage, mut crowd) = (Stage::get(), Crowd::new().await);
    // The third is psqlODBC's.
    for sql in [
        "DEALLOCATE s",
        "DEALLOCATE PREPARE s;",
        "BEGIN; SAVEPOINT a;DEALLOCATE \"s\";RELEASE a; COMMIT",
        "SELECT 'é'; deallocate \"s\" ; SELECT 2",
        "DEALLOCATE ALL",
        "DISCARD ALL",
    ] {
        for moved in [false, true] {
            let mut client = crowd.proxy.session(&stage.token("alice")).await;
            batch(&mut client, &[parse_named("s", "SELECT 1"), call("s")]).await;
            if moved {
                crowd.push(&mut client).await;
            }
            run(&mut client, sql).await;
            assert_eq!(value_of(&mut client, "s").await, NO_SUCH_STATEMENT, "{sql}");
            crowd.push(&mut client).await;
            assert_eq!(value_of(&mut client, "s").await, NO_SUCH_STATEMENT, "{sql}");
            assert_eq!(batch(&mut client, &[parse_named("s", "SELECT 2"), call("s")]).await.1, ["2"], "{sql}");
        }
    }
}

#[tokio::test]
async fn what_sql_has_prepared_is_what_it_deallocates() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let mut client = proxy.session(&stage.token("alice")).await;
    run(&mut client, "PREPARE p AS SELECT 'of sql'").await;
    batch(&mut client, &[parse_named("p", "SELECT 'of the protocol'")]).await;
    run(&mut client, "SELECT 1; DEALLOCATE p").await;
    assert_eq!(client.query("EXECUTE p").await[0].sqlstate(), "26000");
    assert_eq!(value_of(&mut client, "p").await, "of the protocol");
    run(&mut client, "DEALLOCATE p").await;
    assert_eq!(value_of(&mut client, "p").await, NO_SUCH_STATEMENT);
}

#[tokio::test]
async fn a_text_that_may_mean_something_else_is_not_touched() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let mut client = proxy.session(&stage.token("alice")).await;
    let long = "n".repeat(70);
    batch(&mut client, &[parse_named("s", "SELECT 1"), parse_named(&long, "SELECT 2")]).await;
    let twice = client.query("DEALLOCATE s; DEALLOCATE s").await;
    assert_eq!(Message::tags(&twice), "CEZ");
    batch(&mut client, &[parse_named("s", "SELECT 1")]).await;
    run(&mut client, "SET standard_conforming_strings = off").await;
    assert_eq!(client.value(r"SELECT 'it\'s; deallocate s; --'").await, "it's; deallocate s; --");
}

#[tokio::test]
async fn a_prepared_deallocate_is_about_what_has_the_name_when_it_is_executed() {
    let (stage, mut crowd) = (Stage::get(), Crowd::new().await);
    for moved in [false, true] {
        let mut client = crowd.proxy.session(&stage.token("alice")).await;
        batch(&mut client, &[parse_named("d", "DEALLOCATE s"), parse_named("self", "DEALLOCATE self")]).await;
        assert_eq!(value_of(&mut client, "d").await, NO_SUCH_STATEMENT);
        for number in 0..3 {
            batch(&mut client, &[parse_named("s", format!("SELECT {number}"))]).await;
            if moved {
                crowd.push(&mut client).await;
            }
            let all = batch(&mut client, &[parse_named("", "SELECT 'unnamed'"), call("s"), call("d"), call("")]).await;
            assert_eq!(all, ("12DC2C2DCZ".to_owned(), vec![number.to_string(), "unnamed".to_owned()]));
            assert_eq!(value_of(&mut client, "s").await, NO_SUCH_STATEMENT);
        }
        assert_eq!(batch(&mut client, &[call("self")]).await.0, "2CZ");
        assert_eq!(value_of(&mut client, "self").await, NO_SUCH_STATEMENT);
    }
}

#[tokio::test]
async fn a_name_that_was_deallocated_is_free_however_it_came_about() {
    let stage = Stage::get();
    for most in [1, 200] {
        let builder = Proxy::builder(stage).set("pool.max_prepared_statements", most);
        let proxy = builder.start().await;
        for deed in [
            // The Query fails, and what is sent behind it does not.
            [query("SELECT 1/0"), call("d"), sync()].concat(),
            [query("SELECT 1/0"), query("DEALLOCATE d")].concat(),
            [bind_named("p", "d", &[]), execute_named("p", 0), sync(), sync()].concat(),
            [parse_named("", "DEALLOCATE d"), bind_named("p", "", &[]), execute_named("p", 0), sync(), sync()].concat(),
        ] {
            let mut client = proxy.session(&stage.token("alice")).await;
            batch(&mut client, &[parse_named("d", "DEALLOCATE d")]).await;
            client.answers(&deed, 2).await;
            let again = batch(&mut client, &[parse_named("d", "SELECT 1"), call("d")]).await;
            assert_eq!(again, ("12DCZ".to_owned(), vec!["1".to_owned()]), "{}", String::from_utf8_lossy(&deed));
        }
    }
}

#[tokio::test]
async fn sql_deallocates_behind_a_pipelined_query_that_failed() {
    let (stage, mut crowd) = (Stage::get(), Crowd::new().await);
    for sql in ["DEALLOCATE ALL", "DISCARD ALL"] {
        let mut client = crowd.proxy.session(&stage.token("alice")).await;
        batch(&mut client, &[parse_named("s", "SELECT 1"), call("s")]).await;
        // Where it is not, it would be prepared again if it were still known.
        crowd.push(&mut client).await;

        let answers = client.answers(&[query("SELECT 1/0"), query(sql)].concat(), 2).await;

        let tags: Vec<_> = answers.iter().map(|answer| Message::tags(answer)).collect();
        assert!(tags[0].contains('E') && tags[1].contains('C') && !tags[1].contains('E'), "{sql}: {tags:?}");
        assert_eq!(value_of(&mut client, "s").await, NO_SUCH_STATEMENT, "{sql}");
        assert_eq!(batch(&mut client, &[parse_named("s", "SELECT 2"), call("s")]).await.1, ["2"], "{sql}");
    }
}

#[tokio::test]
async fn that_a_server_keeps_few_statements_is_not_seen() {
    let stage = Stage::get();
    let builder = Proxy::builder(stage).set("pool.default_pool_size", 1).set("pool.max_prepared_statements", 2);
    let proxy = builder.start().await;
    let token = stage.token("alice").to_string();
    let (mut one, mut other) = (proxy.session(&token).await, proxy.session(&token).await);
    for number in 0..5 {
        for (client, sign) in [(&mut one, ""), (&mut other, "-")] {
            let prepared = batch(client, &[parse_named(&number.to_string(), format!("SELECT {sign}{number}"))]).await;
            assert_eq!(prepared.0, "1Z");
        }
    }
    for number in [0, 4, 1, 3, 2, 2, 0] {
        assert_eq!(value_of(&mut one, &number.to_string()).await, number.to_string());
        assert_eq!(
            value_of(&mut other, &number.to_string()).await,
            format!("{}{number}", if number > 0 { "-" } else { "" })
        );
    }
    let all: Vec<_> = (0..5).map(|number| call(&number.to_string())).collect();
    assert_eq!(
        batch(&mut one, &all).await,
        ("2DC".repeat(5) + "Z", ["0", "1", "2", "3", "4"].map(str::to_owned).to_vec())
    );
    assert_eq!(one.value("SELECT count(*) <= 2 FROM pg_prepared_statements").await, "t");
}

#[tokio::test]
async fn a_plan_whose_result_changed_fails_as_it_does_directly_and_can_be_prepared_anew() {
    let (stage, mut crowd) = (Stage::get(), Crowd::new().await);
    let superuser = stage.superuser().await;
    let create = "CREATE TABLE widening (n int); INSERT INTO widening VALUES (1); GRANT SELECT ON widening TO PUBLIC";
    superuser.batch_execute(create).await.expect("a table");
    let mut client = crowd.proxy.session(&stage.token("alice")).await;
    let prepare = [parse_named("s", "SELECT * FROM widening"), call("s")];
    assert_eq!(batch(&mut client, &prepare).await.1, ["1"]);
    crowd.push(&mut client).await;
    assert_eq!(value_of(&mut client, "s").await, "1");

    superuser.batch_execute("ALTER TABLE widening ADD m int").await.expect("a column");

    assert_eq!(value_of(&mut client, "s").await, "0A000");
    for _ in 0..2 {
        batch(&mut client, &[close_named(b'S', "s")]).await;
        assert_eq!(batch(&mut client, &prepare).await, ("12DCZ".to_owned(), vec!["1".to_owned()]));
        crowd.push(&mut client).await;
        assert_eq!(value_of(&mut client, "s").await, "1");
    }
}

#[tokio::test]
async fn a_long_statement_goes_along_too() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let mut bob = proxy.session(&stage.token("bob")).await;
    for name in ["s", ""] {
        for size in [15_000, 16_370, 17_000, 100_000, 1_000_000] {
            let mut alice = proxy.session(&stage.token("alice")).await;
            let sql = format!("SELECT {size} /* {} */", "x".repeat(size));
            assert_eq!(batch(&mut alice, &[parse_named(name, &sql)]).await.0, "1Z");
            assert_eq!(value_of(&mut bob, "nothing").await, NO_SUCH_STATEMENT);
            assert_eq!(value_of(&mut alice, name).await, size.to_string(), "{name:?}");
        }
    }
}

#[tokio::test]
async fn one_that_is_too_long_to_go_along_keeps_its_server_until_it_goes() {
    let (stage, proxy) = (Stage::get(), pool_of(2).await);
    let mut bob = proxy.session(&stage.token("bob")).await;
    for name in ["s", ""] {
        let mut alice = proxy.session(&stage.token("alice")).await;
        let sql = format!("SELECT 1 /* {} */", "x".repeat(2 << 20));
        assert_eq!(batch(&mut alice, &[parse_named(name, &sql)]).await.0, "1Z");
        assert_eq!(bob.value("SELECT auth.user_id()").await, "bob");
        assert_eq!(value_of(&mut alice, name).await, "1");
        alice.send(&terminate()).await;
    }
}
