//! Secrets, claims, roles and providers.

use super::*;

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
    assert_error(&errors(&text), &["role[0].password_file: there is no password; `pgusher setup --apply` makes it"]);
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
fn whether_a_secret_is_needed_is_for_the_database_to_say_unless_it_is_written() {
    let with = |claims: &str| LEAST.replace("secret_file = \"claims.secret\"", claims);
    assert!(matches!(load(LEAST).claims, ClaimsMode::Auto(Some(_))));
    assert!(matches!(load(&with("")).claims, ClaimsMode::Auto(None)));
    assert!(matches!(load(&with("mode = 'pg_session_jwt'")).claims, ClaimsMode::SessionJwt));
    assert_error(&errors(&with("mode = 'signed'")), &["claims.secret_file: missing"]);
    assert_error(&errors(&least_with("[claims]", "mode = 'pg_session_jwt'")), &["signs with keys of its own"]);
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
fn a_signing_key_is_one_to_serve_if_it_is_one_to_setup() {
    let digits = "0a".repeat(32);
    for (text, right) in [
        (digits.clone(), true),
        (digits.to_uppercase() + "\r\n", true),
        (digits.clone() + " \n\n", true),
        (digits.clone() + "0a", false),
        (digits.replacen('a', "g", 1), false),
        (digits.replacen("0a", " a", 1), false),
        (digits.replacen("0a", "é", 1), false),
        ("0a".to_owned(), false),
    ] {
        let directory = Directory::new();
        directory.write("claims.secret", &text);
        let (serve, path) = (directory.load(LEAST, &Overrides::default()), directory.0.join("proxy.toml"));
        assert_eq!(serve.is_ok(), right, "{text:?}");
        assert_eq!(SetupConfig::load(&path, &Overrides::default()).is_ok(), right, "{text:?}");
    }
}

#[test]
fn an_audience_has_a_name() {
    for audience in ["''", "['https://api.example.com',\n'']"] {
        let errors = errors(&LEAST.replace("[\"https://api.example.com\"]", audience));
        assert_error(&errors, &["provider[0].audience: is empty, and no token is for that"]);
    }
}

#[test]
fn a_provider_without_an_audience_is_worth_a_warning() {
    for audience in ["", "audience = []\n"] {
        let warnings = warnings(&LEAST.replace("audience = [\"https://api.example.com\"]\n", audience));
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("provider[0].audience: names nobody"), "{warnings:?}");
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
fn what_is_allowed_is_named_by_the_id_of_a_rule() {
    let safety = |lines: &str| least_with("[safety]", lines);
    let config = load(&safety("allow = ['role-superuser', 'claims-forgeable']\ninterval = '5min'"));
    assert_eq!(config.safety.allow.into_iter().collect::<Vec<_>>(), ["claims-forgeable", "role-superuser"]);
    assert_eq!(config.safety.interval, std::time::Duration::from_secs(300));
    assert_eq!(load(LEAST).safety, load(&safety("interval = '1h'")).safety);
    let misspelt = errors(&safety("allow = ['role-superusers']"));
    assert_error(
        &misspelt,
        &["safety.allow: no rule has the id \"role-superusers\"; did you mean \"role-superuser\"?"],
    );
    assert_error(&errors(&safety("allow = ['everything']")), &["no rule has the id"]);
}

#[test]
fn a_role_with_a_password_of_its_own_is_nobody_who_is_reached_by_a_token() {
    let with = |users: &str| format!("{LEAST}[anonymous]\nrole = 'nobody'\n[passthrough]\nusers = {users}\n");
    let with = |users: &str| format!("{}[[role]]\nname = 'nobody'\nlogin = 'pgusher_nobody'\n", with(users));
    let config = load(&with("['owner', 'backup']"));
    assert!(config.passthrough.users.iter().eq(["backup", "owner"]));
    assert_eq!((load(LEAST).passthrough.users.len(), config.passthrough.max_conn), (0, 10));
    for (users, expected) in [
        ("['authenticated']", "\"authenticated\" is a served role"),
        ("['owner', 'nobody']", "\"nobody\" is the role of [anonymous]"),
        ("['login']", "\"login\" is the login of the served role \"authenticated\""),
        ("['owner', 'owner']", "\"owner\" is listed twice"),
        ("['']", "a name is expected"),
        ("['public']", "Postgres reserves"),
        (&format!("['{}']", "x".repeat(64)), "at most 63 bytes"),
        ("['owner']\nmax_conn = 0", "an integer from 1"),
    ] {
        let key = if users.contains("max_conn") { "passthrough.max_conn: " } else { "passthrough.users: " };
        assert_error(&errors(&with(users)), &[key, expected]);
    }
}
