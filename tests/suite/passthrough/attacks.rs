//! Clients that do something else than log in.

use pgusher_tests::request::query;
use pgusher_tests::{Message, Proxy, Stage, message};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use super::{begin, initial, log_in, refused, session, with_owner};

const INSERT: &str = "INSERT INTO smuggled VALUES (1)";

async fn smuggled(proxy: &Proxy) -> String {
    session(proxy).await.0.value("SELECT count(*) FROM smuggled").await
}

fn scram() -> ScramSha256 {
    ScramSha256::new(b"owner", ChannelBinding::unsupported())
}

#[tokio::test]
async fn sql_that_is_sent_before_the_login_is_done_is_not_heard_before() {
    let proxy = with_owner().await;
    session(&proxy).await.0.query("CREATE TABLE smuggled (id int)").await;

    // In the place of either answer.
    let mut raw = proxy.raw().await;
    raw.startup(&[("user", "neondb_owner"), ("database", "neondb")]).await;
    raw.receive().await;
    raw.send(&query(INSERT)).await;
    refused(&mut raw, "08P01").await;
    let mut raw = proxy.raw().await;
    raw.startup(&[("user", "neondb_owner"), ("database", "neondb")]).await;
    raw.send(&[message(b'p', &initial(scram().message())), query(INSERT)].concat()).await;
    refused(&mut raw, "08P01").await;
    // Behind an answer that is wrong.
    let mut raw = proxy.raw().await;
    begin(&mut raw, &scram(), &[]).await;
    let challenge = raw.receive().await.expect("a challenge");
    let nonce = challenge.body[4..].split(|byte| *byte == b',').next().expect("a nonce");
    let wrong = [b"c=biws,", nonce, b",p=", &[b'A'; 43], b"="].concat();
    raw.send(&[message(b'p', &wrong), query(INSERT)].concat()).await;
    refused(&mut raw, "28P01").await;
    assert_eq!(smuggled(&proxy).await, "0");

    // Behind the right one it is heard when its time has come.
    let (mut raw, mut scram) = (proxy.raw().await, scram());
    begin(&mut raw, &scram, &[]).await;
    scram.update(&raw.receive().await.expect("a challenge").body[4..]).expect("a challenge");
    raw.send(&[message(b'p', scram.message()), query(INSERT)].concat()).await;
    raw.until_ready().await;
    assert_eq!(Message::tags(&raw.until_ready().await), "CZ");
    assert_eq!(smuggled(&proxy).await, "1");
    raw.query("DROP TABLE smuggled").await;
}

#[tokio::test]
async fn an_answer_that_is_none_is_refused_and_one_that_is_too_long_is_not_read() {
    let proxy = with_owner().await;
    let peak = proxy.peak_memory();
    for answer in [
        vec![b'p', 0, 0, 0, 3],
        vec![b'p', 0xff, 0xff, 0xff, 0xff],
        vec![b'p', 0x7f, 0xff, 0xff, 0xff],
        message(b'p', &vec![b'x'; 1 << 20]),
        message(b'X', b""),
        message(b'd', b"x"),
    ] {
        let mut raw = proxy.raw().await;
        raw.startup(&[("user", "neondb_owner"), ("database", "neondb")]).await;
        raw.receive().await;
        raw.send(&answer).await;
        refused(&mut raw, "08P01").await;
    }
    assert!(proxy.peak_memory() < peak + (8 << 20));
}

#[tokio::test]
async fn what_is_malformed_is_postgress_to_refuse() {
    let proxy = with_owner().await;
    let mechanism = |name: &str, rest: &[u8]| [name.as_bytes(), &[0], rest].concat();
    for body in [
        Vec::new(),
        b"SCRAM-SHA-256".to_vec(),
        mechanism("SCRAM-SHA-256", b""),
        mechanism("SCRAM-SHA-256", &[0xff, 0xff, 0xff, 0xff, b'y']),
        mechanism("SCRAM-SHA-256", b"\0\0\0\x7fn,,n=,r=x"),
        mechanism("SCRAM-SHA-256", &[&[0, 0, 7, 0], &[b'n'; 0x700][..]].concat()),
        mechanism("SCRAM-SHA-256-PLUS", b"\0\0\0\x0bn,,n=,r=abc"),
        mechanism("OAUTHBEARER", b"\0\0\0\x0bn,,n=,r=abc"),
        mechanism("", b""),
    ] {
        let mut raw = proxy.raw().await;
        raw.startup(&[("user", "neondb_owner"), ("database", "neondb")]).await;
        raw.receive().await;
        raw.message(b'p', &body).await;
        let heard = raw.until_end().await;
        assert!(!Message::tags(&heard).contains(['Z', 'K']), "{body:?}: {heard:?}");
        let error = heard.iter().find(|message| message.tag == b'E').unwrap_or_else(|| panic!("{body:?}: {heard:?}"));
        assert_eq!(error.field(b'S').as_deref(), Some("FATAL"));
    }
}

#[tokio::test]
async fn of_a_flood_of_answers_as_many_are_heard_as_were_asked_for() {
    let proxy = with_owner().await;
    let peak = proxy.peak_memory();
    let flood = message(b'p', &initial(b"n,,n=,r=abcdefghijklmnopqrstuvwx")).repeat(20_000);
    let mut raw = proxy.raw().await;
    raw.startup(&[("user", "neondb_owner"), ("database", "neondb")]).await;
    raw.send(&flood).await;
    let heard = raw.until_end().await;
    assert!(["RRE", "RR", "R"].contains(&&*Message::tags(&heard)), "{heard:?}");
    assert!(proxy.peak_memory() < peak + (8 << 20));
}

#[tokio::test]
async fn what_is_no_request_ends_the_session() {
    let stage = Stage::get();
    let proxy = with_owner().await;
    for bytes in [message(b'p', b"again\0"), message(b'?', b""), vec![b'Q', 0, 0, 0, 0]] {
        let mut raw = proxy.raw().await;
        log_in(&mut raw, "owner", &[]).await;
        let backend = raw.backend().await;
        raw.send(&bytes).await;
        refused(&mut raw, "08P01").await;
        stage.until_gone(backend).await;
    }
}
