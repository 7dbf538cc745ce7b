//! `pgusher check`, the binary itself: what it says of a database with a fault and of one without, and how it ends.

use std::process::Command;

use pgusher::demo::home::{Scratch, random_hex, write_private};
use pgusher_tests::{Stage, binary, harden};
use serde_json::Value;
use tokio_postgres::Client;

mod hindrances;
mod outputs;
mod verdicts;

/// What every database of the stage's server has: it is as it was installed, hardened by nobody and perhaps old.
const OF_SERVER: [&str; 7] = [
    "function-ends-sessions",
    "function-makes-large-objects",
    "function-shows-statements",
    "language-usable",
    "prepared-transactions",
    "server-end-of-life",
    "server-outdated",
];

/// A database with a served role of its own, as the guide makes them, and the configuration of a proxy in front.
struct Home {
    stage: &'static Stage,
    database: String,
    role: String,
    superuser: Client,
    directory: Scratch,
}

/// What a run of the command has left.
struct Told {
    code: Option<i32>,
    output: String,
    complaint: String,
}

impl Home {
    async fn new() -> Self {
        let stage = Stage::get();
        let (database, superuser) = stage.database().await;
        let role = format!("checked_{}", random_hex(4));
        let home = Self { stage, database, role, superuser, directory: Scratch::new("tests").expect("a directory") };
        let password = random_hex(16);
        home.run(&format!("CREATE ROLE {{role}}; CREATE ROLE {{login}} LOGIN PASSWORD '{password}'")).await;
        home.run(include_str!("check/guide.sql")).await;
        harden(&home.superuser).await;
        home.write("role.password", &password);
        home.write("proxy.toml", &home.configuration());
        home
    }

    fn configuration(&self) -> String {
        let (role, database, port) = (&self.role, &self.database, self.stage.postgres_port());
        let (files, issuer) = (self.stage.files().display(), self.stage.issuer.url());
        format!(
            r#"
[upstream]
host = "127.0.0.1"
port = {port}
databases = ["{database}"]

[claims]
mode = "signed"
secret_file = "{files}/claims.secret"

[[role]]
name = "{role}"
login = "login_{role}"
password_file = "role.password"

[[provider]]
name = "issuer"
issuer = "{issuer}"
audience = ["https://api.example.com"]
roles = ["{role}"]

[safety]
allow = {OF_SERVER:?}
"#
        )
    }

    fn write(&self, name: &str, text: &str) {
        write_private(&self.directory.path().join(name), text).expect("a file");
    }

    /// Runs statements as the superuser, with this home's names for those in braces.
    async fn run(&self, statements: &str) {
        let login = format!("login_{}", self.role);
        let named = statements.replace("{role}", &self.role).replace("{login}", &login);
        let named = named.replace("{database}", &self.database);
        self.superuser.batch_execute(&named).await.expect(&named);
    }

    /// The URL of the superuser.
    fn url(&self) -> String {
        format!("postgres://postgres:superuser@127.0.0.1:{}/{}", self.stage.postgres_port(), self.database)
    }

    /// What `pgusher check` says with these arguments.
    async fn check(&self, arguments: &[&str]) -> Told {
        let mut command = Command::new(binary());
        command.args(["check", "--config", "proxy.toml"]).args(arguments);
        command.current_dir(self.directory.path()).env("NO_COLOR", "");
        // The issuer of the stage answers in the same process.
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("a thread");
        let output = output.expect("the command runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Told { code: output.status.code(), output: text(output.stdout), complaint: text(output.stderr) }
    }

    /// The same, as JSON.
    async fn json(&self, arguments: &[&str]) -> Value {
        let told = self.check(&[&["--json"], arguments].concat()).await;
        serde_json::from_str(&told.output).unwrap_or_else(|error| panic!("{error}: {} {}", told.output, told.complaint))
    }
}
