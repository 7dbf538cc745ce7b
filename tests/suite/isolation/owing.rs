//! Answers that one owes and the next would get.

use pgusher_tests::request::{
    bind, copy_data, copy_done, copy_fail, describe, execute, extended, flush, parse, query, sync,
};
use pgusher_tests::{Message, Random, Raw, Stage, message, wait};

use super::{WITNESS, narrow, playground, run, unlike};

/// A table into which nothing is copied as long as the superuser holds the lock.
const GATE: &str = "
    CREATE TABLE bin (n int); GRANT INSERT ON bin TO authenticated;
    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN new; END $$;
    CREATE TRIGGER wait BEFORE INSERT ON bin FOR EACH ROW EXECUTE FUNCTION wait();";

/// Asserts that this client is told what it asked for, in its order.
async fn assert_in_step(client: &mut Raw, what: &str) {
    let answers = client.answers(&[query("SELECT 'one'"), query("SELECT 'two'")].concat(), 2).await;
    let (tags, values): (Vec<_>, Vec<_>) = answers.iter().map(|a| (Message::tags(a), Message::values(a))).unzip();
    assert_eq!((tags, values.concat().join(" ").as_str()), (vec!["TDCZ".to_owned(); 2], "one two"), "{what}");
}

/// Has this client copy until the superuser's lock stops it, with a wrong row and so much behind it that Postgres is busy
/// with ignoring it for a while; all of it has arrived there, and so has what the copy `ends` with.
async fn copy_wrongly(stage: &Stage, client: &mut Raw, copy: &[u8], ends: &[u8]) {
    let backend = client.backend().await;
    client.send(copy).await;
    client.until(b'G').await;
    client.send(&copy_data("1\n")).await;
    stage.until_backend(backend, "wait_event = 'advisory'").await;
    let rest = [&copy_data("wrong\n"), &copy_data("").repeat(8_000)[..], ends].concat();
    client.send(&rest).await;
    let arrived = async || unread(stage.postgres_port()).contains(&rest.len()).then_some(());
    wait::until("the rest of a copy at Postgres", arrived).await;
}

/// How many bytes wait to be read on each socket of this port (`/proc/net/tcp`, proc(5)).
fn unread(port: u16) -> Vec<usize> {
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("a Linux system");
    let local = format!(":{port:04X}");
    let ours = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = ours.filter(|fields| fields.get(1).is_some_and(|address| address.ends_with(&local)));
    ours.filter_map(|fields| usize::from_str_radix(fields.get(4)?.split(':').nth(1)?, 16).ok()).collect()
}

/// A Sync that was sent behind a COPY is copy data, which the server does not read any more once the COPY has failed: it
/// answers the Sync then. Nobody can tell the two apart, so the client keeps its server, and takes it along.
#[tokio::test]
async fn a_copy_that_fails_before_it_has_read_a_sync_owes_nobody_its_answer() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let (database, superuser) = playground(stage).await;
    superuser.batch_execute(GATE).await.expect("a gate");
    let here = [("database", database.as_str())];
    let copy = "COPY bin FROM STDIN";
    for (what, copy, ends) in [
        ("a Query", query(copy), sync()),
        ("a Query with two Syncs", query(copy), sync().repeat(2)),
        ("a batch", extended(copy), sync()),
        ("a batch with three Syncs", extended(copy), sync().repeat(3)),
        ("a CopyFail", query(copy), [sync(), sync(), message(b'f', b"\0"), sync()].concat()),
    ] {
        let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
        let mut mallory = proxy.session_with(&stage.token("mallory"), &here).await;
        superuser.batch_execute("SELECT pg_advisory_lock(7)").await.expect("a lock");
        copy_wrongly(stage, &mut mallory, &copy, &ends).await;
        bob.send(&query("SELECT 'zero'")).await;
        superuser.batch_execute("SELECT pg_advisory_unlock(7)").await.expect("an end");
        mallory.until(b'E').await;
        drop(mallory);

        let answer = bob.until_ready().await;
        let heard = (Message::tags(&answer), Message::values(&answer).concat());
        assert_eq!(heard, ("TDCZ".to_owned(), "zero".to_owned()), "{what}");
        assert_in_step(&mut bob, what).await;
    }
}

/// What that would be good for: the answer that mallory owes, taken for the one that says that bob's switch has succeeded,
/// lets more than one batch of bob's follow a switch that is still to fail.
#[tokio::test]
async fn nobody_can_have_others_run_in_a_session_that_is_still_ones_own() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let (database, superuser) = playground(stage).await;
    superuser.batch_execute(&[GATE, WITNESS].concat()).await.expect("a gate and a witness");
    let here = [("database", database.as_str())];
    let insert = "INSERT INTO seen SELECT coalesce(auth.user_id(), 'nobody'), 'bob'";
    let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
    let mut mallory = proxy.session_with(&stage.token("mallory"), &here).await;
    run(&mut mallory, "SET statement_timeout = '1s'").await;
    run(&mut mallory, "SELECT hide('CREATE TEMP TABLE t ()')").await;
    let schema = mallory.value("SELECT pg_my_temp_schema()::regnamespace").await;
    let backend = mallory.backend().await;
    let locks = format!("SELECT pg_advisory_lock(7); BEGIN; LOCK {schema}.t IN ACCESS SHARE MODE");
    superuser.batch_execute(&locks).await.expect("locks");
    copy_wrongly(stage, &mut mallory, &query("COPY bin FROM STDIN"), &sync()).await;
    bob.send(&[extended(insert), sync()].concat().repeat(30)).await;
    superuser.batch_execute("SELECT pg_advisory_unlock(7)").await.expect("an end");
    mallory.until(b'E').await;
    drop(mallory);

    bob.until_ready().await;
    superuser.batch_execute("COMMIT").await.expect("an end");
    stage.until_gone(backend).await;
    assert_eq!(unlike(&superuser).await, "");
}

/// Postgres ignores copy messages outside of a COPY, unless a timeout has run out meanwhile: it says so in the place of the
/// next message, with a ReadyForQuery if that is one of these. Whoever takes that for the answer to the Query behind it lends
/// the server while it works for mallory.
#[tokio::test]
async fn a_timeout_that_a_copy_message_finds_is_no_answer_to_what_is_behind_it() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let (database, superuser) = playground(stage).await;
    superuser.batch_execute("CREATE TABLE bin (n int); GRANT INSERT ON bin TO authenticated").await.expect("a table");
    let here = [("database", database.as_str())];
    // One that is cut begins before the time is over, and is read when it is.
    let [data, done, fail] = [copy_data("0123456789"), copy_done(), copy_fail()];
    let (begun, rest) = data.split_at(8);
    let prepared = [parse("SELECT 1"), flush()].concat();
    // An Execute that is over ends the time, and the next request begins it anew.
    let unanswered = [extended("SELECT 1"), parse("SELECT 1")].concat();
    // A row that ends a COPY, with a request behind it before anybody has heard of that.
    let wrong = [&copy_data("wrong\n"), &parse("SELECT 1")[..], begun].concat();
    for (what, before, behind) in [
        ("CopyData", prepared.clone(), &data[..]),
        ("CopyDone", prepared.clone(), &done),
        ("CopyFail", prepared.clone(), &fail),
        ("CopyData in two parts", [&prepared, begun].concat(), rest),
        ("CopyData behind an Execute that is not answered", [&unanswered, begun].concat(), rest),
        ("CopyData behind a COPY", wrong, rest),
    ] {
        superuser.batch_execute("SELECT pg_advisory_lock(4820)").await.expect("a lock");
        let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
        let mut mallory = proxy.session_with(&stage.token("mallory"), &here).await;
        let backend = mallory.backend().await;
        run(&mut mallory, "SET statement_timeout = '500ms'").await;
        if what.ends_with("a COPY") {
            mallory.send(&query("COPY bin FROM STDIN")).await;
            mallory.until(b'G').await;
            mallory.send(&before).await;
            mallory.until(b'Z').await;
        } else {
            mallory.send(&before).await;
        }
        let overdue = "query = 'SELECT 1' AND clock_timestamp() - query_start > '700ms'";
        stage.until_backend(backend, overdue).await;
        let works = "BEGIN; SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock(4820); COMMIT";
        mallory.send(&[behind, &query(works)].concat()).await;
        mallory.until(b'Z').await;
        bob.send(&query("SELECT auth.user_id()")).await;
        stage.until_backend(backend, "wait_event = 'advisory'").await;
        superuser.batch_execute("SELECT pg_advisory_unlock(4820)").await.expect("an end");
        drop(mallory);

        let answer = bob.until_ready().await;
        assert_eq!(
            (Message::tags(&answer), Message::values(&answer).concat()),
            ("TDCZ".into(), "bob".into()),
            "{what}"
        );
        assert_in_step(&mut bob, what).await;
    }
}

/// A Flush that a timeout finds is refused, and the Query behind it skipped with all up to the Sync: its entry would wait for an
/// answer that never comes, until an error strikes off what is still to run.
#[tokio::test]
async fn a_query_that_a_refused_flush_has_skipped_is_made_up_for_by_nothing() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let (database, superuser) = playground(stage).await;
    superuser.batch_execute("SELECT pg_advisory_lock(4821)").await.expect("a lock");
    let here = [("database", database.as_str())];
    let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
    let mut mallory = proxy.session_with(&stage.token("mallory"), &here).await;
    let skipped = async |mallory: &mut Raw| {
        let backend = mallory.backend().await;
        run(mallory, "SET statement_timeout = '500ms'").await;
        mallory.send(&[parse("SELECT 1"), flush()].concat()).await;
        let overdue = "query = 'SELECT 1' AND clock_timestamp() - query_start > '700ms'";
        stage.until_backend(backend, overdue).await;
        mallory.send(&[flush(), query("SELECT 2"), sync()].concat()).await;
        assert_eq!(Message::tags(&mallory.until_ready().await), "1EZ");
        backend
    };
    let backend = skipped(&mut mallory).await;
    mallory.send(&[parse("SELECT 1"), query("SELECT 'hers'")].concat()).await;
    mallory.until_ready().await;
    let works = "BEGIN; SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock(4821); COMMIT";
    mallory.send(&[query("SELECT 1 / 0"), query(works)].concat()).await;
    mallory.until(b'E').await;
    bob.send(&query("SELECT auth.user_id()")).await;
    stage.until_backend(backend, "wait_event = 'advisory'").await;
    superuser.batch_execute("SELECT pg_advisory_unlock(4821)").await.expect("an end");
    drop(mallory);
    let answer = bob.until_ready().await;
    assert_eq!((Message::tags(&answer), Message::values(&answer).concat()), ("TDCZ".into(), "bob".into()));
    assert_in_step(&mut bob, "a Flush").await;

    // Nor is the server waited for by who has gone.
    let mut mallory = proxy.session_with(&stage.token("mallory"), &here).await;
    skipped(&mut mallory).await;
    mallory.finish().await;
    mallory.until_end().await;
    assert_in_step(&mut bob, "a Flush, and the end").await;
}

/// Whatever mallory sends, and wherever a timeout finds her server, nobody but her gets an answer to it.
#[tokio::test]
async fn whatever_one_sends_the_next_one_is_in_step() {
    let stage = Stage::get();
    let proxy = narrow(stage).await;
    let (database, superuser) = playground(stage).await;
    superuser.batch_execute("CREATE TABLE bin (n int); GRANT INSERT ON bin TO authenticated").await.expect("a table");
    let here = [("database", database.as_str())];
    let copy = "COPY bin FROM STDIN";
    let requests = [
        query("SELECT 'mallory'"),
        query(copy),
        query("BEGIN"),
        query("COMMIT"),
        query("BEGIN; SELECT 'mallory'; COMMIT"),
        parse("SELECT 'mallory'"),
        parse(copy),
        parse("COMMIT"),
        bind(),
        describe(),
        execute(),
        flush(),
        sync(),
        copy_data("1\n"),
        copy_data("wrong\n"),
        copy_done(),
        copy_fail(),
        message(b'F', &[0; 8]),
        message(b'C', b"P\0"),
        message(b'S', b"?"),
        message(b'B', b"\0\0"),
        message(b'E', b"\0"),
        message(b'Q', b"SELECT"),
    ];
    let mut bob = proxy.session_with(&stage.token("bob"), &here).await;
    for seed in 0..100 {
        let mut random = Random(seed);
        let mut mallory = proxy.session_with(&stage.token("mallory"), &here).await;
        let backend = mallory.backend().await;
        run(&mut mallory, "SET statement_timeout = '2ms'").await;
        let mut rest = Vec::new();
        for _ in 0..random.below(3) + 1 {
            let sent: Vec<_> =
                (0..random.below(12)).map(|_| requests[random.below(requests.len())].as_slice()).collect();
            let sent = [std::mem::take(&mut rest), sent.concat()].concat();
            let (now, later) = sent.split_at(sent.len() - random.below(sent.len().min(9) + 1));
            mallory.send(now).await;
            rest = later.to_vec();
            // What runs out while a server waits is told with the next message.
            let early = "SELECT FROM pg_stat_activity WHERE pid = $1 AND clock_timestamp() - query_start < '4ms'";
            let late = async || superuser.query(early, &[&backend]).await.expect("a look").is_empty().then_some(());
            wait::until("a timeout to have run out", late).await;
        }
        bob.send(&[query("SELECT auth.user_id()"), query("SELECT auth.user_id()")].concat()).await;
        drop(mallory);
        let answers = [bob.until_ready().await, bob.until_ready().await];
        let heard = answers.map(|answer| (Message::tags(&answer), Message::values(&answer).concat()));
        assert_eq!(heard, [(); 2].map(|()| ("TDCZ".to_owned(), "bob".to_owned())), "seed {seed}");
    }
}
