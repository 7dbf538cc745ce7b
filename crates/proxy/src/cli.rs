//! The command line: `pgusher serve | setup | check | demo | token | config`. The argument types are here, one per command, already
//! parsed to what they mean; `run` calls what stands behind them, and `failure` has the exit codes.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ColorChoice, Parser, Subcommand};
use serde_json::Value;

mod explain;
mod failure;
mod parse;
mod run;

/// The configuration file, where none is named.
const CONFIG: &str = "proxy.toml";

const AFTER_HELP: &str = "\
Exit codes:
  0   done
  1   failed
  2   wrong usage; from `setup --verify`: the database differs; from `check`: there are findings
  69  the upstream or an issuer is unavailable: to `serve` at start, to `setup`, to `check` in part
  78  the configuration is wrong, or what it leads to is not safe to serve

Try it:
  pgusher demo                  everything at once on this machine, with lines to paste
  pgusher config check          is proxy.toml right?
  pgusher setup                 print the SQL that makes the database fit for it
  pgusher check                 is all of it safe?
  pgusher serve                 run the proxy";

/// Runs this process's command to its end. Failures are told on standard error.
#[must_use]
pub fn run() -> ExitCode {
    match run::execute(&Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(words) = failure.words() {
                // Nobody is left to tell it if this fails.
                let _ = writeln!(std::io::stderr(), "{words}");
            }
            failure.exit_code().into()
        }
    }
}

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "pgusher", version, about = "A Postgres proxy: connect any driver with a JWT as its password")]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One variant per command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the proxy until SIGTERM or SIGINT
    Serve(ConfigArgs),
    /// Print or apply the SQL that makes a database fit for the proxy
    ///
    /// By default it prints a script for psql: the schema `auth` or the extension, the roles of the configuration and
    /// their logins. Everything can be run again and changes nothing then.
    Setup(SetupArgs),
    /// Audit the configuration, the issuers and the databases behind
    ///
    /// Every finding comes with its evidence, why it matters, and the SQL that mends it.
    Check(CheckArgs),
    /// Start a throwaway Postgres, an issuer, tables with Row-Level Security and the proxy
    ///
    /// Prints lines to paste and runs until Ctrl-C; then everything is removed, except what --data keeps.
    Demo(DemoArgs),
    /// Mint a token of the demo's issuer, or explain why a token is accepted or refused
    #[command(subcommand)]
    Token(TokenCommand),
    /// Look at the configuration without running it
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// `pgusher token …`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Sign a token with the demo's issuer key and print it
    Mint(MintArgs),
    /// Say which provider, key, algorithm, role and claims a token has, or which rule refuses it
    Explain(ExplainArgs),
}

/// `pgusher config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read the configuration and report every error in it
    Check(ConfigArgs),
}

/// Where the configuration is, for the commands that run with one.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "PGUSHER_CONFIG", default_value = CONFIG)]
    pub config: PathBuf,
    /// Set one key over file and environment, as in `--set pool.default_pool_size=50`
    #[arg(long = "set", value_name = "TABLE.KEY=VALUE")]
    pub set: Vec<String>,
}

/// `pgusher setup`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = AFTER_SETUP_HELP)]
pub struct SetupArgs {
    /// What else to print.
    #[command(subcommand)]
    pub command: Option<SetupCommand>,
    /// Where the roles and the claims are configured.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The database, as its owner: postgres://OWNER@HOST/DATABASE?sslmode=…; what it leaves out is as in [upstream], and
    /// a password may come from PGPASSWORD or ~/.pgpass
    #[arg(long)]
    pub url: Option<String>,
    /// Show what would change in the database, ask, and do it
    #[arg(long, requires = "url")]
    pub apply: bool,
    /// Do it without asking
    #[arg(long, requires = "apply")]
    pub yes: bool,
    /// Make the files of missing secrets when printing; --apply does so anyway
    #[arg(long, conflicts_with_all = ["apply", "task"])]
    pub write_secrets: bool,
    /// Let the roles read and write all tables of this schema, and those that you make in it later
    #[arg(long, value_name = "NAME", conflicts_with_all = ["rotate_key", "retire_keys"])]
    pub schema: Option<String>,
    /// Take from PUBLIC what sessions could use against each other, such as pg_terminate_backend
    #[arg(long, conflicts_with_all = ["rotate_key", "retire_keys"])]
    pub harden: bool,
    /// Undo what the same arguments make
    #[arg(long, group = "task")]
    pub remove: bool,
    /// Compare the database with what the same arguments would make; exit code 2 if it differs
    #[arg(long, group = "task", requires = "url", conflicts_with = "apply")]
    pub verify: bool,
    /// Put a new signing key into the database, beside the old one, and into its file
    #[arg(long, group = "task", requires = "apply")]
    pub rotate_key: bool,
    /// Retire every signing key but that of the file
    #[arg(long, group = "task", requires = "apply")]
    pub retire_keys: bool,
}

const AFTER_SETUP_HELP: &str = "\
Examples:
  pgusher setup --write-secrets | psql \"$OWNER_URL\"
  pgusher setup --apply --url \"$OWNER_URL\"
  pgusher setup rls --table todos --owner-column user_id | psql \"$OWNER_URL\"";

/// What `pgusher setup` is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupTask {
    /// Make what the configuration needs.
    Make,
    /// Undo that.
    Remove,
    /// Compare.
    Verify,
    /// A new signing key.
    RotateKey,
    /// The end of the old ones.
    RetireKeys,
}

impl SetupArgs {
    /// The task; of the flags for one at most one is given.
    #[must_use]
    pub fn task(&self) -> SetupTask {
        match (self.remove, self.verify, self.rotate_key, self.retire_keys) {
            (true, ..) => SetupTask::Remove,
            (_, true, ..) => SetupTask::Verify,
            (_, _, true, _) => SetupTask::RotateKey,
            (.., true) => SetupTask::RetireKeys,
            _ => SetupTask::Make,
        }
    }
}

/// `pgusher setup …`
#[derive(Debug, Subcommand)]
pub enum SetupCommand {
    /// Print the policies of a table whose rows have an owner
    Rls(RlsArgs),
}

/// `pgusher setup rls`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pgusher setup rls --table app.todos --owner-column user_id | psql \"$OWNER_URL\"")]
pub struct RlsArgs {
    /// The table, as in SQL: todos, app.todos or app.\"Todos\"
    #[arg(long, value_name = "NAME", value_parser = parse::table)]
    pub table: TableName,
    /// The column that has its owner's id, a text as auth.user_id() returns it
    #[arg(long, value_name = "NAME")]
    pub owner_column: String,
    /// The role that the policies are for
    #[arg(long, default_value = "authenticated")]
    pub role: String,
    /// The column is a uuid: compare it with auth.uid()
    #[arg(long)]
    pub uuid: bool,
}

/// The name of a table, with its schema or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// The schema.
    pub schema: Option<String>,
    /// The table.
    pub table: String,
}

/// `pgusher check`
#[derive(Debug, Args)]
#[command(after_help = AFTER_CHECK_HELP)]
pub struct CheckArgs {
    /// What is audited.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Look at the database as its owner, postgres://OWNER@HOST/DATABASE?sslmode=…, as `pgusher setup` does; by default as
    /// the logins of the configuration, which see nearly as much
    #[arg(long)]
    pub url: Option<String>,
    /// A database to look at; may be repeated. By default that of --url, or all that clients may name
    #[arg(long, value_name = "NAME")]
    pub database: Vec<String>,
    /// A table that is open to all on purpose: countries, or app.countries; may be repeated
    #[arg(long, value_name = "NAME")]
    pub table_allow: Vec<String>,
    /// Exit with 1 if there are warnings
    #[arg(long)]
    pub strict: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "sarif")]
    pub json: bool,
    /// Print SARIF 2.1.0
    #[arg(long)]
    pub sarif: bool,
    /// Whether the text has colours; by default on a terminal, unless $NO_COLOR is set
    #[arg(long, value_enum, default_value_t)]
    pub color: ColorChoice,
}

const AFTER_CHECK_HELP: &str = "\
Exit codes:
  0   nothing found, or warnings alone
  1   warnings, with --strict
  2   findings (or wrong usage)
  69  something could not be looked at, and nothing else was found
  78  the configuration is wrong

Examples:
  pgusher check --url \"$OWNER_URL\" --table-allow countries
  pgusher check --sarif >pgusher.sarif";

/// `pgusher demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Ports of the Postgres, HTTP and admin listeners and of the application; 0 picks a free one, alone four
    #[arg(long, value_name = "PG,HTTP,ADMIN,APP", value_parser = parse::ports, default_value = "6432,6480,6481,3000")]
    pub ports: Ports,
    /// Keep the database in this directory and use it again at the next start
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The directory of Postgres's programs; by default PATH and the usual places are searched, newest first
    #[arg(long, value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
    /// Write shell assignments (PGHOST, PGPORT, ALICE, BOB …) to this file when ready; removed at the end
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// Run an application with it, by /bin/sh, as in `--app examples/todos/start`: it finds the same assignments in its
    /// environment, has to serve APP_URL, and is ended with the demo
    #[arg(long, value_name = "COMMAND")]
    pub app: Option<String>,
}

/// The ports of `demo`; 0 stands for any free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Where clients connect with the Postgres protocol.
    pub postgres: u16,
    /// The HTTP listener.
    pub http: u16,
    /// The admin listener.
    pub admin: u16,
    /// The application of `--app`, whose pages may ask the HTTP listener.
    pub app: u16,
}

/// `pgusher token mint`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  pgusher token mint --sub alice --ttl 1h --claim 'tenant=\"acme\"' --claim level=3")]
pub struct MintArgs {
    /// The subject: who the token is for
    #[arg(long, value_name = "SUBJECT")]
    pub sub: String,
    /// The value of the claim `role`
    #[arg(long)]
    pub role: Option<String>,
    /// How long the token is valid, as in `15min` or `8h`
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "15min")]
    pub ttl: Duration,
    /// A further claim, its value in JSON; may be repeated
    #[arg(long = "claim", value_name = "NAME=JSON", value_parser = parse::claim)]
    pub claims: Vec<(String, Value)>,
    /// The configuration of the demo whose issuer signs; by default that of the running demo
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `pgusher token explain`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  pgusher token explain \"$PGPASSWORD\"\n  get-token | pgusher token explain --role authenticated -"
)]
pub struct ExplainArgs {
    /// The token, or `-` to read it from standard input (which keeps it out of the shell's history)
    pub token: String,
    /// The role that a connection would ask for; by default any role that the token may have
    #[arg(long)]
    pub role: Option<String>,
    /// The configuration that has the providers; by default that of the running demo, or else proxy.toml
    #[arg(long, value_name = "FILE", env = "PGUSHER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Set one key over file and environment, as in `--set provider.0.leeway=1min`
    #[arg(long = "set", value_name = "TABLE.KEY=VALUE")]
    pub set: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
