//! Other clients of the same pool, who leave in it whatever a session can leave: settings, statements and tables of the
//! names that traces use.

use pgusher_tests::request::{bind_named, close_named, execute_named, parse_named, query, sync};
use pgusher_tests::{Message, Proxy, Random, Raw, Stage};

/// What they do. At the end of each no transaction is open.
const SCRIPTS: [&str; 8] = [
    "SET application_name = 'churn'; SET TimeZone = 'Europe/Kyiv'; SET search_path = pg_temp; SET work_mem = '9MB'",
    "SET DateStyle = 'Postgres'; SET bytea_output = 'escape'; SET default_transaction_read_only = on",
    "BEGIN; SET LOCAL extra_float_digits = -3; INSERT INTO public.others VALUES (1, 'churn'); ROLLBACK",
    "SELECT set_config('statement_timeout', '3h', false); SELECT pg_advisory_lock(9)",
    "CREATE TEMP TABLE pocket (word text); INSERT INTO pocket VALUES ('of another')",
    "DECLARE cursor CURSOR WITH HOLD FOR SELECT 'of another'",
    "DEALLOCATE ALL; PREPARE a AS SELECT 'of another'; LISTEN churn",
    "SELECT nextval('public.numbers_of_others')",
];

/// One of those clients.
pub(super) struct Churner<'a> {
    proxy: &'a Proxy,
    database: &'a str,
    token: String,
    random: Random,
    session: Option<Raw>,
}

impl<'a> Churner<'a> {
    /// One of this identity.
    pub(super) fn new(proxy: &'a Proxy, database: &'a str, subject: &str, random: Random) -> Self {
        Self { proxy, database, token: Stage::get().token(subject).to_string(), random, session: None }
    }

    /// Does one thing. State that would keep a server from others is discarded at the end, or left behind by a client
    /// that goes.
    pub(super) async fn churn(&mut self) {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.proxy.session_with(&self.token, &[("database", self.database)]).await,
        };
        if self.random.one_in(2) {
            let script = *self.random.pick(&SCRIPTS);
            run(&mut session, &query(script)).await;
            if self.random.one_in(2) {
                return;
            }
            run(&mut session, &query("DISCARD ALL")).await;
        } else {
            let name = *self.random.pick(&["a", "b", "c"]);
            let prepare = [close_named(b'S', name), parse_named(name, "SELECT 'of another'")].concat();
            let execute = [bind_named("", name, &[]), execute_named("", 0), sync()].concat();
            run(&mut session, &[prepare, execute].concat()).await;
        }
        self.session = Some(session);
    }
}

/// Runs requests up to one ReadyForQuery. None may fail: what would make it is somebody else's.
async fn run(session: &mut Raw, requests: &[u8]) {
    session.send(requests).await;
    let answer = session.until_ready().await;
    let well = answer.last().is_some_and(|message| message.tag == b'Z') && !Message::tags(&answer).contains('E');
    assert!(well, "{:?}: {answer:?}", String::from_utf8_lossy(requests));
}
