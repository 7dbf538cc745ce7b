//! Drivers as they come, with tokens of ordinary and of large size: each reads its rows by a prepared statement, runs a
//! transaction, is refused, cancels a query and copies out and in. Those of other languages are scripts of their own.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use pgusher_tests::{Proxy, Stage, wait};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, NoTls};

/// Bytes of a token with ordinary claims, and of one that lists some hundred groups.
const SIZES: [usize; 2] = [1_000, 8_000];

/// How long a script may take that must come to an end. Only one that hangs takes that long.
const LONGEST: Duration = Duration::from_secs(300);

/// A script of `tests/drivers`, to be run there.
pub(crate) fn script(command: &[&str]) -> Command {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers");
    let prepared = directory.join(".venv/bin/python").exists() && directory.join("node_modules").exists();
    assert!(prepared, "no drivers there: run tests/drivers/install.sh");
    let mut script = Command::new(command[0]);
    script.args(&command[1..]).current_dir(directory).kill_on_drop(true);
    script
}

/// Runs a script, which says `ok` and this at its end.
pub(crate) async fn succeeds(script: &mut Command, what: &str) {
    let Ok(ran) = timeout(LONGEST, script.output()).await else { panic!("{what} has not ended after {LONGEST:?}") };
    let ran = ran.expect("its program is installed: run tests/drivers/install.sh");
    let told = [&ran.stdout, &ran.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(ran.status.success() && told[0].contains(&format!("ok {what}")), "{what}: {}\n{}", told[0], told[1]);
}

/// How the owner connects at a port, which is Postgres's or a proxy's.
pub(crate) fn owner_url(port: u16, database: &str) -> String {
    format!("postgresql://neondb_owner:owner@127.0.0.1:{port}/{database}")
}

/// A script that is told where the proxy and a database are.
fn script_at(proxy: &Proxy, database: &str, command: &[&str]) -> Command {
    let mut script = script(command);
    script.env("PGHOST", "127.0.0.1").env("PGPORT", proxy.port().to_string());
    script.env("PGUSER", "authenticated").env("PGDATABASE", database);
    script.env("OWNER_URL", owner_url(Stage::get().postgres_port(), database));
    script
}

/// Runs a script of `tests/drivers` as alice, with a token of each size, on tables of its own.
async fn works(command: &[&str], driver: &str) {
    let stage = Stage::get();
    let (database, _) = stage.demo_database().await;
    let proxy = Proxy::start(stage).await;
    for size in SIZES {
        let mut script = script_at(&proxy, &database, command);
        script.env("TOKEN", stage.token("alice").of_size(size).to_string()).env("SUB", "alice");
        succeeds(&mut script, driver).await;
    }
}

#[tokio::test]
async fn psql_works() {
    works(&["./psql.sh"], "psql").await;
}

#[tokio::test]
async fn pgbench_works_in_its_three_protocols() {
    works(&["./pgbench.sh"], "pgbench").await;
}

#[tokio::test]
async fn psycopg_3_works() {
    works(&[".venv/bin/python", "psycopg_3.py"], "psycopg3").await;
}

#[tokio::test]
async fn psycopg2_works() {
    works(&[".venv/bin/python", "psycopg_2.py"], "psycopg2").await;
}

#[tokio::test]
async fn asyncpg_works_and_keeps_its_claims_through_its_pools_resets() {
    works(&[".venv/bin/python", "asyncpg_pool.py"], "asyncpg").await;
}

#[tokio::test]
async fn node_postgres_works() {
    works(&["node", "node_postgres.mjs"], "node-postgres").await;
}

#[tokio::test]
async fn postgres_js_works() {
    works(&["node", "postgres_js.mjs"], "postgres.js").await;
}

#[tokio::test]
async fn pgjdbc_works() {
    works(&["java", "-cp", "/usr/share/java/postgresql.jar", "Jdbc.java"], "pgjdbc").await;
}

/// Runs a script of somebody who shares one server with bob, and whose statement is not there any more when its table has
/// been altered.
async fn recovers(command: &[&str], driver: &str) {
    let stage = Stage::get();
    let (database, _) = stage.demo_database().await;
    let proxy = Proxy::builder(stage).set("pool.default_pool_size", 1).start().await;
    let mut script = script_at(&proxy, &database, command);
    script.env("TOKEN", stage.token("alice").to_string()).env("OTHER", stage.token("bob").to_string());
    succeeds(&mut script, driver).await;
}

#[tokio::test]
async fn asyncpg_prepares_anew_if_a_table_is_altered() {
    recovers(&[".venv/bin/python", "altered_asyncpg.py"], "asyncpg").await;
}

#[tokio::test]
async fn postgres_js_prepares_anew_if_a_table_is_altered() {
    recovers(&["node", "altered_postgres_js.mjs"], "postgres.js").await;
}

#[tokio::test]
async fn pgjdbc_prepares_anew_if_a_table_is_altered() {
    recovers(&["java", "-cp", "/usr/share/java/postgresql.jar", "Altered.java"], "pgjdbc").await;
}

#[tokio::test]
async fn tokio_postgres_works() {
    let stage = Stage::get();
    let (database, _) = stage.demo_database().await;
    let proxy = Proxy::start(stage).await;
    for size in SIZES {
        let mut config = proxy.config(&stage.token("alice").of_size(size));
        let mut client = proxy.connect_with(config.dbname(&database)).await;
        sees_only_its_own_rows(&client).await.expect("rows");
        runs_a_transaction(&mut client).await.expect("a transaction");
        is_refused_a_row_of_another(&client).await;
        cancels_a_query(stage, &client).await.expect("a cancelled query");
        copies_out_and_in(&client).await.expect("copies");
        sees_only_its_own_rows(&client).await.expect("rows");
    }
}

async fn sees_only_its_own_rows(client: &Client) -> Result<(), Error> {
    let owners = client.prepare("SELECT DISTINCT user_id FROM todos WHERE id > $1").await?;
    for _ in 0..2 {
        let rows = client.query(&owners, &[&0_i64]).await?;
        assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<&str>>(), ["alice"]);
    }
    Ok(())
}

async fn runs_a_transaction(client: &mut Client) -> Result<(), Error> {
    let count = "SELECT count(*) FROM todos";
    let before: i64 = client.query_one(count, &[]).await?.get(0);
    let transaction = client.transaction().await?;
    transaction.execute("INSERT INTO todos (task) VALUES ($1)", &[&"tokio-postgres"]).await?;
    assert_eq!(transaction.query_one(count, &[]).await?.get::<_, i64>(0), before + 1);
    transaction.rollback().await?;
    assert_eq!(client.query_one(count, &[]).await?.get::<_, i64>(0), before);
    Ok(())
}

async fn is_refused_a_row_of_another(client: &Client) {
    let refused = client.execute("INSERT INTO todos (user_id, task) VALUES ('somebody else', 'x')", &[]).await;
    assert_eq!(refused.expect_err("a refusal").code().map(|code| code.code()), Some("42501"));
}

/// A query that sleeps is cancelled by the driver, and says so.
pub(crate) async fn cancels_a_query(stage: &Stage, client: &Client) -> Result<(), Error> {
    let backend = client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
    let cancel = async {
        stage.until_backend(backend, "wait_event = 'PgSleep'").await;
        client.cancel_token().cancel_query(NoTls).await
    };
    let (nap, cancelled) =
        wait::within("a cancel", async { tokio::join!(client.simple_query("SELECT pg_sleep(60)"), cancel) }).await;
    assert_eq!(nap.expect_err("an end").code().map(|code| code.code()), Some("57014"));
    cancelled
}

async fn copies_out_and_in(client: &Client) -> Result<(), Error> {
    let out = Body::from_stream(client.copy_out("COPY (SELECT DISTINCT user_id FROM todos) TO STDOUT").await?);
    assert_eq!(to_bytes(out, usize::MAX).await.expect("a stream that ends"), "alice\n");

    client.batch_execute("CREATE TEMPORARY TABLE pocket (number int)").await?;
    let sink = client.copy_in("COPY pocket FROM STDIN (FORMAT binary)").await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &[Type::INT4]));
    for number in 0..10_000 {
        writer.as_mut().write(&[&number]).await?;
    }
    assert_eq!(writer.finish().await?, 10_000);
    let count = client.query_one("SELECT count(DISTINCT number) FROM pocket", &[]).await?;
    assert_eq!(count.get::<_, i64>(0), 10_000);
    client.batch_execute("DROP TABLE pocket").await
}
