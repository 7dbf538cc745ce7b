//! Startup messages: what clients may ask for, in which protocol, and what they are told where they may not.

use pgusher_tests::{Message, Proxy, Raw, Stage, message, startup};

const USER: (&str, &str) = ("user", "authenticated");
const DATABASE: (&str, &str) = ("database", "neondb");

/// SQLSTATE, message and DETAIL of what must be an error.
fn words(message: &Message) -> String {
    let detail = message.field(b'D').map(|detail| format!(" | {detail}")).unwrap_or_default();
    format!("{} {}{detail}", message.sqlstate(), message.field(b'M').unwrap_or_default())
}

/// What a client is told first that begins with this message.
async fn answer_to(proxy: &Proxy, startup: &[u8]) -> Message {
    let mut client = proxy.raw().await;
    client.send(startup).await;
    client.receive().await.expect("an answer")
}

/// Sends the token and returns what follows, up to ReadyForQuery.
async fn show_token(client: &mut Raw, token: &str) -> Vec<Message> {
    client.message(b'p', &[token.as_bytes(), &[0]].concat()).await;
    client.until_ready().await
}

/// Logs in with these parameters.
async fn with_parameters(proxy: &Proxy, token: &str, parameters: &[(&str, &str)]) -> Raw {
    let mut client = proxy.raw().await;
    client.startup(&[&[USER, DATABASE], parameters].concat()).await;
    assert_eq!(client.receive().await.expect("a request").tag, b'R');
    let greeting = show_token(&mut client, token).await;
    assert_eq!(greeting.last().map(|message| message.tag), Some(b'Z'), "{greeting:?}");
    client
}

/// A session's setting.
async fn show(client: &mut Raw, name: &str) -> String {
    let answer = client.query(&format!("SELECT current_setting('{name}')")).await;
    let row = answer.iter().find(|message| message.tag == b'D').unwrap_or_else(|| panic!("{name}: {answer:?}"));
    String::from_utf8_lossy(&row.body[6..]).into_owned()
}

#[tokio::test]
async fn allowed_parameters_arrive() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let parameters = [
        ("application_name", "it's \\ an app"),
        ("client_encoding", "LATIN1"),
        ("DateStyle", "German, DMY"),
        ("TimeZone", "Asia/Tokyo"),
        ("IntervalStyle", "iso_8601"),
        ("extra_float_digits", "2"),
        ("search_path", "pg_catalog, public"),
        ("statement_timeout", "1234ms"),
        ("lock_timeout", "2s"),
        ("myapp.tenant", "7"),
    ];
    let mut client = with_parameters(&proxy, &stage.token("alice").to_string(), &parameters).await;
    for (name, value) in parameters {
        assert_eq!(show(&mut client, name).await, value);
    }
}

#[tokio::test]
async fn options_set_parameters_in_each_of_their_spellings() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for (options, name, value) in [
        ("-c statement_timeout=5s", "statement_timeout", "5s"),
        ("-cstatement_timeout=5s", "statement_timeout", "5s"),
        ("--statement-timeout=5s -c lock_timeout=3s", "lock_timeout", "3s"),
        (r"-c search_path=pg_catalog,\ public", "search_path", "pg_catalog, public"),
        (r"-c myapp.back\slash=a\\b", "myapp.backslash", r"a\b"),
    ] {
        let mut client = with_parameters(&proxy, &stage.token("alice").to_string(), &[("options", options)]).await;
        assert_eq!(show(&mut client, name).await, value, "{options}");
    }
}

#[tokio::test]
async fn a_parameter_that_makes_an_identity_is_refused_by_name() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for name in [
        "role",
        "Role",
        "session_authorization",
        "is_superuser",
        "row_security",
        "local_preload_libraries",
        "session_replication_role",
        "request.jwt.claims",
        "request.jwt.claim.sub",
        "pg_session_jwt.jwk",
        "pgusher.claims",
        "auth.user_id",
        "no_such_parameter",
    ] {
        let named = format!("42501 parameter \"{}\" may not be set at connection start", name.to_lowercase());
        for (key, value) in
            [(name, "x".to_owned()), ("options", format!("-c {name}=x")), ("options", format!("-c jit=off --{name}=x"))]
        {
            let answer = answer_to(&proxy, &startup(3 << 16, &[USER, DATABASE, (key, &value)])).await;
            assert_eq!(words(&answer), named, "{key}={value}");
        }
    }
}

#[tokio::test]
async fn options_that_set_no_parameter_are_refused() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for (options, word) in [("-d 5", "-d"), ("-c", "-c"), ("-c role", "-c"), ("--", "--"), ("-W 30", "-W")] {
        let answer = answer_to(&proxy, &startup(3 << 16, &[USER, DATABASE, ("options", options)])).await;
        let detail = format!("unsupported word \"{word}\" in options; only -c name=value and --name=value are known");
        assert_eq!(words(&answer), format!("42501 {detail}"));
    }
}

/// As with a PGOPTIONS of the user's and what a driver always sends.
#[tokio::test]
async fn of_a_parameter_that_is_set_twice_the_value_is_that_which_postgres_would_take() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for twice in [
        [("TimeZone", "UTC"), ("timezone", "CET")],
        [("TimeZone", "CET"), ("options", "-c timezone=UTC")],
        [("options", "-c timezone=UTC --timezone=CET"), ("jit", "off")],
        [("options", "-c timezone=UTC"), ("options", "-c timezone=CET")],
    ] {
        let mut session = proxy.session_with(&stage.token("alice"), &twice).await;
        assert_eq!(session.value("SHOW timezone").await, "CET", "{twice:?}");
    }
}

#[tokio::test]
async fn a_value_that_the_database_does_not_take_is_answered_with_its_own_words() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.raw().await;
    client.startup(&[USER, DATABASE, ("TimeZone", "Mars/Olympus")]).await;
    client.receive().await;
    let refused = show_token(&mut client, &stage.token("alice").to_string()).await;
    assert_eq!(words(&refused[0]), "22023 invalid value for parameter \"TimeZone\": \"Mars/Olympus\"");
}

#[tokio::test]
async fn a_setting_of_an_extension_that_only_superusers_make_is_refused_in_the_databases_words() {
    let stage = Stage::get();
    let (database, superuser) = stage.database().await;
    let preload = format!("ALTER DATABASE {database} SET session_preload_libraries = 'plpgsql'");
    superuser.batch_execute(&preload).await.expect("a superuser may");
    let proxy = Proxy::start(stage).await;
    let mut client = proxy.raw().await;
    client.startup(&[USER, ("database", &database), ("plpgsql.variable_conflict", "use_column")]).await;
    client.receive().await;
    let refused = show_token(&mut client, &stage.token("alice").to_string()).await;
    assert_eq!(words(&refused[0]), "42501 permission denied to set parameter \"plpgsql.variable_conflict\"");
}

#[tokio::test]
async fn replication_is_refused() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for value in ["true", "database"] {
        let answer = answer_to(&proxy, &startup(3 << 16, &[USER, DATABASE, ("replication", value)])).await;
        assert_eq!(words(&answer), "0A000 replication connections are not supported");
    }
    with_parameters(&proxy, &stage.token("alice").to_string(), &[("replication", "false")]).await;
}

#[tokio::test]
async fn a_client_that_names_no_role_is_told_to() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for parameters in [&[DATABASE][..], &[("user", ""), DATABASE], &[]] {
        let answer = answer_to(&proxy, &startup(3 << 16, parameters)).await;
        assert_eq!(words(&answer), "28000 no role specified in the startup packet");
    }
}

#[tokio::test]
async fn protocol_3_2_is_spoken_and_its_cancel_key_has_32_bytes() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for (version, key_size) in [(3 << 16, 4), (3 << 16 | 2, 32)] {
        let mut client = proxy.raw().await;
        client.send(&startup(version, &[USER, DATABASE])).await;
        assert_eq!(client.receive().await.expect("a request").tag, b'R');
        let greeting = show_token(&mut client, &stage.token("alice").to_string()).await;
        let key = greeting.iter().find(|message| message.tag == b'K').expect("a cancel key");
        assert_eq!(key.body.len(), 4 + key_size);
    }
}

#[tokio::test]
async fn what_is_not_spoken_of_the_protocol_is_negotiated_away() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let option = ("_pq_.surprise", "1");
    for (version, parameters, spoken) in [
        (3 << 16 | 9999, &[USER, DATABASE][..], b"\0\x03\0\x02\0\0\0\0".to_vec()),
        (3 << 16 | 9999, &[USER, option, DATABASE], b"\0\x03\0\x02\0\0\0\x01_pq_.surprise\0".to_vec()),
        (3 << 16, &[USER, option, DATABASE], b"\0\x03\0\0\0\0\0\x01_pq_.surprise\0".to_vec()),
    ] {
        let mut client = proxy.raw().await;
        client.send(&startup(version, parameters)).await;
        assert_eq!(client.receive().await, Some(Message { tag: b'v', body: spoken }));
        assert_eq!(client.receive().await.expect("a request").tag, b'R');
        let greeting = show_token(&mut client, &stage.token("alice").to_string()).await;
        assert_eq!(greeting.last().map(|message| message.tag), Some(b'Z'));
    }
}

#[tokio::test]
async fn another_major_version_is_refused() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for (version, name) in [(2 << 16, "2.0"), (4 << 16, "4.0"), (0, "0.0")] {
        let answer = answer_to(&proxy, &startup(version, &[USER, DATABASE])).await;
        let message = format!("0A000 unsupported frontend protocol {name} | Protocol version 3 is supported.");
        assert_eq!(words(&answer), message);
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_or_not_served_does_not_exist() {
    let stage = Stage::get();
    let refusal = |name| format!("3D000 database \"{name}\" does not exist");
    let proxy = Proxy::start(stage).await;
    let absent = proxy.refused_with(proxy.config(&stage.token("alice")).dbname("absent")).await;
    assert_eq!(format!("{} {}", absent.code().code(), absent.message()), refusal("absent"));

    let proxy = Proxy::builder(stage).set("upstream.databases", "neondb").start().await;
    let unserved = proxy.refused_with(proxy.config(&stage.token("alice")).dbname("postgres")).await;
    assert_eq!(format!("{} {}", unserved.code().code(), unserved.message()), refusal("postgres"));
    proxy.connect(&stage.token("alice")).await;
}

#[tokio::test]
async fn which_databases_are_served_is_not_for_strangers() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("upstream.databases", "neondb").start().await;
    for database in ["neondb", "postgres", "absent"] {
        let error = proxy.refused_with(proxy.config(&stage.token("alice").expired()).dbname(database)).await;
        assert_eq!(error.code().code(), "28P01", "{database}");
    }
}

#[tokio::test]
async fn the_database_is_the_roles_namesake_unless_named() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("upstream.databases", "neondb").start().await;
    let mut client = proxy.raw().await;
    client.startup(&[("user", "anonymous")]).await;
    assert_eq!(words(&client.receive().await.expect("an answer")), "3D000 database \"anonymous\" does not exist");
}

#[tokio::test]
async fn only_a_password_is_taken_for_a_password() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    for (tag, body, answer) in [
        (b'Q', &b"SELECT 1\0"[..], "08P01 expected a password message | Got message type 'Q'."),
        (b'p', b"no terminator", "08P01 invalid password message"),
        (b'p', b"two\0strings\0", "08P01 invalid password message"),
        (b'p', b"\xff\xfe\0", "08P01 invalid password message"),
        (b'p', b"", "08P01 invalid password message"),
    ] {
        let mut client = proxy.raw().await;
        client.startup(&[USER, DATABASE]).await;
        client.receive().await;
        client.message(tag, body).await;
        assert_eq!(words(&client.receive().await.expect("an answer")), answer);
        assert_eq!(client.receive().await, None);
    }
}

#[tokio::test]
async fn who_is_in_cannot_log_in_again() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let bob = [stage.token("bob").to_string().as_bytes(), &[0]].concat();
    let again = startup(3 << 16, &[("user", "anonymous"), DATABASE]);
    for (second, tag) in [(again, "'\\0'"), (message(b'p', &bob), "'p'")] {
        let mut client = proxy.raw().await;
        client.log_in(&stage.token("alice").to_string()).await;
        client.send(&second).await;
        let answer = client.receive().await.expect("an answer");
        let detail = format!("Message type {tag} is not expected here.");
        assert_eq!(words(&answer), format!("08P01 invalid frontend message | {detail}"));
        assert_eq!(client.receive().await, None);
    }
}
