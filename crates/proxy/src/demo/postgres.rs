//! A private Postgres server: its own data directory, a free port on 127.0.0.1 and a Unix socket. It needs nothing but
//! the programs, runs as an account without privileges when we are root, and ends with the process that started it, even
//! if that one is killed.

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use super::account::Account;
use super::home::Scratch;
use super::programs::Programs;

mod cluster;

use cluster::{create_private, prepare, socket_directory};

/// The superuser that every server here has.
pub const SUPERUSER: &str = "postgres";

/// Runs the server named by its arguments until it ends or standard input is closed, which happens however our process
/// ends. Then: a fast shutdown, after ten seconds an immediate one. `PGUSHER_REMOVE` names a directory to remove when
/// the server was shut down in order.
const SUPERVISOR: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
( read -r line <&3; kill -INT "$server"; sleep 10; kill -QUIT "$server" ) &
watch=$!
wait "$server"
status=$?
kill "$watch"
if [ "$status" -eq 0 ] && [ -n "$PGUSHER_REMOVE" ]; then rm -rf -- "$PGUSHER_REMOVE"; fi
exit "$status"
"#;

/// Settings of every server: reachable from this machine only.
const SETTINGS: [(&str, &str); 2] = [("listen_addresses", "127.0.0.1"), ("unix_socket_permissions", "0700")];

/// Settings of a server whose data nobody will miss.
const THROWAWAY: [(&str, &str); 3] = [("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off")];

/// How long a start may take: recovery of a large kept database needs its time.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long [`Postgres::stop`] waits: beyond the supervisor's ten seconds.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// What may differ from server to server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The TCP port; 0 picks a free one.
    pub port: u16,
    /// The superuser's password. A kept server has it from its first start.
    pub password: String,
    /// Further settings, over those every server has.
    pub settings: Vec<(String, String)>,
    /// Lines of pg_hba.conf, ahead of the rule that everybody needs a password (SCRAM).
    pub hba: Vec<String>,
    /// Files to put into the server's home, owned and readable by the server only. A setting refers to one as
    /// `../<name>`, because paths are relative to the data directory.
    pub files: Vec<(String, Vec<u8>)>,
    /// Keep the data, and write it durably.
    pub keep: bool,
}

/// A running server. Dropping it begins its shutdown; [`Self::stop`] also waits for it.
#[derive(Debug)]
pub struct Postgres {
    supervisor: Child,
    /// The supervisor's standard input. Apart from it, because to wait for a child closes the child's.
    lifeline: ChildStdin,
    log: File,
    home: PathBuf,
    sockets: PathBuf,
    port: u16,
    password: String,
    keep: bool,
    _scratch: Option<Scratch>,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// A file or program could not be used.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A program ended with this to say.
    #[error("{program} failed:\n{output}")]
    Failed {
        /// Its name.
        program: &'static str,
        /// The end of its output.
        output: String,
    },
    /// It runs but does not let us in.
    #[error("Postgres does not accept its superuser: {}", chain(.0))]
    Refused(#[from] tokio_postgres::Error),
    /// It did not accept a connection in time.
    #[error("Postgres was not ready within {} s:\n{output}", START_LIMIT.as_secs())]
    TooSlow {
        /// The end of its log.
        output: String,
    },
}

impl Postgres {
    /// Starts a server whose files are in `home`, which is made if it isn't there and belongs to the server alone. An
    /// earlier server's data in it is used again. Returns when the server accepts connections.
    pub async fn start(programs: &Programs, home: &Path, options: &Options) -> Result<Self, PostgresError> {
        let account = Account::choose().await.map_err(failed_to("find who runs Postgres"))?;
        prepare(programs, &account, home, options).await?;
        let mut attempts = 3;
        loop {
            attempts -= 1;
            let mut server = Self::launch(programs, &account, home, options)?;
            match server.accepts_connections().await {
                // Somebody took the free port between our look and the server's.
                Err(PostgresError::Failed { output, .. })
                    if options.port == 0 && attempts > 0 && output.contains("in use") => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(server),
            }
        }
    }

    /// Its TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of its Unix socket, for libpq's `host`.
    pub fn sockets(&self) -> &Path {
        &self.sockets
    }

    /// How to connect as its superuser, by the socket, to the database `postgres`.
    pub fn superuser(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.sockets).port(self.port).user(SUPERUSER).password(&self.password).dbname("postgres");
        config
    }

    /// Shuts the server down and, unless it is to be kept, removes its home.
    pub async fn stop(self) -> Result<(), PostgresError> {
        let Self { mut supervisor, lifeline, home, keep, .. } = self;
        drop(lifeline);
        let ended = timeout(STOP_LIMIT, supervisor.wait()).await;
        ended.map_err(io::Error::from).flatten().map_err(failed_to("stop Postgres"))?;
        if keep || !home.exists() {
            return Ok(());
        }
        // The supervisor may lack the right to remove the last directory of its home's path.
        fs::remove_dir_all(&home).map_err(failed_to("remove Postgres's data"))
    }

    fn launch(programs: &Programs, account: &Account, home: &Path, options: &Options) -> Result<Self, PostgresError> {
        let (sockets, scratch) = socket_directory(home, account).map_err(failed_to("make a socket"))?;
        let port = match options.port {
            0 => free_port().map_err(failed_to("find a free port"))?,
            port => port,
        };
        let log = create_private(&home.join("postgres.log")).map_err(failed_to("write Postgres's log"))?;
        let mut supervisor = supervise(account, programs, home, options)
            .args(["-p", &port.to_string()])
            .arg("-k")
            .arg(&sockets)
            .stdout(log.try_clone().map_err(failed_to("share Postgres's log"))?)
            .stderr(log.try_clone().map_err(failed_to("share Postgres's log"))?)
            .spawn()
            .map_err(failed_to("start Postgres"))?;
        let lifeline = supervisor.stdin.take().expect("its standard input is a pipe");
        Ok(Self {
            supervisor,
            lifeline,
            log,
            home: home.into(),
            sockets,
            port,
            password: options.password.clone(),
            keep: options.keep,
            _scratch: scratch,
        })
    }

    async fn accepts_connections(&mut self) -> Result<(), PostgresError> {
        let connected = connect_patiently(self.superuser());
        tokio::select! {
            connected = connected => Ok(connected?),
            _ = self.supervisor.wait() => Err(PostgresError::Failed {
                program: "postgres",
                output: tail(&self.log),
            }),
            () = sleep(START_LIMIT) => Err(PostgresError::TooSlow { output: tail(&self.log) }),
        }
    }
}

/// Connects as soon as the server listens and is no longer starting up.
async fn connect_patiently(config: tokio_postgres::Config) -> Result<(), tokio_postgres::Error> {
    let mut pause = Duration::from_millis(10);
    loop {
        match config.connect(NoTls).await {
            Ok(_) => return Ok(()),
            Err(error) => match error.code() {
                None | Some(&SqlState::CANNOT_CONNECT_NOW) => {}
                Some(_) => return Err(error),
            },
        }
        sleep(pause).await;
        pause = Duration::min(pause * 2, Duration::from_millis(100));
    }
}

/// The supervisor's command, complete but for the server's addresses and log.
fn supervise(account: &Account, programs: &Programs, home: &Path, options: &Options) -> Command {
    let mut hba_file = OsString::from("hba_file=");
    hba_file.push(home.join("pg_hba.conf"));
    let mut command = account.command(Path::new("/bin/sh"));
    command
        .stdin(Stdio::piped())
        .env("PGUSHER_REMOVE", if options.keep { Path::new("") } else { home })
        .args(["-c", SUPERVISOR, "supervisor"])
        .arg(programs.program("postgres"))
        .arg("-D")
        .arg(home.join("data"))
        .arg("-c")
        .arg(hba_file);
    let throwaway = THROWAWAY.iter().filter(|_| !options.keep);
    for (name, value) in SETTINGS.iter().chain(throwaway) {
        command.args(["-c", &format!("{name}={value}")]);
    }
    for (name, value) in &options.settings {
        command.args(["-c", &format!("{name}={value}")]);
    }
    command
}

/// A port that nobody listens on at the moment.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The last 4 KiB of a log.
fn tail(log: &File) -> String {
    let length = log.metadata().map_or(0, |data| data.len());
    let mut buffer = vec![0; 4096];
    let read = log.read_at(&mut buffer, length.saturating_sub(4096));
    buffer.truncate(read.unwrap_or(0));
    String::from_utf8_lossy(&buffer).into_owned()
}

/// The error with its causes; the database's own message is one of them.
pub(super) fn chain(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// What [`Result::map_err`] needs to say what was tried.
fn failed_to(action: &'static str) -> impl FnOnce(io::Error) -> PostgresError {
    move |source| PostgresError::Io { action, source }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::Client;

    use super::*;

    async fn start(home: &Path, keep: bool) -> Postgres {
        let options = Options {
            password: "secret".into(),
            settings: vec![("max_connections".into(), "7".into())],
            keep,
            ..Options::default()
        };
        let programs = Programs::find(None).unwrap();
        Postgres::start(&programs, home, &options).await.unwrap()
    }

    async fn connect(config: &tokio_postgres::Config) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    #[tokio::test]
    async fn a_server_is_ready_when_started_and_gone_when_stopped() {
        let scratch = Scratch::new("launch").unwrap();
        let home = scratch.path().join("postgres");
        let server = start(&home, false).await;
        let client = connect(&server.superuser()).await.unwrap();
        let row = client.query_one("SHOW max_connections", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "7");

        let config = server.superuser();
        server.stop().await.unwrap();

        assert!(connect(&config).await.is_err());
        assert!(!home.exists());
    }

    #[tokio::test]
    async fn a_kept_server_has_its_data_again() {
        let scratch = Scratch::new("launch").unwrap();
        let home = scratch.path().join("postgres");
        let first = start(&home, true).await;
        let client = connect(&first.superuser()).await.unwrap();
        client.batch_execute("CREATE TABLE kept ()").await.unwrap();
        drop(client);
        first.stop().await.unwrap();

        let second = start(&home, true).await;

        let client = connect(&second.superuser()).await.unwrap();
        client.batch_execute("TABLE kept").await.unwrap();
        second.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_server_shuts_down_when_its_owner_lets_go_of_it() {
        let scratch = Scratch::new("launch").unwrap();
        let mut server = start(&scratch.path().join("postgres"), false).await;

        // What the system does when our process is killed.
        drop(server.lifeline);

        assert!(server.supervisor.wait().await.unwrap().success());
        assert!(!scratch.path().join("postgres/data").exists());
    }

    #[tokio::test]
    async fn the_superuser_needs_the_password() {
        let scratch = Scratch::new("launch").unwrap();
        let server = start(&scratch.path().join("postgres"), false).await;
        let error = connect(server.superuser().password("wrong")).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INVALID_PASSWORD));
        server.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_cannot_start_says_why() {
        let scratch = Scratch::new("launch").unwrap();
        let options = Options {
            settings: vec![("no_such_setting".into(), "1".into())],
            password: "secret".into(),
            ..Options::default()
        };
        let programs = Programs::find(None).unwrap();
        let home = scratch.path().join("postgres");
        let error = Postgres::start(&programs, &home, &options).await.unwrap_err();
        assert!(error.to_string().contains("no_such_setting"), "{error}");
    }

    #[tokio::test]
    async fn a_long_path_does_not_keep_the_socket_from_working() {
        let scratch = Scratch::new("launch").unwrap();
        let home = scratch.path().join("long".repeat(30));
        start(&home, false).await.stop().await.unwrap();
    }
}
