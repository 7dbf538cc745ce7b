//! What all tests of a process share: Postgres, the issuer, certificates. Made at the first use, on a thread of its own,
//! because every test has a runtime of its own and this has to outlive it. Postgres ends with the process.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{OnceLock, mpsc};

use pgusher::demo::database::{self, OWNER};
use pgusher::demo::home::{Scratch, random_hex, write_private};
use pgusher::demo::issuer::Issuer;
use pgusher::demo::keys::SigningKey;
use pgusher::demo::postgres::{Options, Postgres};
use pgusher::demo::programs::Programs;
use sql::ServedRole;
use tokio::process::{Child, Command};
use tokio_postgres::{Client, NoTls};

use crate::tls::Authority;
use crate::token::Token;

/// The algorithms that the issuer has a key for.
const ALGORITHMS: [jsonwebtoken::Algorithm; 9] = [
    jsonwebtoken::Algorithm::RS256,
    jsonwebtoken::Algorithm::RS384,
    jsonwebtoken::Algorithm::RS512,
    jsonwebtoken::Algorithm::PS256,
    jsonwebtoken::Algorithm::PS384,
    jsonwebtoken::Algorithm::PS512,
    jsonwebtoken::Algorithm::ES256,
    jsonwebtoken::Algorithm::ES384,
    jsonwebtoken::Algorithm::EdDSA,
];

const SETTINGS: [(&str, &str); 4] =
    [("max_connections", "600"), ("log_connections", "on"), ("max_prepared_transactions", "10"), ("fsync", "off")];

const TLS: [(&str, &str); 4] = [
    ("ssl", "on"),
    ("ssl_cert_file", "../server.crt"),
    ("ssl_key_file", "../server.key"),
    ("ssl_ca_file", "../ca.crt"),
];

/// Who is asked for a password in another way than by SCRAM, or not at all. A test that needs one of these makes it.
const HBA: [&str; 3] =
    ["host all let_in_unasked all trust", "host all asked_in_clear all password", "host all asked_for_md5 all md5"];

/// What does the work of the extension pg_session_jwt where Postgres does not have it.
pub const STAND_IN: &str = include_str!("../stand_in/pg_session_jwt.sql");

/// The roles that are served, each by a login `pgusher_<role>`.
pub(crate) const ROLES: [&str; 2] = ["authenticated", "anonymous"];

/// Postgres, an issuer, and the files that a proxy needs to know about them.
pub struct Stage {
    /// The server that the proxies are in front of.
    pub postgres: Postgres,
    /// The issuer of good tokens.
    pub issuer: Issuer,
    /// Its keys, one of each algorithm.
    pub keys: Vec<SigningKey>,
    /// Who signed the certificates of Postgres and of the proxies.
    pub authority: Authority,
    programs: Programs,
    options: Options,
    files: Scratch,
}

/// Whether the data of a stage outlives its Postgres.
enum Keep {
    No,
    Yes,
}

impl Stage {
    /// The stage of this process.
    pub fn get() -> &'static Self {
        static STAGE: OnceLock<Stage> = OnceLock::new();
        STAGE.get_or_init(|| {
            let (made, stage) = mpsc::channel();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(async {
                    let stage = Self::alone().await;
                    let mut sweeper = sweep_at_exit(stage.files());
                    // Held apart: to wait for a child closes its standard input.
                    let _pipe = sweeper.stdin.take();
                    made.send(stage).expect("the first test waits");
                    // Its work begins when this process is no more.
                    sweeper.wait().await.expect("a child");
                });
            });
            stage.recv().expect("a stage")
        })
    }

    /// A stage of a test's own, for what the others must not notice. It takes seconds to make.
    pub async fn alone() -> Self {
        Self::make(Keep::No).await
    }

    /// One whose Postgres can be [restarted](Self::restarted).
    pub async fn restartable() -> Self {
        Self::make(Keep::Yes).await
    }

    /// Ends Postgres by a fast shutdown, and starts it again with the same data at the same port.
    pub async fn restarted(self) -> Self {
        let Self { postgres, issuer, keys, authority, programs, mut options, files } = self;
        assert!(options.keep, "a stage whose data outlives its Postgres");
        options.port = postgres.port();
        postgres.stop().await.expect("Postgres ends");
        let again = Postgres::start(&programs, &files.path().join("postgres"), &options).await;
        Self { postgres: again.expect("Postgres, again"), issuer, keys, authority, programs, options, files }
    }

    /// Ends Postgres and removes what the stage has left. To drop it only begins the one, and may miss the other.
    pub async fn close(self) {
        let Self { postgres, .. } = self;
        postgres.stop().await.expect("Postgres ends");
    }

    async fn make(keep: Keep) -> Self {
        let files = Scratch::new("tests").expect("a directory");
        let authority = Authority::new(files.path());
        let certificate = authority.certify("localhost");
        let programs = std::env::var_os("PGUSHER_TEST_PG_BIN").map(PathBuf::from);
        let programs = Programs::find(programs.as_deref()).expect("Postgres is installed");
        // Of the tests, those that are about TLS need a Postgres that was built with it.
        let tls: &[_] = if knows_tls(&programs).await { &TLS } else { &[] };
        let settings = [tls, &SETTINGS].concat();
        let options = Options {
            password: "superuser".into(),
            keep: matches!(keep, Keep::Yes),
            settings: settings.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            hba: HBA.map(str::to_owned).into(),
            files: vec![
                ("server.crt".into(), certificate.certificate_pem.into_bytes()),
                ("server.key".into(), certificate.key_pem.into_bytes()),
                ("ca.crt".into(), authority.pem().into_bytes()),
            ],
            ..Options::default()
        };
        let postgres = Postgres::start(&programs, &files.path().join("postgres"), &options).await.expect("Postgres");
        set_up(&postgres, files.path()).await;
        let keys: Vec<_> =
            ALGORITHMS.iter().map(|algorithm| SigningKey::generate(*algorithm).expect("a key")).collect();
        let issuer = Issuer::start(0, keys.iter().map(|key| key.public().clone()).collect()).await;
        Self { postgres, issuer: issuer.expect("an issuer"), keys, authority, programs, options, files }
    }

    /// A good token of this subject, for the role `authenticated`.
    pub fn token(&self, subject: &str) -> Token<'_> {
        Token::new(self, subject)
    }

    /// The issuer's key of this algorithm.
    ///
    /// # Panics
    /// For an algorithm of shared secrets.
    pub fn key(&self, algorithm: jsonwebtoken::Algorithm) -> &SigningKey {
        let key = self.keys.iter().find(|key| key.algorithm() == algorithm);
        key.expect("the issuer has a key of this algorithm")
    }

    /// A connection as the superuser, past the proxy.
    pub async fn superuser(&self) -> Client {
        self.superuser_of(database::DATABASE).await
    }

    /// The same to another database.
    pub async fn superuser_of(&self, name: &str) -> Client {
        let (client, connection) =
            self.postgres.superuser().dbname(name).connect(NoTls).await.expect("the superuser connects");
        tokio::spawn(connection);
        client
    }

    /// A database of a test's own without the schema `auth`: its name, and the superuser in it.
    pub async fn bare_database(&self) -> (String, Client) {
        let name = format!("lab_{}", random_hex(4));
        self.superuser().await.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a database");
        let superuser = self.superuser_of(&name).await;
        (name, superuser)
    }

    /// A database of a test's own with the schema `auth` and the stage's key.
    pub async fn database(&self) -> (String, Client) {
        // The script changes who is a member of a role, which is the whole server's.
        static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

        let (name, superuser) = self.bare_database().await;
        let alone = ONE_AT_A_TIME.lock().await;
        superuser.batch_execute(sql::INSTALL).await.expect("the schema auth");
        drop(alone);
        let (inner, outer) = sql::pads(&signing_key());
        let key = superuser.execute(sql::INSERT_KEY, &[&sql::kid(&signing_key()), &&inner[..], &&outer[..]]).await;
        key.expect("a key");
        let grant = "GRANT EXECUTE ON FUNCTION auth.pgusher_init TO authenticated, anonymous";
        superuser.batch_execute(grant).await.expect("a grant");
        (name, superuser)
    }

    /// The same, and it belongs to `neondb_owner`, as the demo's does.
    pub async fn owned_database(&self) -> (String, Client) {
        let (name, superuser) = self.database().await;
        let sql = format!(
            "ALTER DATABASE {name} OWNER TO {OWNER}; ALTER SCHEMA public OWNER TO {OWNER}; \
             GRANT USAGE ON SCHEMA public TO authenticated, anonymous"
        );
        superuser.batch_execute(&sql).await.expect("an owner");
        (name, superuser)
    }

    /// The same with the demo's tables, for tests that must be alone to count what is in them.
    pub async fn demo_database(&self) -> (String, Client) {
        let (name, superuser) = self.owned_database().await;
        let tables = format!("BEGIN; SET LOCAL ROLE {OWNER}; {} COMMIT", database::TABLES);
        superuser.batch_execute(&tables).await.expect("the tables");
        (name, superuser)
    }

    /// A database of a test's own with the extension pg_session_jwt, or its stand-in where Postgres does not have it, and
    /// with the demo's tables.
    pub async fn session_jwt_database(&self) -> (String, Client) {
        let (name, superuser) = self.bare_database().await;
        let available = "SELECT FROM pg_available_extensions WHERE name = 'pg_session_jwt'";
        let real = superuser.query_opt(available, &[]).await.expect("an answer").is_some();
        let script = if real { "CREATE EXTENSION pg_session_jwt" } else { STAND_IN };
        superuser.batch_execute(script).await.expect("the extension");
        let grant = "GRANT USAGE ON SCHEMA auth TO authenticated, anonymous";
        superuser.batch_execute(grant).await.expect("a grant");
        superuser.batch_execute(database::TABLES).await.expect("the tables");
        (name, superuser)
    }

    /// The port of Postgres on 127.0.0.1, which its certificate calls `localhost`.
    pub fn postgres_port(&self) -> u16 {
        self.postgres.port()
    }

    /// The directory of Postgres's Unix socket.
    pub fn postgres_sockets(&self) -> &Path {
        self.postgres.sockets()
    }

    /// A directory that lives as long as the process.
    pub fn files(&self) -> &Path {
        self.files.path()
    }
}

/// A static is never dropped: this removes the directory when standard input closes, which it does however the process
/// ends. Again while Postgres, which goes at the same moment, still writes in it. Keep the child, and its pipe with it.
///
/// # Panics
/// Without a shell.
pub fn sweep_at_exit(directory: &Path) -> Child {
    let script = r#"read -r line; until rm -rf -- "$0" 2>/dev/null; do sleep 1; done"#;
    let sweeper = Command::new("/bin/sh").args(["-c", script]).arg(directory).stdin(Stdio::piped()).spawn();
    sweeper.expect("a shell")
}

/// The default of `ssl_ciphers` is "none" where Postgres was built without TLS.
async fn knows_tls(programs: &Programs) -> bool {
    let output = Command::new(programs.program("postgres")).arg("--describe-config").output().await.expect("Postgres");
    let settings = String::from_utf8(output.stdout).expect("settings are text");
    let ciphers = settings.lines().find(|line| line.starts_with("ssl_ciphers\t")).expect("a setting of every Postgres");
    !ciphers.split('\t').any(|field| field == "none")
}

/// The database, and the files with which a proxy reaches it.
async fn set_up(postgres: &Postgres, files: &Path) {
    let key = signing_key();
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    write_private(&files.join("claims.secret"), &hex).expect("a file");
    let logins = ROLES.map(|role| (role, format!("pgusher_{role}"), random_hex(16)));
    let verifiers = logins.each_ref().map(|(.., password)| sql::scram_verifier(password));
    let roles = [0, 1].map(|index| ServedRole {
        role: logins[index].0,
        login: &logins[index].1,
        verifier: Some(&verifiers[index]),
    });
    database::set_up(postgres, "owner", &key, &roles).await.expect("a database");
    for (role, _, password) in &logins {
        write_private(&files.join(format!("{role}.password")), password).expect("a file");
    }
}

/// The key that claims are signed with.
fn signing_key() -> [u8; 32] {
    std::array::from_fn(|index| index as u8 * 7)
}
