//! What a session is when it is handed on, and what it goes back to.

use pgusher_upstream::{Address, Claims, ClaimsMode, DefaultAccess, Error, Parameters, Part, Signer, default_access};

use crate::harness::{Attempt, query, send, value};
use crate::postgres::{SECRET, STANDBY, WITHOUT_TLS};

const CLAIMS: &str = r#"{"sub":"alice"}"#;
const IN_2100: i64 = 4_102_444_800;
const READ_CLAIMS: &str = "SELECT current_setting('request.jwt.claims')";

fn signed() -> ClaimsMode {
    ClaimsMode::Signed(Signer::new(&SECRET))
}

fn with_claims(mode: ClaimsMode) -> Attempt<'static> {
    let mut attempt = Attempt::to(&WITHOUT_TLS);
    attempt.mode = mode;
    attempt.claims = Some(Claims { json: CLAIMS, expires: IN_2100 });
    attempt
}

#[tokio::test]
async fn the_role_survives_every_reset() {
    let resets = [
        "RESET ALL",
        "DISCARD ALL",
        "RESET ROLE",
        "SET ROLE NONE; RESET ROLE",
        "SET ROLE NONE; SET SESSION AUTHORIZATION DEFAULT",
        "SET SESSION AUTHORIZATION DEFAULT",
    ];
    let mut server = Attempt::to(&WITHOUT_TLS).open().await.unwrap();
    assert_eq!(value(&mut server, "SELECT session_user || ' as ' || current_user").await, "scram as authenticated");
    for reset in resets {
        query(&mut server, reset).await.unwrap();
        assert_eq!(value(&mut server, "SELECT current_user").await, "authenticated", "{reset}");
    }
}

#[tokio::test]
async fn what_a_role_leaves_in_its_defaults_poisons_no_later_session() {
    let poison = "ALTER ROLE poisoned SET local_preload_libraries = 'nonexist';
                  ALTER ROLE poisoned SET search_path = 'evil';
                  ALTER ROLE poisoned SET row_security = off;
                  ALTER ROLE poisoned SET default_transaction_read_only = on;
                  ALTER ROLE poisoned SET request.jwt.claims = '{\"sub\":\"bob\"}'";
    WITHOUT_TLS.psql("owner", "postgres", poison).unwrap();
    assert!(WITHOUT_TLS.psql("poisoned", "postgres", "SELECT 1").unwrap_err().contains("nonexist"));

    let mut attempt = Attempt::to(&WITHOUT_TLS);
    attempt.user = "poisoned";
    let mut server = attempt.open().await.unwrap();

    for (name, expected) in [
        ("search_path", r#""$user", public"#),
        ("row_security", "on"),
        ("default_transaction_read_only", "off"),
        ("request.jwt.claims", ""),
    ] {
        assert_eq!(value(&mut server, &format!("SELECT current_setting('{name}')")).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_clients_settings_hold_and_a_reset_returns_to_them() {
    let mut attempt = Attempt::to(&WITHOUT_TLS);
    let sent = [("application_name", "app"), ("options", r"-c search_path=a,\ b --myapp.tenant=7")];
    attempt.parameters = Parameters::parse(sent).unwrap();

    let mut server = attempt.open().await.unwrap();

    query(&mut server, "SET search_path = c; SET myapp.tenant = 8; RESET ALL").await.unwrap();
    assert_eq!(value(&mut server, "SHOW search_path").await, "a, b");
    assert_eq!(value(&mut server, "SHOW myapp.tenant").await, "7");
    assert!(server.parameters.contains(&("application_name".to_owned(), "app".to_owned())));
}

#[tokio::test]
async fn claims_are_set_when_the_server_is_handed_on() {
    let mut server = with_claims(ClaimsMode::Claims).open().await.unwrap();

    assert_eq!(value(&mut server, READ_CLAIMS).await, CLAIMS);
    assert_eq!(query(&mut server, "SELECT name FROM pg_prepared_statements").await, Ok(vec![]));
}

#[tokio::test]
async fn a_reset_clears_the_claims_and_the_same_flight_sets_them_again() {
    let mut server = with_claims(ClaimsMode::Claims).open().await.unwrap();
    for reset in ["RESET ALL", "DISCARD ALL"] {
        query(&mut server, reset).await.unwrap();
        assert_eq!(value(&mut server, READ_CLAIMS).await, "", "{reset}");

        let flight =
            server.init.as_ref().unwrap().flight(&Part { claims: true, ..Part::default() }, DefaultAccess::ReadWrite);
        send(&mut server, &flight.bytes).await.unwrap();
        assert_eq!(value(&mut server, READ_CLAIMS).await, CLAIMS, "{reset}");
    }
}

#[tokio::test]
async fn claims_of_many_kilobytes_get_through() {
    let json = format!(r#"{{"groups":"{}"}}"#, "x".repeat(100_000));
    let mut attempt = with_claims(ClaimsMode::Claims);
    attempt.claims = Some(Claims { json: &json, expires: IN_2100 });

    let mut server = attempt.open().await.unwrap();

    assert_eq!(value(&mut server, READ_CLAIMS).await, json);
}

#[tokio::test]
async fn an_init_that_fails_leaves_no_server() {
    // The database `postgres` has no schema `auth`.
    let error = with_claims(signed()).open().await.unwrap_err();

    assert!(matches!(&error, Error::Init(refusal) if refusal.sqlstate == "3F000"), "{error}");
    assert!(error.for_client().is_none());
}

#[tokio::test]
async fn a_default_of_only_reading_is_noticed() {
    let mut attempt = Attempt::to(&WITHOUT_TLS);
    assert_eq!(default_access(&attempt.open().await.unwrap().parameters), DefaultAccess::ReadWrite);

    attempt.parameters = Parameters::parse([("default_transaction_read_only", "true")]).unwrap();
    assert_eq!(default_access(&attempt.open().await.unwrap().parameters), DefaultAccess::ReadOnly);
}

#[tokio::test]
async fn nothing_passes_that_only_some_roles_may_set() {
    let mut server = Attempt::to(&WITHOUT_TLS).open().await.unwrap();
    let others = "SELECT name FROM pg_settings WHERE context <> 'user' AND strpos(name, '.') = 0";
    for name in query(&mut server, others).await.unwrap() {
        assert!(Parameters::parse([(&*name, "1")]).is_err(), "{name}");
    }
}

#[tokio::test]
async fn signed_claims_name_the_user_again_after_every_reset() {
    let mut attempt = with_claims(signed());
    attempt.database = "signed";
    let mut server = attempt.open().await.unwrap();
    for reset in ["", "RESET ALL", "DISCARD ALL", "DISCARD SEQUENCES"] {
        query(&mut server, reset).await.unwrap();
        let flight =
            server.init.as_ref().unwrap().flight(&Part { claims: true, ..Part::default() }, DefaultAccess::ReadWrite);
        send(&mut server, &flight.bytes).await.unwrap();
        assert_eq!(value(&mut server, "SELECT auth.user_id()").await, "alice", "{reset}");
    }
}

#[tokio::test]
async fn signed_claims_are_set_where_transactions_only_read_by_default() {
    let mut attempt = with_claims(signed());
    attempt.database = "signed";
    attempt.parameters = Parameters::parse([("options", "-c default-transaction-read-only=on")]).unwrap();

    let mut server = attempt.open().await.unwrap();

    assert_eq!(value(&mut server, "SELECT auth.user_id()").await, "alice");
    assert_eq!(value(&mut server, "SHOW transaction_read_only").await, "on");
}

#[tokio::test]
async fn signed_claims_are_set_on_a_standby() {
    let mut attempt = with_claims(signed());
    attempt.config.address = Address::new("localhost", STANDBY.port);
    attempt.database = "signed";

    let mut server = attempt.open().await.unwrap();

    assert_eq!(value(&mut server, "SELECT auth.user_id()").await, "alice");
}

#[tokio::test]
async fn claims_of_another_secret_leave_no_server() {
    let mut attempt = with_claims(ClaimsMode::Signed(Signer::new(&[8; 32])));
    attempt.database = "signed";

    let error = attempt.open().await.unwrap_err();

    assert!(matches!(&error, Error::Key(_)), "{error}");
    assert!(error.for_client().is_none());
}

#[tokio::test]
async fn claims_are_tried_without_a_user_wherever_there_may_be_some() {
    for port in [WITHOUT_TLS.port, STANDBY.port] {
        for access in ["off", "on"] {
            let mut attempt = Attempt { mode: signed(), database: "signed", ..Attempt::new("localhost", port) };
            attempt.parameters = Parameters::parse([("default_transaction_read_only", access)]).unwrap();
            attempt.open().await.unwrap().try_claims().await.unwrap();

            attempt.mode = ClaimsMode::Signed(Signer::new(&[8; 32]));
            let error = attempt.open().await.unwrap().try_claims().await.unwrap_err();
            assert!(matches!(error, Error::Key(_)), "{error}");
        }
    }
}
