//! What requests over HTTP may be.

use super::*;

fn with(line: &str) -> String {
    least_with("[http]", line)
}

#[test]
fn http_is_nowhere_unless_asked_for() {
    assert_eq!(load(LEAST).listen.http, []);
    let config = load(&least_with("[listen]", "http = '127.0.0.1:6480'"));
    assert_eq!(config.listen.http, ["127.0.0.1:6480".parse().unwrap()]);
    assert_eq!(config.http, Http::default());
    assert!(warnings(&least_with("[listen]", "http = '0.0.0.0:6480'"))[0].contains("without [tls]"));
}

#[test]
fn a_proxy_that_ends_tls_may_be_on_another_machine() {
    let text = least_with("[listen]", "http = '0.0.0.0:6480'") + "[http]\ntrusted_proxies = ['10.0.0.0/8', '::1']\n";
    assert_eq!(warnings(&text), Vec::<String>::new());
    let http = load(&text).http;
    for (peer, trusted) in [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("::1", true), ("11.0.0.1", false)] {
        assert_eq!(http.trusts(peer.parse().unwrap()), trusted, "{peer}");
    }
    assert_error(&errors(&with("trusted_proxies = 'ingress.local'")), &["an address or a network is expected"]);
}

#[test]
fn origins_are_written_as_browsers_send_them() {
    let origins = |value: &str| load(&with(&format!("cors_origins = {value}"))).http.origins;
    assert_eq!(origins("[]"), Origins::These(Vec::new()));
    assert_eq!(origins("'*'"), Origins::Any);
    let app = "https://app.example.com:8443".parse().unwrap();
    assert!(origins("['https://app.example.com:8443', 'http://[::1]:3000']").allow(&app));
    assert!(!origins("['https://app.example.com']").allow(&app));
    for wrong in [
        "app.example.com",
        "https://app.example.com/",
        "https://App.example.com",
        "https://app.example.com:443",
        "http://app.example.com:80",
        "https://*.example.com",
        "https://user@app.example.com",
        "null",
        "",
    ] {
        assert_error(
            &errors(&with(&format!("cors_origins = '{wrong}'"))),
            &["http.cors_origins: an origin is expected"],
        );
    }
    assert_error(&errors(&with("cors_origins = ['*', 'https://a.example']")), &["\"*\" alone"]);
}

#[test]
fn a_default_role_is_one_that_is_served() {
    assert_eq!(load(&with("default_role = 'authenticated'")).http.default_role.as_deref(), Some("authenticated"));
    assert_error(&errors(&with("default_role = 'postgres'")), &["no [[role]] has the name \"postgres\""]);
}

#[test]
fn a_default_database_is_one_that_clients_may_name() {
    assert_eq!(load(&with("default_database = 'app'")).http.default_database.as_deref(), Some("app"));
    let named = with("default_database = 'ap'").replacen("[claims]", "databases = ['app', 'web']\n[claims]", 1);
    assert_error(&errors(&named), &["http.default_database: upstream.databases does not have \"ap\""]);
    load(&named.replace("'ap'", "'web'"));
}

#[test]
fn requests_get_no_more_servers_than_there_are() {
    let text = |servers| {
        let pool = "default_pool_size = 4\nreserve_pool_size = 2";
        least_with("[pool]", pool) + &format!("[http]\nmax_pool_servers = {servers}\n")
    };
    assert_eq!(load(&text(6)).http.max_pool_servers, 6);
    assert_error(&errors(&text(7)), &["http.max_pool_servers: a pool has no more than 6 servers"]);
}

#[test]
fn requests_have_three_quarters_of_a_pool() {
    for (size, share) in [(1, 1), (2, 2), (4, 3), (20, 15), (100, 75)] {
        let text = least_with("[pool]", &format!("default_pool_size = {size}"));
        assert_eq!(load(&text).http.max_pool_servers, share);
    }
    let text = least_with("[pool]", "default_pool_size = 4") + "[http]\nmax_pool_servers = 1\n";
    assert_eq!(load(&text).http.max_pool_servers, 1);
}
