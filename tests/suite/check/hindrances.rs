//! What keeps the command from looking.

use super::Home;

#[tokio::test]
async fn a_wrong_configuration_is_told_line_by_line() {
    let home = Home::new().await;
    home.write(
        "proxy.toml",
        &home.configuration().replace("[claims]\nmode = \"signed\"", "[claims]\nmode = \"sined\""),
    );

    let told = home.check(&["--json"]).await;

    assert_eq!(told.code, Some(78), "{}", told.complaint);
    let json = home.json(&[]).await;
    let finding = &json["findings"][0];
    assert_eq!((&finding["rule"], &finding["subject"]), (&"config-error".into(), &"claims.mode".into()));
    assert_eq!(finding["place"]["file"], "proxy.toml");
    assert_eq!(finding["place"]["line"], 8);
    assert_eq!(json["not_looked_at"][0]["what"], "issuers and databases");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_with_what_was_found_elsewhere() {
    let home = Home::new().await;
    let arguments = ["--database", &home.database, "--database", "nowhere"];

    let told = home.check(&arguments).await;

    assert_eq!(told.code, Some(69));
    assert!(told.output.contains("not looked at: database nowhere: "), "{}", told.output);
    assert!(
        told.output.contains(&format!("looked at proxy.toml, provider issuer, database {}\n", home.database)),
        "{}",
        told.output
    );

    home.run("ALTER TABLE todos DISABLE ROW LEVEL SECURITY").await;
    assert_eq!(home.check(&arguments).await.code, Some(2));
}

#[tokio::test]
async fn a_login_that_does_not_get_in_is_no_clean_check() {
    let home = Home::new().await;
    home.run("ALTER ROLE {login} PASSWORD 'another'").await;

    let told = home.check(&[]).await;

    assert_eq!(told.code, Some(69));
    assert!(told.output.contains(&format!("login_{}", home.role)), "{}", told.output);
}

#[tokio::test]
async fn a_url_that_says_nothing_is_wrong_usage() {
    let home = Home::new().await;

    let told = home.check(&["--url", "postgres:///"]).await;

    assert_eq!((told.code, told.output.as_str()), (Some(2), ""));
    assert!(told.complaint.contains("--url: it names no user"), "{}", told.complaint);
}
