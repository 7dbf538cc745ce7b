//! Each way in which a configuration can be wrong, and what its author is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;

/// The least that works: every test adds its line.
const LEAST: &str = r#"
[upstream]
host = "127.0.0.1"
[claims]
secret_file = "claims.secret"
[[role]]
name = "authenticated"
login = "login"
[[provider]]
name = "auth0"
issuer = "https://tenant.auth0.com/"
roles = ["authenticated"]
"#;

/// A directory with the secrets of [`LEAST`] and of the example, gone with the value.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pgusher-config-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(&directory.0).unwrap();
        directory.write("claims.secret", &"0a".repeat(32));
        directory.write("authenticated.password", "secret\n");
        directory.write("anonymous.password", "secret\n");
        directory
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn load(&self, text: &str, overrides: &Overrides) -> Result<(Config, Vec<Problem>), String> {
        let path = self.write("proxy.toml", text);
        Config::load(&path, overrides).map_err(|errors| {
            let directory = format!("{}/", self.0.display());
            errors.to_string().replace(&directory, "")
        })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn load(text: &str) -> Config {
    match Directory::new().load(text, &Overrides::default()) {
        Ok((config, _)) => config,
        Err(errors) => panic!("{errors}"),
    }
}

fn warnings(text: &str) -> Vec<String> {
    let (_, warnings) = Directory::new().load(text, &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
    warnings.into_iter().map(|warning| format!("{}: {}", warning.key, warning.message)).collect()
}

/// The errors, without the count at the end.
fn errors(text: &str) -> Vec<String> {
    errors_with(text, &Overrides::default())
}

fn errors_with(text: &str, overrides: &Overrides) -> Vec<String> {
    let errors = Directory::new().load(text, overrides).err().unwrap_or_default();
    errors.lines().filter_map(|line| line.strip_prefix("error: ")).map(str::to_owned).collect()
}

fn variables(pairs: &[(&str, &str)]) -> Overrides {
    Overrides::new(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())), Vec::new())
}

fn settings(settings: &[&str]) -> Overrides {
    Overrides::new([], settings.iter().map(|setting| (*setting).into()).collect())
}

/// Asserts that there is one error, and that it has all of `parts` in it.
#[track_caller]
fn assert_error(errors: &[String], parts: &[&str]) {
    assert_eq!(errors.len(), 1, "{errors:#?}");
    for part in parts {
        assert!(errors[0].contains(part), "{part:?} is not in {:?}", errors[0]);
    }
}

/// `LEAST` with `lines` put under `[table]`, which may be one of its own.
fn least_with(table: &str, lines: &str) -> String {
    let header = format!("{table}\n");
    if LEAST.contains(&header) {
        LEAST.replacen(&header, &format!("{header}{lines}\n"), 1)
    } else {
        format!("{LEAST}{header}{lines}\n")
    }
}

#[test]
fn the_example_loads_without_a_warning() {
    let example = include_str!("../../../../proxy.toml");
    let (config, warnings) = Directory::new().load(example, &Overrides::default()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(warnings, []);
    assert_eq!(config.anonymous.as_deref(), Some("anonymous"));
    assert_eq!(config.roles["authenticated"].user, "pgusher_authenticated");
}

#[test]
fn the_example_shows_the_defaults() {
    let (example, least) = (load(include_str!("../../../../proxy.toml")), load(LEAST));
    assert_eq!(example.listen, least.listen);
    assert_eq!(example.pool, least.pool);
    assert_eq!(example.session, least.session);
    assert_eq!(example.log, least.log);
    assert_eq!(example.upstream.databases, least.upstream.databases);
    assert_eq!(example.upstream.settings, least.upstream.settings);
}

#[test]
fn the_examples_comments_are_keys_too() {
    // Whatever stands behind a "# " and looks like a key or table must at least be known.
    let example = include_str!("../../../../proxy.toml");
    let uncommented: String = example.lines().map(|line| format!("{}\n", uncommented(line))).collect();
    let errors = errors(&uncommented);
    assert!(!errors.iter().any(|error| error.contains("unknown")), "{errors:#?}");
}

fn uncommented(line: &str) -> &str {
    let key = |text: &str| text.starts_with('[') || text.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let alternative = |text: &str| text.starts_with("postgres");
    line.strip_prefix("# ").filter(|text| key(text) && !alternative(text)).unwrap_or(line)
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = load(LEAST);
    assert_eq!(config.listen.postgres, [Address::Tcp("127.0.0.1:6432".parse().unwrap())]);
    assert_eq!(config.pool.max_client_conn, 10_000);
    assert_eq!(config.pool.default_pool_size, 20);
    assert_eq!(config.session.client_login_timeout, Duration::from_secs(15));
    assert_eq!(config.upstream.connect.connect_timeout, Duration::from_secs(5));
    assert!(config.session.auth_error_detail && !config.upstream.connect.allow_md5 && config.tls.is_none());
}

#[test]
fn all_errors_are_reported_each_with_its_line() {
    let errors = errors("[pool]\npool_size = 3\ndefault_pool_size = 0\n[upstream]\n");
    let places: Vec<_> = errors.iter().map(|error| error.split_once(": ").unwrap().0).collect();
    assert!(places.contains(&"proxy.toml:2") && places.contains(&"proxy.toml:3"), "{errors:#?}");
    assert!(errors.iter().any(|error| error == "proxy.toml:4: upstream.host: missing"), "{errors:#?}");
    assert!(errors.iter().any(|error| error.contains("claims.secret_file: missing")), "{errors:#?}");
    assert!(errors.iter().any(|error| error.contains("nobody could connect")), "{errors:#?}");
}

#[test]
fn an_unknown_key_is_told_its_nearest_neighbour() {
    let errors = errors(&least_with("[pool]", "defualt_pool_size = 3"));
    assert_error(&errors, &["proxy.toml:14: pool.defualt_pool_size: unknown key; did you mean \"default_pool_size\"?"]);
}

#[test]
fn an_unknown_table_is_told_its_nearest_neighbour() {
    assert_error(&errors(&least_with("[pol]", "")), &["pol: unknown key; did you mean \"pool\"?"]);
}

#[test]
fn a_key_in_the_wrong_table_is_told_the_right_one() {
    assert_error(&errors(&least_with("[upstream]", "expiry_grace = '1s'")), &["it belongs into [session]"]);
}

#[test]
fn what_is_no_toml_is_reported_alone() {
    let errors = errors("[pool\nx = \n");
    assert!(!errors.is_empty() && errors.iter().all(|error| error.starts_with("proxy.toml:")), "{errors:#?}");
    assert!(!errors.iter().any(|error| error.contains("missing")), "{errors:#?}");
}

#[test]
fn a_file_that_is_not_there_is_reported() {
    let errors = Config::load(Path::new("/nonexistent/proxy.toml"), &Overrides::default()).err().unwrap();
    assert!(errors.to_string().contains("/nonexistent/proxy.toml: cannot be read: No such file"), "{errors}");
}

#[test]
fn values_have_their_types_and_ranges() {
    for (line, expected) in [
        ("default_pool_size = '20'", "an integer from 1 to 100000 is expected"),
        ("default_pool_size = 99999999999999999999999", "an integer from 1 to 100000 is expected"),
        ("default_pool_size = -1", "an integer from 1 to 100000 is expected"),
        ("query_wait_timeout = 30", "a duration with its unit is expected"),
        ("query_wait_timeout = '30'", "a duration such as \"30s\""),
        ("query_wait_timeout = '0s'", "a duration from 1ms to 1day is expected"),
        ("pool_mode = 'sesion'", "did you mean \"session\"?"),
        ("pool_mode = ['session']", "a string is expected, not an array"),
    ] {
        assert_error(&errors(&least_with("[pool]", line)), &[expected]);
    }
    assert_error(&errors(&least_with("[session]", "auth_error_detail = 1")), &["true or false is expected"]);
    assert_error(&errors(&format!("pool = 3\n{LEAST}")), &["pool: a table is expected, not an integer"]);
}

#[test]
fn what_this_version_lacks_is_refused() {
    for (table, line) in [
        ("[listen]", "http = '127.0.0.1:6480'"),
        ("[listen]", "admin = '127.0.0.1:6481'"),
        ("[pool]", "pool_mode = 'transaction'"),
        ("[pool]", "server_idle_timeout = '10min'"),
        ("[pool]", "client_idle_timeout = '0s'"),
        ("[claims]", "mode = 'pg_session_jwt'"),
    ] {
        assert_error(&errors(&least_with(table, line)), &["not available in this version"]);
    }
}

#[test]
fn listen_takes_addresses_and_socket_directories() {
    let config = load(&least_with("[listen]", "postgres = ['[::1]:7000', '/run/pgusher']"));
    let shown: Vec<_> = config.listen.postgres.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["[::1]:7000", "/run/pgusher/.s.PGSQL.7000"]);
}

#[test]
fn listen_refuses_what_is_no_address() {
    for wrong in ["'localhost:6432'", "'6432'", "'127.0.0.1'", "''", "[]", "['127.0.0.1:1', '127.0.0.1:1']"] {
        assert_error(&errors(&least_with("[listen]", &format!("postgres = {wrong}"))), &["listen.postgres: "]);
    }
    let long = format!("postgres = '/{}'", "x".repeat(100));
    assert_error(&errors(&least_with("[listen]", &long)), &["too long for a Unix socket"]);
}

#[test]
fn a_remote_address_without_tls_is_worth_a_warning() {
    let warnings = warnings(&least_with("[listen]", "postgres = '0.0.0.0:6432'"));
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("without [tls]"), "{warnings:?}");
}

#[test]
fn a_certificate_comes_with_its_own_key() {
    let directory = Directory::new();
    let [own, other] = [(), ()].map(|()| rcgen::generate_simple_self_signed(["localhost".into()]).unwrap());
    directory.write("server.crt", &own.cert.pem());
    directory.write("server.key", &own.signing_key.serialize_pem());
    directory.write("other.key", &other.signing_key.serialize_pem());
    let with = |key: &str| least_with("[tls]", &format!("certificate_file = 'server.crt'\nkey_file = '{key}'"));

    let (config, _) = directory.load(&with("server.key"), &Overrides::default()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.tls.unwrap().required, TlsRequired::Remote);
    let errors = directory.load(&with("other.key"), &Overrides::default()).err().unwrap();
    assert!(errors.contains("tls.key_file: the key does not fit the certificate"), "{errors}");
    let errors = directory.load(&with("server.crt"), &Overrides::default()).err().unwrap();
    assert!(errors.contains("tls.key_file: cannot read server.crt"), "{errors}");
}

#[test]
fn tls_names_what_is_missing() {
    let errors = errors(&least_with("[tls]", "certificate_file = 'missing.crt'"));
    assert!(errors.iter().any(|error| error.contains("tls.key_file: missing")), "{errors:#?}");
    assert!(errors.iter().any(|error| error.contains("tls.certificate_file: cannot read")), "{errors:#?}");
}

#[test]
fn no_tls_is_the_default_only_where_nobody_can_listen_in() {
    let with = |host: &str| load(&LEAST.replace("127.0.0.1", host)).upstream.connect.tls.verifies();
    assert!(!with("127.0.0.1") && !with("::1") && !with("localhost") && !with("/run/postgresql"));
    assert!(with("db.example.com") && with("10.0.0.1"));
}

#[test]
fn sslmode_takes_libpqs_words_and_their_aliases() {
    for word in ["disable", "allow", "prefer", "require", "verify-full", "verify_full"] {
        load(&least_with("[upstream]", &format!("sslmode = '{word}'")));
    }
    let wrong = errors(&least_with("[upstream]", "sslmode = 'verify-ful'"));
    assert_error(&wrong, &["did you mean \"verify-full\"?"]);
    let weak = errors(&least_with("[upstream]", "sslmode = 'require'\nsslrootcert = 'system'"));
    assert_error(&weak, &["too weak for sslrootcert=system"]);
    assert_error(&errors(&least_with("[upstream]", "sslmode = 'verify-ca'")), &["needs sslrootcert"]);
    let socket = least_with("[upstream]", "sslmode = 'require'").replace("127.0.0.1", "/run/postgresql");
    assert_error(&errors(&socket), &["no TLS on a Unix socket"]);
}

#[test]
fn a_client_certificate_needs_its_key() {
    let errors = errors(&least_with("[upstream]", "sslcert = 'claims.secret'"));
    assert_error(&errors, &["upstream.sslkey: missing"]);
}

#[test]
fn databases_are_names_or_all() {
    let config = load(&least_with("[upstream]", "databases = ['app', 'web']"));
    assert!(config.upstream.databases.allows("app") && !config.upstream.databases.allows("postgres"));
    assert!(load(LEAST).upstream.databases.allows("anything"));
    assert_error(&errors(&least_with("[upstream]", "databases = ['app*']")), &["there is no pattern"]);
    assert_error(&errors(&least_with("[upstream]", "databases = []")), &["no client could connect"]);
}

#[test]
fn settings_go_over_the_safe_defaults() {
    let lines = "Statement_Timeout = 5000\n'app.tenant' = 'x'\njit = false";
    let mut expected = ::upstream::Settings::default();
    for (name, value) in [("statement_timeout", "5000"), ("app.tenant", "x"), ("jit", "false")] {
        expected.set(name, value);
    }
    assert_eq!(load(&least_with("[upstream.settings]", lines)).upstream.settings, expected);
}

#[test]
fn settings_that_carry_the_identity_are_refused() {
    for name in ["role", "Role", "row_security", "'pgusher.claims'", "'request.jwt.claims'", "session_authorization"] {
        let errors = errors(&least_with("[upstream.settings]", &format!("{name} = 'x'")));
        assert_error(&errors, &["the proxy sets this itself"]);
    }
    assert_error(&errors(&least_with("[upstream.settings]", "app.tenant = 'x'")), &["a name with a dot needs quotes"]);
    assert_error(&errors(&least_with("[upstream.settings]", "'a b' = 'x'")), &["cannot be the name of a setting"]);
}

#[test]
fn a_host_has_the_form_of_one() {
    for wrong in ["", "a b", "run/postgresql", "postgres://x"] {
        assert_error(&errors(&LEAST.replace("127.0.0.1", wrong)), &["proxy.toml:3: upstream.host: "]);
    }
}

#[test]
fn a_secret_in_the_open_is_refused_without_being_shown() {
    let errors = errors(&least_with("[[role]]", "password = 'hunter2'"));
    assert_error(&errors, &["role[0].password: a secret is never given in the open", "password_file or password_env"]);
    assert!(!errors[0].contains("hunter2"));
}

#[test]
fn a_secret_comes_from_a_file_or_a_variable() {
    let text = LEAST.replace("secret_file = \"claims.secret\"", "secret_env = 'CLAIMS'");
    assert_error(&errors(&text), &["the environment variable \"CLAIMS\" is not set"]);
    assert!(errors_with(&text, &variables(&[("CLAIMS", &"0a".repeat(32))])).is_empty());
    let both = least_with("[claims]", "secret_env = 'CLAIMS'");
    assert_error(&errors_with(&both, &variables(&[("CLAIMS", &"0a".repeat(32))])), &["there is secret_file too"]);
}

#[test]
fn a_secret_file_holds_a_secret() {
    let directory = Directory::new();
    let text = least_with("[[role]]", "password_file = 'password'");
    for (content, expected) in [("", "is empty"), ("\n", "is empty"), (&"x".repeat(70_000), "is longer than")] {
        directory.write("password", content);
        let errors = directory.load(&text, &Overrides::default()).err().unwrap();
        assert!(errors.contains(expected), "{errors}");
    }
    assert_error(&errors(&text), &["role[0].password_file: cannot read"]);
}

#[test]
fn a_secret_file_that_everybody_reads_is_worth_a_warning() {
    let directory = Directory::new();
    let path = directory.write("claims.secret", &"0a".repeat(32));
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let (_, warnings) = directory.load(LEAST, &Overrides::default()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].message.contains("chmod 600"), "{warnings:?}");
}

#[test]
fn a_claims_secret_is_hexadecimal() {
    let directory = Directory::new();
    directory.write("claims.secret", "not hexadecimal");
    let errors = directory.load(LEAST, &Overrides::default()).err().unwrap();
    assert!(errors.contains("claims.secret_file: the secret has 64 hexadecimal digits"), "{errors}");
    assert!(!errors.contains("not hexadecimal"));
}

#[test]
fn unsigned_claims_are_possible_and_worth_a_warning() {
    let text = LEAST.replace("secret_file = \"claims.secret\"", "mode = 'claims'");
    assert!(matches!(load(&text).claims, ClaimsMode::Claims));
    assert!(warnings(&text)[0].starts_with("claims.mode: "));
    assert_error(&errors(&least_with("[claims]", "mode = 'claims'")), &["signs nothing"]);
}

#[test]
fn roles_and_logins_belong_together_one_by_one() {
    let with = |name: &str, login: &str| {
        errors(&format!("{LEAST}[[role]]\nname = '{name}'\nlogin = '{login}'\n[anonymous]\nrole = '{name}'\n"))
    };
    assert_error(&with("authenticated", "another"), &["role[1].name: there is another [[role]]"]);
    assert_error(&with("anonymous", "login"), &["role[1].login: it serves the role \"authenticated\" already"]);
    assert_error(&with("anonymous", "authenticated"), &["role[1].login: clients get this role"]);
}

#[test]
fn names_that_postgres_refuses_are_refused() {
    for (name, expected) in [
        ("", "a name is expected"),
        ("none", "Postgres reserves"),
        ("public", "Postgres reserves"),
        ("a\\u0000b", "zero byte"),
        (&"x".repeat(64), "at most 63 bytes"),
    ] {
        assert_error(&errors(&format!("{LEAST}[anonymous]\nrole = \"{name}\"\n")), &["anonymous.role: ", expected]);
    }
}

#[test]
fn a_role_that_somebody_may_get_has_a_login() {
    let text = LEAST.replace("roles = [\"authenticated\"]", "roles = [\n\"authenticated\",\n\"authenticatd\"]");
    let nearest = "no [[role]] has the name \"authenticatd\"; did you mean \"authenticated\"?";
    assert_error(&errors(&text), &["proxy.toml:14: provider[0].roles: ", nearest]);
}

#[test]
fn a_role_that_nobody_can_get_is_worth_a_warning() {
    let warnings = warnings(&format!("{LEAST}[[role]]\nname = 'unused'\nlogin = 'x'\n"));
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].starts_with("role[1].name: nobody can ask for"), "{warnings:?}");
}

#[test]
fn a_provider_is_checked_where_it_stands() {
    for (line, expected) in [
        ("jwks_url = 'http://example.com/'", "provider[0].jwks_url: must be https"),
        ("jwks_url = 'example'", "provider[0].jwks_url: \"example\""),
        ("jwks_file = 'missing.json'", "provider[0].jwks_file: cannot read"),
        ("jwks_url = 'https://a.b/'\njwks_file = 'claims.secret'", "a provider has one of jwks_url, jwks_file"),
        ("role_claim = 'role['", "provider[0].role_claim: \"role[\": not a JSONPath"),
        ("algorithms = ['RS265']", "did you mean \"RS256\"?"),
        ("algorithms = ['none']", "\"none\" is none of RS256"),
        ("algorithms = []", "provider[0].algorithms: "),
        ("algorithms = ['HS256']", "provider[0].algorithms: "),
        ("leeway = '1h'", "provider[0].leeway: a duration from 0s to 10m"),
    ] {
        assert_error(&errors(&least_with("[[provider]]", line)), &[expected]);
    }
}

#[test]
fn the_second_of_two_providers_with_one_issuer_is_refused() {
    let second = "[[provider]]\nname = 'b'\nissuer = 'https://tenant.auth0.com/'\nroles = ['authenticated']\n";
    assert_error(&errors(&format!("{LEAST}{second}")), &["provider[1].issuer: "]);
}

#[test]
fn every_table_of_an_array_is_read_though_the_first_is_wrong() {
    let text = format!("{LEAST}[[provider]]\n[[provider]]\nname = 'c'\nisuer = 'x'\n");
    let errors = errors(&text);
    for expected in ["provider[1].name: missing", "provider[1].issuer: missing", "provider[2].isuer: unknown key"] {
        assert!(errors.iter().any(|error| error.contains(expected)), "{errors:#?}");
    }
}

#[test]
fn flags_go_over_variables_and_these_over_the_file() {
    let text = least_with("[pool]", "default_pool_size = 1\nmax_client_conn = 1");
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let both = [pair("PGUSHER_POOL__DEFAULT_POOL_SIZE", "2"), pair("PGUSHER_POOL__MAX_CLIENT_CONN", "2")];
    let overrides = Overrides::new(both, vec!["pool.max_client_conn=3".into()]);
    let (config, _) = Directory::new().load(&text, &overrides).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((config.pool.default_pool_size, config.pool.max_client_conn), (2, 3));
}

#[test]
fn variables_reach_lists_switches_and_arrays_of_tables() {
    let overrides = variables(&[
        ("PGUSHER_LISTEN__POSTGRES", "127.0.0.1:1, 127.0.0.1:2"),
        ("PGUSHER_SESSION__AUTH_ERROR_DETAIL", "false"),
        ("PGUSHER_PROVIDER__0__ISSUER", "https://other.example/"),
        ("PGUSHER_ROLE__1__NAME", "second"),
        ("PGUSHER_ROLE__1__LOGIN", "second_login"),
        ("PGUSHER_CONFIG", "proxy.toml"),
        ("PGUSHER_CLAIMS_KEY", "somebody's own"),
    ]);
    let (config, _) = Directory::new().load(LEAST, &overrides).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.listen.postgres.len(), 2);
    assert!(!config.session.auth_error_detail);
    assert_eq!(config.providers[0].issuer, "https://other.example/");
    assert_eq!(config.roles["second"].user, "second_login");
}

#[test]
fn an_error_in_a_variable_names_the_variable() {
    for (name, value, expected) in [
        ("PGUSHER_POOL__DEFAULT_POOL_SIZE", "many", "pool.default_pool_size: an integer"),
        ("PGUSHER_POOL__DEFAULT_POOL_SISE", "5", "did you mean \"default_pool_size\"?"),
        ("PGUSHER_POOL_DEFAULT_POOL_SIZE", "5", "two underscores: PGUSHER_POOL__DEFAULT_POOL_SIZE"),
        ("PGUSHER_ROLE__5__NAME", "x", "role.5.name: index 5 leaves a gap"),
        ("PGUSHER_UPSTREAM__HOST__NAME", "x", "\"name\" cannot be set inside a string"),
        ("PGUSHER_A__B__C__D", "x", "no key is that deep"),
    ] {
        let errors = errors_with(LEAST, &variables(&[(name, value)]));
        assert_error(&errors, &[&format!("environment variable {name}: "), expected]);
    }
}

#[test]
fn an_error_in_a_flag_names_the_flag() {
    assert_error(&errors_with(LEAST, &settings(&["pool.size=5"])), &["--set pool.size: pool.size: unknown key"]);
    assert_error(&errors_with(LEAST, &settings(&["pool.default_pool_size"])), &["TABLE.KEY=VALUE is expected"]);
}

#[test]
fn no_text_makes_the_reader_panic() {
    let directory = Directory::new();
    // Without a provider that is complete, whose HTTP client would take most of the time.
    let example = include_str!("../../../../proxy.toml").replace("jwks_url", "jwks_file");
    // Every table cut at every line, every value replaced by each kind of another one.
    for (index, line) in example.lines().enumerate() {
        let (before, after): (Vec<_>, Vec<_>) = example.lines().enumerate().partition(|(at, _)| *at < index);
        let join = |lines: &[(usize, &str)]| lines.iter().map(|(_, line)| format!("{line}\n")).collect::<String>();
        let mut texts = vec![join(&before), join(&after)];
        if let Some((key, _)) = line.split_once(" = ") {
            let other = [
                "1",
                "-1e400",
                "'\u{0}'",
                "[]",
                "[[]]",
                "{}",
                "{a.b=[{}]}",
                "1979-05-27",
                "true",
                "'*'",
                "\"\\u0000\"",
            ];
            texts.extend(other.map(|value| format!("{}{key} = {value}\n{}", join(&before), join(&after[1..]))));
        }
        for text in texts {
            let _ = directory.load(&text, &Overrides::default());
        }
    }
}
