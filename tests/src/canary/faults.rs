//! What happens to the servers: killed, crashed, restarted. In between it is looked whether there are too many.

use std::sync::Arc;
use std::time::Duration;

use pgusher::demo::database;
use tokio::process::Command;
use tokio::time::sleep;
use tokio_postgres::{Client, NoTls};

use super::Run;
use super::report::{Kind, Violation};
use crate::random::Random;
use crate::stage::Stage;
use crate::wait;

/// How often it is looked how far the clients are.
const LOOK: Duration = Duration::from_millis(20);

/// Statements between two faults.
const STATEMENTS: u64 = 400;

/// Servers of the clients' login.
const SERVERS: &str = "FROM pg_stat_activity WHERE usename = 'pgusher_authenticated'";

/// Injects faults until the run is over, and hands the stage back.
pub(super) async fn inject(run: Arc<Run>, mut stage: Stage, mut random: Random) -> Stage {
    let mut due = STATEMENTS;
    let mut superuser = connect(&stage).await;
    while !run.is_over() {
        if let Ok(row) = superuser.query_one(&format!("SELECT count(*) {SERVERS}"), &[]).await {
            let count: i64 = row.get(0);
            if count > run.plan.servers as i64 {
                let text = format!("{count} servers, not {}", run.plan.servers);
                run.ledger.violated(Violation::new(Kind::TooManyServers, text));
            }
        }
        if run.plan.faults && run.ledger.statements() >= due {
            due = run.ledger.statements() + STATEMENTS;
            match random.below(run.plan.servers * 2 + 2) {
                0 => stage = restart(&run, stage).await,
                1 => crash(&run, &superuser).await,
                _ => terminate(&run, &superuser).await,
            }
            superuser = connect(&stage).await;
        }
        sleep(LOOK).await;
    }
    stage
}

async fn restart(run: &Run, stage: Stage) -> Stage {
    run.ledger.fault("Postgres restarted");
    stage.restarted().await
}

/// Kills a server in a way after which Postgres ends all others and recovers.
async fn crash(run: &Run, superuser: &Client) {
    let victim = format!("SELECT pid {SERVERS} ORDER BY random() LIMIT 1");
    if let Ok(Some(row)) = superuser.query_opt(&victim, &[]).await {
        run.ledger.fault("Postgres crashed");
        let pid: i32 = row.get(0);
        let killed = Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status().await;
        assert!(killed.is_ok());
    }
}

async fn terminate(run: &Run, superuser: &Client) {
    let victim = format!("SELECT pg_terminate_backend(pid) FROM (SELECT pid {SERVERS} ORDER BY random() LIMIT 1) s");
    if let Ok(Some(_)) = superuser.query_opt(&victim, &[]).await {
        run.ledger.fault("server terminated");
    }
}

/// Connects as the superuser, as soon as Postgres lets anybody in again.
pub(super) async fn connect(stage: &Stage) -> Client {
    let mut config = stage.postgres.superuser();
    config.dbname(database::DATABASE);
    wait::until("Postgres to let the superuser in", async || {
        let (client, connection) = config.connect(NoTls).await.ok()?;
        tokio::spawn(connection);
        client.simple_query("SELECT 1").await.ok()?;
        Some(client)
    })
    .await
}

/// Looks at the end for what sessions have left: nothing may stay once all clients have gone.
pub(super) async fn look_for_remains(run: &Run, stage: &Stage) {
    let superuser = connect(stage).await;
    let remains = format!(
        "SELECT concat_ws(', ',
           (SELECT string_agg('advisory lock of ' || pid, ', ') FROM pg_locks WHERE locktype = 'advisory'),
           (SELECT string_agg('temporary table ' || relname, ', ') FROM pg_class WHERE relpersistence = 't'),
           (SELECT string_agg('prepared transaction ' || gid, ', ') FROM pg_prepared_xacts),
           (SELECT string_agg('open transaction of ' || pid, ', ') {SERVERS} AND state <> 'idle'))"
    );
    let mut seen = String::new();
    let looking = async {
        loop {
            seen = superuser.query_one(&remains, &[]).await.expect("the superuser may look").get(0);
            if seen.is_empty() {
                return;
            }
            sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(wait::PATIENCE, looking).await.is_err() {
        run.ledger.violated(Violation::new(Kind::LeftBehind, seen));
    }
}
