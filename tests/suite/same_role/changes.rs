//! What a user changes of role and claims inside of transactions and functions, and how that ends.

use pgusher_tests::request::query;
use pgusher_tests::{Message, Proxy, Stage};

use super::{state, theatre};

const MALLORY: &str = "mallory authenticated pgusher_authenticated";

#[tokio::test]
async fn a_role_that_was_taken_in_a_transaction_goes_with_it() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for (statements, role) in [
        ("BEGIN; SET ROLE NONE; ROLLBACK", "authenticated"),
        ("BEGIN; SET LOCAL ROLE NONE; COMMIT", "authenticated"),
        ("BEGIN; SAVEPOINT a; SET ROLE NONE; ROLLBACK TO a; COMMIT", "authenticated"),
        ("BEGIN; SET ROLE NONE; SAVEPOINT a; SET ROLE authenticated; ROLLBACK TO a; COMMIT", "pgusher_authenticated"),
        ("BEGIN; SET ROLE NONE; SAVEPOINT a; RESET ROLE; RELEASE a; COMMIT", "authenticated"),
        ("BEGIN; SET SESSION AUTHORIZATION DEFAULT; SET ROLE NONE; ROLLBACK", "authenticated"),
        ("BEGIN; SET ROLE NONE; COMMIT; BEGIN; RESET ROLE; ROLLBACK", "pgusher_authenticated"),
    ] {
        let mut client = proxy.session(&stage.token("mallory")).await;
        let answers = client.answers(&[query(statements), query("SELECT current_user")].concat(), 2).await;
        assert_eq!(Message::values(&answers[1]), [role], "{statements}");
    }
}

#[tokio::test]
async fn no_end_of_a_transaction_in_the_middle_of_a_request_leads_to_another_role() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.session(&stage.token("mallory")).await;
    for end in
        ["COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "BEGIN; COMMIT", "SAVEPOINT a; ROLLBACK TO a"]
    {
        for role in ["neondb_owner", "anonymous", "pgusher_auth"] {
            let request = format!("BEGIN; SELECT 1; {end}; SET ROLE {role}; SELECT current_user");
            let answer = client.query(&request).await;
            assert_eq!(Message::values(&answer), ["1"], "{request}");
            assert!(answer.iter().any(|message| message.tag == b'E' && message.sqlstate() == "42501"), "{request}");
            client.query("ROLLBACK").await;
            assert_eq!(client.who().await, MALLORY, "{request}");
        }
    }
}

#[tokio::test]
async fn a_function_of_its_owners_rights_changes_neither_role_nor_claims() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let (database, superuser) = theatre(stage).await;
    // What a careless owner might leave: it runs as the superuser.
    let careless = "CREATE FUNCTION set(name text, value text) RETURNS text SECURITY DEFINER LANGUAGE sql AS
                    'SELECT set_config(name, value, false)'";
    superuser.batch_execute(careless).await.expect("a superuser may");
    let here = [("database", database.as_str())];
    let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
    let stolen = bob.value("SELECT current_setting('pgusher.claims')").await;
    let mut mallory = proxy.session_with(&stage.token("mallory"), &here).await;

    for role in ["postgres", "neondb_owner", "none"] {
        assert_eq!(state(&mut mallory, &format!("SELECT set('role', '{role}')")).await, "42501", "{role}");
    }
    assert_eq!(mallory.who().await, MALLORY);
    assert_eq!(state(&mut mallory, &format!("SELECT set('pgusher.claims', '{stolen}')")).await, "00000");
    assert_eq!(state(&mut mallory, "SELECT auth.user_id()").await, "28000");
}

#[tokio::test]
async fn no_user_makes_another_a_member_of_a_role() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.session(&stage.token("mallory")).await;
    let version: u32 = client.value("SELECT current_setting('server_version_num')").await.parse().expect("a number");
    for start in ["RESET ROLE", "SET ROLE NONE"] {
        // Before 15 whoever was logged in as a role could give it away. Of its login nobody gains anything.
        let roles =
            if version < 150_000 { &["authenticated"][..] } else { &["authenticated", "pgusher_authenticated"] };
        for role in roles {
            for member in ["anonymous", "pgusher_anonymous", "PUBLIC"] {
                client.query(start).await;
                let verdict = state(&mut client, &format!("GRANT {role} TO {member}")).await;
                assert!(["42501", "42704"].contains(&verdict.as_str()), "{start}; {role} to {member}: {verdict}");
            }
        }
    }
}
