//! A real OpenID provider, npm's oidc-provider: its access token lets psql in.

use std::path::Path;
use std::process::Stdio;

use pgusher_tests::{AUDIENCE, Proxy, Stage, wait};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// The provider's process, ended when dropped, its issuer and a token of a client-credentials grant.
struct Provider {
    _process: Child,
    issuer: String,
    token: String,
}

impl Provider {
    async fn start(client: &str) -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers");
        let mut command = Command::new("node");
        command.arg("oidc_provider.mjs").current_dir(directory).envs([("SUB", client), ("AUDIENCE", AUDIENCE)]);
        let process = command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn();
        let mut process = process.expect("node runs");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let issuer = member(&mut lines, "issuer").await;
        let token = member(&mut lines, "token").await;
        Self { _process: process, issuer, token }
    }
}

/// A member of the next line, which is a JSON object.
async fn member(lines: &mut Lines<BufReader<ChildStdout>>, name: &str) -> String {
    let line = wait::within(name, lines.next_line()).await.expect("a pipe");
    let line = line.expect("oidc-provider is installed: tests/drivers/install.sh");
    let object: Value = serde_json::from_str(&line).expect("JSON");
    object[name].as_str().expect("a string").to_owned()
}

#[tokio::test]
async fn a_token_of_a_real_provider_is_a_password_for_psql() {
    let stage = Stage::get();
    let provider = Provider::start("alice").await;
    let proxy = Proxy::builder(stage).set("provider.0.issuer", &provider.issuer).start().await;
    let conninfo = format!("host=127.0.0.1 port={} user=authenticated dbname=neondb", proxy.port());

    let mut psql = Command::new("psql");
    psql.args(["-XAt", "-c", "SELECT auth.user_id(), count(*) FROM todos", &conninfo])
        .env("PGPASSWORD", provider.token);
    let psql = psql.output().await.expect("psql runs");

    assert_eq!(String::from_utf8_lossy(&psql.stdout), "alice|3\n", "{}", String::from_utf8_lossy(&psql.stderr));
}
