//! The same bytes sent through the proxy and past it are answered by the same messages: traces that were thought of, and
//! random ones, each from a seed. `PGUSHER_SEED=17` runs the trace of one seed, `PGUSHER_TRACES=100000` so many of them, both
//! so many from that seed on, and `PGUSHER_POOL_MODE` all of that in another mode of the pool.

mod churn;
mod side;
mod sql;
mod trace;

use std::fmt::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};

use churn::Churner;
use pgusher_tests::Random;
use pgusher_tests::canary::pool_mode;
use side::{Names, Side};
use tokio_postgres::Client;
use trace::Trace;

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

/// Two databases that have the same in them, and a proxy, whose pool others use too.
struct Lab {
    proxy: Proxy,
    names: Names,
    /// Of the labs of this process.
    number: u8,
    through: String,
    past: String,
    superusers: [Client; 2],
}

/// How many servers the pool has: in mode `session` one for each client, in mode `transaction` fewer.
fn servers(pool_mode: &str) -> usize {
    if pool_mode == "session" { CHURNERS.len() + 2 } else { 2 }
}

/// Who else uses the pool: one client of the trace's own identity, and others.
const CHURNERS: [&str; 3] = ["alice", "bob", "carol"];

impl Lab {
    async fn set_up() -> Self {
        static LABS: AtomicU8 = AtomicU8::new(0);

        let stage = Stage::get();
        let pool_mode = pool_mode();
        let names = if pool_mode == "session" { Names::Kept } else { Names::Replaced };
        let builder = Proxy::builder(stage).set("pool.default_pool_size", servers(&pool_mode));
        let proxy = builder.set("pool.pool_mode", pool_mode).set("log.level", "info").start().await;
        let ((through, one), (past, other)) = (stage.database().await, stage.database().await);
        let superusers = [one, other];
        for superuser in &superusers {
            superuser.batch_execute(sql::TABLES).await.expect("tables");
        }
        Self { proxy, names, number: LABS.fetch_add(1, Ordering::Relaxed), through, past, superusers }
    }

    /// Makes both databases what they were before the first trace.
    async fn restore(&self) {
        for superuser in &self.superusers {
            let left = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()";
            for row in superuser.query(left, &[]).await.expect("the superuser may look") {
                let end = format!("ROLLBACK PREPARED '{}'", row.get::<_, &str>(0));
                superuser.batch_execute(&end).await.expect("the superuser may");
            }
            superuser.batch_execute(sql::RESTORE).await.expect("nobody holds a lock for ever");
        }
    }

    /// Runs the trace of a seed on both sides, while others use the pool before each flight, and perhaps during it.
    async fn compare(&self, seed: u64) -> Result<(), String> {
        self.restore().await;
        let trace = Trace::of(seed);
        let mut random = Random(!seed);
        let (mut through, mut past) = self.sides().await;
        let mut churners = CHURNERS.map(|subject| Churner::new(&self.proxy, &self.through, subject, random.fork()));
        for (number, flight) in trace.flights.iter().enumerate() {
            if through.idle && past.idle && random.one_in(3) {
                self.alter(sql::alteration(&mut random)).await;
            }
            churners[random.below(CHURNERS.len())].churn().await;
            let meanwhile = async {
                if random.one_in(2) {
                    churners[random.below(CHURNERS.len())].churn().await;
                }
            };
            let (seen, expected, ()) = tokio::join!(through.answers(flight), past.answers(flight), meanwhile);
            if seen != expected {
                return Err(difference(seed, &trace, number, &seen, &expected));
            }
        }
        if through.parameters != past.parameters {
            return Err(format!("PGUSHER_SEED={seed}\n{trace}{:?}\n{:?}", through.parameters, past.parameters));
        }
        Ok(())
    }

    /// Alters the table of either side, and has the proxy learn of it: who comes upon it unawares would lose the session.
    async fn alter(&self, sql: &str) {
        for superuser in &self.superusers {
            superuser.batch_execute(sql).await.expect("nobody holds a lock");
        }
        let mut finder = self.proxy.session_with(&Stage::get().token("finder"), &[("database", &self.through)]).await;
        // Any plan of Postgres's own that is outdated tells it.
        let finds = "CREATE TEMP TABLE t (); PREPARE p AS TABLE t; ALTER TABLE t ADD n int; EXECUTE p";
        let found = finder.query(finds).await;
        let error = found.iter().find(|message| message.tag == b'E').expect("an error");
        assert_eq!(error.field(b'R').as_deref(), Some("RevalidateCachedQuery"), "{found:?}");
    }

    async fn sides(&self) -> (Side, Side) {
        let stage = Stage::get();
        let database = [("database", self.through.as_str())];
        let (through, greeting) = self.proxy.greeted_session(&stage.token("alice"), &database).await;
        let past = stage.direct_session_of(&self.past).await;
        // Both servers began with the same settings, but what the one past the proxy said of them is not seen here.
        let [one, other] = ['t', 'p']
            .map(|side| format!("{side}{:03}", self.number).into_bytes().try_into().expect("a number of three digits"));
        (Side::new(through, self.names, one, &greeting), Side::new(past, self.names, other, &greeting))
    }
}

/// The trace, and the answers from the first that differs on.
fn difference(seed: u64, trace: &Trace, flight: usize, seen: &[Message], expected: &[Message]) -> String {
    let same = seen.iter().zip(expected).take_while(|(one, other)| one == other).count();
    let mut text = format!("PGUSHER_SEED={seed}\n{trace}the answer to flight {flight}, behind {same} messages");
    for (side, answers) in [("through", seen), ("past", expected)] {
        write!(text, "\n{side} the proxy, {}:", Message::tags(answers)).expect("memory");
        for message in answers.iter().skip(same).take(5) {
            write!(text, "\n  {} {:?}", char::from(message.tag), String::from_utf8_lossy(&message.body))
                .expect("memory");
        }
    }
    text
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

/// The seeds of the traces to run.
fn seeds() -> Range<u64> {
    let (first, count) = (number("PGUSHER_SEED"), number("PGUSHER_TRACES"));
    let usual = if first.is_some() { 1 } else { 120 };
    let first = first.unwrap_or(0);
    first..first + count.unwrap_or(usual)
}

#[tokio::test]
async fn random_traces_are_answered_through_the_proxy_as_they_are_without() {
    let lab = Lab::set_up().await;
    for seed in seeds() {
        lab.compare(seed).await.unwrap_or_else(|difference| panic!("{difference}"));
    }
}

#[tokio::test]
async fn a_difference_is_found() {
    let lab = Lab::set_up().await;
    lab.superusers[0].batch_execute("ALTER TABLE items RENAME name TO title").await.expect("the superuser may");
    let mut found = 0;
    for seed in 0..20 {
        found += usize::from(lab.compare(seed).await.is_err());
    }
    assert!(found > 5, "{found}");
}
