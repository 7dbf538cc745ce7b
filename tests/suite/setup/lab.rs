//! What setup starts from: a Postgres that knows nothing of us, with a superuser and with an owner who has only
//! `CREATEROLE`, and a configuration without its secrets.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use jsonwebtoken::Algorithm;
use pgusher::demo::home::{Scratch, random_hex, write_private};
use pgusher::demo::issuer::Issuer;
use pgusher::demo::keys::SigningKey;
use pgusher::demo::postgres::{Options, Postgres};
use pgusher::demo::programs::Programs;
use pgusher_tests::{binary, now, sweep_at_exit, wait};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

/// The beginning, and what tests do with it.
pub(super) struct Lab {
    postgres: Postgres,
    issuer: Issuer,
    key: SigningKey,
    programs: Programs,
    directory: Scratch,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

/// Who runs setup.
#[derive(Clone, Copy, Debug)]
pub(super) enum As {
    /// The owner of the database, who may make roles and no more.
    Boss,
    Superuser,
}

/// A proxy; killed when dropped.
pub(super) struct Serving {
    _child: Child,
    port: u16,
}

impl Lab {
    pub(super) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// One with these lines in front of the others in `pg_hba.conf`.
    pub(super) async fn with(hba: &[&str]) -> Self {
        static TEMPLATE: OnceCell<Template> = OnceCell::const_new();

        let directory = Scratch::new("tests").expect("a directory");
        let programs = std::env::var_os("PGUSHER_TEST_PG_BIN").map(PathBuf::from);
        let programs = Programs::find(programs.as_deref()).expect("Postgres is installed");
        let template = &TEMPLATE.get_or_init(|| Template::make(&programs)).await.home;
        let home = directory.path().join("postgres");
        let copied = told(Command::new("cp").arg("-a").args([template, &home])).await;
        assert_eq!(copied.code, Some(0), "{copied:?}");
        let hba = hba.iter().map(|line| (*line).to_owned()).collect();
        let postgres = Postgres::start(&programs, &home, &Options { hba, ..options() }).await.expect("Postgres");
        let key = SigningKey::generate(Algorithm::ES256).expect("a key");
        let issuer = Issuer::start(0, vec![key.public().clone()]).await.expect("an issuer");
        let lab = Self { postgres, issuer, key, programs, directory };
        lab.configure();
        lab
    }

    fn configure(&self) {
        let toml = format!(
            r#"
[listen]
postgres = ["127.0.0.1:0"]
[upstream]
host = "127.0.0.1"
port = {port}
[claims]
secret_file = "claims.secret"
[[role]]
name = "authenticated"
login = "pgusher_authenticated"
password_file = "authenticated.password"
[[role]]
name = "anonymous"
login = "pgusher_anonymous"
password_file = "anonymous.password"
[[provider]]
name = "issuer"
issuer = "{issuer}"
audience = ["api"]
roles = ["authenticated"]
[anonymous]
role = "anonymous"
[log]
format = "json"
"#,
            port = self.postgres.port(),
            issuer = self.issuer.url(),
        );
        write_private(&self.file("proxy.toml"), &toml).expect("a file");
    }

    /// A file beside the configuration.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).expect(name).trim_end().to_owned()
    }

    /// The owner's URL of another database.
    pub(super) fn boss_url(&self, database: &str) -> String {
        format!("postgres://boss:boss@127.0.0.1/{database}")
    }

    fn url(&self, who: As) -> String {
        let who = match who {
            As::Boss => "boss:boss",
            As::Superuser => "postgres:superuser",
        };
        format!("postgres://{who}@127.0.0.1/app")
    }

    /// `pgusher setup` with these arguments.
    pub(super) async fn setup(&self, arguments: &[&str]) -> Told {
        let mut command = Command::new(binary());
        command.arg("setup").args(arguments).env("PGUSHER_CONFIG", self.file("proxy.toml"));
        told(command.stdin(Stdio::null())).await
    }

    /// The same with the database.
    pub(super) async fn setup_as(&self, who: As, arguments: &[&str]) -> Told {
        let url = self.url(who);
        self.setup(&[&["--url", &url], arguments].concat()).await
    }

    /// Applies these, and expects that to go well.
    pub(super) async fn apply_as(&self, who: As, arguments: &[&str]) -> Told {
        let told = self.setup_as(who, &[&["--apply", "--yes"], arguments].concat()).await;
        assert_eq!(told.code, Some(0), "{told:?}");
        told
    }

    /// A client's program: beside the server's, or wherever PATH has it.
    fn program(&self, name: &str) -> PathBuf {
        let beside = self.programs.program(name);
        if beside.exists() { beside } else { name.into() }
    }

    /// Runs a script with psql as the owner.
    pub(super) async fn psql(&self, script: &str) -> Told {
        let mut command = Command::new(self.program("psql"));
        command.args(["--no-psqlrc", "--quiet", &self.url(As::Boss)]).env("PGPORT", self.postgres.port().to_string());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("psql");
        let mut stdin = child.stdin.take().expect("a pipe");
        // psql reads no further than its first error.
        let _ = stdin.write_all(script.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await.expect("psql");
        output.into()
    }

    /// All that the cluster has, less what pg_dump makes up anew each time.
    pub(super) async fn dump(&self) -> String {
        let mut dump = Command::new(self.program("pg_dumpall"));
        dump.args(["--host=127.0.0.1", "--username=postgres", &format!("--port={}", self.postgres.port())]);
        let dump = told(dump.env("PGPASSWORD", "superuser")).await;
        assert_eq!(dump.code, Some(0), "{dump:?}");
        let made_up = |line: &&str| ["\\restrict", "\\unrestrict", "--"].iter().any(|word| line.starts_with(word));
        dump.out.lines().filter(|line| !made_up(line)).map(|line| format!("{line}\n")).collect()
    }

    pub(super) async fn superuser(&self) -> Client {
        self.connect("postgres", "superuser", "app").await
    }

    pub(super) async fn boss(&self) -> Client {
        self.connect("boss", "boss", "app").await
    }

    /// A session beside the proxy, as the login of the users.
    pub(super) async fn login(&self) -> Client {
        self.connect("pgusher_authenticated", &self.read("authenticated.password"), "app").await
    }

    async fn connect(&self, user: &str, password: &str, database: &str) -> Client {
        connect(self.postgres.port(), user, password, database).await.expect("a connection")
    }

    /// Starts the proxy.
    pub(super) async fn serve(&self) -> Serving {
        let mut command = Command::new(binary());
        command.args(["serve", "--config"]).arg(self.file("proxy.toml"));
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn();
        let mut child = child.expect("the proxy starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let mut log = Vec::new();
        let port = wait::within("the proxy to listen", async {
            loop {
                let line = lines.next_line().await.expect("a line").unwrap_or_else(|| panic!("it ended: {log:?}"));
                let port = line.split("127.0.0.1:").nth(1).filter(|_| line.contains("\"listening\""));
                if let Some(port) = port {
                    break port.split('"').next().expect("a port").parse().expect("a port");
                }
                log.push(line);
            }
        });
        let port = port.await;
        // Who writes to a closed pipe fails.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Serving { _child: child, port }
    }

    /// A session of this user.
    pub(super) async fn user(&self, proxy: &Serving, subject: &str) -> Client {
        self.user_in(proxy, subject, "app").await
    }

    /// The same in another database.
    pub(super) async fn user_in(&self, proxy: &Serving, subject: &str, database: &str) -> Client {
        let claims = json!({"iss": self.issuer.url(), "aud": ["api"], "sub": subject, "exp": now() + 600});
        let token = self.key.sign(claims.as_object().expect("an object")).expect("a token");
        connect(proxy.port, "authenticated", &token, database).await.expect("the proxy lets us in")
    }

    pub(super) async fn close(self) {
        self.postgres.stop().await.expect("Postgres ends");
    }
}

fn options() -> Options {
    Options { password: "superuser".into(), settings: vec![("fsync".into(), "off".into())], ..Options::default() }
}

/// A cluster to copy, which is quicker than to make one: with the owner and the database. It goes with the process.
struct Template {
    home: PathBuf,
    _sweeper: Child,
}

impl Template {
    async fn make(programs: &Programs) -> Self {
        let directory = std::env::temp_dir().join(format!("pgusher-tests-{}", random_hex(8)));
        std::fs::create_dir(&directory).expect("a directory");
        std::fs::set_permissions(&directory, Permissions::from_mode(0o711)).expect("Postgres passes");
        let sweeper = sweep_at_exit(&directory);
        let home = directory.join("postgres");
        let postgres = Postgres::start(programs, &home, &Options { keep: true, ..options() }).await.expect("Postgres");
        let superuser = connect(postgres.port(), "postgres", "superuser", "postgres").await.expect("a connection");
        for statement in ["CREATE ROLE boss LOGIN CREATEROLE PASSWORD 'boss'", "CREATE DATABASE app OWNER boss"] {
            superuser.batch_execute(statement).await.expect(statement);
        }
        drop(superuser);
        postgres.stop().await.expect("Postgres ends");
        Self { home, _sweeper: sweeper }
    }
}

impl From<std::process::Output> for Told {
    fn from(output: std::process::Output) -> Self {
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
        Self { code: output.status.code(), out, err }
    }
}

async fn told(command: &mut Command) -> Told {
    wait::within("a command", command.kill_on_drop(true).output()).await.expect("it runs").into()
}

async fn connect(port: u16, user: &str, password: &str, database: &str) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user(user).password(password).dbname(database);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The first column of the first row, as text.
pub(super) async fn value(client: &Client, sql: &str) -> Option<String> {
    client.query_one(sql, &[]).await.expect(sql).get(0)
}

/// The SQLSTATE that a statement is refused with.
pub(super) async fn refusal(client: &Client, sql: &str) -> String {
    let error = client.batch_execute(sql).await.expect_err(sql);
    error.as_db_error().unwrap_or_else(|| panic!("{error}")).code().code().to_owned()
}

/// Whether only its owner may read a file.
pub(super) fn is_private(path: &Path) -> bool {
    std::fs::metadata(path).expect("a file").permissions().mode() & 0o777 == 0o600
}
