//! Ways of authentication that a real server asks for, and what its refusals become.

use pgusher_upstream::{Binding, Error, MethodError, Parameters, SslMode, Tls};

use crate::harness::{Attempt, trusting, value};
use crate::postgres::{Reserved, WITH_TLS, WITHOUT_TLS};

fn refused_method(result: Result<pgusher_upstream::Server, Error>) -> MethodError {
    match result {
        Err(Error::Method(method)) => method,
        other => panic!("a refused method: {other:?}"),
    }
}

#[tokio::test]
async fn scram_logs_in_with_and_without_a_channel_to_bind_to() {
    let mut attempt = Attempt::to(&WITH_TLS);
    assert!(attempt.open().await.is_ok());

    // Over TLS this server offers SCRAM-SHA-256-PLUS and refuses a client that says it could have bound.
    attempt.config.tls = Tls::new(SslMode::Require, None, None).unwrap();
    assert!(attempt.open().await.is_ok());
}

#[tokio::test]
async fn a_binding_that_is_required_is_made_or_there_is_no_login() {
    let mut attempt = Attempt::to(&WITH_TLS);
    attempt.config.tls = Tls::new(SslMode::Require, None, None).unwrap();
    attempt.config.binding = Binding::Require;
    assert!(attempt.open().await.is_ok());
    for user in ["clear", "trusted"] {
        attempt.user = user;
        assert_eq!(refused_method(attempt.open().await), MethodError::Unbound, "{user}");
    }

    let mut attempt = Attempt::to(&WITHOUT_TLS);
    attempt.config.binding = Binding::Require;
    attempt.config.allow_md5 = true;
    for user in ["scram", "md5", "trusted"] {
        attempt.user = user;
        assert_eq!(refused_method(attempt.open().await), MethodError::Unbound, "{user}");
    }
}

#[tokio::test]
async fn a_binding_can_be_left_out() {
    for postgres in [&WITH_TLS, &WITHOUT_TLS] {
        let mut attempt = Attempt::to(postgres);
        attempt.config.tls = Tls::new(SslMode::Prefer, None, None).unwrap();
        attempt.config.binding = Binding::Disable;
        assert!(attempt.open().await.is_ok());
    }
}

#[tokio::test]
async fn md5_needs_leave() {
    let mut attempt = Attempt::to(&WITHOUT_TLS);
    attempt.user = "md5";
    assert_eq!(refused_method(attempt.open().await), MethodError::Md5);

    attempt.config.allow_md5 = true;
    assert!(attempt.open().await.is_ok());
}

#[tokio::test]
async fn a_password_in_clear_goes_only_to_a_verified_server() {
    let mut attempt = Attempt::to(&WITH_TLS);
    attempt.user = "clear";
    assert_eq!(refused_method(attempt.open().await), MethodError::Cleartext);

    attempt.config.tls = Tls::new(SslMode::Require, None, None).unwrap();
    assert_eq!(refused_method(attempt.open().await), MethodError::Cleartext);

    for mode in [SslMode::VerifyCa, SslMode::VerifyFull] {
        attempt.config.tls = trusting(&WITH_TLS, mode, "ca.crt");
        assert!(attempt.open().await.is_ok(), "{mode}");
    }
}

#[tokio::test]
async fn a_password_in_clear_is_not_sent_where_a_trusted_authority_was_not_used() {
    // `prefer` falls back to a connection in clear when the authority is not to be trusted.
    let mut attempt = Attempt::to(&WITH_TLS);
    attempt.user = "clear";
    attempt.config.tls = trusting(&WITH_TLS, SslMode::Prefer, "other_ca.crt");

    assert_eq!(refused_method(attempt.open().await), MethodError::Cleartext);
}

#[tokio::test]
async fn trust_needs_no_password() {
    let mut attempt = Attempt::to(&WITHOUT_TLS);
    attempt.user = "trusted";
    attempt.password = None;

    let mut server = attempt.open().await.unwrap();

    assert_eq!(value(&mut server, "SELECT session_user").await, "trusted");
}

#[tokio::test]
async fn a_missing_password_is_our_own_mistake() {
    let mut attempt = Attempt::to(&WITHOUT_TLS);
    attempt.password = None;

    assert_eq!(refused_method(attempt.open().await), MethodError::NoPassword);
}

#[tokio::test]
async fn a_wrong_password_is_not_for_the_clients_eyes() {
    let mut attempt = Attempt::to(&WITHOUT_TLS);
    attempt.password = Some("wrong");

    let error = attempt.open().await.unwrap_err();

    assert_eq!(error.database().unwrap().sqlstate, "28P01");
    assert!(error.for_client().is_none());
}

#[tokio::test]
async fn a_client_is_told_of_its_database_and_its_values() {
    let mut attempt = Attempt::to(&WITHOUT_TLS);
    attempt.database = "nowhere";
    assert_eq!(attempt.open().await.unwrap_err().for_client().unwrap().sqlstate, "3D000");

    let mut attempt = Attempt::to(&WITHOUT_TLS);
    attempt.parameters = Parameters::parse([("TimeZone", "Nowhere/Land")]).unwrap();
    let error = attempt.open().await.unwrap_err();
    let told = error.for_client().unwrap();
    assert_eq!((&told.sqlstate[..], told.frame[0]), ("22023", b'E'));
}

#[tokio::test]
async fn nobody_at_the_address_is_said_so() {
    let nobody = Reserved::port();

    let refused = Attempt::new("127.0.0.1", nobody.port).open().await;

    assert!(matches!(refused, Err(Error::Unreachable { .. })));
}
