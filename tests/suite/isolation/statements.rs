//! Prepared statements, portals and plans across identities.

use pgusher_tests::request::{bind, execute, parse, sync};
use pgusher_tests::{Message, Raw, Stage, message};

use super::{OWN, narrow, playground, run, state};

/// Prepares a text under a name.
async fn prepare(client: &mut Raw, name: &str, sql: &str) {
    let parse = message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes());
    let answer = client.answers(&[parse, sync()].concat(), 1).await;
    assert_eq!(Message::tags(&answer[0]), "1Z", "{answer:?}");
}

/// What the statement of this name returns.
async fn call(client: &mut Raw, name: &str) -> Vec<String> {
    let bind = message(b'B', format!("\0{name}\0\0\0\0\0\0\0").as_bytes());
    let answer = client.answers(&[bind, execute(), sync()].concat(), 1).await;
    assert_eq!(state(&answer[0]), "00000", "{answer:?}");
    Message::values(&answer[0])
}

#[tokio::test]
async fn one_text_prepared_by_two_shows_each_their_own_rows() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    prepare(&mut alice, "s", OWN).await;
    prepare(&mut bob, "s", OWN).await;
    // Often enough for a generic plan, in turn and in a row.
    for times in [1, 1, 7, 7] {
        for (client, name) in [(&mut alice, "alice"), (&mut bob, "bob")] {
            for _ in 0..times {
                assert_eq!(call(client, "s").await, [name]);
            }
        }
    }
    assert_eq!(alice.backend().await, bob.backend().await);
}

#[tokio::test]
async fn a_plan_in_which_somebodys_name_became_a_constant_is_not_the_next_ones() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let (database, superuser) = playground(stage).await;
    let functions =
        "CREATE FUNCTION me() RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN auth.user_id(); END';
        CREATE FUNCTION who() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN me(); END';
        CREATE FUNCTION who_sql() RETURNS text LANGUAGE sql AS 'SELECT me()';";
    superuser.batch_execute(functions).await.expect("functions");
    let here = [("database", database.as_str())];
    let mut alice = proxy.session_with(&stage.token("alice"), &here).await;
    let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
    let text = "SELECT concat_ws(' ', me(), who(), who_sql())";
    prepare(&mut alice, "s", text).await;
    prepare(&mut bob, "s", text).await;
    for _ in 0..4 {
        assert_eq!(call(&mut alice, "s").await, ["alice alice alice"]);
        assert_eq!(call(&mut bob, "s").await, ["bob bob bob"]);
    }
}

#[tokio::test]
async fn a_statement_that_one_has_replaced_on_the_server_is_not_what_the_next_one_runs() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    prepare(&mut bob, "mine", OWN).await;
    for hidden in [false, true] {
        let mut mallory = proxy.session(&stage.token("mallory")).await;
        prepare(&mut mallory, "mine", OWN).await;
        let name = mallory.value("SELECT name FROM pg_prepared_statements WHERE name LIKE 'pgusher%'").await;
        let deeds = [format!("DEALLOCATE {name}"), format!("PREPARE {name} AS SELECT 'evil'")];
        for deed in deeds {
            let deed = if hidden { format!("DO $$ BEGIN EXECUTE $x${deed}$x$; END $$") } else { deed };
            run(&mut mallory, &deed).await;
        }
        assert_eq!(call(&mut mallory, "mine").await, ["evil"], "mallory has replaced it for himself");
        drop(mallory);
        assert_eq!(call(&mut bob, "mine").await, ["bob"], "hidden: {hidden}");
    }
}

#[tokio::test]
async fn names_like_the_proxys_own_are_names_like_others() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    prepare(&mut bob, "mine", OWN).await;
    let mut mallory = proxy.session(&stage.token("mallory")).await;
    for number in 0..20 {
        prepare(&mut mallory, &format!("pgusher_{number}"), &format!("SELECT 'evil{number}'")).await;
        assert_eq!(call(&mut bob, "mine").await, ["bob"]);
    }
    for number in 0..20 {
        assert_eq!(call(&mut mallory, &format!("pgusher_{number}")).await, [format!("evil{number}")]);
    }
}

#[tokio::test]
async fn a_statement_without_a_name_and_portals_are_not_the_next_ones_to_use() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    let mut mallory = proxy.session(&stage.token("mallory")).await;
    let named = message(b'B', b"p\0\0\0\0\0\0\0\0");
    let first_row = message(b'E', b"p\0\0\0\0\x01");
    for (deed, attempt, expected) in [
        ([parse(OWN), sync()].concat(), [bind(), execute(), sync()].concat(), "26000"),
        ([parse(OWN), sync()].concat(), [message(b'D', b"S\0"), sync()].concat(), "26000"),
        ([parse(OWN), bind(), sync()].concat(), [execute(), sync()].concat(), "34000"),
        ([parse(OWN), bind(), sync()].concat(), [message(b'D', b"P\0"), sync()].concat(), "34000"),
        ([parse(OWN), named, first_row.clone(), sync()].concat(), [first_row, sync()].concat(), "34000"),
    ] {
        let left = mallory.answers(&deed, 1).await;
        assert_eq!(state(&left[0]), "00000", "{left:?}");
        let found = bob.answers(&attempt, 1).await;
        assert_eq!(state(&found[0]), expected, "{found:?}");
        assert_eq!(bob.backend().await, mallory.backend().await);
    }
}
