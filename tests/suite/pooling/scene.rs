//! Two sessions of alice, one through a proxy and one directly, whose table is altered behind their backs.

use pgusher::demo::home::random_hex;
use pgusher_tests::request::parse_named;
use pgusher_tests::{Proxy, Raw, Stage};
use tokio_postgres::Client;

use super::pool_of;
use super::statements::{batch, batches};

/// What Postgres says of a plan with another result than before.
pub(super) const RESULT_CHANGED: &str = "0A000";

/// alice with the one server of a proxy, whom bob takes it from, and directly; a table for what is prepared by both, and
/// the superuser, who alters it.
pub(super) struct Scene {
    pub(super) proxy: Proxy,
    pub(super) table: String,
    pub(super) superuser: Client,
    pub(super) bob: Raw,
    pub(super) alice: Raw,
    pub(super) direct: Raw,
}

impl Scene {
    pub(super) async fn new() -> Self {
        let (stage, proxy) = (Stage::get(), pool_of(1).await);
        let (table, superuser) = table(stage).await;
        let bob = proxy.session(&stage.token("bob")).await;
        let (alice, direct) = (proxy.session(&stage.token("alice")).await, stage.direct_session().await);
        Self { proxy, table, superuser, bob, alice, direct }
    }

    /// The same, in which alice has prepared these statements both ways.
    pub(super) async fn with(statements: &[(&str, &str)]) -> Self {
        let mut scene = Self::new().await;
        scene.prepare(statements).await;
        scene
    }

    /// This with the table's name where it says `{table}`.
    pub(super) fn fill(&self, text: &str) -> String {
        text.replace("{table}", &self.table)
    }

    pub(super) async fn alter(&self, change: &str) {
        alter(&self.superuser, &self.fill(change)).await;
    }

    /// Has statements prepared by alice, both ways.
    pub(super) async fn prepare(&mut self, statements: &[(&str, &str)]) {
        let parses: Vec<_> = statements.iter().map(|(name, text)| parse_named(name, self.fill(text))).collect();
        for session in [&mut self.direct, &mut self.alice] {
            assert_eq!(batch(session, &parses).await.0, "1".repeat(parses.len()) + "Z");
        }
    }

    /// How many rows the table has with this number.
    pub(super) async fn rows(&self, number: i32) -> usize {
        let rows = self.superuser.query(&self.fill("SELECT FROM {table} WHERE n = $1"), &[&number]).await;
        rows.expect("rows").len()
    }

    /// What both are told of these batches, sent in one write.
    pub(super) async fn told(&mut self, pipeline: &[Vec<u8>]) -> [Vec<(String, Vec<String>)>; 2] {
        [batches(&mut self.direct, pipeline).await, batches(&mut self.alice, pipeline).await]
    }
}

/// A table with one row, and the superuser who alters it.
pub(super) async fn table(stage: &Stage) -> (String, Client) {
    let (name, superuser) = (format!("altered_{}", random_hex(4)), stage.superuser().await);
    let create =
        format!("CREATE TABLE {name} (n int); INSERT INTO {name} VALUES (1); GRANT ALL ON {name} TO authenticated");
    superuser.batch_execute(&create).await.expect("a table");
    (name, superuser)
}

pub(super) async fn alter(superuser: &Client, sql: &str) {
    superuser.batch_execute(sql).await.expect("the superuser may");
}

/// Has the one server of a proxy forget whatever was prepared on it.
pub(super) async fn change_hands(bob: &mut Raw) {
    assert_eq!(bob.value("SELECT auth.user_id()").await, "bob");
}
