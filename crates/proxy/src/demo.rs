//! `pgusher demo`: everything that a first try needs, on this machine and with nothing installed but Postgres. It starts
//! a throwaway Postgres with tables under Row-Level Security and an issuer of tokens, writes a real configuration, and
//! runs the proxy with it. `pgusher token mint` signs further tokens for it.
//!
//! The parts are public because tests are made of them: [`postgres`] starts a private server, [`issuer`] and [`keys`]
//! stand in for an identity provider.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tracing::warn;

use crate::cli::{DemoArgs, MintArgs, Ports};
use crate::config::{Config, Overrides};
use crate::listener::Listener;
use crate::proxy::Stop;
use crate::serve::{self, Sockets};

mod account;
mod announce;
mod app;
mod configuration;
pub mod database;
mod env_file;
mod error;
pub mod home;
pub mod issuer;
pub mod keys;
pub mod postgres;
pub mod programs;
mod secrets;
mod stage;
mod state;
pub mod token;

pub use error::Error;
pub(crate) use state::running;

use announce::Facts;
use app::App;
use configuration::{Addresses, MAX_CONNECTIONS};
use env_file::EnvFile;
use error::failed_to;
use home::Home;
use issuer::Issuer;
use postgres::Postgres;
use programs::Programs;
use state::Announcement;
use token::{Minter, ROLE, Wish};

/// What `token mint` signs with, beside the configuration.
const ISSUER: &str = "issuer.json";

/// Runs a demo until SIGINT or SIGTERM, then removes what it made, unless the user keeps it.
///
/// # Errors
/// [`Error`]; [`Error::exit_code`] tells the process's.
pub async fn run(args: &DemoArgs) -> Result<(), Error> {
    let stop = Stop::default();
    // A start is not torn down half-way: the proxy, which comes last, looks whether it was told to stop.
    serve::stop_on_signals(stop.clone()).map_err(failed_to("wait for signals"))?;
    let env_file = args.env_file.as_deref().map(EnvFile::claim).transpose();
    let env_file = env_file.map_err(failed_to("use the env file"))?;
    perform(args, async |facts, sockets| {
        let (config, warnings) = Config::load(&facts.config, &Overrides::of_process(&[]))?;
        for warning in warnings {
            warn!("{warning}");
        }
        let mut opened = Ok(Opened::default());
        let on_ready = || {
            opened = open(facts, env_file.as_ref(), args.app.as_deref());
            if opened.is_err() {
                stop.gently.cancel();
            }
        };
        let served = serve::run(config, sockets, stop.clone(), None, on_ready).await;
        if let Some(app) = opened?.app {
            app.stop().await;
        }
        Ok(served?)
    })
    .await
}

/// A token as `args` wish it, signed by the issuer of the demo that is running, or of the one whose configuration they
/// name.
///
/// # Errors
/// [`Error::NotRunning`], or what is wrong with the key's file.
pub fn mint(args: &MintArgs) -> Result<String, Error> {
    let config = args.config.clone().or_else(running);
    let config = config.ok_or(Error::NotRunning)?;
    let minter = Minter::load(&config.with_file_name(ISSUER))?;
    let wish = Wish {
        role: args.role.clone().unwrap_or_else(|| ROLE.into()),
        claims: args.claims.clone(),
        ..Wish::new(&args.sub, args.ttl)
    };
    Ok(minter.mint(&wish)?)
}

/// Starts everything but the proxy, runs `proxy` with its sockets, and ends everything.
async fn perform(args: &DemoArgs, proxy: impl AsyncFnOnce(&Facts, Sockets) -> Result<(), Error>) -> Result<(), Error> {
    let programs = Programs::find(args.pg_bin.as_deref())?;
    let (sockets, addresses) = listen(args.ports).await?;
    let home = args.data.as_deref().map_or_else(Home::temporary, Home::kept)?;
    let minter = minter(&home)?;
    let issuer = Issuer::with_login(0, minter.clone()).await;
    let issuer = issuer.map_err(failed_to("start the issuer"))?;
    let minter = minter.at(issuer.url());
    let postgres = start_postgres(&programs, &home, args.data.is_some()).await?;

    let outcome = async {
        let facts = stage::set(&home, &postgres, &issuer, &minter, addresses, args.app.is_some()).await?;
        proxy(&facts, sockets).await
    };
    let outcome = outcome.await;
    // In this order whatever happened: the home can only be removed when nobody writes in it.
    let stopped = postgres.stop().await;
    outcome?;
    Ok(stopped?)
}

async fn listen(ports: Ports) -> Result<(Sockets, Addresses), Error> {
    let (postgres, at_postgres) = listen_on(ports.postgres).await?;
    let (http, at_http) = listen_on(ports.http).await?;
    let (admin, at_admin) = listen_on(ports.admin).await?;
    // The application's is its own to open, if there is one.
    let app = if ports.app == 0 { listen_on(0).await?.1 } else { (Ipv4Addr::LOCALHOST, ports.app).into() };
    let sockets = Sockets { postgres: vec![Listener::Tcp(postgres)], http: vec![http], admin: vec![admin] };
    Ok((sockets, Addresses { postgres: at_postgres, http: at_http, admin: at_admin, app }))
}

async fn listen_on(port: u16) -> Result<(TcpListener, SocketAddr), Error> {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let bound = TcpListener::bind(wanted).await;
    bound
        .and_then(|socket| socket.local_addr().map(|address| (socket, address)))
        .map_err(|source| Error::Port { address: wanted, source })
}

/// The home's key; a kept home has one from its first start.
fn minter(home: &Home) -> Result<Minter, Error> {
    let file = home.path(ISSUER);
    if file.exists() {
        return Ok(Minter::load(&file)?);
    }
    Ok(Minter::generate()?)
}

async fn start_postgres(programs: &Programs, home: &Home, keep: bool) -> Result<Postgres, Error> {
    let options = postgres::Options {
        password: secrets::superuser(home).map_err(failed_to("write a password"))?,
        settings: vec![("max_connections".into(), MAX_CONNECTIONS.to_string())],
        keep,
        ..postgres::Options::default()
    };
    Ok(Postgres::start(programs, &home.path("postgres"), &options).await?)
}

/// What there is while a demo can be used.
#[derive(Default)]
struct Opened {
    _announcement: Option<Announcement>,
    app: Option<App>,
}

/// Tells the user on the terminal, scripts by the env file, and `token mint` where to find the key; then the application
/// may come.
fn open(facts: &Facts, env_file: Option<&EnvFile>, app: Option<&str>) -> Result<Opened, Error> {
    // Without it `token mint` needs --config, and everything else works.
    let announcement = Announcement::publish(&facts.config).ok();
    if let Some(file) = env_file {
        file.write(&facts.assignments()).map_err(failed_to("write the env file"))?;
    }
    let welcome = facts.welcome();
    io::stdout().write_all(welcome.as_bytes()).map_err(failed_to("write to the terminal"))?;
    let app = app.map(|command| App::start(command, facts.variables())).transpose();
    Ok(Opened { _announcement: announcement, app: app.map_err(failed_to("run the application"))? })
}

#[cfg(test)]
mod tests {
    use tokio_postgres::NoTls;

    use super::*;

    #[tokio::test]
    async fn the_stage_is_set_when_the_proxy_starts_and_cleared_when_it_ends() {
        let ports = Ports { postgres: 0, http: 0, admin: 0, app: 0 };
        let args = DemoArgs { ports, data: None, pg_bin: None, env_file: None, app: None };
        let mut seen = None;

        let performance = perform(&args, async |facts, _| {
            Config::load(&facts.config, &Overrides::new([], Vec::new()))?;
            let (owner, connection) = tokio_postgres::connect(&facts.owner_url, NoTls).await?;
            tokio::spawn(connection);
            let row = owner.query_one("SELECT count(DISTINCT user_id) FROM todos", &[]).await?;
            seen = Some((row.get::<_, i64>(0), facts.config.clone()));
            Ok(())
        });
        performance.await.unwrap();

        let (users, config) = seen.unwrap();
        assert_eq!(users, 2);
        assert!(!config.parent().unwrap().exists());
    }

    #[tokio::test]
    async fn a_port_in_use_is_said_with_the_way_out() {
        let (_taken, address) = listen_on(0).await.unwrap();
        let error = listen_on(address.port()).await.unwrap_err();
        assert!(error.to_string().contains("--ports"), "{error}");
        assert_eq!(error.exit_code(), 1);
    }
}
