//! Prepared statements whose tables are altered. What a client was told of a statement holds until it prepares it anew,
//! on whichever server it is.

use std::slice::from_ref;

use pgusher_tests::request::{bind_named, close_named, describe_named, execute, parse_named, query, sync, terminate};
use pgusher_tests::{Message, Proxy, Raw, Stage, message, wait};

use super::scene::{RESULT_CHANGED, Scene, alter, change_hands, table};
use super::statements::{batch, call, value_of};
use super::{Crowd, pool_of, run};

/// Has the proxy find out that something was altered: a session that comes upon it first ends.
async fn find_out(proxy: &Proxy, bob: &mut Raw) {
    find_out_behind(proxy, bob, "SELECT auth.user_id()").await;
}

/// The same, where this was run by somebody else when the session had prepared its statement.
async fn find_out_behind(proxy: &Proxy, bob: &mut Raw, sql: &str) {
    let stage = Stage::get();
    let (table, superuser) = table(stage).await;
    let mut finder = proxy.session(&stage.token("finder")).await;
    batch(&mut finder, &[parse_named("s", format!("SELECT * FROM {table}"))]).await;
    bob.query(sql).await;
    alter(&superuser, &format!("ALTER TABLE {table} ADD m int")).await;
    finder.send(&[call("s"), sync()].concat()).await;
    let end = finder.until_end().await;
    assert_eq!(Message::tags(&end), "E", "nothing of the new result: {end:?}");
    assert_eq!((end[0].sqlstate().as_str(), end[0].field(b'S').as_deref()), (RESULT_CHANGED, Some("FATAL")));
}

#[tokio::test]
async fn a_client_never_gets_other_columns_than_it_was_told_of() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let mut bob = proxy.session(&stage.token("bob")).await;
    find_out(&proxy, &mut bob).await;
}

#[tokio::test]
async fn an_error_that_is_only_called_so_makes_nobody_look_first() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let mut bob = proxy.session(&stage.token("bob")).await;
    let raise = format!(
        "DO $$ BEGIN RAISE '{}' USING ERRCODE = '{RESULT_CHANGED}'; END $$",
        "cached plan must not change result type"
    );
    assert_eq!(bob.query(&raise).await[0].sqlstate(), RESULT_CHANGED);
    find_out_behind(&proxy, &mut bob, &raise).await;
}

#[tokio::test]
async fn once_it_is_known_that_something_was_altered_all_goes_as_it_does_directly() {
    let statements = [
        ("rows", "SELECT * FROM {table}"),
        ("new", "INSERT INTO {table} (n) VALUES ($1) RETURNING *"),
        ("same", "SELECT n FROM {table} WHERE n = $1"),
    ];
    let Scene { proxy, table, superuser, mut bob, mut alice, mut direct } = Scene::with(&statements).await;
    find_out(&proxy, &mut bob).await;
    alter(&superuser, &format!("ALTER TABLE {table} ADD m text")).await;

    let insert = [bind_named("", "new", &["7"]), execute()].concat();
    let anew = [close_named(b'S', "rows"), parse_named("rows", format!("SELECT * FROM {table}"))];
    for (requests, tags, values) in [
        (&[call("rows")][..], "EZ", RESULT_CHANGED),
        (&[insert], "EZ", RESULT_CHANGED),
        (&[describe_named(b'S', "rows")], "tEZ", RESULT_CHANGED),
        (&[call("rows"), query("SELECT 'skipped'")], "EZ", RESULT_CHANGED),
        (&[bind_named("", "same", &["1"]), execute(), call("rows")], "2DCEZ", RESULT_CHANGED),
        (&[bind_named("", "same", &["1"]), execute()], "2DCZ", "1"),
        (&anew, "31Z", ""),
        (&[call("rows")], "2DCZ", "1"),
        (&[call("rows")], "2DCZ", "1"),
    ] {
        for (session, which) in [(&mut direct, "directly"), (&mut alice, "through")] {
            change_hands(&mut bob).await;
            let (seen, values_seen) = batch(session, requests).await;
            assert_eq!((seen.as_str(), values_seen.concat().as_str()), (tags, values), "{which}: {tags}");
        }
    }
    let inserted = format!("SELECT FROM {table} WHERE n = 7");
    assert_eq!(superuser.query(&inserted, &[]).await.expect("rows").len(), 0, "what is refused is not run");
}

#[tokio::test]
async fn the_refusal_is_postgres_own_to_those_who_look_closely() {
    let Scene { proxy, table, superuser, mut bob, mut alice, mut direct } =
        Scene::with(&[("s", "SELECT * FROM {table}")]).await;
    find_out(&proxy, &mut bob).await;
    alter(&superuser, &format!("ALTER TABLE {table} RENAME n TO m")).await;
    let request = [call("s"), sync()].concat();
    let (direct, through) = (direct.answers(&request, 1).await, alice.answers(&request, 1).await);
    // File and line are where its source has it.
    for field in [b'S', b'V', b'C', b'M', b'D', b'H', b'R'] {
        assert_eq!(through[0][0].field(field), direct[0][0].field(field), "{}", char::from(field));
    }
}

#[tokio::test]
async fn a_pipeline_is_answered_in_step_though_each_statement_is_looked_at_first() {
    let Scene { proxy, table, superuser, mut bob, mut alice, mut direct } = Scene::new().await;
    let names: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    for session in [&mut direct, &mut alice] {
        let columns = |number| if number % 3 == 0 { "*" } else { "n" };
        let texts = (0..names.len()).map(|number| format!("SELECT {} FROM {table}", columns(number)));
        let parses: Vec<_> = names.iter().zip(texts).map(|(name, text)| parse_named(name, text)).collect();
        batch(session, &parses).await;
    }
    find_out(&proxy, &mut bob).await;
    alter(&superuser, &format!("ALTER TABLE {table} ADD m int")).await;
    // One, two, or three statements up to a Sync.
    let ends = |number: usize| if number % 7 < 3 { sync() } else { Vec::new() };
    let calls = names.iter().enumerate().map(|(number, name)| [call(name), ends(number)].concat());
    let pipeline = [calls.collect::<Vec<_>>().concat(), sync()].concat().repeat(3);
    let count = 3 * (names.iter().enumerate().filter(|(number, _)| number % 7 < 3).count() + 1);
    let tags = async |session: &mut Raw| {
        session.answers(&pipeline, count).await.iter().map(|answer| Message::tags(answer)).collect::<Vec<_>>()
    };
    let expected = tags(&mut direct).await;
    assert!(expected.iter().any(|tags| tags == "EZ") && expected.iter().any(|tags| tags.ends_with("2DCEZ")));
    assert_eq!(tags(&mut alice).await, expected);
}

#[tokio::test]
async fn what_else_is_wrong_is_told_before_as_it_is_directly() {
    let Scene { proxy, table, superuser, mut bob, mut alice, mut direct } =
        Scene::with(&[("s", "SELECT * FROM {table} WHERE n = $1")]).await;
    find_out(&proxy, &mut bob).await;
    alter(&superuser, &format!("ALTER TABLE {table} ADD m text")).await;
    let (right, wrong) = (bind_named("", "s", &["1"]), bind_named("", "s", &["1", "2"]));
    let taken = parse_named("s", "SELECT 1");
    let describe = describe_named(b'S', "s");
    let requests = [&right, &describe, &wrong, &describe, &taken, &right, &call("s")];
    let pipeline = requests.map(|request| [&request[..], &sync()].concat()).concat();
    for (session, which) in [(&mut direct, "directly"), (&mut alice, "through")] {
        change_hands(&mut bob).await;
        let answers = session.answers(&pipeline, requests.len()).await;
        let told: Vec<_> = answers
            .iter()
            .map(|answer| {
                let error = answer.iter().find(|message| message.tag == b'E').expect("an error");
                format!("{} {}", Message::tags(answer), error.sqlstate())
            })
            .collect();
        let expected = ["EZ 0A000", "tEZ 0A000", "EZ 08P01", "tEZ 0A000", "EZ 42P05", "EZ 0A000", "EZ 08P01"];
        assert_eq!(told, expected, "{which}");
    }
}

#[tokio::test]
async fn in_a_transaction_the_refusal_is_its_end() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let (table, superuser) = table(stage).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    batch(&mut alice, &[parse_named("s", format!("SELECT * FROM {table}"))]).await;
    find_out(&proxy, &mut bob).await;
    alter(&superuser, &format!("ALTER TABLE {table} ADD m text")).await;
    run(&mut alice, &format!("BEGIN; INSERT INTO {table} VALUES (8)")).await;
    let refused = alice.answers(&[call("s"), sync()].concat(), 1).await.remove(0);
    assert_eq!(refused.last().map(|ready| ready.body.clone()), Some(b"E".to_vec()));
    assert_eq!(alice.query("SELECT 1").await[0].sqlstate(), "25P02");
    run(&mut alice, "ROLLBACK").await;
    assert_eq!(alice.value(&format!("SELECT count(*) FROM {table}")).await, "1");
}

#[tokio::test]
async fn what_is_asked_for_before_the_client_leaves_is_done_though_it_is_looked_at_first() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let (table, superuser) = table(stage).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    let mut leo = proxy.session(&stage.token("leo")).await;
    batch(&mut leo, &[parse_named("s", format!("INSERT INTO {table} VALUES (9)"))]).await;
    find_out(&proxy, &mut bob).await;
    leo.send(&[call("s"), sync(), terminate()].concat()).await;
    drop(leo);
    let inserted = format!("SELECT FROM {table} WHERE n = 9");
    wait::until("the row", async || (superuser.query(&inserted, &[]).await.expect("rows").len() == 1).then_some(()))
        .await;
}

/// Each client of one identity has what it prepared, though the texts are one.
#[tokio::test]
async fn who_prepares_before_and_who_prepares_after_each_have_their_own() {
    let (stage, mut crowd) = (Stage::get(), Crowd::new().await);
    let (table, superuser) = table(stage).await;
    let token = stage.token("alice").to_string();
    let prepare = parse_named("s", format!("SELECT * FROM {table}"));
    let mut before = crowd.proxy.session(&token).await;
    batch(&mut before, from_ref(&prepare)).await;
    assert_eq!(value_of(&mut before, "s").await, "1");
    crowd.push(&mut before).await;
    assert_eq!(value_of(&mut before, "s").await, "1");

    alter(&superuser, &format!("ALTER TABLE {table} ALTER n TYPE text USING 'm'")).await;
    let mut after = crowd.proxy.session(&token).await;
    for _ in 0..2 {
        let requests = [prepare.clone(), call("s")].concat();
        assert_eq!(batch(&mut after, &[requests]).await, ("12DCZ".to_owned(), vec!["m".to_owned()]));
        for _ in 0..3 {
            assert_eq!(batch(&mut before, &[call("s")]).await.1, [RESULT_CHANGED]);
            crowd.push(&mut after).await;
            assert_eq!(batch(&mut after, &[call("s")]).await.1, ["m"]);
            assert_eq!(batch(&mut before, &[call("s")]).await.1, [RESULT_CHANGED]);
            crowd.push(&mut before).await;
        }
        batch(&mut after, &[close_named(b'S', "s")]).await;
    }
    batch(&mut before, &[close_named(b'S', "s"), prepare]).await;
    assert_eq!(batch(&mut before, &[call("s")]).await.1, ["m"]);
}

#[tokio::test]
async fn one_client_may_have_one_text_from_before_and_from_after() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let (table, superuser) = table(stage).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    let text = format!("SELECT * FROM {table}");
    batch(&mut alice, &[parse_named("old", &text)]).await;
    alter(&superuser, &format!("ALTER TABLE {table} ALTER n TYPE text USING 'm'")).await;
    batch(&mut alice, &[parse_named("new", &text)]).await;
    for _ in 0..2 {
        assert_eq!(batch(&mut alice, &[call("old")]).await.1, [RESULT_CHANGED]);
        assert_eq!(batch(&mut alice, &[call("new")]).await.1, ["m"]);
        change_hands(&mut bob).await;
    }
}

#[tokio::test]
async fn parameters_keep_the_types_that_the_client_was_told() {
    let Scene { proxy: _proxy, table, superuser, mut bob, mut alice, mut direct } = Scene::new().await;
    let parse = parse_named("s", format!("SELECT 'found' FROM {table} WHERE n = $1"));
    // One parameter in binary: an int of four bytes.
    let bind = message(b'B', b"\0s\0\0\x01\0\x01\0\x01\0\0\0\x04\0\0\0\x01\0\0");
    for session in [&mut direct, &mut alice] {
        batch(session, from_ref(&parse)).await;
    }
    alter(&superuser, &format!("ALTER TABLE {table} ALTER n TYPE bigint")).await;
    change_hands(&mut bob).await;
    for session in [&mut direct, &mut alice] {
        let found = batch(session, &[bind.clone(), execute()]).await;
        assert_eq!(found, ("2DCZ".to_owned(), vec!["found".to_owned()]));
    }
}

#[tokio::test]
async fn what_does_not_show_in_the_result_changes_nothing() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let (table, superuser) = table(stage).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    batch(&mut alice, &[parse_named("s", format!("SELECT * FROM {table}"))]).await;
    let again = format!("DROP TABLE {table}; CREATE TABLE {table} (n int); GRANT SELECT ON {table} TO authenticated");
    let there_and_back = format!("ALTER TABLE {table} ADD m int; ALTER TABLE {table} DROP m");
    for change in [&there_and_back, &format!("CREATE INDEX ON {table} (n)"), &again] {
        alter(&superuser, change).await;
        change_hands(&mut bob).await;
        assert!(batch(&mut alice, &[call("s")]).await.0.ends_with("CZ"), "{change}");
    }
}

/// Postgres gives the columns of these anew whenever they are run.
#[tokio::test]
async fn a_statement_that_has_no_columns_of_its_own_may_have_others_each_time() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let mut bob = proxy.session(&stage.token("bob")).await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    batch(&mut alice, &[parse_named("f", "/* next */ FETCH NEXT FROM c")]).await;
    for (select, first) in [("1", "1"), ("'a', 'b'", "a")] {
        change_hands(&mut bob).await;
        run(&mut alice, &format!("BEGIN; DECLARE c CURSOR FOR SELECT {select}")).await;
        assert_eq!(batch(&mut alice, &[call("f")]).await.1, [first]);
        run(&mut alice, "COMMIT").await;
    }
}

#[tokio::test]
async fn a_wide_result_is_compared_like_a_narrow_one() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let (table, superuser) = table(stage).await;
    let columns: Vec<_> = (0..1500).map(|number| format!("ADD \"{}{number}\" int", "c".repeat(50))).collect();
    alter(&superuser, &format!("ALTER TABLE {table} {}", columns.join(", "))).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    batch(&mut alice, &[parse_named("s", format!("SELECT * FROM {table}"))]).await;
    find_out(&proxy, &mut bob).await;
    for _ in 0..2 {
        change_hands(&mut bob).await;
        assert_eq!(batch(&mut alice, &[call("s")]).await.0, "2DCZ");
    }
    find_out(&proxy, &mut bob).await;
    alter(&superuser, &format!("ALTER TABLE {table} ADD last int")).await;
    assert_eq!(batch(&mut alice, &[call("s")]).await.1, [RESULT_CHANGED]);
}

#[tokio::test]
async fn a_statement_whose_table_is_gone_fails_as_it_does_directly_and_works_when_it_is_back() {
    let Scene { proxy, table, superuser, mut bob, mut alice, mut direct } =
        Scene::with(&[("s", "SELECT * FROM {table}")]).await;
    let there =
        format!("CREATE TABLE {table} (n int); INSERT INTO {table} VALUES (2); GRANT SELECT ON {table} TO PUBLIC");
    for find_out_before in [false, true] {
        if find_out_before {
            find_out(&proxy, &mut bob).await;
        }
        alter(&superuser, &format!("DROP TABLE {table}")).await;
        for (requests, tags, values) in [
            (&[call("s")][..], "EZ", "42P01"),
            (&[call("s")], "EZ", "42P01"),
            (&[parse_named("t", "SELECT 't'"), call("t"), call("s"), call("t")], "12DCEZ", "42P01"),
            (&[call("t"), close_named(b'S', "t")], "2DC3Z", "t"),
        ] {
            for (session, which) in [(&mut direct, "directly"), (&mut alice, "through")] {
                change_hands(&mut bob).await;
                let (seen, values_seen) = batch(session, requests).await;
                assert_eq!((seen.as_str(), values_seen.concat().as_str()), (tags, values), "{which}: {tags}");
            }
        }
        alter(&superuser, &there).await;
        for session in [&mut direct, &mut alice] {
            assert_eq!(value_of(session, "s").await, "2");
        }
    }
}
