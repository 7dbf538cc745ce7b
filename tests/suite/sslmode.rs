//! libpq's six words for TLS, on both sides: a libpq's towards the proxy, the proxy's own towards Postgres.

use std::path::Path;

use pgusher_tests::{Authority, Proxy, ProxyBuilder, Stage, message, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

const CLEAR: Option<bool> = Some(false);
const TLS: Option<bool> = Some(true);
const REFUSED: Option<bool> = None;

/// How psql comes to read alice's rows with each mode: under TLS, in clear, or not at all.
async fn psql(proxy: &Proxy, host: &str, root: &Path) -> [Option<bool>; 6] {
    let mut outcomes = [REFUSED; 6];
    for (mode, outcome) in MODES.iter().zip(&mut outcomes) {
        let mut psql = Command::new("psql");
        psql.env("PGPASSWORD", Stage::get().token("alice").to_string());
        psql.args(["-X", "-At", "-c", "SELECT count(*) FROM todos", "-c", r"\conninfo"]).arg(format!(
            "host={host} hostaddr=127.0.0.1 port={} user=authenticated dbname=neondb sslmode={mode} sslrootcert={}",
            proxy.port(),
            root.display()
        ));
        let output = wait::within("psql", psql.output()).await.expect("psql runs");
        let said = String::from_utf8_lossy(&output.stdout);
        *outcome = output.status.success().then(|| said.contains("SSL connection"));
        assert_eq!(said.starts_with("3\n"), output.status.success(), "{output:?}");
    }
    outcomes
}

#[tokio::test]
async fn a_proxy_with_a_certificate_gives_tls_to_whoever_wants_it() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).tls().start().await;
    let other = Authority::new(proxy.directory());
    let good = psql(&proxy, "localhost", &stage.authority.file).await;
    assert_eq!(good, [CLEAR, CLEAR, TLS, TLS, TLS, TLS]);
    let misnamed = psql(&proxy, "127.0.0.1", &stage.authority.file).await;
    assert_eq!(misnamed, [CLEAR, CLEAR, TLS, TLS, TLS, REFUSED]);
    let untrusted = psql(&proxy, "localhost", &other.file).await;
    assert_eq!(untrusted, [CLEAR, CLEAR, CLEAR, REFUSED, REFUSED, REFUSED]);
}

#[tokio::test]
async fn a_proxy_without_a_certificate_serves_whoever_can_do_without() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let outcomes = psql(&proxy, "localhost", &stage.authority.file).await;
    assert_eq!(outcomes, [CLEAR, CLEAR, CLEAR, REFUSED, REFUSED, REFUSED]);
}

#[tokio::test]
async fn where_tls_is_always_required_allow_goes_over_to_it() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).tls().set("tls.required", "always").start().await;
    let outcomes = psql(&proxy, "localhost", &stage.authority.file).await;
    assert_eq!(outcomes, [REFUSED, TLS, TLS, TLS, TLS, TLS]);
}

/// psql is often older; the libpq of psycopg's wheel knows `sslnegotiation`.
#[tokio::test]
async fn libpqs_direct_negotiation_works() {
    const SCRIPT: &str = "import sys, psycopg\n\
        with psycopg.connect(sys.argv[1]) as c: print(c.execute('SELECT count(*) FROM todos').fetchone()[0])";
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).tls().start().await;
    let mut python = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/drivers/.venv/bin/python"));
    python.env("PGPASSWORD", stage.token("alice").to_string()).args(["-c", SCRIPT]).arg(format!(
        "host=localhost hostaddr=127.0.0.1 port={} user=authenticated dbname=neondb sslmode=verify-full \
         sslnegotiation=direct sslrootcert={}",
        proxy.port(),
        stage.authority.file.display()
    ));
    let output = wait::within("psycopg", python.output()).await.expect("tests/drivers/install.sh has run");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "3\n", "{output:?}");
}

/// A proxy that reaches Postgres like this.
fn towards(host: &str, port: u16, mode: &str, root: &Path) -> ProxyBuilder<'static> {
    let proxy = Proxy::builder(Stage::get()).set("upstream.host", host).set("upstream.port", port);
    proxy.set("upstream.sslmode", mode).set("upstream.sslrootcert", root.display())
}

/// How the proxy's session in Postgres comes about with each mode: under TLS, in clear, or not at all.
async fn upstream(host: &str, port: u16, root: &Path, expected: [Option<bool>; 6]) {
    for (mode, expected) in MODES.iter().zip(expected) {
        let proxy = towards(host, port, mode, root);
        match expected {
            REFUSED => assert_eq!(proxy.spawn().await.exit_code().await, Some(69), "{mode}"),
            Some(tls) => assert_eq!(is_under_tls(&proxy.start().await).await, tls, "{mode}"),
        }
    }
}

/// Whether Postgres sees TLS on a session.
async fn is_under_tls(proxy: &Proxy) -> bool {
    let stage = Stage::get();
    let client = proxy.connect(&stage.token("alice")).await;
    let row = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a row");
    let superuser = stage.superuser().await;
    let seen = superuser.query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = $1", &[&row.get::<_, i32>(0)]).await;
    seen.expect("a row").get(0)
}

#[tokio::test]
async fn a_postgres_with_the_right_certificate_is_reached_with_every_mode() {
    let stage = Stage::get();
    let expected = [CLEAR, CLEAR, TLS, TLS, TLS, TLS];
    upstream("localhost", stage.postgres_port(), &stage.authority.file, expected).await;
}

#[tokio::test]
async fn a_postgres_with_another_name_is_not_reached_with_verify_full() {
    let stage = Stage::get();
    let expected = [CLEAR, CLEAR, TLS, TLS, TLS, REFUSED];
    upstream("127.0.0.1", stage.postgres_port(), &stage.authority.file, expected).await;
}

#[tokio::test]
async fn a_postgres_that_a_stranger_certified_is_reached_only_where_clear_will_do() {
    let stage = Stage::get();
    let other = Authority::new(stage.files());
    let expected = [CLEAR, CLEAR, CLEAR, REFUSED, REFUSED, REFUSED];
    upstream("localhost", stage.postgres_port(), &other.file, expected).await;
}

#[tokio::test]
async fn a_postgres_without_tls_is_reached_only_where_clear_will_do() {
    let stage = Stage::get();
    let expected = [CLEAR, CLEAR, CLEAR, REFUSED, REFUSED, REFUSED];
    upstream("localhost", front(Encryption::Declined).await, &stage.authority.file, expected).await;
}

#[tokio::test]
async fn a_postgres_that_insists_on_tls_is_reached_with_every_mode_but_disable() {
    let stage = Stage::get();
    let expected = [REFUSED, TLS, TLS, TLS, TLS, TLS];
    upstream("localhost", front(Encryption::Demanded).await, &stage.authority.file, expected).await;
}

/// What the first packet holds of whoever asks for TLS.
const SSL_REQUEST: [u8; 4] = [0x04, 0xd2, 0x16, 0x2f];

/// How Postgres refuses whom `hostssl` does not fit.
const NO_ENTRY: &[u8] = b"SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry for this host, no encryption\0\0";

/// What a server does about encryption: has none (`ssl = off`), or lets nobody in without (`hostssl`).
#[derive(Clone, Copy)]
enum Encryption {
    Declined,
    Demanded,
}

/// Listens in front of the stage's Postgres as one that is configured differently.
async fn front(encryption: Encryption) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass(client, encryption));
        }
    });
    port
}

async fn pass(mut client: TcpStream, encryption: Encryption) -> std::io::Result<()> {
    let length = client.read_u32().await?;
    let mut packet = vec![0; length as usize - 4];
    client.read_exact(&mut packet).await?;
    let mut server = TcpStream::connect(("127.0.0.1", Stage::get().postgres_port())).await?;
    match (encryption, packet == SSL_REQUEST) {
        (Encryption::Declined, true) => client.write_all(b"N").await?,
        (Encryption::Demanded, false) => return client.write_all(&message(b'E', NO_ENTRY)).await,
        _ => server.write_all(&[&length.to_be_bytes(), &packet[..]].concat()).await?,
    }
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}
