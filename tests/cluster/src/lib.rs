//! A throwaway PostgreSQL for the tests of crates that the proxy is built from, reached through the Unix socket in its
//! own directory. (What stands above them has the proxy's own, `pgusher::demo::postgres`.)
//!
//! A shell owns the server and waits for the end of its standard input. However the test process ends, the pipe
//! closes with it; the shell then stops the server and removes the directory.
//!
//! The newest server of `/usr/lib/postgresql` is used; `PGUSHER_TEST_PG_BIN` names another one's `bin` directory.

#![allow(clippy::unwrap_used, reason = "a helper of a test that unwraps fails that test")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::{Client, Config};

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

/// A running server that trusts everybody; its superuser is `postgres`.
pub struct Cluster {
    /// Where its socket and its log are.
    pub dir: PathBuf,
    shell: Child,
    /// Closing it ends the server.
    stdin: ChildStdin,
}

impl Cluster {
    /// One with what `initdb` makes.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::launch(r#""$BIN/initdb" -A trust -U postgres -E UTF8 --locale=C -N -D "$DIR/data""#)
    }

    /// A standby that streams from this one.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn standby(&self) -> Self {
        let source = self.dir.display();
        Self::launch(&format!(r#""$BIN/pg_basebackup" -h {source} -U postgres -c fast -X stream -R -D "$DIR/data""#))
    }

    /// Kills the server without warning and starts it again.
    ///
    /// # Panics
    /// If it does not start.
    pub fn crash(&mut self) {
        self.stdin.write_all(b"crash\n").unwrap();
        await_ready(&mut self.shell);
    }

    /// A session of the superuser.
    ///
    /// # Panics
    /// If there is no such database.
    pub async fn admin(&self, database: &str) -> Client {
        self.connect(Config::new().user("postgres").dbname(database)).await.unwrap()
    }

    /// A session of whomever the configuration names.
    ///
    /// # Errors
    /// What the server says.
    pub async fn connect(&self, config: &mut Config) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = config.host_path(&self.dir).connect(tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    fn launch(make_data: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("pgusher-test-{}-{}", std::process::id(), unique()));
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
        Self { dir, shell, stdin }
    }
}

/// A number that no other part of this run has.
#[must_use]
pub fn unique() -> u32 {
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
