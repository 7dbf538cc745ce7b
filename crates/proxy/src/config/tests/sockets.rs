//! Where clients connect, and where the servers are.

use std::time::Duration;

use super::*;

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
fn metrics_are_nowhere_unless_asked_for_and_then_best_on_this_machine() {
    assert_eq!(load(LEAST).listen.admin, []);
    let admin = |value: &str| least_with("[listen]", &format!("admin = {value}"));
    let config = load(&admin("['127.0.0.1:6481', '[::1]:6481']"));
    assert_eq!(config.listen.admin, ["127.0.0.1:6481", "[::1]:6481"].map(|address| address.parse().unwrap()));
    assert_eq!(warnings(&admin("'127.0.0.1:6481'")), Vec::<String>::new());
    assert!(warnings(&admin("'0.0.0.0:6481'"))[0].contains("may read the metrics"));
    for wrong in ["'6481'", "'localhost:6481'", "'/run/pgusher'", "['127.0.0.1:1', '127.0.0.1:1']"] {
        assert_error(&errors(&admin(wrong)), &["listen.admin: "]);
    }
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
    let both = errors(&least_with("[upstream]", "databases = [\n'*',\n'app']"));
    assert_error(&both, &["proxy.toml:4: upstream.databases: \"*\" alone stands for all"]);
}

#[test]
fn an_address_is_for_one_of_the_listeners() {
    for (lines, expected) in [
        ("http = '127.0.0.1:6432'", "listen.http: 127.0.0.1:6432 is in postgres too"),
        (
            "postgres = '127.0.0.1:1'\nhttp = '127.0.0.1:1'",
            "proxy.toml:16: listen.http: 127.0.0.1:1 is in postgres too",
        ),
        ("http = '[::1]:1'\nadmin = ['127.0.0.1:1', '[::1]:1']", "listen.admin: [::1]:1 is in http too"),
    ] {
        assert_error(&errors(&least_with("[listen]", lines)), &[expected]);
    }
    load(&least_with("[listen]", "postgres = '127.0.0.1:0'\nhttp = '127.0.0.1:0'\nadmin = '127.0.0.1:0'"));
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
fn pgbouncers_word_for_the_time_to_connect_goes_first() {
    let config = load(&least_with("[pool]", "server_connect_timeout = '7s'"));
    assert_eq!(config.upstream.connect.connect_timeout, Duration::from_secs(7));
    assert_eq!(config.upstream.connect.login_timeout, Duration::from_secs(7));
}
