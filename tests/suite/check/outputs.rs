//! The text, JSON and SARIF.

use serde_json::Value;

use super::Home;

#[tokio::test]
async fn json_has_the_shape_that_the_docs_promise() {
    let home = Home::new().await;
    home.run("ALTER TABLE todos DISABLE ROW LEVEL SECURITY").await;

    let json = home.json(&[]).await;

    assert_eq!(json["version"], 1);
    assert_eq!(json["summary"]["critical"], 1);
    assert_eq!(json["looked_at"][2], format!("database {}", home.database));
    let finding = &json["findings"][0];
    let fields: Vec<_> = finding.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut documented = documented_fields();
    documented.sort_unstable();
    assert_eq!(fields, documented);
    assert_eq!(finding["place"]["database"], *home.database);
    assert_eq!(finding["allowed"], false);
}

/// The fields of a finding, as `docs/check.md` lists them.
fn documented_fields() -> Vec<&'static str> {
    let rows = include_str!("../../../docs/check.md").lines().filter_map(|line| line.strip_prefix("| `findings[]."));
    rows.map(|row| row.split('`').next().expect("a name")).collect()
}

#[tokio::test]
async fn sarif_is_what_its_viewers_need() {
    let home = Home::new().await;
    home.run("ALTER TABLE todos DISABLE ROW LEVEL SECURITY").await;

    let told = home.check(&["--sarif"]).await;

    assert_eq!(told.code, Some(2));
    let sarif: Value = serde_json::from_str(&told.output).expect("JSON");
    let run = &sarif["runs"][0];
    assert_eq!((&sarif["version"], &run["tool"]["driver"]["name"]), (&"2.1.0".into(), &"pgusher".into()));
    let result = &run["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&"table-without-rls".into(), &"error".into()));
    let location = &result["locations"][0];
    assert_eq!(location["physicalLocation"]["artifactLocation"]["uri"], "proxy.toml");
    assert_eq!(location["logicalLocations"][0]["name"], "table public.todos");
    assert_eq!(result["properties"]["mend"], "ALTER TABLE public.todos ENABLE ROW LEVEL SECURITY;");
}

#[tokio::test]
async fn colours_are_for_terminals_and_for_whoever_asks() {
    let home = Home::new().await;
    for (arguments, coloured) in [(&[][..], false), (&["--color", "always"], true), (&["--color", "never"], false)] {
        assert_eq!(home.check(arguments).await.output.contains('\u{1b}'), coloured, "{arguments:?}");
    }
}
