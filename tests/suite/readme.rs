//! The README, true to its last line: its blocks are run as they stand there, but for the addresses and the
//! answers to questions.

use std::path::{Path, PathBuf};

use jsonwebtoken::Algorithm;
use pgusher::demo::home::{Scratch, write_private};
use pgusher::demo::issuer::Issuer;
use pgusher::demo::keys::SigningKey;
use pgusher::demo::postgres::{Options, Postgres};
use pgusher::demo::programs::Programs;
use pgusher_tests::{Demo, binary, now};
use serde_json::json;
use tokio::process::Command;

/// The README's blocks of this language, in their order.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    let text = include_str!("../../README.md");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

#[test]
fn the_first_session_goes_as_written() {
    let demo = Demo::start(|_, _| ());
    let session = blocks("sh")[0].replace("~/demo.env", &demo.files().join("env").display().to_string());

    let said = demo.prints(&session);

    for words in ["alice   | Buy a ticket", "bob     | Rehearse", "refused, as it should be"] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
}

/// What the first configuration starts from: a Postgres that knows nothing of us, an administrator who is no superuser,
/// and an issuer.
struct Beginning {
    postgres: Postgres,
    issuer: Issuer,
    key: SigningKey,
    directory: Scratch,
}

impl Beginning {
    async fn new() -> Self {
        let directory = Scratch::new("tests").expect("a directory");
        let programs = std::env::var_os("PGUSHER_TEST_PG_BIN").map(PathBuf::from);
        let programs = Programs::find(programs.as_deref()).expect("Postgres is installed");
        let options = Options { password: "superuser".into(), ..Options::default() };
        let home = directory.path().join("postgres");
        let postgres = Postgres::start(&programs, &home, &options).await.expect("Postgres");
        let (superuser, connection) = postgres.superuser().connect(tokio_postgres::NoTls).await.expect("a superuser");
        tokio::spawn(connection);
        for statement in ["CREATE ROLE boss LOGIN CREATEROLE PASSWORD 'boss'", "CREATE DATABASE app OWNER boss"] {
            superuser.batch_execute(statement).await.expect(statement);
        }
        let key = SigningKey::generate(Algorithm::RS256).expect("a key");
        let issuer = Issuer::start(0, vec![key.public().clone()]).await.expect("an issuer");
        Self { postgres, issuer, key, directory }
    }

    /// A block with this run's addresses in it.
    fn adapted(&self, block: &str) -> String {
        block
            .replace("/etc/pgusher", &self.directory.path().join("conf").display().to_string())
            .replace(
                "postgres://postgres@127.0.0.1/app",
                &format!("postgres://boss:boss@127.0.0.1:{}/app", self.postgres.port()),
            )
            .replace("host = \"127.0.0.1\"", &format!("host = \"127.0.0.1\"\nport = {}", self.postgres.port()))
            .replace("https://tenant.auth0.com/.well-known/jwks.json", &self.issuer.jwks_url())
            .replace("https://tenant.auth0.com/", self.issuer.url())
            .replace("127.0.0.1:6432", "127.0.0.1:0")
            .replace("port=6432", "port=$PORT")
            .replace("http://127.0.0.1:6480", "http://127.0.0.1:$HTTP_PORT")
            .replace("127.0.0.1:6480", "127.0.0.1:0")
    }

    fn token(&self, subject: &str) -> String {
        let claims = json!({
            "iss": self.issuer.url(), "aud": ["https://api.example.com"], "sub": subject, "exp": now() + 600,
        });
        self.key.sign(claims.as_object().expect("an object")).expect("a token")
    }
}

/// In place of the last line of the block that runs the proxy, which does not return.
const SERVE: &str = r#"
pgusher serve 2> "$CONF/log" &
trap "kill $!" EXIT
until grep -q '"listening"' "$CONF/log"; do kill -0 $! || { cat "$CONF/log" >&2; exit 1; }; sleep 0.01; done
PORT=$(sed -n 's/.*"listening","address":"127.0.0.1:\([0-9]*\)".*/\1/p' "$CONF/log")
HTTP_PORT=$(sed -n 's/.*"HTTP","address":"127.0.0.1:\([0-9]*\)".*/\1/p' "$CONF/log")
"#;

/// What others see of alice's task.
const OTHERS: &str = r#"
echo "bob: $(PGPASSWORD=$OTHER_TOKEN psql "host=127.0.0.1 port=$PORT user=authenticated dbname=app" -Atc 'select count(*) from todos')"
psql "host=127.0.0.1 port=$PORT user=anonymous dbname=app" -c 'select from todos' 2>&1 || echo 'anonymous may not'
"#;

#[tokio::test]
async fn the_first_configuration_goes_as_written() {
    let beginning = Beginning::new().await;
    let [_, place, setup, policies, run, connect, http] = blocks("sh")[..] else {
        panic!("seven blocks for the shell")
    };
    let (check, serve) = run.trim_end().rsplit_once('\n').expect("three lines");
    assert_eq!(serve, "pgusher serve");
    // Of what release the Postgres of these tests is, is nothing that the guide could help.
    let toml = [blocks("toml")[0], "[safety]\nallow = [\"server-outdated\", \"server-end-of-life\"]\n"].concat();
    let toml = format!("cat > \"$CONF/proxy.toml\" <<'TOML'\n{toml}TOML\n");
    let tables = format!("psql \"$OWNER_URL\" --set ON_ERROR_STOP=1 <<'TABLES'\n{}TABLES\n", blocks("sql")[0]);
    // There is no terminal to answer at.
    let setup = setup.replace("--apply", "--apply --yes");
    let script = ["set -eu\n", place, &toml, &setup, &tables, policies, check, SERVE, connect, http, OTHERS].concat();
    let script = beginning.adapted(&script);
    write_private(&beginning.directory.path().join("script"), &script).expect("a file");

    let path =
        format!("{}:{}", binary().parent().expect("a directory").display(), std::env::var("PATH").expect("PATH"));
    let mut command = Command::new("sh");
    command.arg(beginning.directory.path().join("script")).env("PATH", path);
    command.env("TOKEN", beginning.token("auth0|alice")).env("OTHER_TOKEN", beginning.token("auth0|bob"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let output = command.output().await.expect("a shell");

    let [said, told] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
    assert!(output.status.success(), "{said}\n{told}");
    for words in [
        "is right; providers: 1, roles: 2",
        "0 critical, 0 high",
        "auth0|alice | Take a seat",
        r#"{"user_id":"auth0|alice","task":"Take a seat"}"#,
        "bob: 0",
        "anonymous may not",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}\n{told}");
    }
    beginning.postgres.stop().await.expect("Postgres");
}
