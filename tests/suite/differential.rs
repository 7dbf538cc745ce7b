//! The same bytes sent through the proxy and past it are answered by the same messages.

use pgusher_tests::request::{
    bind, copy_data, copy_done, copy_fail, describe, execute, extended, parse, query, sync, terminate,
};
use pgusher_tests::{Message, Proxy, Raw, Stage, message};

/// What clients send; every trace leaves its session for the next one.
fn traces() -> Vec<Vec<u8>> {
    let flush = || message(b'H', b"");
    let parts = || message(b'E', &[0, 0, 0, 0, 2]);
    let close = || message(b'C', b"P\0");
    vec![
        query("SELECT 1; SELECT 'two', NULL; SELECT"),
        query(""),
        query("SELECT nothing"),
        query("BEGIN; SELECT 1/0; SELECT 2"),
        [query("SELECT 3"), query("ROLLBACK")].concat(),
        [extended("SELECT 1"), extended("SELECT 2"), sync(), extended("SELECT 3"), sync(), sync()].concat(),
        [parse("SELECT nothing"), bind(), execute(), query("SELECT 1"), flush(), sync()].concat(),
        [parse("SELECT generate_series(1, 5)"), bind(), describe(), parts(), parts(), parts(), close(), sync()]
            .concat(),
        [extended(""), flush(), extended("BEGIN"), sync(), extended("SELECT 1/0"), sync(), query("COMMIT")].concat(),
        query("SET application_name = 'x'; SET TimeZone = 'Asia/Tokyo'; SET search_path = pg_catalog; RESET TimeZone"),
        query("DO $$ BEGIN RAISE WARNING 'careful'; RAISE 'and out'; END $$"),
        query("CREATE TEMP TABLE t (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)"),
        [query("COPY t FROM STDIN"), copy_data("1\n2\n"), copy_done()].concat(),
        [query("COPY t FROM STDIN"), copy_data("1\n"), copy_done()].concat(),
        [query("COPY t FROM STDIN"), copy_data("3\n"), copy_fail(), query("SELECT 1")].concat(),
        [query("COPY t FROM STDIN"), sync(), flush(), copy_data("x\n"), sync(), copy_done()].concat(),
        query("COPY t TO STDOUT; COPY t TO STDOUT (FORMAT binary)"),
        [extended("COPY t TO STDOUT"), sync()].concat(),
        [extended("COPY t FROM STDIN"), copy_data("4\n"), copy_done(), sync()].concat(),
        [extended("INSERT INTO t VALUES (1)"), sync(), query("SELECT count(*) FROM t")].concat(),
        [copy_data("stray"), copy_done(), copy_fail(), message(b'F', &[0; 4]), query("SELECT 1")].concat(),
        query("PREPARE p AS SELECT 1; EXECUTE p; DEALLOCATE p; LISTEN here; NOTIFY here, 'word'; UNLISTEN *"),
        query("DISCARD ALL"),
        query("RESET ALL; RESET ROLE; SELECT current_user"),
    ]
}

/// What ends a session.
fn last_traces() -> Vec<Vec<u8>> {
    vec![
        [query("SELECT 'last'"), terminate(), query("SELECT 'too late'")].concat(),
        [query("CREATE TEMP TABLE t (n int)"), query("COPY t FROM STDIN"), query("SELECT 1")].concat(),
    ]
}

/// What a session answers to a trace. An empty query is answered even in a transaction that failed, so a few of them
/// mark the end.
async fn answers(session: &mut Raw, trace: &[u8]) -> Vec<Message> {
    session.send(&[trace, &query("").repeat(3)].concat()).await;
    let mut answers = Vec::new();
    while !Message::tags(&answers).ends_with("IZIZIZ") {
        let Some(mut answer) = session.receive().await else { break };
        if answer.tag == b'E' {
            // The schema of temporary tables has its backend's number in its name.
            let temporary = |field: &&[u8]| field.starts_with(b"spg_temp_");
            answer.body =
                answer.body.split(|byte| *byte == 0).filter(|field| !temporary(field)).collect::<Vec<_>>().join(&0);
        }
        answers.push(answer);
    }
    answers
}

async fn assert_same(through: &mut Raw, past: &mut Raw, trace: &[u8]) {
    let (seen, expected) = tokio::join!(answers(through, trace), answers(past, trace));
    assert_eq!(seen, expected, "{}", String::from_utf8_lossy(trace));
    assert!(!seen.is_empty());
}

#[tokio::test]
async fn a_trace_is_answered_through_the_proxy_as_it_is_without() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut through = proxy.session(&stage.token("alice")).await;
    let mut past = stage.direct_session().await;
    for trace in traces() {
        assert_same(&mut through, &mut past, &trace).await;
    }
}

#[tokio::test]
async fn a_session_ends_through_the_proxy_as_it_does_without() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for trace in last_traces() {
        let mut through = proxy.session(&stage.token("alice")).await;
        let mut past = stage.direct_session().await;
        assert_same(&mut through, &mut past, &trace).await;
        assert_eq!(through.receive().await, None);
    }
}
