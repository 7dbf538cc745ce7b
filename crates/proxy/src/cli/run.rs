//! What stands between a command's arguments and its work: configuration, logging, runtime, sockets.

use std::env;
use std::io::{self, IsTerminal, Write};

use audit::{Colour, Level};
use clap::ColorChoice;
use identity::Verifier;
use sql::OwnedTable;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing::warn;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

use super::failure::{Failure, failed_to};
use super::{
    CONFIG, CheckArgs, Command, ConfigArgs, ConfigCommand, DemoArgs, ExplainArgs, RlsArgs, SetupCommand, TokenCommand,
    explain,
};
use crate::check::Hindrance;
use crate::config::{Config, Log, LogFormat, Overrides};
use crate::listener::Listener;
use crate::proxy::Stop;
use crate::serve::Sockets;
use crate::{check, demo, descriptors, serve, setup};

pub(super) fn execute(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve_until_stopped(args),
        Command::Setup(args) => match &args.command {
            Some(SetupCommand::Rls(table)) => print(&policies(table)),
            None => Ok(runtime()?.block_on(setup::run(args))?),
        },
        Command::Check(args) => check(args),
        Command::Demo(args) => run_demo(args),
        Command::Token(TokenCommand::Mint(args)) => print(&format!("{}\n", demo::mint(args)?)),
        Command::Token(TokenCommand::Explain(args)) => explain_token(args),
        Command::Config(ConfigCommand::Check(args)) => check_config(args),
    }
}

fn serve_until_stopped(args: &ConfigArgs) -> Result<(), Failure> {
    let (config, warnings) = Config::load(&args.config, &Overrides::of_process(&args.set))?;
    start_log(&config.log);
    for warning in warnings {
        warn!("{warning}");
    }
    descriptors::raise(&config);
    runtime()?.block_on(async {
        let stop = Stop::default();
        serve::stop_on_signals(stop.clone()).map_err(failed_to("wait for signals"))?;
        // From here on it ends nobody.
        let hangups = signal(SignalKind::hangup()).map_err(failed_to("wait for signals"))?;
        let (http, admin) = (serve::bind(&config.listen.http).await?, serve::bind(&config.listen.admin).await?);
        let mut sockets = Sockets { http, admin, ..Sockets::default() };
        for address in &config.listen.postgres {
            let listener = Listener::bind(address).await;
            sockets.postgres.push(listener.map_err(failed_to(format!("listen on {address}")))?);
        }
        Ok(serve::run(config, sockets, stop, Some(hangups), || ()).await?)
    })
}

fn run_demo(args: &DemoArgs) -> Result<(), Failure> {
    // There are people in front of a demo, even if they keep its lines in a file.
    start_log(&Log { format: LogFormat::Text, level: LevelFilter::INFO });
    Ok(runtime()?.block_on(demo::run(args))?)
}

fn policies(args: &RlsArgs) -> String {
    let table = OwnedTable {
        schema: args.table.schema.as_deref(),
        table: &args.table.table,
        column: &args.owner_column,
        uuid: args.uuid,
        role: &args.role,
    };
    table.script()
}

fn check(args: &CheckArgs) -> Result<(), Failure> {
    let checked = runtime()?.block_on(check::run(args)).map_err(|error| Failure::Check(Box::new(error)))?;
    let sheet = &checked.sheet;
    if args.json || args.sarif {
        let value = if args.json { sheet.json() } else { sheet.sarif(env!("CARGO_PKG_VERSION")) };
        print(&format!("{value:#}\n"))?;
    } else {
        print(&sheet.text(colour(args.color)))?;
    }
    match (checked.hindered, sheet.worst()) {
        (Some(Hindrance::Configuration), _) => Err(Failure::Misconfigured),
        (_, Some(Level::Critical | Level::High)) => Err(Failure::Found),
        (Some(Hindrance::Unavailable), _) => Err(Failure::Unavailable),
        (None, Some(Level::Warning)) if args.strict => Err(Failure::Warned),
        (None, _) => Ok(()),
    }
}

/// What was chosen, or else what suits standard output (<https://no-color.org>).
fn colour(choice: ColorChoice) -> Colour {
    let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let wanted = match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            io::stdout().is_terminal() && !unwanted && env::var_os("TERM").is_some_and(|term| term != "dumb")
        }
    };
    if wanted { Colour::On } else { Colour::Off }
}

fn check_config(args: &ConfigArgs) -> Result<(), Failure> {
    let (config, warnings) = Config::load(&args.config, &Overrides::of_process(&args.set))?;
    for warning in &warnings {
        print(&format!("warning: {warning}\n"))?;
    }
    let (providers, roles) = (config.providers.len(), config.roles.len());
    print(&format!("{} is right; providers: {providers}, roles: {roles}\n", args.config.display()))
}

fn explain_token(args: &ExplainArgs) -> Result<(), Failure> {
    let path = args.config.clone().or_else(demo::running).unwrap_or_else(|| CONFIG.into());
    let (config, _) = Config::load(&path, &Overrides::of_process(&args.set))?;
    let token = explain::read(&args.token).map_err(failed_to("read the token"))?;
    let (verifier, renewal) =
        Verifier::new(&config.providers).expect("Config::load has had every provider checked by the verifier");
    let verdict = runtime()?.block_on(async {
        // The runtime ends with this block, and the renewal with it.
        tokio::spawn(renewal.run(|_| {}));
        explain::judge(&verifier, &token, args.role.as_deref()).await
    });
    print(&verdict.text)?;
    verdict.outcome
}

/// One thread: the workers of the proxy have their own.
fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread().enable_all().build().map_err(failed_to("start a runtime"))
}

fn start_log(log: &Log) {
    let terminal = io::stderr().is_terminal();
    let json = match log.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    // Other crates' debug lines are about bytes, and bytes may be a secret.
    let filter = Targets::new().with_default(log.level.min(LevelFilter::WARN)).with_target("pgusher", log.level);
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(terminal);
    let layer = if json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
    // Fails where there is a log already: in a test that has its own.
    let _ = registry().with(layer.with_filter(filter)).try_init();
}

/// To standard output; a reader that has gone is an error like any other, and no panic.
fn print(text: &str) -> Result<(), Failure> {
    io::stdout().write_all(text.as_bytes()).map_err(failed_to("write to standard output"))
}
