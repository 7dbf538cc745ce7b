//! The command line: what each command says, where, and with which exit code it ends.

use std::process::{Command, Output};

use jsonwebtoken::Algorithm;
use pgusher::demo::home::{Scratch, write_private};
use pgusher::demo::keys::SigningKey;
use pgusher_tests::{binary, now};
use serde_json::{Value, json};

/// The example in the root.
const EXAMPLE: &str = include_str!("../../proxy.toml");

/// A configuration that is right, of a Postgres that is not there.
const NOBODY_THERE: &str = r#"
[listen]
postgres = ["127.0.0.1:0"]
[upstream]
host = "127.0.0.1"
port = 1
[claims]
secret_file = "claims.secret"
[[role]]
name = "authenticated"
login = "pgusher_authenticated"
password_file = "authenticated.password"
[[provider]]
name = "shared"
issuer = "https://issuer.example.com/"
secret_file = "provider.secret"
audience = ["https://api.example.com"]
roles = ["authenticated"]
"#;

/// A directory to run commands in.
struct Directory(Scratch);

impl Directory {
    /// With this `proxy.toml`, and every secret that the texts here name.
    fn with(config: &str) -> Self {
        let directory = Self::without_secrets(config);
        directory.write("claims.secret", &"0a".repeat(32));
        directory.write("authenticated.password", "one secret");
        directory.write("anonymous.password", "another secret");
        directory.write("provider.secret", &"a long secret ".repeat(5));
        directory
    }

    fn without_secrets(config: &str) -> Self {
        let directory = Self(Scratch::new("tests").expect("a directory"));
        directory.write("proxy.toml", config);
        directory
    }

    fn write(&self, name: &str, text: &str) {
        write_private(&self.0.path().join(name), text).expect("a file");
    }

    fn run(&self, arguments: &[&str]) -> Told {
        self.run_with(&[], arguments)
    }

    fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Told {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.0.path()).env("XDG_STATE_HOME", self.0.path());
        command.envs(variables.iter().copied());
        command.output().expect("it runs").into()
    }
}

/// What a command said, and how it ended.
#[derive(Debug)]
struct Told {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
        Self { code: output.status.code(), out, err }
    }
}

#[test]
fn the_example_in_the_root_is_right_once_its_secrets_are_there() {
    let checked = Directory::with(EXAMPLE).run(&["config", "check"]);
    assert_eq!(checked.out, "proxy.toml is right; providers: 1, roles: 2\n", "{checked:?}");
    assert_eq!((checked.code, checked.err.as_str()), (Some(0), ""));
}

#[test]
fn the_example_in_the_root_lacks_nothing_but_its_secrets() {
    let checked = Directory::without_secrets(EXAMPLE).run(&["config", "check"]);
    for missing in ["claims.secret", "authenticated.password", "anonymous.password"] {
        let line =
            EXAMPLE.lines().position(|line| line.contains(&format!("_file = \"{missing}\""))).expect("it is there");
        assert!(checked.err.contains(&format!("error: proxy.toml:{}: ", line + 1)), "{checked:?}");
        assert!(
            checked.err.contains(&format!("there is no {missing}; `pgusher setup --apply` makes it")),
            "{checked:?}"
        );
    }
    assert!(checked.err.ends_with("3 errors in the configuration\n"), "{checked:?}");
    assert_eq!((checked.code, checked.out.as_str()), (Some(78), ""));
}

#[test]
fn every_error_of_a_configuration_is_told_at_once_with_its_line_and_what_was_meant() {
    let wrong = r#"
[listen]
postgres = ["6432"]
[upstream]
host = "127.0.0.1"
sslmode = "verify-ful"
[claims]
secret_file = "claims.secret"
[[role]]
name = "authenticated"
login = "pgusher_authenticated"
password_fil = "authenticated.password"
[[provider]]
name = "auth0"
issuer = "https://tenant.auth0.com/"
roles = ["authentcated"]
leeway = 30
[pool]
defualt_pool_size = 5
"#;
    let directory = Directory::with(wrong);
    for command in [["config", "check"].as_slice(), &["serve"], &["token", "explain", "x"]] {
        let told = directory.run(command);
        let errors: Vec<_> = told.err.lines().collect();
        for (error, (line, key, words)) in errors.iter().zip([
            (3, "listen.postgres", "\"6432\""),
            (6, "upstream.sslmode", "did you mean \"verify-full\"?"),
            (12, "role[0].password_fil", "unknown key; did you mean \"password_file\"?"),
            (16, "provider[0].roles", "did you mean \"authenticated\"?"),
            (17, "provider[0].leeway", "a duration with its unit is expected, such as \"30s\""),
            (19, "pool.defualt_pool_size", "unknown key; did you mean \"default_pool_size\"?"),
        ]) {
            assert!(error.starts_with(&format!("error: proxy.toml:{line}: {key}: ")), "{told:#?}");
            assert!(error.contains(words), "{told:#?}");
        }
        assert_eq!(errors[6..], ["6 errors in the configuration"]);
        assert_eq!((told.code, told.out.as_str()), (Some(78), ""));
    }
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_an_error_of_the_configuration() {
    let directory = Directory::with("[listen\n");
    for (arguments, error) in [
        (["config", "check", "--config", "proxy.toml"], "error: proxy.toml:1: "),
        (["config", "check", "--config", "missing.toml"], "error: missing.toml: cannot be read: No such file"),
        (
            ["serve", "--config", "missing.toml", "--set=pool.default_pool_size=1"],
            "error: missing.toml: cannot be read",
        ),
    ] {
        let told = directory.run(&arguments);
        assert!(told.err.starts_with(error), "{told:?}");
        assert_eq!(told.code, Some(78));
    }
}

#[test]
fn the_environment_goes_over_the_file_and_the_command_line_over_both() {
    let directory = Directory::with(NOBODY_THERE);
    let variable = [("PGUSHER_UPSTREAM__PORT", "2")];
    for (variables, arguments, port) in [
        (&[][..], ["serve"].as_slice(), "1"),
        (&variable, &["serve"], "2"),
        (&variable, &["serve", "--set", "upstream.port=3"], "3"),
    ] {
        let told = directory.run_with(variables, arguments);
        assert!(told.err.contains(&format!("cannot connect to 127.0.0.1:{port}: ")), "{told:?}");
    }
}

#[test]
fn an_error_in_the_environment_or_the_command_line_names_its_place() {
    let directory = Directory::with(NOBODY_THERE);
    for (name, value, error) in [
        (
            "PGUSHER_POOL__DEFAULT_POOL_SIZE",
            "many",
            "PGUSHER_POOL__DEFAULT_POOL_SIZE: pool.default_pool_size: an integer",
        ),
        (
            "PGUSHER_POOL__DEFAULT_POOL_SIZ",
            "5",
            "PGUSHER_POOL__DEFAULT_POOL_SIZ: pool.default_pool_siz: unknown key; did",
        ),
        ("PGUSHER_POOL_DEFAULT_POOL_SIZE", "5", "PGUSHER_POOL_DEFAULT_POOL_SIZE: table and key are separated by two"),
    ] {
        let told = directory.run_with(&[(name, value)], &["config", "check"]);
        assert!(told.err.starts_with(&format!("error: environment variable {error}")), "{told:?}");
        assert_eq!(told.code, Some(78));
    }
    let told = directory.run(&["config", "check", "--set", "pool.pool_mode=sesion"]);
    assert!(told.err.starts_with("error: --set pool.pool_mode: "), "{told:?}");
    assert!(told.err.contains("did you mean \"session\"?"), "{told:?}");
}

#[test]
fn the_environment_may_name_the_file() {
    let directory = Directory::with("");
    directory.write("other.toml", NOBODY_THERE);
    let told = directory.run_with(&[("PGUSHER_CONFIG", "other.toml")], &["config", "check"]);
    assert_eq!(told.out, "other.toml is right; providers: 1, roles: 1\n", "{told:?}");
}

#[test]
fn wrong_usage_is_told_with_the_right_one() {
    let directory = Directory::with(NOBODY_THERE);
    for (arguments, words) in [
        (["serv"].as_slice(), "'serve'"),
        (&["serve", "--conf", "x"], "--config"),
        (&["demo", "--ports", "1,2"], "three or four ports are expected"),
        (&["token", "mint"], "--sub <SUBJECT>"),
        (&["token", "mint", "--sub", "a", "--claim", "tenant=acme"], "a string needs its quotes: tenant='\"text\"'"),
        (&["token", "mint", "--sub", "a", "--ttl", "soon"], "'--ttl <DURATION>'"),
        (&[], "Usage: pgusher <COMMAND>"),
    ] {
        let told = directory.run(arguments);
        assert!(told.err.contains(words), "{told:?}");
        assert_eq!((told.code, told.out.as_str()), (Some(2), ""));
    }
}

#[test]
fn help_is_no_error_and_names_what_there_is() {
    let directory = Directory::with(NOBODY_THERE);
    for (arguments, words) in [
        (["--help"].as_slice(), ["serve", "demo", "token", "config", "  69  ", "  78  ", "proxy.toml"].as_slice()),
        (&["serve", "--help"], &["--config", "PGUSHER_CONFIG", "proxy.toml", "--set", "SIGTERM"]),
        (&["demo", "--help"], &["--ports", "6432,6480,6481,3000", "--data", "--env-file", "--app", "Ctrl-C"]),
        (&["token", "mint", "--help"], &["--sub", "--role", "--ttl", "15min", "--claim", "NAME=JSON"]),
        (&["token", "explain", "--help"], &["<TOKEN>", "standard input", "--role", "--config"]),
        (&["config", "check", "--help"], &["every error", "--config"]),
    ] {
        let told = directory.run(arguments);
        assert!(words.iter().all(|word| told.out.contains(word)), "{words:?} in {}", told.out);
        assert_eq!((told.code, told.err.as_str()), (Some(0), ""));
    }
}

#[test]
fn nothing_is_minted_where_no_demo_runs() {
    let directory = Directory::with(NOBODY_THERE);
    let told = directory.run(&["token", "mint", "--sub", "alice"]);
    assert!(told.err.contains("no demo is running: start one with `pgusher demo`"), "{told:?}");
    assert_eq!(told.code, Some(1));

    let told = directory.run(&["token", "mint", "--sub", "alice", "--config", "proxy.toml"]);
    assert!(told.err.contains("cannot read the issuer's key issuer.json"), "{told:?}");
    assert_eq!(told.code, Some(1));
}

#[test]
fn an_address_in_use_is_a_failure_that_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = taken.local_addr().expect("an address").to_string();
    let told = Directory::with(NOBODY_THERE).run(&["serve", "--set", &format!("listen.postgres={address}")]);
    assert!(told.err.contains(&format!("error: cannot listen on {address}: Address already in use")), "{told:?}");
    assert_eq!(told.code, Some(1));
}

#[test]
fn an_upstream_or_issuer_that_is_not_there_at_start_has_its_own_exit_code() {
    let without_issuer = NOBODY_THERE
        .replace("issuer = \"https://issuer.example.com/\"", "issuer = \"http://127.0.0.1:1\"")
        .replace("secret_file = \"provider.secret\"", "");
    for (config, error) in [
        (
            NOBODY_THERE,
            "error: upstream, database postgres, login pgusher_authenticated: cannot connect to 127.0.0.1:1: ",
        ),
        (&without_issuer, "error: provider shared: "),
    ] {
        let told = Directory::with(config).run(&["serve"]);
        assert!(told.err.contains(error), "{told:?}");
        assert_eq!((told.code, told.out.as_str()), (Some(69), ""));
    }
    let token = signed_by_a_stranger(&json!("http://127.0.0.1:1"));
    let told = Directory::with(&without_issuer).run(&["token", "explain", &token]);
    assert!(told.out.starts_with("REFUSED: ") && told.out.contains("Cause: "), "{told:?}");
    assert_eq!((told.code, told.err.as_str()), (Some(69), ""));
}

#[test]
fn a_refusal_is_explained_by_its_rule_and_its_remedy() {
    let directory = Directory::with(NOBODY_THERE);
    let stranger = signed_by_a_stranger(&json!("https://elsewhere.example.com/"));
    for (token, words) in [
        ("hunter2", "REFUSED: not a JWT"),
        ("Bearer x.y.z", "Hint: Send the token alone"),
        (&stranger, "REFUSED: no provider has the issuer \"https://elsewhere.example.com/\""),
    ] {
        let told = directory.run(&["token", "explain", token]);
        assert!(told.out.contains(words), "{told:?}");
        assert_eq!((told.code, told.err.as_str()), (Some(1), ""));
    }
}

/// A token that is good but for its key.
fn signed_by_a_stranger(issuer: &Value) -> String {
    let claims = json!({"iss": issuer, "aud": "https://api.example.com", "sub": "alice", "exp": now() + 600});
    let key = SigningKey::generate(Algorithm::ES256).expect("a key");
    key.sign(claims.as_object().expect("an object")).expect("a token")
}

#[test]
fn what_makes_a_configuration_weak_is_told_by_check_and_at_start() {
    let config = NOBODY_THERE.replace("audience = [\"https://api.example.com\"]\n", "");
    let directory = Directory::with(&config);
    let warning = "provider[0].audience: names nobody";
    let checked = directory.run(&["config", "check"]);
    assert!(checked.code == Some(0) && checked.out.starts_with("warning: proxy.toml:"), "{checked:?}");
    assert!(checked.out.contains(warning), "{checked:?}");

    let served = directory.run(&["serve", "--set", "log.format=text"]);

    assert!(served.err.contains("WARN") && served.err.contains(warning), "{served:?}");
}
