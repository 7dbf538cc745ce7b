//! Roles that log in with a password of their own: who gets in by what, and what client and server say to each other for
//! it.

use std::path::Path;
use std::process::Output;

use pgusher_tests::{Message, Proxy, ProxyBuilder, Raw, Stage, wait};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use tokio::process::Command;
use tokio_postgres::{Client, Config};

mod attacks;
mod http;
mod limits;
mod session;
mod websocket;

const SASL: [u8; 4] = [0, 0, 0, 10];

const WHO: &str = "SELECT concat_ws(' ', current_user, session_user)";

/// A proxy that lets the owner of the database in with its password, and whoever else is named.
fn builder(users: &str) -> ProxyBuilder<'static> {
    Proxy::builder(Stage::get()).set("passthrough.users", users)
}

async fn with_owner() -> Proxy {
    builder("neondb_owner").start().await
}

/// The same in front of Postgres under TLS.
fn under_tls(builder: ProxyBuilder<'static>) -> ProxyBuilder<'static> {
    let builder = builder.set("upstream.host", "localhost").set("upstream.sslmode", "verify-full");
    builder.set("upstream.sslrootcert", Stage::get().authority.file.display())
}

fn config(proxy: &Proxy, user: &str, password: &str) -> Config {
    let mut config = proxy.config(&password);
    config.user(user);
    config
}

async fn connect(proxy: &Proxy) -> Client {
    proxy.connect_with(&config(proxy, "neondb_owner", "owner")).await
}

async fn value(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.expect("a row").get(0)
}

/// A role of a test's own that may log in; `attributes` are SQL.
async fn role(name: &str, attributes: &str) {
    let sql = format!("DROP ROLE IF EXISTS {name}; CREATE ROLE {name} LOGIN {attributes}");
    Stage::get().superuser().await.batch_execute(&sql).await.expect("a role");
}

/// Asks for a session, and says the first thing that SCRAM has to say.
async fn begin(raw: &mut Raw, scram: &ScramSha256, parameters: &[(&str, &str)]) {
    let asked = [&[("user", "neondb_owner"), ("database", "neondb")], parameters].concat();
    raw.startup(&asked).await;
    let request = raw.receive().await.expect("a request");
    assert_eq!((request.tag, &request.body[..]), (b'R', &[&SASL[..], b"SCRAM-SHA-256\0\0"].concat()[..]));
    raw.message(b'p', &initial(scram.message())).await;
}

/// The body of a SASLInitialResponse.
fn initial(message: &[u8]) -> Vec<u8> {
    let size = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    [&b"SCRAM-SHA-256\0"[..], &size, message].concat()
}

/// Logs in by SCRAM: all that comes behind the server's challenge, up to ReadyForQuery or the end.
async fn log_in(raw: &mut Raw, password: &str, parameters: &[(&str, &str)]) -> Vec<Message> {
    log_in_as(raw, ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported()), parameters).await
}

/// The same where the server has asked already.
async fn log_in_behind(raw: &mut Raw, password: &str) -> Vec<Message> {
    let scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
    raw.message(b'p', &initial(scram.message())).await;
    prove(raw, scram).await
}

async fn log_in_as(raw: &mut Raw, scram: ScramSha256, parameters: &[(&str, &str)]) -> Vec<Message> {
    begin(raw, &scram, parameters).await;
    prove(raw, scram).await
}

/// Answers the challenge.
async fn prove(raw: &mut Raw, mut scram: ScramSha256) -> Vec<Message> {
    let challenge = raw.receive().await.expect("a challenge");
    if challenge.tag != b'R' {
        return vec![challenge];
    }
    scram.update(&challenge.body[4..]).expect("a challenge of SCRAM");
    raw.message(b'p', scram.message()).await;
    raw.until_ready().await
}

/// A session of the owner's, and the body of its BackendKeyData.
async fn session(proxy: &Proxy) -> (Raw, Vec<u8>) {
    let mut raw = proxy.raw().await;
    let greeting = log_in(&mut raw, "owner", &[]).await;
    let key = greeting.into_iter().find(|message| message.tag == b'K').expect("a key to cancel with");
    (raw, key.body)
}

async fn refused(raw: &mut Raw, code: &str) -> Message {
    let heard = raw.until_end().await;
    let error = heard.last().cloned().unwrap_or_else(|| panic!("an error of {code}"));
    assert_eq!(error.sqlstate(), code, "{heard:?}");
    error
}

/// Three drivers, as the owner with its password, towards this proxy.
async fn drivers(proxy: &Proxy, sslmode: &str, binding: &str) -> [Output; 3] {
    const PYTHON: &str = "import sys, psycopg\n\
        with psycopg.connect(sys.argv[1]) as c: print(*c.execute('SELECT current_user, session_user').fetchone())";
    const NODE: &str = "import pg from 'pg'; import fs from 'node:fs'\n\
        const [sslmode, ca] = process.argv.slice(1)\n\
        const ssl = sslmode === 'disable' ? false : { ca: fs.readFileSync(ca), servername: 'localhost' }\n\
        const client = new pg.Client({ ssl }); await client.connect()\n\
        const { rows } = await client.query('SELECT current_user AS c, session_user AS s')\n\
        console.log(rows[0].c, rows[0].s); await client.end()";
    let root = Stage::get().authority.file.display().to_string();
    let options = format!("sslmode={sslmode} sslrootcert={root} {binding} host=localhost hostaddr=127.0.0.1");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers");
    let commands = [
        vec!["psql", "-XAt", "-c", WHO, &options],
        vec![".venv/bin/python", "-c", PYTHON, &options],
        vec!["node", "--input-type=module", "-e", NODE, sslmode, &root],
    ];
    let mut outputs = Vec::new();
    for command in commands {
        let mut driver = Command::new(command[0]);
        driver.args(&command[1..]).current_dir(&directory).kill_on_drop(true);
        driver.env("PGPORT", proxy.port().to_string()).env("PGHOST", "127.0.0.1").env("PGDATABASE", "neondb");
        driver.env("PGUSER", "neondb_owner").env("PGPASSWORD", "owner");
        let output = wait::within("a driver", driver.output()).await;
        outputs.push(output.expect("its program is installed: run tests/drivers/install.sh"));
    }
    outputs.try_into().expect("three")
}

#[tokio::test]
async fn drivers_log_in_with_the_roles_own_password_with_tls_on_either_side_or_none() {
    for upstream in ["clear", "tls"] {
        let proxy = builder("neondb_owner").tls();
        let proxy = if upstream == "tls" { under_tls(proxy) } else { proxy }.start().await;
        // Of a client that comes by TLS, Postgres under TLS would want to know why it doesn't bind.
        for (sslmode, binding) in [("disable", ""), ("verify-full", "channel_binding=disable")] {
            for output in drivers(&proxy, sslmode, binding).await {
                assert_eq!(output.stdout, b"neondb_owner neondb_owner\n", "{upstream} {sslmode}: {output:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_would_be_refused_for_not_binding_is_told_how_not_to_be() {
    let proxy = under_tls(builder("neondb_owner").tls()).start().await;
    let [psql, psycopg, node] = drivers(&proxy, "verify-full", "").await;
    for output in [&psql, &psycopg] {
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains("channel_binding=disable"), "{told}");
    }
    assert!(node.status.success(), "it does not speak of binding: {node:?}");

    let mut raw = proxy.raw().await;
    let scram = ScramSha256::new(b"owner", ChannelBinding::unrequested());
    let refused = log_in_as(&mut raw, scram, &[]).await;
    assert_eq!(refused[0].sqlstate(), "28000");
    assert_eq!(refused[0].field(b'M').as_deref(), Some("channel binding does not reach through the proxy"));
}

#[tokio::test]
async fn a_client_that_could_bind_gets_in_where_the_server_could_not() {
    let proxy = builder("neondb_owner").tls().start().await;
    for output in drivers(&proxy, "verify-full", "").await {
        assert_eq!(output.stdout, b"neondb_owner neondb_owner\n", "{output:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_postgress_own_error_byte_for_byte() {
    let (stage, proxy) = (Stage::get(), with_owner().await);
    let mut past = Raw::connect(&format!("127.0.0.1:{}", stage.postgres_port())).await;
    let own = log_in(&mut past, "hunter2", &[]).await;
    let told = log_in(&mut proxy.raw().await, "hunter2", &[]).await;
    assert_eq!(told, own);
    assert_eq!((Message::tags(&told), told[0].sqlstate()), ("E".to_owned(), "28P01".to_owned()));
    assert!(proxy.logs("password authentication failed").await.contains("connection refused"));
}

#[tokio::test]
async fn off_is_the_default_and_a_role_that_is_not_named_needs_a_token() {
    for proxy in [Proxy::start(Stage::get()).await, builder("somebody_else").start().await] {
        let error = proxy.refused_with(&config(&proxy, "neondb_owner", "owner")).await;
        assert_eq!((error.code().code(), error.message()), ("28P01", "token refused"));
    }
}

#[tokio::test]
async fn a_token_is_only_a_wrong_password_and_a_password_only_a_token_that_is_refused() {
    let (stage, proxy) = (Stage::get(), with_owner().await);
    let token = stage.token("alice").claim("role", "neondb_owner").to_string();
    let error = proxy.refused_with(&config(&proxy, "neondb_owner", &token)).await;
    assert_eq!((error.code().code(), error.routine()), ("28P01", Some("auth_failed")));

    for password in ["owner", "superuser"] {
        let error = proxy.refused_with(&config(&proxy, "authenticated", password)).await;
        assert_eq!((error.code().code(), error.message()), ("28P01", "token refused"));
    }
}

#[tokio::test]
async fn neither_a_served_role_nor_the_anonymous_one_nor_a_login_can_be_named() {
    for user in ["authenticated", "anonymous", "pgusher_authenticated"] {
        let mut proxy = builder(user).spawn().await;
        proxy.logs("passthrough.users").await;
        assert_eq!(proxy.exit_code().await, Some(78), "{user}");
    }
}

#[tokio::test]
async fn nobody_is_asked_in_clear_where_tls_is_required() {
    let stage = Stage::get();
    let proxy = builder("neondb_owner").tls().set("tls.required", "always").start().await;
    let mut raw = proxy.raw().await;
    raw.startup(&[("user", "neondb_owner"), ("database", "neondb")]).await;
    refused(&mut raw, "28000").await;

    let mut raw = proxy.raw().await;
    raw.send(&[0, 0, 0, 8, 4, 210, 22, 47]).await;
    assert_eq!(raw.byte().await, Some(b'S'));
    let mut raw = raw.into_tls(stage.authority.client_config(&[b"postgresql"])).await.expect("TLS");
    log_in(&mut raw, "owner", &[]).await;
    assert_eq!(raw.value(WHO).await, "neondb_owner neondb_owner");
}

#[tokio::test]
async fn a_role_that_the_server_lets_in_unasked_is_refused() {
    role("let_in_unasked", "PASSWORD 'owner'").await;
    let proxy = builder("let_in_unasked").start().await;
    let error = proxy.refused_with(&config(&proxy, "let_in_unasked", "owner")).await;
    assert_eq!((error.code().code(), error.message()), ("28000", "the database asks this role for no password"));
}

#[tokio::test]
async fn a_password_goes_in_clear_to_a_server_that_has_proved_who_it_is_and_hashed_where_that_is_allowed() {
    role("asked_in_clear", "PASSWORD 'hunter2'").await;
    let md5 = "SET password_encryption = 'md5'; DROP ROLE IF EXISTS asked_for_md5; \
        CREATE ROLE asked_for_md5 LOGIN PASSWORD 'hunter2'";
    Stage::get().superuser().await.batch_execute(md5).await.expect("a role");
    let users = "asked_in_clear,asked_for_md5";
    let strict = builder(users).start().await;
    for user in ["asked_in_clear", "asked_for_md5"] {
        let error = strict.refused_with(&config(&strict, user, "hunter2")).await;
        assert_eq!(error.code().code(), "57P03", "{user}");
    }
    let lenient = under_tls(builder(users)).set("upstream.allow_md5", true).start().await;
    for user in ["asked_in_clear", "asked_for_md5"] {
        let client = lenient.connect_with(&config(&lenient, user, "hunter2")).await;
        assert_eq!(value(&client, "SELECT session_user::text").await, user);
        assert_eq!(lenient.refused_with(&config(&lenient, user, "wrong")).await.code().code(), "28P01");
    }
    lenient.logs("\"passthrough\":true").await;
    assert!(lenient.log().iter().all(|line| !line.contains("hunter2")));
}

#[tokio::test]
async fn a_database_that_is_not_served_is_refused_to_those_who_have_shown_their_password() {
    let proxy = builder("neondb_owner").set("upstream.databases", "neondb").start().await;
    let mut elsewhere = config(&proxy, "neondb_owner", "owner");
    let error = proxy.refused_with(elsewhere.dbname("postgres")).await;
    assert_eq!((error.code().code(), error.message()), ("3D000", "database \"postgres\" does not exist"));
    let error = proxy.refused_with(elsewhere.password("wrong")).await;
    assert_eq!(error.code().code(), "28P01");
}

#[tokio::test]
async fn the_startup_packet_is_ours() {
    let proxy = with_owner().await;
    let mut raw = proxy.raw().await;
    log_in(&mut raw, "owner", &[("application_name", "migrations"), ("options", "-c work_mem=12MB")]).await;
    assert_eq!(raw.value("SHOW application_name").await, "migrations");
    assert_eq!(raw.value("SHOW work_mem").await, "12MB");
    for (name, code) in [("role", "42501"), ("session_preload_libraries", "42501"), ("replication", "0A000")] {
        let mut raw = proxy.raw().await;
        raw.startup(&[("user", "neondb_owner"), ("database", "neondb"), (name, "database")]).await;
        refused(&mut raw, code).await;
    }
}
