//! What a demo tells its user when it is ready: lines to paste into a terminal, and the same as assignments for scripts.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::json;

use super::configuration::Addresses;
use super::database::{ANONYMOUS, DATABASE};
use super::issuer::CLIENT;
use super::token::{AUDIENCE, ROLE};

/// The demo's addresses and tokens.
pub(super) struct Facts {
    /// Where everything is.
    pub(super) addresses: Addresses,
    /// The name of the key that signs claims in the database; every signed text shows it.
    pub(super) kid: String,
    /// A token of the user alice, valid for a working day.
    pub(super) alice: String,
    /// The same for bob.
    pub(super) bob: String,
    /// One of alice's that has expired.
    pub(super) expired: String,
    /// One in alice's name that a stranger signed.
    pub(super) forged: String,
    /// A direct connection to the database as its owner.
    pub(super) owner_url: String,
    /// The issuer.
    pub(super) issuer_url: String,
    /// Whether an application runs with it.
    pub(super) has_app: bool,
    /// The configuration that the proxy runs with.
    pub(super) config: PathBuf,
    /// This program, as a shell finds it.
    pub(super) program: PathBuf,
}

impl Facts {
    /// What scripts and the application get to know, in the order of the manual.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let Addresses { postgres, http, admin, app } = self.addresses;
        vec![
            ("PGHOST", postgres.ip().to_string()),
            ("PGPORT", postgres.port().to_string()),
            ("PGDATABASE", DATABASE.to_owned()),
            ("PGUSER", ROLE.to_owned()),
            ("ALICE", self.alice.clone()),
            ("BOB", self.bob.clone()),
            ("EXPIRED", self.expired.clone()),
            ("FORGED", self.forged.clone()),
            ("OWNER_URL", self.owner_url.clone()),
            ("ISSUER_URL", self.issuer_url.clone()),
            ("CONFIG", self.config.display().to_string()),
            ("HTTP_URL", format!("http://{http}")),
            ("ADMIN_URL", format!("http://{admin}")),
            ("APP_URL", format!("http://{app}")),
            ("CLIENT_ID", CLIENT.to_owned()),
            ("AUDIENCE", AUDIENCE.to_owned()),
            // By the names of the guide that the demo follows.
            ("DATABASE_URL", self.owner_url.clone()),
            ("DATABASE_AUTHENTICATED_URL", format!("postgres://{ROLE}@{postgres}/{DATABASE}")),
        ]
    }

    /// The same as shell assignments, one a line.
    pub(super) fn assignments(&self) -> String {
        self.variables().iter().fold(String::new(), |mut text, (name, value)| {
            let _ = writeln!(text, "{name}={}", quoted(value));
            text
        })
    }

    /// The welcome on the terminal.
    pub(super) fn welcome(&self) -> String {
        let todos = "select id, user_id, task, is_complete from todos";
        let forgery =
            format!("set pgusher.claims = '{} claims1 {} 1 4102444800 {{\"sub\":\"bob\"}}'", "0".repeat(64), self.kid);
        format!(
            "\
pgusher  {proxy}, database {DATABASE}; http://{http}; metrics at http://{admin}/metrics
issuer   {issuer}
Postgres {owner}
config   {config}
{app}
# Alice sees her rows
{alice}

# Bob sees his, by the same statement
{bob}

# Alice asks by HTTP, as Neon's serverless driver does
{http_query}

# Anonymous needs no token, and reads what is for everybody
{anonymous}

# Alice writes claims of her own that say she is bob: the database refuses them (28000)
{forger}

# A stranger signs a token in alice's name: pgusher refuses it (28P01)
{stranger}

# A token for somebody else, while the demo runs
{mint}

Ctrl-C ends the demo.
",
            proxy = self.addresses.postgres,
            http = self.addresses.http,
            admin = self.addresses.admin,
            app = if self.has_app { format!("app      http://{}\n", self.addresses.app) } else { String::new() },
            issuer = self.issuer_url,
            owner = self.owner_url,
            config = self.config.display(),
            alice = self.psql(ROLE, Some(&self.alice), &[todos]),
            bob = self.psql(ROLE, Some(&self.bob), &[todos]),
            http_query = self.curl(&self.alice, todos),
            anonymous = self.psql(ANONYMOUS, None, &["select title, body from posts"]),
            forger = self.psql(ROLE, Some(&self.alice), &[&forgery, todos]),
            mint = self.mint("carol"),
            stranger = self.psql(ROLE, Some(&self.forged), &[todos]),
        )
    }

    fn mint(&self, sub: &str) -> String {
        let [program, config] = [&self.program, &self.config].map(|path| quoted(&path.display().to_string()));
        format!("{program} token mint --sub {sub} --config {config}")
    }

    /// The same for a request.
    fn curl(&self, token: &str, statement: &str) -> String {
        let url = format!("http://{}/sql", self.addresses.http);
        let [bearer, body] = [format!("Authorization: Bearer {token}"), json!({"query": statement}).to_string()];
        format!("curl -sS {} -H {} -d {}", quoted(&url), quoted(&bearer), quoted(&body))
    }

    /// A command line for any POSIX shell, complete in itself.
    fn psql(&self, user: &str, token: Option<&str>, statements: &[&str]) -> String {
        let password = token.map_or(String::new(), |token| format!("PGPASSWORD={} ", quoted(token)));
        let target = format!(
            "host={} port={} user={user} dbname={}",
            self.addresses.postgres.ip(),
            self.addresses.postgres.port(),
            DATABASE
        );
        statements
            .iter()
            .fold(format!("{password}psql {}", quoted(&target)), |line, sql| format!("{line} -c {}", quoted(sql)))
    }
}

/// A word that every POSIX shell reads as `text`, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn facts() -> Facts {
        Facts {
            addresses: Addresses {
                postgres: ([127, 0, 0, 1], 6432).into(),
                http: ([127, 0, 0, 1], 6480).into(),
                admin: ([127, 0, 0, 1], 6481).into(),
                app: ([127, 0, 0, 1], 3000).into(),
            },
            has_app: true,
            kid: "0123456789abcdef".into(),
            alice: "alice.s.token".into(),
            bob: "bob.s.token".into(),
            expired: "expired.token".into(),
            forged: "forged.token".into(),
            owner_url: "postgres://neondb_owner:secret@127.0.0.1:5432/neondb".into(),
            issuer_url: "http://127.0.0.1:1".into(),
            config: "/tmp/it's here/$HOME `ls`/proxy.toml".into(),
            program: "pgusher".into(),
        }
    }

    fn shell(script: &str) -> String {
        let output = Command::new("sh").args(["-c", script]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_shell_reads_back_every_value_of_the_env_file() {
        let facts = facts();
        let script = format!("{}printf %s \"$CONFIG|$ALICE\"", facts.assignments());
        let expected = format!("{}|{}", facts.config.display(), facts.alice);
        assert_eq!(shell(&script), expected);
    }

    #[test]
    fn the_env_file_names_every_variable_of_its_contract() {
        let text = facts().assignments();
        let names: Vec<_> = text.lines().filter_map(|line| line.split('=').next()).collect();
        let expected = "PGHOST PGPORT PGDATABASE PGUSER ALICE BOB EXPIRED FORGED OWNER_URL ISSUER_URL CONFIG \
                        HTTP_URL ADMIN_URL APP_URL CLIENT_ID AUDIENCE DATABASE_URL DATABASE_AUTHENTICATED_URL";
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn a_pasted_line_keeps_the_quotes_inside_its_statement() {
        let line = facts().psql("u", Some("t"), &["select 'it''s'"]);
        let script = format!("psql() {{ printf '%s\\n' \"$PGPASSWORD\" \"$@\"; }}; {line}");
        let expected = "t\nhost=127.0.0.1 port=6432 user=u dbname=neondb\n-c\nselect 'it''s'\n";
        assert_eq!(shell(&script), expected);
    }

    #[test]
    fn the_applications_url_is_told_if_there_is_one() {
        let with = facts().welcome();
        assert!(with.contains("\napp      http://127.0.0.1:3000\n\n# Alice"), "{with}");
        let without = Facts { has_app: false, ..facts() }.welcome();
        assert!(!without.contains("app   ") && without.contains("proxy.toml\n\n# Alice"), "{without}");
    }

    #[test]
    fn the_anonymous_line_has_no_password() {
        let text = facts().welcome();
        let line = text.lines().find(|line| line.contains("user=anonymous"));
        assert!(line.unwrap().starts_with("psql "));
    }
}
