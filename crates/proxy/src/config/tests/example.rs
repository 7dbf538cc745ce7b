//! The commented example in the root, and the defaults that it shows.

use std::time::Duration;

use super::*;

#[test]
fn the_example_loads_without_a_warning() {
    let example = include_str!("../../../../../proxy.toml");
    let (config, warnings) = Directory::new().load(example, &Overrides::default()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(warnings, []);
    assert_eq!(config.anonymous.as_deref(), Some("anonymous"));
    assert_eq!(config.roles["authenticated"].user, "pgusher_authenticated");
}

#[test]
fn the_example_shows_the_defaults() {
    let (example, least) = (load(include_str!("../../../../../proxy.toml")), load(LEAST));
    assert_eq!(example.listen, least.listen);
    assert_eq!(example.pool, least.pool);
    assert_eq!(example.session, least.session);
    assert_eq!(example.passthrough, least.passthrough);
    assert_eq!(example.safety, least.safety);
    assert_eq!(example.log, least.log);
    assert_eq!(example.upstream.databases, least.upstream.databases);
    assert_eq!(example.upstream.settings, least.upstream.settings);
}

#[test]
fn the_examples_comments_are_keys_too() {
    // Whatever stands behind a "# " and looks like a key or table must at least be known.
    let example = include_str!("../../../../../proxy.toml");
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
    assert_eq!((config.pool.mode, config.pool.servers.default_pool_size), (PoolMode::Transaction, 20));
    assert_eq!(config.session.client_login_timeout, Duration::from_secs(15));
    assert_eq!(config.upstream.connect.connect_timeout, Duration::from_secs(5));
    assert!(config.session.auth_error_detail && !config.upstream.connect.allow_md5 && config.tls.is_none());
}
