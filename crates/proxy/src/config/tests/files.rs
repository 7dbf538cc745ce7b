//! What holds for every key: types, unknown keys, and what goes over the file.

use super::*;

#[test]
fn all_errors_are_reported_each_with_its_line() {
    let errors = errors("[pool]\npool_size = 3\ndefault_pool_size = 0\n[upstream]\n[claims]\nmode = 'signed'\n");
    let places: Vec<_> = errors.iter().map(|error| error.split_once(": ").unwrap().0).collect();
    assert!(places.contains(&"proxy.toml:2") && places.contains(&"proxy.toml:3"), "{errors:#?}");
    assert!(errors.iter().any(|error| error == "proxy.toml:4: upstream.host: missing"), "{errors:#?}");
    assert!(errors.iter().any(|error| error.contains("claims.secret_file: missing")), "{errors:#?}");
    assert!(errors.iter().any(|error| error.contains("nobody could connect")), "{errors:#?}");
}

#[test]
fn an_unknown_key_is_told_its_nearest_neighbour() {
    let errors = errors(&least_with("[pool]", "defualt_pool_size = 3"));
    assert_error(&errors, &["proxy.toml:15: pool.defualt_pool_size: unknown key; did you mean \"default_pool_size\"?"]);
}

#[test]
fn an_unknown_table_is_told_its_nearest_neighbour() {
    assert_error(&errors(&least_with("[pol]", "")), &["pol: unknown key; did you mean \"pool\"?"]);
}

#[test]
fn a_key_in_the_wrong_table_is_told_the_right_one() {
    assert_error(&errors(&least_with("[upstream]", "expiry_grace = '1s'")), &["it belongs into [session]"]);
    assert_error(&errors(&least_with("[pool]", "provider = 'x'")), &["pool.provider: unknown key"]);
    assert!(!errors(&least_with("[pool]", "provider = 'x'"))[0].contains("[]"));
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
fn sizes_have_a_unit_and_a_range() {
    let size = |text: &str| load(&least_with("[http]", &format!("max_request_size = '{text}'"))).http.max_request_size;
    assert_eq!(["1KiB", "64 KiB", "3MiB", "1GiB"].map(size), [1 << 10, 64 << 10, 3 << 20, 1 << 30]);
    for wrong in ["'10'", "10", "'1023'", "'2GiB'", "'-1MiB'", "'10MB'", "'99999999999999999999GiB'"] {
        let errors = errors(&least_with("[http]", &format!("max_request_size = {wrong}")));
        assert_error(&errors, &["http.max_request_size: a size from 1KiB to 1GiB is expected"]);
    }
}

#[test]
fn flags_go_over_variables_and_these_over_the_file() {
    let text = least_with("[pool]", "default_pool_size = 1\nmax_client_conn = 1");
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let both = [pair("PGUSHER_POOL__DEFAULT_POOL_SIZE", "2"), pair("PGUSHER_POOL__MAX_CLIENT_CONN", "2")];
    let overrides = Overrides::new(both, vec!["pool.max_client_conn=3".into()]);
    let (config, _) = Directory::new().load(&text, &overrides).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((config.pool.servers.default_pool_size, config.pool.max_client_conn), (2, 3));
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
fn settings_whose_names_have_dots_go_over_the_file_too() {
    let text = least_with("[upstream.settings]", "'plpgsql.check_asserts' = 'on'\n'a.b.c' = '1'");
    let name = "PGUSHER_UPSTREAM__SETTINGS__";
    for overrides in [
        settings(&["upstream.settings.plpgsql.check_asserts=off", "upstream.settings.a.b.c=2"]),
        settings(&["upstream.settings.\"plpgsql.check_asserts\"=off", "upstream.settings.\"a.b.c\"=2"]),
        variables(&[(&format!("{name}PLPGSQL__CHECK_ASSERTS"), "off"), (&format!("{name}A__B__C"), "2")]),
        variables(&[(&format!("{name}PLPGSQL.CHECK_ASSERTS"), "off"), (&format!("{name}A.B.C"), "2")]),
    ] {
        let (config, _) = Directory::new().load(&text, &overrides).unwrap_or_else(|errors| panic!("{errors}"));
        let mut expected = upstream::Settings::default();
        expected.set("a.b.c", "2");
        expected.set("plpgsql.check_asserts", "off");
        assert_eq!(config.upstream.settings, expected);
    }
    assert_error(&errors_with(LEAST, &settings(&["upstream.settings.\"a.b=1"])), &["cannot be the name of a setting"]);
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
    let example = include_str!("../../../../../proxy.toml").replace("jwks_url", "jwks_file");
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
