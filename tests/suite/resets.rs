//! What a client's own resets do to its session: role and claims are right again before its next request.

use pgusher_tests::request::{bind, copy_data, copy_done, execute, extended, parse, query, sync, terminate};
use pgusher_tests::{Message, Proxy, Raw, Stage, WHO, message};

const ALICE: &str = "alice authenticated pgusher_authenticated";

/// Statements and batches that clear claims, or a part of what holds them; the last is what asyncpg's pool sends.
const RESETS: [&str; 9] = [
    "RESET ALL",
    "reset pgusher.claims",
    "RESET pgusher.backend",
    "DISCARD ALL",
    "DISCARD SEQUENCES",
    "DISCARD PLANS",
    "DISCARD TEMP",
    "SET application_name = 'x'; RESET ALL; SELECT 1",
    "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;",
];

/// Those that may run inside of a transaction.
fn resets_in_transactions() -> impl Iterator<Item = &'static str> {
    RESETS.into_iter().filter(|reset| *reset != "DISCARD ALL")
}

/// Runs this and asserts that it did not fail.
async fn run(client: &mut Raw, sql: &str) {
    let answer = client.query(sql).await;
    assert!(answer.iter().all(|message| message.tag != b'E'), "{sql}: {answer:?}");
}

/// A statement in the extended protocol with its Sync.
fn synced(sql: &str) -> Vec<u8> {
    [extended(sql), sync()].concat()
}

#[tokio::test]
async fn claims_are_back_before_the_next_request() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.session(&stage.token("alice")).await;
    for reset in RESETS {
        run(&mut client, reset).await;
        assert_eq!(client.who().await, ALICE, "{reset}");
        run(&mut client, reset).await;
        let answer = client.answers(&synced(WHO), 1).await;
        assert_eq!(Message::values(&answer[0]), [ALICE], "{reset}, then the extended protocol");
    }
}

#[tokio::test]
async fn a_reset_in_the_extended_protocol_is_no_other() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.session(&stage.token("alice")).await;
    for reset in RESETS.into_iter().filter(|reset| !reset.contains(';')) {
        let answer = client.answers(&synced(reset), 1).await;
        assert!(Message::tags(&answer[0]).ends_with("CZ"), "{reset}: {answer:?}");
        assert_eq!(client.who().await, ALICE, "{reset}");
    }
}

#[tokio::test]
async fn the_role_comes_back_by_each_statement_that_resets_it() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.session(&stage.token("alice")).await;
    for reset in ["RESET ROLE", "SET SESSION AUTHORIZATION DEFAULT", "RESET SESSION AUTHORIZATION", "DISCARD ALL"] {
        run(&mut client, "SET ROLE NONE").await;
        assert_eq!(client.value("SELECT current_user").await, "pgusher_authenticated");
        run(&mut client, reset).await;
        assert_eq!(client.who().await, ALICE, "{reset}");
    }
}

#[tokio::test]
async fn a_reset_in_a_transaction_holds_no_longer_than_to_the_next_request() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.session(&stage.token("alice")).await;
    for reset in resets_in_transactions() {
        for (begin, end) in [
            ("BEGIN", "COMMIT"),
            ("BEGIN", "ROLLBACK"),
            ("BEGIN", "COMMIT AND CHAIN; ROLLBACK"),
            ("BEGIN", "ROLLBACK AND CHAIN; COMMIT"),
            ("BEGIN; SAVEPOINT here", "ROLLBACK TO here"),
            ("BEGIN; SAVEPOINT here", "RELEASE here; ROLLBACK"),
            ("BEGIN ISOLATION LEVEL SERIALIZABLE", "PREPARE TRANSACTION 'resets'; ROLLBACK PREPARED 'resets'"),
        ] {
            run(&mut client, begin).await;
            run(&mut client, reset).await;
            assert_eq!(client.who().await, ALICE, "{begin}; {reset}");
            // A transaction that used a sequence's value is none that can be prepared twice; its error ends it too.
            client.query(end).await;
            assert_eq!(client.who().await, ALICE, "{begin}; {reset}; {end}");
            run(&mut client, "COMMIT").await;
            assert_eq!(client.who().await, ALICE, "{begin}; {reset}; {end}; COMMIT");
        }
    }
}

#[tokio::test]
async fn a_reset_in_a_transaction_that_fails_is_made_good_behind_it() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.session(&stage.token("alice")).await;
    for reset in resets_in_transactions() {
        client.query(&format!("BEGIN; {reset}; SELECT 1 / 0")).await;
        let refused = client.query(WHO).await;
        assert_eq!(refused[0].sqlstate(), "25P02", "{reset}");
        run(&mut client, "ROLLBACK").await;
        assert_eq!(client.who().await, ALICE, "{reset}");

        client.query(&format!("{reset}; SELECT 1 / 0")).await;
        assert_eq!(client.who().await, ALICE, "{reset} in a request that fails");
    }
}

#[tokio::test]
async fn a_transaction_that_only_reads_gets_its_claims_back() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.session(&stage.token("alice")).await;
    for begin in ["BEGIN READ ONLY", "BEGIN; SET TRANSACTION READ ONLY", "BEGIN; SET transaction_read_only = on"] {
        for reset in resets_in_transactions().filter(|reset| *reset != "DISCARD SEQUENCES") {
            run(&mut client, begin).await;
            run(&mut client, reset).await;
            assert_eq!(client.who().await, ALICE, "{begin}; {reset}");
            run(&mut client, "ROLLBACK").await;
            assert_eq!(client.who().await, ALICE, "{begin}; {reset}; ROLLBACK");
        }
    }
}

#[tokio::test]
async fn discarding_sequences_where_nothing_can_be_written_ends_the_session() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.session(&stage.token("alice")).await;
    run(&mut client, "BEGIN READ ONLY").await;
    run(&mut client, "DISCARD SEQUENCES").await;

    let answer = client.query(WHO).await;

    assert_eq!((Message::tags(&answer).as_str(), answer[0].sqlstate().as_str()), ("E", "28000"));
}

#[tokio::test]
async fn a_session_whose_transactions_only_read_gets_its_claims_back() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let token = stage.token("alice");
    let by_startup = ["on", "true", "1"].map(|value| vec![("default_transaction_read_only", value)]);
    let by_options = vec![("options", "-c default-transaction-read-only=on")];
    let by_sql = ["SET default_transaction_read_only = on", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"];
    let startups = by_startup.into_iter().chain([by_options]).map(|parameters| (parameters, "SELECT 1"));
    for (parameters, first) in startups.chain(by_sql.map(|sql| (Vec::new(), sql))) {
        let mut client = proxy.session_with(&token, &parameters).await;
        for reset in RESETS {
            run(&mut client, first).await;
            assert_eq!(client.value("SHOW transaction_read_only").await, "on", "{first} {parameters:?}");
            run(&mut client, reset).await;
            assert_eq!(client.who().await, ALICE, "{reset} after {first} {parameters:?}");
        }
    }
}

#[tokio::test]
async fn claims_of_any_script_come_back_under_any_encoding() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let token = stage.token("alice").claim("name", "Zoë 😀 表");
    let same = r"SELECT auth.session() ->> 'name' = U&'Zo\00eb \+01f600 \8868'";
    for encoding in ["UTF8", "LATIN1", "SJIS", "SQL_ASCII", "EUC_JP"] {
        let mut client = proxy.session_with(&token, &[("client_encoding", encoding)]).await;
        for reset in RESETS {
            run(&mut client, reset).await;
            assert_eq!(client.value(same).await, "t", "{encoding}, {reset}");
        }
    }
}

#[tokio::test]
async fn a_request_sent_in_one_go_with_a_reset_finds_its_claims() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.session(&stage.token("alice")).await;
    for reset in ["RESET ALL", "reset all", "DISCARD ALL", "DISCARD SEQUENCES", "RESET pgusher.claims"] {
        for reset in [query(reset), synced(reset)] {
            let flights: [(&[Vec<u8>], usize); 5] = [
                (&[query(WHO)], 1),
                (&[synced(WHO)], 1),
                (&[query("BEGIN"), query(WHO), query("COMMIT")], 3),
                (&[synced("BEGIN"), synced(WHO), synced("ROLLBACK"), query(WHO)], 4),
                (&[query("SELECT 1"), reset.clone(), reset.clone(), synced(WHO)], 4),
            ];
            for (requests, count) in flights {
                let answers = client.answers(&[&reset[..], &requests.concat()].concat(), count + 1).await;
                let values = Message::values(&answers.concat());
                assert!(values.contains(&ALICE.to_owned()) && !values.concat().contains("nobody"), "{answers:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_request_behind_what_only_looked_like_a_reset_goes_on() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.session(&stage.token("alice")).await;
    for flight in [
        &["RESET nonsense", WHO][..],
        &["discardable", "DISCARD ALL; SELECT 1", WHO],
        &["BEGIN", "DISCARD ALL", "ROLLBACK", WHO],
        &["BEGIN", "RESET ALL; SELECT 1 / 0", WHO, "ROLLBACK", WHO],
    ] {
        let requests: Vec<u8> = flight.iter().flat_map(query).collect();
        let answers = client.answers(&requests, flight.len()).await;
        assert_eq!(Message::values(&answers.concat()), [ALICE], "{flight:?}: {answers:?}");
    }
}

#[tokio::test]
async fn a_copy_in_one_go_with_a_reset_gets_its_data() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.session(&stage.token("alice")).await;
    run(&mut client, "CREATE TEMPORARY TABLE pocket (word text)").await;
    let data = [copy_data("a\n"), copy_data("b\n"), copy_done()].concat();
    let copy = "COPY pocket FROM STDIN";
    for (requests, count) in [
        ([query(format!("RESET ALL; {copy}")), data.clone(), query(WHO)], 2),
        ([query("RESET ALL"), [query(copy), data].concat(), query(WHO)], 3),
    ] {
        let answers = client.answers(&requests.concat(), count).await;
        assert_eq!(Message::values(&answers.concat()), [ALICE], "{answers:?}");
    }
    assert_eq!(client.value("SELECT count(*) FROM pocket").await, "4");
}

#[tokio::test]
async fn a_client_that_leaves_in_one_go_with_a_reset_leaves_its_server_to_the_next() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("pool.default_pool_size", 1).start().await;
    for goodbye in [terminate(), Vec::new()] {
        for next in ["alice", "bob"] {
            let mut client = proxy.session(&stage.token("alice")).await;
            client.send(&[query("DISCARD ALL"), goodbye.clone()].concat()).await;
            client.finish().await;
            client.until_end().await;
            let who = proxy.session(&stage.token(next)).await.who().await;
            assert_eq!(who, format!("{next} authenticated pgusher_authenticated"));
        }
    }
}

#[tokio::test]
async fn what_runs_before_a_resets_answer_is_seen_runs_as_nobody() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.session(&stage.token("alice")).await;
    for (unseen, count) in [
        ([query(format!("RESET ALL; {WHO}")), query("SELECT 1")], 2),
        ([extended("RESET ALL"), synced(WHO)], 1),
        ([query("DO $$ BEGIN RESET ALL; END $$"), query(WHO)], 2),
        ([query("SET pgusher.claims TO DEFAULT"), query(WHO)], 2),
    ] {
        let seen = client.answers(&unseen.concat(), count).await.concat();
        assert!(Message::values(&seen).contains(&"nobody authenticated pgusher_authenticated".to_owned()), "{seen:?}");
        run(&mut client, "RESET ALL").await;
        assert_eq!(client.who().await, ALICE);
    }
}

#[tokio::test]
async fn the_clients_unnamed_statement_and_portals_outlive_a_reset() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.session(&stage.token("alice")).await;
    // The reset has names of its own, so that the unnamed ones are the client's.
    let prepare = message(b'P', b"mine\0RESET ALL\0\0\0");
    let reset = [message(b'B', b"mine\0mine\0\0\0\0\0\0\0"), message(b'E', b"mine\0\0\0\0\0"), sync()].concat();

    client.answers(&[parse(WHO), prepare, sync()].concat(), 1).await;
    client.answers(&reset, 1).await;
    let answer = client.answers(&[bind(), execute(), sync()].concat(), 1).await;
    assert_eq!(Message::values(&answer[0]), [ALICE]);

    run(&mut client, "BEGIN; DECLARE named CURSOR FOR SELECT generate_series(1, 3)").await;
    let first_row = message(b'E', b"\0\0\0\0\x01");
    client.answers(&[parse("VALUES ('a'), ('b')"), bind(), first_row, sync()].concat(), 1).await;
    assert_eq!(client.value("FETCH named").await, "1");
    client.answers(&reset, 1).await;
    assert_eq!(client.value("FETCH named").await, "2");
    run(&mut client, "COMMIT").await;
}

#[tokio::test]
async fn cursors_and_the_unnamed_portal_go_on_after_a_reset_in_their_transaction() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.session(&stage.token("alice")).await;
    let prepare = [message(b'P', b"mine\0RESET ALL\0\0\0"), sync()].concat();
    let reset = [message(b'B', b"mine\0mine\0\0\0\0\0\0\0"), message(b'E', b"mine\0\0\0\0\0"), sync()].concat();
    client.answers(&prepare, 1).await;
    run(&mut client, "BEGIN").await;
    let first_row = message(b'E', b"\0\0\0\0\x01");

    let first = [parse("VALUES ('first'), ('second')"), bind(), first_row, sync()].concat();
    let seen = client.answers(&[first, reset, execute(), sync()].concat(), 3).await;

    assert_eq!(Message::values(&seen.concat()), ["first", "second"]);
    assert_eq!(client.who().await, ALICE);
}

#[tokio::test]
async fn a_setting_reset_in_a_transaction_takes_no_snapshot() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let client = proxy.connect(&stage.token("alice")).await;
    for sql in ["BEGIN", "RESET statement_timeout", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"] {
        client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let row = client.query_one("SELECT auth.user_id(), current_setting('transaction_isolation')", &[]).await;
    let row = row.expect("a row");
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("alice", "serializable"));
}
