//! The identity canary: many clients of many identities on few servers, who do everything that clients do, are killed
//! and cancelled, lose their servers, and look at every row, setting and answer for something that is not theirs.
//!
//! Each row, whichever statement it answers, has the same seven columns: the statement's nonce, `auth.user_id()`,
//! `current_user`, the setting that the client marks its session with, a constant of the statement's text, the owner as
//! Row-Level Security let it through, and a body that begins with the owner's name. A judge ([`check`]) compares them with
//! what the client asked for.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::proxy::Proxy;
use crate::random::Random;
use crate::stage::Stage;
use client::Client;
use report::{Kind, Ledger, Violation};

pub mod check;
mod client;
mod faults;
pub mod flight;
mod operations;
pub mod report;
mod session;

pub use report::Report;

/// The table that everybody reads, the one that everybody writes, and one without Row-Level Security, which allows no
/// COPY FROM. `policy` says who may see a row.
const TABLES: &str = "
    CREATE SCHEMA canary;
    CREATE TABLE canary.rows (owner text, seat int, body text, PRIMARY KEY (owner, seat));
    CREATE TABLE canary.notes (owner text NOT NULL DEFAULT auth.user_id(), body text NOT NULL);
    CREATE INDEX ON canary.notes (body text_pattern_ops);
    CREATE TABLE canary.inbox (owner text NOT NULL DEFAULT auth.user_id(), body text NOT NULL);
    CREATE INDEX ON canary.inbox (body);
    ALTER TABLE canary.rows ENABLE ROW LEVEL SECURITY;
    ALTER TABLE canary.notes ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON canary.rows USING (policy);
    CREATE POLICY own ON canary.notes USING (policy) WITH CHECK (owner = (SELECT auth.user_id()));
    GRANT USAGE ON SCHEMA canary TO authenticated;
    GRANT SELECT ON canary.rows TO authenticated;
    GRANT SELECT, INSERT, UPDATE, DELETE ON canary.notes TO authenticated;
    GRANT SELECT, INSERT ON canary.inbox TO authenticated;";

/// How much there is to do.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// So many statements.
    Statements(u64),
    /// So long.
    Time(Duration),
}

/// Who may see a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Its owner.
    Owner,
    /// Everybody: a leak, for the canary to find.
    Everybody,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many subjects there are.
    pub identities: usize,
    /// How many clients come at once, each as another subject every time.
    pub connections: usize,
    /// `pool.default_pool_size`.
    pub servers: usize,
    /// Rows that each subject owns.
    pub rows: usize,
    /// What the choices of the clients follow from. When they are made does not, so a run is never quite repeated.
    pub seed: u64,
    /// `pool.pool_mode`.
    pub pool_mode: String,
    /// When it ends.
    pub limit: Limit,
    /// Whether clients and servers are killed, cancelled and restarted.
    pub faults: bool,
    /// Who may see a row.
    pub policy: Policy,
}

/// The mode of the pool that the suite's canary and traces run in: `PGUSHER_POOL_MODE`, or `transaction`.
pub fn pool_mode() -> String {
    std::env::var("PGUSHER_POOL_MODE").unwrap_or_else(|_| "transaction".to_owned())
}

/// A run under way.
struct Run {
    plan: Plan,
    address: String,
    /// Each subject and its token.
    tokens: Vec<(String, String)>,
    ledger: Ledger,
    begun: Instant,
}

impl Plan {
    /// A small one that takes a minute at most, in the mode `PGUSHER_POOL_MODE` if that is set.
    pub fn small(seed: u64) -> Self {
        Self {
            identities: 20,
            connections: 40,
            servers: 8,
            rows: 5,
            seed,
            pool_mode: pool_mode(),
            limit: Limit::Statements(8_000),
            faults: true,
            policy: Policy::Owner,
        }
    }

    /// Runs it, with a Postgres and a proxy of its own.
    pub async fn run(self) -> Report {
        let stage = Stage::restartable().await;
        self.set_up(&stage).await;
        let proxy = self.proxy(&stage).await;
        let tokens = self.tokens(&stage);
        let address = proxy.address().to_owned();
        let run = Arc::new(Run { plan: self, address, tokens, ledger: Ledger::default(), begun: Instant::now() });
        let stage = live(&run, stage).await;
        faults::look_for_remains(&run, &stage).await;
        drop(proxy);
        stage.close().await;
        run.ledger.report()
    }

    async fn set_up(&self, stage: &Stage) {
        let superuser = stage.superuser().await;
        let policy = match self.policy {
            Policy::Owner => "owner = (SELECT auth.user_id())",
            Policy::Everybody => "true",
        };
        superuser.batch_execute(&TABLES.replace("policy)", &format!("{policy})"))).await.expect("tables");
        let rows = format!(
            "INSERT INTO canary.rows SELECT owner, seat, owner || '#' || repeat('x', 400)
               FROM (SELECT 'user-' || n AS owner FROM generate_series(1, {}) n) o, generate_series(1, {}) seat;
             ANALYZE canary.rows",
            self.identities, self.rows
        );
        superuser.batch_execute(&rows).await.expect("rows");
        // A crash leaves temporary tables behind that are nobody's: Postgres removes those itself, when it comes by.
        for often in ["ALTER SYSTEM SET autovacuum_naptime = '1s'", "SELECT pg_reload_conf()"] {
            superuser.batch_execute(often).await.expect("the superuser may");
        }
    }

    async fn proxy(&self, stage: &Stage) -> Proxy {
        Proxy::builder(stage)
            .set("pool.pool_mode", &self.pool_mode)
            .set("pool.default_pool_size", self.servers)
            // Who comes after a restart is to be served, not told that the last attempt failed.
            .set("pool.server_login_retry", "1ms")
            .set("log.level", "info")
            .start()
            .await
    }

    fn tokens(&self, stage: &Stage) -> Vec<(String, String)> {
        let lifetime = match self.limit {
            Limit::Statements(_) => Duration::from_secs(3600),
            Limit::Time(time) => time + Duration::from_secs(3600),
        };
        let token = |subject: &str| stage.token(subject).expires_in(lifetime.as_secs() as i64).to_string();
        (1..=self.identities).map(|number| format!("user-{number}")).map(|name| (name.clone(), token(&name))).collect()
    }
}

impl Run {
    fn is_over(&self) -> bool {
        let done = match self.plan.limit {
            Limit::Statements(count) => self.ledger.statements() >= count,
            Limit::Time(time) => self.begun.elapsed() >= time,
        };
        done || self.ledger.has_failed()
    }
}

/// Lets all clients live until the run is over, and come once more when nothing is killed any longer.
async fn live(run: &Arc<Run>, stage: Stage) -> Stage {
    let mut random = Random(run.plan.seed);
    let injecting = faults::inject(run.clone(), stage, random.fork());
    let client = |number, random: &mut Random| Client::new(run.clone(), number, random.fork());
    let lives: JoinSet<_> = (0..run.plan.connections).map(|number| client(number, &mut random).live()).collect();
    let (stage, ()) = tokio::join!(injecting, all(run, lives));
    if !run.ledger.has_failed() {
        let last = (0..run.plan.connections).map(|number| client(number, &mut random).last_visit());
        all(run, last.collect()).await;
    }
    stage
}

/// Waits for all clients. One that panics is a violation too: whatever it met was not foreseen.
async fn all(run: &Run, mut clients: JoinSet<Result<(), Violation>>) {
    while let Some(ended) = clients.join_next().await {
        let panicked = |panic: JoinError| Err(Violation::new(Kind::UnexpectedError, panic.to_string()));
        if let Err(violation) = ended.unwrap_or_else(panicked) {
            run.ledger.violated(violation);
        }
    }
}
