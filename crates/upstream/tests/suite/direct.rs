//! Roles that log in for themselves: with a password that we are given, or in a dialogue that we carry.

use bytes::Bytes;
use pgusher_upstream::{
    Demand, Dialogue, Direct, DirectStartup, Error, MethodError, Parameters, Password, SslMode, Tls,
};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use tokio::io::AsyncWriteExt;
use wire::frame::{backend, read_frame};

use crate::harness::{Attempt, trusting};
use crate::postgres::{Postgres, WITH_TLS, WITHOUT_TLS};
use crate::scripted::{frame, serve_login};

// Codes of authentication requests.
const OK: u8 = 0;
const CLEARTEXT: u8 = 3;
const GSS: u8 = 7;
const SASL: u8 = 10;
const CHALLENGE: u8 = 11;
const PROOF: u8 = 12;

fn request(code: u8, body: &[u8]) -> Vec<u8> {
    frame(b'R', &[&[0, 0, 0, code], body].concat())
}

fn method<T: std::fmt::Debug>(result: Result<T, Error>) -> MethodError {
    match result {
        Err(Error::Method(method)) => method,
        other => panic!("a refused method: {other:?}"),
    }
}

async fn open(attempt: &Attempt<'_>) -> Result<Direct, Error> {
    let password = Password::new(attempt.password.unwrap_or_default().to_owned());
    Direct::open(&attempt.config, &startup(attempt), password).await
}

fn startup<'a>(attempt: &'a Attempt<'_>) -> DirectStartup<'a> {
    DirectStartup { user: attempt.user, database: attempt.database, parameters: &attempt.parameters }
}

/// The first column of the only row.
async fn value(server: &mut Direct, sql: &str) -> String {
    server.stream.write_all(&frame(b'Q', &[sql.as_bytes(), &[0]].concat())).await.expect("it goes out");
    let mut value = None;
    loop {
        let frame = read_frame(&mut server.stream, 1 << 16).await.expect("an answer");
        match frame.tag {
            backend::DATA_ROW => value = Some(String::from_utf8_lossy(&frame.body[6..]).into_owned()),
            backend::READY_FOR_QUERY => return value.expect("a row"),
            _ => {}
        }
    }
}

/// What a client with this password does.
async fn converse(attempt: &Attempt<'_>, password: &str, binding: ChannelBinding) -> Result<Direct, Error> {
    let mut dialogue = Dialogue::begin(&attempt.config, &startup(attempt)).await?;
    let mut scram = ScramSha256::new(password.as_bytes(), binding);
    let mut asked = 0;
    loop {
        match dialogue.next().await? {
            Demand::Answer(told) if asked == 0 => {
                assert_eq!(told, request(SASL, b"SCRAM-SHA-256\0\0"), "what binds is not offered");
                let size = (scram.message().len() as u32).to_be_bytes();
                let answer = [&b"SCRAM-SHA-256\0"[..], &size, scram.message()].concat();
                dialogue.answer(answer.into()).await?;
            }
            Demand::Answer(told) => {
                scram.update(&told[9..]).expect("a challenge");
                dialogue.answer(Bytes::copy_from_slice(scram.message())).await?;
            }
            Demand::Hear(told) => scram.finish(&told[9..]).expect("the server knows the password"),
            Demand::Granted => return dialogue.finish().await,
        }
        asked += 1;
    }
}

fn over_tls(postgres: &Postgres) -> Attempt<'static> {
    let mut attempt = Attempt::to(postgres);
    attempt.config.tls = trusting(postgres, SslMode::VerifyFull, "ca.crt");
    attempt
}

#[tokio::test]
async fn a_role_logs_in_with_its_password_given_or_carried() {
    for attempt in [Attempt::to(&WITHOUT_TLS), Attempt::to(&WITH_TLS), over_tls(&WITH_TLS)] {
        let given = open(&attempt).await.unwrap();
        let carried = converse(&attempt, "secret", ChannelBinding::unsupported()).await.unwrap();
        for mut server in [given, carried] {
            assert_eq!(value(&mut server, "SELECT session_user || ' ' || current_user").await, "scram scram");
            assert_eq!((server.greeting[0], server.greeting.contains(&b'K')), (b'S', false));
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_as_the_server_tells_it() {
    let mut attempt = Attempt::to(&WITHOUT_TLS);
    attempt.password = Some("wrong");
    let carried = converse(&attempt, "wrong", ChannelBinding::unsupported()).await;
    for refused in [open(&attempt).await, carried] {
        let Err(Error::Login(error)) = refused else { panic!("a refusal: {refused:?}") };
        assert_eq!((&error.sqlstate[..], error.frame[0]), ("28P01", b'E'));
    }
}

#[tokio::test]
async fn a_server_that_goes_by_our_address_or_certificate_lets_nobody_in() {
    let mut trusted = Attempt::to(&WITHOUT_TLS);
    trusted.user = "trusted";
    let mut certified = over_tls(&WITH_TLS);
    certified.user = "certified";
    let roots = pgusher_upstream::RootCertificates::File(WITH_TLS.dir.join("ca.crt"));
    let ours = pgusher_upstream::ClientCertificate {
        certificate_file: WITH_TLS.dir.join("client.crt"),
        key_file: WITH_TLS.dir.join("client.key"),
    };
    certified.config.tls = Tls::new(SslMode::VerifyFull, Some(&roots), Some(&ours)).unwrap();
    assert!(certified.open().await.is_ok(), "as a login of ours it gets in");
    for attempt in [trusted, certified] {
        assert_eq!(method(open(&attempt).await), MethodError::NotAsked, "{}", attempt.user);
        let carried = converse(&attempt, "secret", ChannelBinding::unsupported()).await;
        assert_eq!(method(carried), MethodError::NotAsked, "{}", attempt.user);
    }
}

#[tokio::test]
async fn the_second_choice_of_tls_is_taken_where_the_server_refuses_the_first() {
    for (user, mode) in [("plain_only", SslMode::Prefer), ("tls_only", SslMode::Allow)] {
        let mut attempt = Attempt::to(&WITH_TLS);
        attempt.user = user;
        attempt.config.tls = Tls::new(mode, None, None).unwrap();
        assert!(open(&attempt).await.is_ok(), "{user}");
        assert!(converse(&attempt, "secret", ChannelBinding::unsupported()).await.is_ok(), "{user}");
    }
}

#[tokio::test]
async fn who_could_bind_is_told_before_the_server_refuses_it_and_gets_in_where_it_would_not() {
    let bound = converse(&over_tls(&WITH_TLS), "secret", ChannelBinding::unrequested()).await;
    assert_eq!(method(bound), MethodError::ChannelBinding);
    assert!(converse(&Attempt::to(&WITH_TLS), "secret", ChannelBinding::unrequested()).await.is_ok());
}

#[tokio::test]
async fn passwords_in_clear_and_as_md5_go_by_the_rules_for_ours() {
    for (user, refusal) in [("md5", MethodError::Md5), ("clear", MethodError::Cleartext)] {
        let mut attempt = Attempt::to(&WITH_TLS);
        attempt.user = user;
        assert_eq!(method(Dialogue::begin(&attempt.config, &startup(&attempt)).await.unwrap().next().await), refusal);
        attempt.config.allow_md5 = true;
        attempt.config.tls = trusting(&WITH_TLS, SslMode::VerifyFull, "ca.crt");
        let mut dialogue = Dialogue::begin(&attempt.config, &startup(&attempt)).await.unwrap();
        assert!(matches!(dialogue.next().await, Ok(Demand::Answer(told)) if told[0] == b'R'));
        dialogue.answer(Bytes::from_static(b"wrong\0")).await.unwrap();
        assert!(matches!(dialogue.next().await, Err(Error::Login(error)) if error.sqlstate == "28P01"));
        assert!(open(&attempt).await.is_ok(), "{user}");
    }
}

#[tokio::test]
async fn what_runs_is_cancelled_and_a_server_that_is_left_is_gone() {
    let mut server = open(&Attempt::to(&WITHOUT_TLS)).await.unwrap();
    let mut other = open(&Attempt::to(&WITHOUT_TLS)).await.unwrap();
    server.stream.write_all(&frame(b'Q', b"SELECT pg_sleep(600)\0")).await.unwrap();
    let pid = server.cancel.pid();
    let runs = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'PgSleep'");
    while value(&mut other, &runs).await != "1" {
        tokio::task::yield_now().await;
    }
    server.cancel.send().await.unwrap();
    while read_frame(&mut server.stream, 1 << 16).await.expect("an answer").tag != backend::READY_FOR_QUERY {}
    server.leave().await;
    let there = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    while value(&mut other, &there).await != "0" {
        tokio::task::yield_now().await;
    }
}

/// What becomes of a dialogue with a server that says this whatever it hears.
async fn with_server(says: Vec<u8>) -> Error {
    let attempt = Attempt::new("localhost", serve_login(says).await);
    let mut dialogue = match Dialogue::begin(&attempt.config, &startup(&attempt)).await {
        Ok(dialogue) => dialogue,
        Err(error) => return error,
    };
    loop {
        match dialogue.next().await {
            Ok(Demand::Answer(_)) => dialogue.answer(Bytes::from_static(b"SCRAM-SHA-256\0\0\0\0\x01n")).await.unwrap(),
            Ok(Demand::Hear(_)) => {}
            Ok(Demand::Granted) => return dialogue.finish().await.expect_err("no such server lets anybody in"),
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn a_server_that_leaves_a_step_out_lets_nobody_in() {
    let (scram, ok) = (request(SASL, b"SCRAM-SHA-256\0\0"), request(OK, b""));
    let (challenge, proof) = (request(CHALLENGE, b"r=x"), request(PROOF, b"v=x"));
    for says in [
        [&scram[..], &ok].concat(),
        [&scram[..], &proof, &ok].concat(),
        [&scram[..], &challenge, &ok].concat(),
        [&scram[..], &challenge, &challenge].concat(),
        [&scram[..], &scram].concat(),
        [&scram[..], &challenge, &proof, &proof].concat(),
        request(SASL, b"SCRAM-SHA-256"),
        frame(b'Z', b"I"),
        frame(b'R', b"\0"),
        frame(b'N', b"\0").repeat(20_000),
        [&scram[..], &challenge, &proof, &ok, &frame(b'Z', b"I")].concat(),
        [&scram[..], &challenge, &proof, &ok, &frame(b'D', b"\0\0")].concat(),
    ] {
        let refused = with_server(says.clone()).await;
        assert!(matches!(refused, Error::Protocol(_)), "{refused}: {:?}", &says[..says.len().min(200)]);
    }
}

#[tokio::test]
async fn a_server_that_asks_for_something_else_is_refused() {
    for (says, refusal) in [
        (request(OK, b""), MethodError::NotAsked),
        (request(GSS, b""), MethodError::Unsupported),
        (request(CHALLENGE, b"r=x"), MethodError::Unsupported),
        (request(CLEARTEXT, b""), MethodError::Cleartext),
        (request(SASL, b"OAUTHBEARER\0\0"), MethodError::Mechanism("OAUTHBEARER".to_owned())),
        (request(SASL, b"SCRAM-SHA-256-PLUS\0\0"), MethodError::Mechanism("SCRAM-SHA-256-PLUS".to_owned())),
    ] {
        assert_eq!(method(Err::<(), _>(with_server(says).await)), refusal);
    }
}

#[tokio::test]
async fn a_value_that_the_server_refuses_is_told_as_it_tells_it() {
    let mut attempt = Attempt::to(&WITHOUT_TLS);
    attempt.parameters = Parameters::parse([("TimeZone", "Nowhere/Land")]).unwrap();
    let carried = converse(&attempt, "secret", ChannelBinding::unsupported()).await;
    for refused in [open(&attempt).await, carried] {
        assert!(matches!(&refused, Err(Error::Session(error)) if error.sqlstate == "22023"), "{refused:?}");
    }
}
