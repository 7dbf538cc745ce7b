//! A throwaway PostgreSQL, reached through the Unix socket in its own directory.
//!
//! A shell owns the server and waits for the end of its standard input. However the test process ends, the pipe
//! closes with it; the shell then stops the server and removes the directory.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{Mutex, MutexGuard, OnceCell};
use tokio_postgres::{Client, Config};

use crate::signer::Signer;

const OWN: &str = r#"
trap '' INT TERM
trap '"$BIN/pg_ctl" stop -D "$DIR/data" -m immediate >/dev/null 2>&1; rm -rf "$DIR"' EXIT
eval "$MAKE" >"$DIR/make.log" 2>&1 || { cat "$DIR/make.log" >&2; exit 1; }
start() {
  "$BIN/pg_ctl" start -w -D "$DIR/data" -l "$DIR/server.log" >/dev/null \
    -o "-k $DIR -c listen_addresses='' -c fsync=off -c max_connections=200" || { cat "$DIR/server.log" >&2; exit 1; }
  echo ready
}
start
while read -r line; do "$BIN/pg_ctl" stop -D "$DIR/data" -m immediate >/dev/null; start; done
"#;

/// A running server, its superuser `postgres` trusted.
pub(crate) struct Postgres {
    pub(crate) dir: PathBuf,
    pub(crate) signer: Signer,
    shell: Child,
    /// Closing it ends the server.
    stdin: ChildStdin,
}

impl Postgres {
    /// The server that most tests share: database `app` with the schema, a key, two served roles and `todos`.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(Self::with_app).await
    }

    /// A server of its own with an empty database `app`.
    pub(crate) async fn empty() -> Self {
        let postgres = Self::launch(r#""$BIN/initdb" -A trust -U postgres -E UTF8 --locale=C -N -D "$DIR/data""#);
        postgres.admin("postgres").await.batch_execute("CREATE DATABASE app").await.unwrap();
        postgres
    }

    /// A server of its own, set up like the shared one.
    pub(crate) async fn with_app() -> Self {
        let postgres = Self::empty().await;
        let admin = postgres.admin("app").await;
        admin.batch_execute(pgusher_sql::INSTALL).await.unwrap();
        postgres.signer.install_in(&admin).await;
        for role in ["authenticated", "anonymous"] {
            let login = format!("pgusher_{role}");
            let served = pgusher_sql::ServedRole { role, login: &login, verifier: None };
            admin.batch_execute(&served.sql()).await.unwrap();
        }
        admin.batch_execute(include_str!("todos.sql")).await.unwrap();
        postgres
    }

    /// A standby that streams from this server.
    pub(crate) fn standby(&self) -> Self {
        let source = self.dir.display();
        let copy = format!(r#""$BIN/pg_basebackup" -h {source} -U postgres -c fast -X stream -R -D "$DIR/data""#);
        Self { signer: self.signer.clone(), ..Self::launch(&copy) }
    }

    /// Kills the server without warning and starts it again.
    pub(crate) fn crash(&mut self) {
        use std::io::Write;
        self.stdin.write_all(b"crash\n").unwrap();
        await_ready(&mut self.shell);
    }

    pub(crate) async fn admin(&self, database: &str) -> Client {
        self.connect(Config::new().user("postgres").dbname(database)).await.unwrap()
    }

    pub(crate) async fn connect(&self, config: &mut Config) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = config.host_path(&self.dir).connect(tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// An empty database of the shared server, and the right to change its roles: those belong to the whole server,
    /// where two sessions that grant the same role at once fail.
    pub(crate) async fn fresh_database(&self) -> (String, MutexGuard<'static, ()>) {
        static ADMINISTRATION: Mutex<()> = Mutex::const_new(());
        let guard = ADMINISTRATION.lock().await;
        let name = format!("fresh_{}", unique());
        self.admin("postgres").await.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        (name, guard)
    }

    fn launch(make_data: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("pgusher-sql-{}-{}", std::process::id(), unique()));
        std::fs::create_dir(&dir).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", OWN]).env("BIN", bin()).env("DIR", &dir).env("MAKE", make_data);
        // Postgres refuses to run as root.
        if std::fs::metadata(&dir).unwrap().uid() == 0 {
            let (uid, gid) = account("postgres");
            chown(&dir, Some(uid), Some(gid)).unwrap();
            command.uid(uid).gid(gid);
        }
        let mut shell = command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        await_ready(&mut shell);
        let stdin = shell.stdin.take().expect("stdin is piped");
        Self { dir, signer: Signer::new([0x21; 32]), shell, stdin }
    }
}

/// A number that no other part of this run has.
pub(crate) fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn await_ready(shell: &mut Child) {
    let mut line = String::new();
    BufReader::with_capacity(1, shell.stdout.as_mut().expect("stdout is piped")).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "the server did not start");
}

fn bin() -> PathBuf {
    if let Some(bin) = std::env::var_os("PGUSHER_TEST_PG_BIN") {
        return bin.into();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL, or PGUSHER_TEST_PG_BIN");
    let newest = versions
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .expect("a version of PostgreSQL");
    Path::new("/usr/lib/postgresql").join(newest.to_string()).join("bin")
}

fn account(name: &str) -> (u32, u32) {
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap();
    let fields: Vec<&str> = accounts
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields[0] == name)
        .expect("an account to run PostgreSQL under");
    (fields[2].parse().unwrap(), fields[3].parse().unwrap())
}
