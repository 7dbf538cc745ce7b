//! Transaction mode: many clients on few servers. Who has a server when, and what stays of a client that leaves.

use pgusher::demo::home::random_hex;
use pgusher_tests::request::{bind, copy_data, copy_fail, execute, extended, flush, parse, query, sync, terminate};
use pgusher_tests::{Message, Proxy, Raw, Stage, wait};

mod altered;
mod cancels;
mod leftovers;
mod limits;
mod pins;
mod scene;
mod sequences;
mod settings;
mod skipped;
mod statements;
mod timeouts;
mod widened;

/// A proxy with so many servers for each role.
async fn pool_of(size: usize) -> Proxy {
    Proxy::builder(Stage::get()).set("pool.default_pool_size", size).start().await
}

/// A proxy with two servers, and two clients to occupy them.
struct Crowd {
    proxy: Proxy,
    others: [Raw; 2],
}

impl Crowd {
    async fn new() -> Self {
        let (stage, proxy) = (Stage::get(), pool_of(2).await);
        let others = [proxy.session(&stage.token("carol")).await, proxy.session(&stage.token("dave")).await];
        Self { proxy, others }
    }

    /// Keeps the server occupied that a client worked with last: it goes on with the other one.
    async fn push(&mut self, client: &mut Raw) {
        for other in &mut self.others {
            other.query("ROLLBACK").await;
        }
        let before = client.backend().await;
        let [carol, dave] = &mut self.others;
        carol.query("BEGIN").await;
        dave.query("BEGIN").await;
        let in_the_way = if carol.backend().await == before { dave } else { carol };
        in_the_way.query("ROLLBACK").await;
        assert_ne!(client.backend().await, before);
    }
}

/// Runs this and asserts that it did not fail.
async fn run(client: &mut Raw, sql: &str) -> Vec<Message> {
    let answer = client.query(sql).await;
    assert!(answer.iter().all(|message| message.tag != b'E'), "{sql}: {answer:?}");
    answer
}

/// A table without row-level security, which COPY cannot write to.
async fn copy_table(stage: &Stage) -> String {
    let name = format!("copied_{}", random_hex(4));
    let sql = format!("CREATE TABLE {name} (line text); GRANT ALL ON {name} TO authenticated");
    stage.superuser().await.batch_execute(&sql).await.expect("a table");
    name
}

#[tokio::test]
async fn clients_that_are_idle_share_one_server() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let mut clients = Vec::new();
    for number in 0..10 {
        let subject = ["alice", "bob"][number % 2];
        clients.push((subject, proxy.session(&stage.token(subject)).await));
    }
    let backend = clients[0].1.backend().await;
    for _ in 0..3 {
        for (subject, client) in &mut clients {
            assert_eq!(client.backend().await, backend);
            assert_eq!(client.who().await, format!("{subject} authenticated pgusher_authenticated"));
        }
    }
}

#[tokio::test]
async fn a_server_stays_with_its_client_until_the_transaction_is_over() {
    let stage = Stage::get();
    let builder = Proxy::builder(stage).set("pool.default_pool_size", 1);
    let proxy = builder.set("pool.query_wait_notify", "10ms").start().await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    let table = copy_table(stage).await;
    let batch = [extended("SELECT 1"), flush()].concat();
    for (begin, until, end) in [
        (query("BEGIN"), b'Z', query("COMMIT")),
        (query("BEGIN; COMMIT AND CHAIN"), b'Z', query("ROLLBACK")),
        (query("SELECT 1; COMMIT; BEGIN; SELECT 2"), b'Z', query("ROLLBACK")),
        (query("BEGIN; SELECT 1 / 0"), b'Z', query("ROLLBACK")),
        (query(format!("COPY {table} FROM STDIN")), b'G', copy_fail()),
        (batch, b'C', sync()),
        ([parse("SELECT 1"), flush()].concat(), b'1', sync()),
        ([parse("SELECT 1 / 0"), bind(), execute(), flush()].concat(), b'E', sync()),
    ] {
        let mut alice = proxy.session(&stage.token("alice")).await;
        alice.send(&begin).await;
        alice.until(until).await;

        bob.send(&query("SELECT 1")).await;
        let waits = bob.receive().await.expect("a notice");
        assert_eq!(waits.tag, b'N', "{}", String::from_utf8_lossy(&begin));
        alice.send(&end).await;

        assert_eq!(Message::tags(&alice.until_ready().await).chars().last(), Some('Z'));
        assert_eq!(Message::tags(&bob.until_ready().await), "TDCZ");
    }
}

#[tokio::test]
async fn a_client_without_a_transaction_holds_no_server() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let mut bob = proxy.session(&stage.token("bob")).await;
    let two_phases = "BEGIN; SELECT count(*) FROM todos; PREPARE TRANSACTION 'pooling'";
    for (request, answer) in [
        (query(""), "IZ"),
        (sync(), "Z"),
        (query("SELECT 1; COMMIT; SELECT 2"), "TDCNCTDCZ"),
        (query("BEGIN; SELECT 1; COMMIT"), "CTDCCZ"),
        (query("BEGIN; SELECT 1 / 0; COMMIT"), "CEZ"),
        (query("SELECT 1 / 0"), "EZ"),
        ([extended("SELECT 1 / 0"), sync()].concat(), "1EZ"),
        ([extended("SELECT 1"), sync()].concat(), "12TDCZ"),
        // Nobody answers these.
        ([copy_data("stray"), flush(), copy_fail(), query("SELECT 1")].concat(), "TDCZ"),
        (query(two_phases), "CTDCCZ"),
        (query("ROLLBACK PREPARED 'pooling'"), "CZ"),
    ] {
        let mut alice = proxy.session(&stage.token("alice")).await;
        alice.send(&request).await;
        let heard = alice.until_ready().await;
        let tags = Message::tags(&heard);
        if tags.ends_with("EZ") {
            // A transaction that failed is still open.
            alice.query("ROLLBACK").await;
        }
        assert_eq!(tags, answer, "{}: {heard:?}", String::from_utf8_lossy(&request));
        assert_eq!(bob.value("SELECT auth.user_id()").await, "bob");
    }
}

#[tokio::test]
async fn what_lives_in_a_transaction_lives_through_it() {
    let (stage, proxy) = (Stage::get(), pool_of(2).await);
    let mut alice = proxy.session(&stage.token("alice")).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    run(&mut alice, "BEGIN; DECLARE c CURSOR FOR SELECT generate_series(1, 3)").await;
    let object = alice.value("SELECT lo_from_bytea(0, 'abc')").await;
    let descriptor = alice.value(&format!("SELECT lo_open({object}, x'40000'::int)")).await;
    for (sql, expected) in [
        ("FETCH c".to_owned(), "1"),
        (format!("SELECT encode(loread({descriptor}, 1), 'escape')"), "a"),
        ("FETCH c".to_owned(), "2"),
        (format!("SELECT encode(loread({descriptor}, 9), 'escape')"), "bc"),
    ] {
        assert_eq!(bob.value("SELECT auth.user_id()").await, "bob");
        assert_eq!(alice.value(&sql).await, expected);
    }
    run(&mut alice, "ROLLBACK").await;
}

#[tokio::test]
async fn pipelines_with_errors_in_the_middle_share_a_server() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let requests = [extended("SELECT 1"), extended("SELECT 1 / 0"), extended("SELECT 2"), sync()].concat();
    let requests = [requests, extended("SELECT auth.user_id()"), sync()].concat().repeat(50);
    let mut clients = tokio::task::JoinSet::new();
    for subject in ["alice", "bob", "carol"] {
        let (mut client, requests) = (proxy.session(&stage.token(subject)).await, requests.clone());
        clients.spawn(async move {
            for pair in client.answers(&requests, 100).await.chunks(2) {
                assert_eq!(Message::tags(&pair[0]), "12TDC1EZ");
                assert_eq!(Message::values(&pair[1]), [subject]);
            }
        });
    }
    clients.join_all().await;
}

#[tokio::test]
async fn a_long_text_is_run_like_a_short_one() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let mut bob = proxy.session(&stage.token("bob")).await;
    for size in [15_000, 16_370, 17_000, 100_000, 2_000_000] {
        let mut alice = proxy.session(&stage.token("alice")).await;
        let sql = format!("SELECT {size} /* {} */; SELECT auth.user_id()", "x".repeat(size));
        let answers = alice.answers(&query(sql).repeat(2), 2).await;
        assert_eq!(Message::values(&answers[1]), [size.to_string(), "alice".to_owned()]);
        assert_eq!(bob.value("SELECT auth.user_id()").await, "bob");
    }
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_its_place_and_nothing_else() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let insert = "INSERT INTO todos (user_id, task) VALUES ('vera', 'never done')";
    let table = copy_table(stage).await;
    let long = query(format!("{insert} /* {} */", "x".repeat(100_000)));
    let mut bob = proxy.session(&stage.token("bob")).await;
    for (requests, state) in [
        (query(format!("BEGIN; {insert}")), "state = 'idle in transaction'"),
        ([extended(insert), flush()].concat(), "query ~ '^INSERT'"),
        (query(format!("{insert}; SELECT pg_sleep(600)")), "wait_event = 'PgSleep'"),
        ([query(format!("COPY {table} FROM STDIN")), copy_data("never\n")].concat(), "query ~ '^COPY'"),
        (
            query(format!("{insert}; SELECT repeat('x', 9999) FROM generate_series(1, 99999)")),
            "wait_event = 'ClientWrite'",
        ),
        (long[..50_000].to_vec(), "true"),
        (query(format!("BEGIN; SET TimeZone = 'Asia/Tokyo'; {insert}; SELECT 1 / 0")), "state ~ 'aborted'"),
    ] {
        let mut vera = proxy.fragile_session(&stage.token("vera")).await;
        let backend = vera.backend().await;
        vera.send(&requests).await;
        stage.until_backend(backend, state).await;

        drop(vera);

        let clean = "SELECT concat_ws(' ', auth.user_id(), now() = statement_timestamp(), current_setting('TimeZone'))";
        let zone = stage.superuser().await.query_one("SHOW TimeZone", &[]).await.expect("a row").get::<_, String>(0);
        assert_eq!(bob.value(clean).await, format!("bob t {zone}"), "{state}");
        let done = stage.superuser().await.query("SELECT FROM todos WHERE user_id = 'vera'", &[]).await;
        assert_eq!(done.expect("rows").len(), 0, "{state}");
    }
}

#[tokio::test]
async fn what_a_client_asks_for_behind_which_it_leaves_is_done() {
    let (stage, proxy) = (Stage::get(), pool_of(1).await);
    let superuser = stage.superuser().await;
    let insert = |number: i32| format!("INSERT INTO todos (user_id, task) VALUES ('leo', 'last wish {number}')");
    let by_extended = |number| [extended(insert(number)), sync()].concat();
    // One each: to a client that has gone a second answer cannot be written, and what asks for it is not run then.
    for request in [query(insert(1)), by_extended(2)] {
        let mut leo = proxy.session(&stage.token("leo")).await;
        leo.send(&[request, terminate()].concat()).await;
        drop(leo);
    }
    let count = "SELECT count(DISTINCT task) FROM todos WHERE user_id = 'leo'";
    wait::until("all of it", async || {
        let row = superuser.query_one(count, &[]).await.expect("a row");
        (row.get::<_, i64>(0) == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn in_session_mode_a_client_keeps_its_server_and_the_next_one_gets_it_clean() {
    let stage = Stage::get();
    let builder = Proxy::builder(stage).set("pool.pool_mode", "session");
    let proxy = builder.set("pool.default_pool_size", 1).start().await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    let backend = alice.backend().await;
    run(&mut alice, "CREATE TEMP TABLE mine (n int); SET TimeZone = 'Asia/Tokyo'; PREPARE p AS SELECT 1").await;
    assert_eq!(alice.value("SELECT count(*) FROM mine").await, "0");
    drop(alice);

    let mut bob = proxy.session(&stage.token("bob")).await;

    assert_eq!(bob.backend().await, backend);
    let left = "SELECT concat_ws(' ', auth.user_id(), to_regclass('mine'), count(p)) FROM pg_prepared_statements p";
    assert_eq!(bob.value(left).await, "bob 0");
    assert_ne!(bob.value("SHOW TimeZone").await, "Asia/Tokyo");
}
