//! Users of one role share a login, and to Postgres are one user. What that gives them of each other, and what not: the
//! promises of docs/threat-model.md, and what it says remains.

mod changes;
mod hardened;
mod peers;
mod rows;

use pgusher_tests::{Message, Proxy, Raw, Stage};
use tokio_postgres::Client;

/// The SQLSTATE of the answer; of one without an error, `00000`.
async fn state(client: &mut Raw, sql: &str) -> String {
    let answer = client.query(sql).await;
    answer.iter().find(|message| message.tag == b'E').map_or_else(|| "00000".to_owned(), Message::sqlstate)
}

/// A database with the demo's tables, which the superuser owns, and in which one may create functions.
async fn theatre(stage: &Stage) -> (String, Client) {
    let (database, superuser) = stage.database().await;
    superuser.batch_execute(pgusher::demo::database::TABLES).await.expect("a superuser may");
    (database, superuser)
}

/// A session of this subject in a database.
async fn session(proxy: &Proxy, stage: &Stage, subject: &str, database: &str) -> Raw {
    proxy.session_with(&stage.token(subject), &[("database", database)]).await
}
