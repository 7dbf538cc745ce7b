//! How the command ends, and what it says then.

use pgusher::demo::home::random_hex;

use super::{Home, OF_SERVER};

const NO_RLS: &str = "ALTER TABLE todos DISABLE ROW LEVEL SECURITY";

#[tokio::test]
async fn what_the_guide_makes_is_clean() {
    let home = Home::new().await;
    for arguments in [&["--strict"][..], &["--strict", "--url", &home.url()]] {
        let told = home.check(arguments).await;
        let expected = format!("nothing found; looked at proxy.toml, provider issuer, database {}", home.database);
        assert_eq!(told.output.lines().last(), Some(&*expected), "{}{}", told.output, told.complaint);
        assert_eq!(told.code, Some(0));
    }
}

#[tokio::test]
async fn a_fault_is_told_with_what_mends_it() {
    let home = Home::new().await;
    home.run(NO_RLS).await;

    let told = home.check(&[]).await;

    assert_eq!(told.code, Some(2));
    let mend = "ALTER TABLE public.todos ENABLE ROW LEVEL SECURITY;";
    for words in ["table public.todos", "table-without-rls", "every client of the role has all rows", mend] {
        assert!(told.output.contains(words), "{words:?} is not in {}", told.output);
    }
    let sum =
        format!("1 critical, 0 high, 0 warnings; looked at proxy.toml, provider issuer, database {}", home.database);
    assert_eq!(told.output.lines().last(), Some(&*sum));

    home.run(mend).await;
    assert_eq!(home.check(&[]).await.code, Some(0));
}

#[tokio::test]
async fn a_warning_is_an_error_only_if_that_is_asked_for() {
    let home = Home::new().await;
    home.run("GRANT TEMPORARY ON DATABASE {database} TO {role}").await;

    let told = home.check(&[]).await;

    assert_eq!(told.code, Some(0));
    assert!(told.output.contains("database-temporary"), "{}", told.output);
    assert_eq!(home.check(&["--strict"]).await.code, Some(1));
}

#[tokio::test]
async fn a_table_can_be_public_on_purpose() {
    let home = Home::new().await;
    home.run("CREATE TABLE countries (code text); GRANT SELECT ON countries TO {role}").await;

    assert_eq!(home.check(&[]).await.code, Some(2));
    assert_eq!(home.check(&["--table-allow", "countries"]).await.code, Some(0));
    assert_eq!(home.check(&["--table-allow", "app.countries"]).await.code, Some(2));
}

#[tokio::test]
async fn what_safety_allows_is_told_and_counts_for_nothing() {
    let home = Home::new().await;
    home.run(NO_RLS).await;

    let allow = format!("safety.allow={},table-without-rls", OF_SERVER.join(","));

    let told = home.check(&["--set", &allow]).await;

    assert_eq!(told.code, Some(0));
    assert!(told.output.contains("allowed by [safety]: table-without-rls: table public.todos"), "{}", told.output);
}

#[tokio::test]
async fn what_the_cluster_shares_is_told_once_and_what_a_database_has_for_each() {
    let (home, other) = (Home::new().await, Home::new().await);
    home.run("GRANT pg_monitor TO {role}; GRANT TEMPORARY ON DATABASE {database} TO {role}").await;
    other.run(&format!("GRANT TEMPORARY ON DATABASE {{database}} TO {}", home.role)).await;

    let json = home.json(&["--database", &home.database, "--database", &other.database]).await;

    let count =
        |rule| json["findings"].as_array().expect("a list").iter().filter(|finding| finding["rule"] == rule).count();
    assert_eq!(count("database-temporary"), 2, "{json:#}");
    let monitor = json["findings"].as_array().expect("a list").iter().filter(|f| f["subject"] == "role pg_monitor");
    assert_eq!(monitor.count(), 1, "{json:#}");
}

#[tokio::test]
async fn claims_that_can_be_forged_are_told() {
    let home = Home::new().await;
    home.write(
        "proxy.toml",
        &home.configuration().replace("mode = \"signed\"\nsecret_file", "mode = \"claims\"\n# secret_file"),
    );

    let told = home.check(&[]).await;

    assert_eq!(told.code, Some(2));
    assert!(told.output.contains("claims-forgeable"), "{}", told.output);
}

#[tokio::test]
async fn a_signing_key_that_the_database_does_not_know_is_told() {
    let home = Home::new().await;
    home.write("claims.secret", &random_hex(32));
    let (files, own) = (format!("{}/claims.secret", home.stage.files().display()), "claims.secret");
    for mode in ["signed", "auto"] {
        let configuration = home.configuration().replace(&files, own);
        home.write("proxy.toml", &configuration.replace("mode = \"signed\"", &format!("mode = \"{mode}\"")));
        for arguments in [&[][..], &["--url", &home.url()]] {
            let told = home.check(arguments).await;

            assert_eq!(told.code, Some(2), "{mode}, {arguments:?}: {}", told.output);
            for words in ["claims-refused", "pgusher setup --apply", "0 critical, 1 high, 0 warnings"] {
                assert!(told.output.contains(words), "{mode}, {arguments:?}: {words:?} is not in {}", told.output);
            }
        }
    }
}

#[tokio::test]
async fn whether_claims_are_taken_is_not_looked_at_where_the_login_does_not_get_in() {
    let home = Home::new().await;
    home.run("ALTER ROLE {login} PASSWORD 'another'").await;

    let told = home.check(&["--url", &home.url()]).await;

    assert_eq!(told.code, Some(0), "{}", told.output);
    let words =
        format!("not looked at: whether database {} takes claims for {}: login login_", home.database, home.role);
    assert!(told.output.contains(&words), "{}", told.output);
}
