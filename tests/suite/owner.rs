//! The connections of an operator's commands, which have the proxy's own way to connect and log in.

use pgusher::config::{Config, Overrides};
use pgusher::demo::home::{Scratch, write_private};
use pgusher::owner::{self, Owner, OwnerError};
use pgusher_tests::Stage;
use tokio_postgres::Client;

/// The configuration of a proxy in front of this stage.
fn configuration(stage: &Stage) -> Config {
    let directory = Scratch::new("tests").expect("a directory");
    let files = stage.files().display();
    let toml = format!(
        r#"
[upstream]
host = "127.0.0.1"
port = {}

[claims]
secret_file = "{files}/claims.secret"

[[role]]
name = "authenticated"
login = "pgusher_authenticated"
password_file = "{files}/authenticated.password"

[anonymous]
role = "authenticated"
"#,
        stage.postgres_port()
    );
    let file = directory.path().join("proxy.toml");
    write_private(&file, &toml).expect("a file");
    Config::load(&file, &Overrides::default()).expect("a configuration").0
}

async fn value(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.expect(sql).get(0)
}

#[tokio::test]
async fn an_owner_connects_by_the_words_of_a_url() {
    let stage = Stage::get();
    let config = configuration(stage);
    let authority = &stage.authority.file;
    let port = stage.postgres_port();
    let url = format!(
        "postgres://neondb_owner:owner@localhost:{port}/neondb?sslmode=verify-full&sslrootcert={}&channel_binding=require&application_name=moving%20in",
        authority.display()
    );
    let owner = Owner::parse(&url, &config.upstream, &Overrides::default()).expect("a URL");

    let client = owner::connect(&owner, |_| ()).await.expect("the owner connects");

    assert_eq!(value(&client, "SELECT current_user || ' ' || session_user").await, "neondb_owner neondb_owner");
    assert_eq!(value(&client, "SELECT current_setting('application_name')").await, "moving in");
    assert_eq!(value(&client, "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await, "true");
}

#[tokio::test]
async fn notices_reach_who_asked_for_them() {
    let stage = Stage::get();
    let config = configuration(stage);
    let owner =
        Owner::parse("postgres://neondb_owner:owner@/neondb", &config.upstream, &Overrides::default()).expect("a URL");
    let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let client = owner::connect(&owner, move |notice| drop(said.send(notice.message().to_owned()))).await;

    let raise = "DO $$ BEGIN RAISE NOTICE 'hear, hear'; END $$";
    client.expect("the owner connects").batch_execute(raise).await.expect("a notice");

    assert_eq!(heard.recv().await.as_deref(), Some("hear, hear"));
}

#[tokio::test]
async fn a_wrong_password_is_the_servers_refusal() {
    let stage = Stage::get();
    let config = configuration(stage);
    let owner =
        Owner::parse("postgres://neondb_owner:no@/neondb", &config.upstream, &Overrides::default()).expect("a URL");

    let error = owner::connect(&owner, |_| ()).await.expect_err("a wrong password");

    assert!(matches!(error, OwnerError::Login { .. }), "{error}");
}

#[tokio::test]
async fn a_login_comes_with_its_role_set() {
    let stage = Stage::get();
    let config = configuration(stage);
    let login = &config.roles["authenticated"];

    let client = owner::connect_as("authenticated", login, "neondb", &config.upstream, &config.claims).await;
    let client = client.expect("a session");

    let who = value(&client, "SELECT current_user || ' ' || session_user").await;
    assert_eq!(who, "authenticated pgusher_authenticated");
}
