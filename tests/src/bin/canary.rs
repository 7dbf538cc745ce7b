//! Runs the identity canary: `cargo run -p pgusher-tests --bin canary -- --minutes 5`. Ends with 1 if it found anything.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use pgusher_tests::canary::{Limit, Plan, Policy};

/// Many clients of many identities on few servers look for what is not theirs, while everything is killed around them.
#[derive(Parser)]
struct Arguments {
    /// How long it runs.
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// The same in hours, which go over minutes.
    #[arg(long)]
    hours: Option<u64>,
    /// A number of statements, which goes over both.
    #[arg(long)]
    statements: Option<u64>,
    /// How many subjects there are.
    #[arg(long, default_value_t = 200)]
    identities: usize,
    /// How many clients come at once.
    #[arg(long, default_value_t = 500)]
    connections: usize,
    /// `pool.default_pool_size`.
    #[arg(long, default_value_t = 8)]
    servers: usize,
    /// Rows that each subject owns.
    #[arg(long, default_value_t = 5)]
    rows: usize,
    /// What the clients' choices follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// `pool.pool_mode`.
    #[arg(long, default_value = "transaction")]
    pool_mode: String,
    /// Kills and cancels nothing.
    #[arg(long)]
    without_faults: bool,
    /// Lets everybody see every row, which the canary has to find.
    #[arg(long)]
    sabotage: bool,
}

impl Arguments {
    fn plan(self) -> Plan {
        let minutes = self.hours.map_or(self.minutes, |hours| hours * 60);
        let time = Limit::Time(Duration::from_secs(minutes * 60));
        Plan {
            identities: self.identities,
            connections: self.connections,
            servers: self.servers,
            rows: self.rows,
            seed: self.seed,
            pool_mode: self.pool_mode,
            limit: self.statements.map_or(time, Limit::Statements),
            faults: !self.without_faults,
            policy: if self.sabotage { Policy::Everybody } else { Policy::Owner },
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let report = Arguments::parse().plan().run().await;
    print!("{report}");
    if report.violations().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
