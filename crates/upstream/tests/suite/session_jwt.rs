//! Claims by the extension `pg_session_jwt`, or by the stand-in where Postgres does not have it.

use std::sync::Arc;

use pgusher_upstream::{
    Claims, ClaimsMode, DefaultAccess, Error, Event, Happened, Holds, Means, MeansError, Parameters, Part, Pools,
    Server, SessionInit, Settings, Signer,
};

use crate::harness::{Attempt, query, send, value};
use crate::pool::{ALICE, BOB, LOGIN, config, want};
use crate::postgres::{SECRET, WITHOUT_TLS};

const IN_2100: i64 = 4_102_444_800;
const WHO: &str = "SELECT coalesce(auth.user_id(), 'nobody')";
const TOKEN: &str = "SELECT current_setting('pg_session_jwt.jwt')";

/// The SQLSTATE with which the extension refuses a token.
const REFUSED: &str = "23514";

fn attempt(mode: ClaimsMode, database: &str) -> Attempt<'_> {
    let mut attempt = Attempt::to(&WITHOUT_TLS);
    (attempt.mode, attempt.database) = (mode, database);
    attempt
}

async fn server() -> Server {
    attempt(ClaimsMode::SessionJwt, "session_jwt").open().await.unwrap()
}

fn claims_of(subject: &str) -> String {
    format!(r#"{{"sub":"{subject}","exp":{IN_2100}}}"#)
}

fn init_of(server: &Server, json: Option<&str>) -> Arc<SessionInit> {
    let claims = json.map(|json| Claims { json, expires: IN_2100 });
    Arc::new(SessionInit::new(claims.as_ref(), Arc::default(), server.backend()).unwrap())
}

/// Begins the session of a subject, or of nobody, on a server that had another.
async fn switch(server: &mut Server, subject: Option<&str>) {
    let claims = subject.map(claims_of);
    let init = init_of(server, claims.as_deref());
    server.begin(true, init).await.unwrap();
}

/// What session init does after a client has reset its claims.
async fn init_again(server: &mut Server) -> Result<Vec<String>, String> {
    let part = Part { claims: true, ..Part::default() };
    let flight = server.init.as_ref().unwrap().flight(&part, DefaultAccess::ReadWrite);
    send(server, &flight.bytes).await
}

#[tokio::test]
async fn a_server_has_taken_its_key_before_anybody_has_it() {
    let mut server = server().await;

    let Means::SessionJwt(key) = server.means.clone() else { panic!("{:?}", server.means) };
    let jwk = value(&mut server, "SHOW pg_session_jwt.jwk").await;
    assert!(format!("{key:?}").contains(&jwk.replace('"', "\\\"")), "{key:?}, {jwk}");
    assert_eq!(value(&mut server, WHO).await, "nobody");
}

#[tokio::test]
async fn identities_follow_each_other_on_a_server() {
    let mut server = server().await;
    for subject in [Some("alice"), Some("bob"), None, Some("alice"), Some("alice"), None, None] {
        switch(&mut server, subject).await;
        assert_eq!(value(&mut server, WHO).await, subject.unwrap_or("nobody"));
    }
    assert_eq!(value(&mut server, "SELECT auth.session()").await, "null");
}

#[tokio::test]
async fn the_same_flight_makes_good_what_a_client_has_reset() {
    let mut server = server().await;
    switch(&mut server, Some("alice")).await;
    for reset in ["RESET ALL", "DISCARD ALL", "RESET pg_session_jwt.jwt", "BEGIN READ ONLY; RESET ALL; COMMIT"] {
        query(&mut server, reset).await.unwrap();
        assert_eq!(value(&mut server, WHO).await, "nobody", "{reset}");
        init_again(&mut server).await.unwrap();
        assert_eq!(value(&mut server, WHO).await, "alice", "{reset}");
    }
}

#[tokio::test]
async fn a_rollback_leads_back_to_the_same_user_or_to_nobody() {
    let mut server = server().await;
    switch(&mut server, Some("alice")).await;
    for (begin, end) in [("BEGIN; RESET ALL", "ROLLBACK"), ("BEGIN; SAVEPOINT s; RESET ALL", "ROLLBACK TO s; COMMIT")] {
        query(&mut server, begin).await.unwrap();
        init_again(&mut server).await.unwrap();
        assert_eq!(value(&mut server, WHO).await, "alice", "{begin}");
        query(&mut server, end).await.unwrap();
        assert_eq!(value(&mut server, WHO).await, "alice", "{end}");
    }
}

#[tokio::test]
async fn a_token_is_good_for_one_session_and_not_for_who_comes_next() {
    for next in [Some("bob"), Some("alice"), None] {
        let mut server = server().await;
        switch(&mut server, Some("alice")).await;
        let token = value(&mut server, TOKEN).await;
        switch(&mut server, next).await;
        for road in [
            format!("SET pg_session_jwt.jwt = '{token}'; SELECT auth.user_id()"),
            format!("SELECT auth.jwt_session_init('{token}')"),
            format!("BEGIN; SET LOCAL pg_session_jwt.jwt = '{token}'; SELECT auth.session()"),
        ] {
            assert_eq!(query(&mut server, &road).await, Err(REFUSED.to_owned()), "{next:?}: {road}");
            query(&mut server, "ROLLBACK; DISCARD TEMP").await.unwrap();
        }
        query(&mut server, "RESET ALL").await.unwrap();
        assert_eq!(value(&mut server, WHO).await, "nobody", "{next:?}");
    }
}

#[tokio::test]
async fn a_token_is_good_on_one_server_alone() {
    let (mut one, mut other) = (server().await, server().await);
    switch(&mut one, Some("alice")).await;
    let token = value(&mut one, TOKEN).await;
    switch(&mut other, None).await;

    let refused = query(&mut other, &format!("SELECT auth.jwt_session_init('{token}')")).await;

    assert_eq!(refused, Err(REFUSED.to_owned()));
    assert_eq!(value(&mut other, WHO).await, "nobody");
}

#[tokio::test]
async fn an_init_that_fails_leaves_no_session() {
    let mut server = server().await;
    switch(&mut server, Some("alice")).await;
    let late = init_of(&server, Some(&claims_of("alice")));
    switch(&mut server, Some("bob")).await;

    let error = server.begin(true, late).await.unwrap_err();

    assert!(matches!(&error, Error::Init(refusal) if refusal.sqlstate == REFUSED), "{error}");
}

#[tokio::test]
async fn a_setting_that_is_refused_takes_the_claims_with_it() {
    let mut server = server().await;
    switch(&mut server, Some("alice")).await;
    let startup = Arc::new(Parameters::parse([("TimeZone", "Nowhere/Else")]).unwrap());
    let claims = claims_of("bob");
    let claims = Claims { json: &claims, expires: IN_2100 };
    let init = SessionInit::new(Some(&claims), startup, server.backend()).unwrap();

    let error = server.begin(true, Arc::new(init)).await.unwrap_err();

    assert!(matches!(&error, Error::Setting(_)), "{error}");
    // Up to its Sync nothing has run, and now nothing runs but the end of the transaction.
    send(&mut server, b"").await.unwrap();
    query(&mut server, "ROLLBACK").await.unwrap();
    assert_eq!(value(&mut server, WHO).await, "nobody");
}

#[tokio::test]
async fn a_token_that_has_expired_is_not_taken() {
    let server = server().await;
    let init = init_of(&server, Some(r#"{"sub":"alice","exp":1000000000}"#));
    let mut server = server;
    assert!(matches!(server.begin(false, init).await, Err(Error::Init(_))));
}

#[tokio::test]
async fn a_database_without_the_extension_gives_no_server() {
    for database in ["postgres", "signed"] {
        let error = attempt(ClaimsMode::SessionJwt, database).open().await.unwrap_err();
        assert!(matches!(error, Error::Means(MeansError::NoExtension)), "{database}: {error}");
    }
}

#[tokio::test]
async fn functions_of_the_same_names_are_not_the_extension() {
    WITHOUT_TLS.psql("owner", "postgres", "CREATE DATABASE decoy").unwrap();
    let sql = "CREATE SCHEMA auth; GRANT USAGE ON SCHEMA auth TO PUBLIC;
               CREATE FUNCTION auth.init() RETURNS void LANGUAGE sql AS '';
               CREATE FUNCTION auth.jwt_session_init(text) RETURNS void LANGUAGE sql AS '';
               CREATE FUNCTION auth.pgusher_init(text, text) RETURNS void LANGUAGE sql AS ''";
    WITHOUT_TLS.psql("owner", "decoy", sql).unwrap();
    let signer = Some(Signer::new(&SECRET));
    for (mode, expected) in
        [(ClaimsMode::SessionJwt, MeansError::NoExtension), (ClaimsMode::Auto(signer), MeansError::Nothing)]
    {
        let error = attempt(mode, "decoy").open().await.unwrap_err();
        assert!(matches!(&error, Error::Means(found) if *found == expected), "{error}");
    }
}

#[tokio::test]
async fn a_version_that_nobody_knows_is_refused() {
    WITHOUT_TLS.install_session_jwt("tomorrow");
    for (version, known) in [("0.3.1", true), ("0.5", true), ("0.6.0", false), ("0.2.0", false), ("0.33.0", false)] {
        let sql = format!(
            "SET allow_system_table_mods = on;
             UPDATE pg_extension SET extversion = '{version}' WHERE extname = 'pg_session_jwt'"
        );
        WITHOUT_TLS.psql("owner", "tomorrow", &sql).unwrap();
        match attempt(ClaimsMode::Auto(None), "tomorrow").open().await {
            Ok(_) => assert!(known, "{version}"),
            Err(Error::Means(MeansError::Version(found))) => assert!(found == version && !known, "{version}"),
            Err(error) => panic!("{version}: {error}"),
        }
    }
}

#[tokio::test]
async fn auto_takes_what_the_database_has() {
    let auto = |secret: bool| ClaimsMode::Auto(secret.then(|| Signer::new(&SECRET)));
    for (database, secret, expected) in [
        ("session_jwt", true, Ok("pg_session_jwt")),
        ("session_jwt", false, Ok("pg_session_jwt")),
        ("signed", true, Ok("signed")),
        ("signed", false, Err(MeansError::NoSecret)),
        ("postgres", true, Err(MeansError::Nothing)),
        ("postgres", false, Err(MeansError::Nothing)),
    ] {
        let found = match attempt(auto(secret), database).open().await {
            Ok(server) => Ok(server.means.name()),
            Err(Error::Means(error)) => Err(error),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(found, expected, "{database}, secret: {secret}");
    }
}

#[tokio::test]
async fn what_auto_has_taken_is_reported_once_for_a_pool() {
    let (report, reported) = std::sync::mpsc::channel();
    let listen = move |event: Event<'_>| {
        if let Happened::Settled { mode } = event.what {
            report.send((event.database.to_owned(), mode)).unwrap();
        }
    };
    let connect = Attempt::to(&WITHOUT_TLS).config;
    let mode = ClaimsMode::Auto(Some(Signer::new(&SECRET)));
    let pools = Pools::new(config(2), connect, Settings::default(), mode, listen);
    for database in ["session_jwt", "signed", "session_jwt"] {
        let want = |tenant| pgusher_upstream::Want { database, login: &LOGIN, ..want(tenant) };
        let (one, other) = (pools.lease(&want(ALICE)).await.unwrap(), pools.lease(&want(BOB)).await.unwrap());
        one.give_back(Holds::Nothing);
        other.give_back(Holds::Nothing);
    }
    drop(pools);

    let told: Vec<_> = reported.try_iter().collect();

    assert_eq!(told, [("session_jwt".to_owned(), "pg_session_jwt"), ("signed".to_owned(), "signed")]);
}
