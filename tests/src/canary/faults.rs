//! What happens to the servers: killed, crashed, restarted. In between it is looked whether there are too many.

use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// What each of them is at, for who has to find out why there are too many.
const EACH: &str = "string_agg(format('%s, there for %s, %s for %s: %s', pid, clock_timestamp() - backend_start, state, \
    clock_timestamp() - state_change, left(query, 60)), E'\\n' ORDER BY backend_start)";

/// Injects faults until the run is over, and hands the stage back.
pub(super) async fn inject(run: Arc<Run>, mut stage: Stage, mut random: Random) -> Stage {
    let mut due = STATEMENTS;
    let mut superuser = connect(&stage).await;
    let mut last = ("none", Instant::now());
    // Of who was killed the books of Postgres speak until it has heard of that, and its place may be taken by then. Its
    // process id alone may be another's one day.
    let mut dead = "false".to_owned();
    while !run.is_over() {
        let looking = format!("SELECT count(*), {EACH} {SERVERS} AND NOT ({dead})");
        if let Ok(row) = superuser.query_one(&looking, &[]).await {
            let (count, each): (i64, Option<String>) = (row.get(0), row.get(1));
            if count > run.plan.servers as i64 {
                let each = each.unwrap_or_default();
                let (fault, ago) = (last.0, last.1.elapsed());
                let text = format!("{count} servers, not {}; {ago:?} behind: {fault}\n{each}", run.plan.servers);
                run.ledger.violated(Violation::new(Kind::TooManyServers, text));
            }
        }
        if run.plan.faults && run.ledger.statements() >= due {
            due = run.ledger.statements() + STATEMENTS;
            let fault = match random.below(run.plan.servers * 2 + 2) {
                0 => {
                    stage = stage.restarted().await;
                    Some("Postgres restarted")
                }
                1 => crash(&superuser).await.map(|victim| {
                    dead = victim;
                    "Postgres crashed"
                }),
                _ => terminate(&superuser).await,
            };
            if let Some(fault) = fault {
                run.ledger.fault(fault);
                last = (fault, Instant::now());
            }
            superuser = connect(&stage).await;
        }
        sleep(LOOK).await;
    }
    stage
}

/// Kills a server in a way after which Postgres ends all others and recovers. The condition that is true of
/// it in pg_stat_activity, and of no other.
async fn crash(superuser: &Client) -> Option<String> {
    let is_it = "format('pid = %s AND backend_start = %L', pid, backend_start)";
    let victim = format!("SELECT pid, {is_it} {SERVERS} ORDER BY random() LIMIT 1");
    let row = superuser.query_opt(&victim, &[]).await.ok()??;
    let pid: i32 = row.get(0);
    let killed = Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status().await;
    assert!(killed.is_ok());
    Some(row.get(1))
}

async fn terminate(superuser: &Client) -> Option<&'static str> {
    let victim = format!("SELECT pg_terminate_backend(pid) FROM (SELECT pid {SERVERS} ORDER BY random() LIMIT 1) s");
    superuser.query_opt(&victim, &[]).await.ok()??;
    Some("server terminated")
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
