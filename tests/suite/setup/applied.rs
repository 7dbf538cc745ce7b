//! `--apply` and `--verify`.

use super::lab::{As, Lab, is_private, value};

const SECRETS: [&str; 3] = ["claims.secret", "authenticated.password", "anonymous.password"];

#[tokio::test]
async fn a_second_run_changes_nothing() {
    for who in [As::Boss, As::Superuser] {
        let lab = Lab::new().await;
        let options: &[&str] = &["--harden", "--schema", "public"];
        let first = lab.apply_as(who, options).await;
        assert!(first.out.contains("+ role authenticated: cannot log in"), "{first:?}");
        let (secrets, dump) = (SECRETS.map(|name| lab.read(name)), lab.dump().await);

        let second = lab.apply_as(who, options).await;

        assert!(second.out.contains("nothing to do"), "{who:?}: {second:?}");
        assert_eq!(SECRETS.map(|name| lab.read(name)), secrets);
        assert_eq!(lab.dump().await, dump);
        assert_eq!(lab.setup_as(who, &[&["--verify"], options].concat()).await.code, Some(0));
        lab.close().await;
    }
}

#[tokio::test]
async fn the_secrets_are_for_their_owner_alone_and_the_server_gets_no_password() {
    let lab = Lab::new().await;

    let told = lab.apply_as(As::Boss, &[]).await;

    assert!(SECRETS.iter().all(|name| is_private(&lab.file(name))));
    let said = told.out + &told.err;
    let dump = lab.dump().await;
    for name in SECRETS {
        let secret = lab.read(name);
        assert!(!said.contains(&secret) && !dump.contains(&secret), "{name}");
    }
    assert!(dump.contains("pgusher_authenticated WITH NOSUPERUSER NOINHERIT NOCREATEROLE NOCREATEDB LOGIN"), "{dump}");
    assert!(dump.contains("PASSWORD 'SCRAM-SHA-256$"), "{dump}");
    lab.close().await;
}

#[tokio::test]
async fn a_secret_that_is_there_is_used_as_it_is() {
    let lab = Lab::new().await;
    std::fs::write(lab.file("authenticated.password"), "of my own\n").expect("a file");

    lab.apply_as(As::Boss, &[]).await;

    assert_eq!(lab.read("authenticated.password"), "of my own");
    assert_eq!(value(&lab.login().await, "SELECT 'in'").await.as_deref(), Some("in"));
    lab.close().await;
}

#[tokio::test]
async fn where_nobody_is_asked_for_a_password_a_superuser_still_sees_whether_it_is_right() {
    let lab = Lab::with(&["host all all 127.0.0.1/32 trust"]).await;
    lab.apply_as(As::Boss, &[]).await;
    let set = "SELECT string_agg(rolpassword, ' ') FROM pg_authid WHERE rolname ~ '^pgusher_'";
    let superuser = lab.superuser().await;
    let before = value(&superuser, set).await;
    assert!(before.is_some());

    assert_eq!(lab.setup_as(As::Superuser, &["--verify"]).await.code, Some(0));
    lab.apply_as(As::Superuser, &[]).await;

    assert_eq!(value(&superuser, set).await, before);
    assert_eq!(lab.setup_as(As::Boss, &["--verify"]).await.code, Some(0), "nobody else can tell");
    superuser.batch_execute("ALTER ROLE pgusher_anonymous PASSWORD 'x'").await.expect("another password");
    let told = lab.setup_as(As::Superuser, &["--verify"]).await;
    assert!(told.out.contains("password of role pgusher_anonymous"), "{told:?}");
    lab.close().await;
}

#[tokio::test]
async fn nothing_is_done_unasked() {
    let lab = Lab::new().await;
    let before = lab.dump().await;

    let told = lab.setup_as(As::Boss, &["--apply"]).await;

    assert_eq!(told.code, Some(2), "{told:?}");
    assert!(told.err.contains("--yes"), "{told:?}");
    assert_eq!(lab.dump().await, before);
    assert!(!lab.file("claims.secret").exists());
    lab.close().await;
}

#[tokio::test]
async fn verify_lists_what_differs_and_changes_nothing() {
    let lab = Lab::new().await;
    let missing = lab.setup_as(As::Boss, &["--verify"]).await;
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(missing.out.contains("+ schema auth") && missing.out.contains("claims.secret"), "{missing:?}");
    assert!(!lab.file("claims.secret").exists());
    lab.apply_as(As::Boss, &[]).await;
    let superuser = lab.superuser().await;

    // From 16 on a membership is revoked by whom it was granted.
    for (fault, words) in [
        ("ALTER ROLE pgusher_anonymous PASSWORD 'x'", "password of role pgusher_anonymous"),
        ("REVOKE EXECUTE ON FUNCTION auth.pgusher_init FROM authenticated", "privileges of authenticated on function"),
        (
            "CREATE OR REPLACE FUNCTION auth.user_id() RETURNS text LANGUAGE sql RETURN 'bob'",
            "~ function auth.user_id()",
        ),
        ("ALTER TABLE auth.keys DISABLE ROW LEVEL SECURITY", "~ table auth.keys"),
        ("ALTER TABLE auth.keys ALTER ipad SET STATISTICS 100", "~ table auth.keys"),
        (
            "SET ROLE boss; REVOKE anonymous FROM pgusher_anonymous; RESET ROLE",
            "+ membership of pgusher_anonymous in anonymous",
        ),
        ("ALTER ROLE pgusher_anonymous INHERIT", "~ role pgusher_anonymous"),
        ("GRANT pg_read_all_data TO pgusher_authenticated", "is a member of pg_read_all_data"),
    ] {
        superuser.batch_execute(fault).await.expect(fault);
        let told = lab.setup_as(As::Superuser, &["--verify"]).await;
        assert_eq!(told.code, Some(2), "{fault}: {told:?}");
        assert!(told.out.contains(words), "{fault}: {told:?}");
        assert_eq!(lab.setup_as(As::Superuser, &["--verify"]).await.out, told.out, "it changes nothing");
        if fault.contains("pg_read_all_data") {
            superuser.batch_execute("REVOKE pg_read_all_data FROM pgusher_authenticated").await.expect("a revoke");
        }
        lab.apply_as(As::Superuser, &[]).await;
        assert_eq!(lab.setup_as(As::Superuser, &["--verify"]).await.code, Some(0), "{fault}");
    }
    lab.close().await;
}

#[tokio::test]
async fn a_password_that_is_replaced_is_shown_as_a_change() {
    for who in [As::Boss, As::Superuser] {
        let lab = Lab::new().await;
        let first = lab.apply_as(who, &[]).await;
        assert!(first.out.contains("+ password of role pgusher_authenticated: that of "), "{first:?}");
        // As another installation on the same cluster has it.
        std::fs::write(lab.file("authenticated.password"), "of another\n").expect("a file");

        for arguments in [&["--verify"][..], &["--apply", "--yes"]] {
            let told = lab.setup_as(who, arguments).await;
            let words = "~ password of role pgusher_authenticated: another -> that of ";
            assert!(told.out.contains(words), "{who:?}, {arguments:?}: {told:?}");
        }
        lab.close().await;
    }
}

#[tokio::test]
async fn the_grants_of_a_schema_are_for_tables_of_now_and_later() {
    let lab = Lab::new().await;
    let boss = lab.boss().await;
    boss.batch_execute("CREATE SCHEMA \"My app\"; CREATE TABLE \"My app\".now ()").await.expect("a table");

    let told = lab.apply_as(As::Boss, &["--schema", "My app"]).await;

    assert!(told.out.contains("! open: table \"My app\".now has no row-level security"), "{told:?}");
    boss.batch_execute("CREATE TABLE \"My app\".later ()").await.expect("a table");
    let superuser = lab.superuser().await;
    for table in ["now", "later"] {
        let may = format!("SELECT bool_and(has_table_privilege(role, '\"My app\".{table}', privilege))::text
            FROM unnest(ARRAY['authenticated', 'anonymous']) role, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) privilege");
        assert_eq!(value(&superuser, &may).await.as_deref(), Some("true"), "{table}");
        let more = format!("SELECT has_table_privilege('authenticated', '\"My app\".{table}', 'TRUNCATE')::text");
        assert_eq!(value(&superuser, &more).await.as_deref(), Some("false"), "{table}");
    }
    lab.close().await;
}

#[tokio::test]
async fn a_role_with_more_than_it_may_have_is_refused_and_nothing_is_left() {
    let lab = Lab::new().await;
    lab.superuser().await.batch_execute("CREATE ROLE authenticated BYPASSRLS").await.expect("a role");
    let before = lab.dump().await;

    let told = lab.setup_as(As::Superuser, &["--apply", "--yes"]).await;

    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.err.contains("authenticated has an attribute of an administrator"), "{told:?}");
    assert_eq!(lab.dump().await, before);
    lab.close().await;
}

#[tokio::test]
async fn an_owner_who_cannot_connect_is_told_why() {
    let lab = Lab::new().await;
    for (url, code, words) in [
        ("postgres://boss:wrong@127.0.0.1/app", 69, "password authentication failed"),
        ("postgres://boss@127.0.0.1/app", 69, "none in the URL, in PGPASSWORD or in ~/.pgpass"),
        ("postgres://boss:boss@127.0.0.1:1/app", 69, "cannot connect to 127.0.0.1:1"),
        ("postgres://127.0.0.1/app", 2, "names no user"),
    ] {
        let told = lab.setup(&["--verify", "--url", url]).await;
        assert_eq!(told.code, Some(code), "{told:?}");
        assert!(told.err.contains(words), "{told:?}");
    }
    lab.close().await;
}

#[tokio::test]
async fn without_the_schema_auth_there_are_the_roles_alone() {
    let lab = Lab::new().await;
    std::fs::write(
        lab.file("proxy.toml"),
        lab.read("proxy.toml").replace("secret_file = \"claims.secret\"", "mode = \"claims\""),
    )
    .expect("a file");

    lab.apply_as(As::Boss, &[]).await;

    let boss = lab.boss().await;
    let made =
        "SELECT concat_ws(' ', to_regnamespace('auth'), to_regrole('authenticated'), to_regrole('pgusher_auth'))";
    assert_eq!(value(&boss, made).await.as_deref(), Some("authenticated"));
    assert_eq!(lab.setup_as(As::Boss, &["--verify"]).await.code, Some(0));
    lab.close().await;
}
