//! The outputs.

use serde_json::Value;

use super::*;
use crate::finding::Place;
use crate::groups::rule;

fn sheet() -> Sheet {
    let finding = |id, subject: &str| Finding::new(rule(id).unwrap(), subject, "the evidence");
    let mut weaker = finding("role-createdb", "role authenticated");
    weaker.level = Level::Warning;
    let database = Place::Database("app".to_owned());
    Sheet {
        configuration: "my proxy.toml".into(),
        seen: vec!["my proxy.toml".to_owned(), "database app".to_owned()],
        unseen: vec![Unseen { what: "pg_hba.conf".to_owned(), why: "needs --url".to_owned() }],
        findings: vec![
            finding("table-without-rls", "table public.todos").at(database).mended_by("ALTER TABLE …;"),
            weaker,
            finding("role-superuser", "role \u{1b}[2J"),
        ],
        allowed: vec![finding("claims-forgeable", "claims.mode")],
    }
}

#[test]
fn the_text_goes_by_groups_with_the_worst_first() {
    let text = sheet().text(Colour::Off);
    let place = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words:?} is not in {text}"));
    assert!(place("attributes of roles\n") < place("  critical  role"));
    assert!(place("  critical  role") < place("  warning   role authenticated"));
    assert!(place("role authenticated") < place("tables without row security\n"));
    assert!(place("critical  table public.todos in database app\n") < place("mend  ALTER TABLE …;\n"));
}

#[test]
fn the_text_ends_with_a_line_that_sums_it_up() {
    let text = sheet().text(Colour::Off);
    assert_eq!(text.lines().last(), Some("2 critical, 0 high, 1 warning; looked at my proxy.toml, database app"));
    assert!(text.contains("not looked at: pg_hba.conf: needs --url\n"), "{text}");
    assert!(text.contains("allowed by [safety]: claims-forgeable: claims.mode\n"), "{text}");
    let clean = Sheet { seen: vec!["database app".to_owned()], ..Sheet::default() };
    assert_eq!(clean.text(Colour::Off), "nothing found; looked at database app\n");
}

#[test]
fn names_cannot_reach_the_terminal() {
    let text = sheet().text(Colour::Off);
    assert!(!text.contains('\u{1b}') && text.contains(r"role \u{1b}[2J"), "{text}");
    assert!(sheet().text(Colour::On).contains("\u{1b}[1;31mcritical  \u{1b}[0m"));
}

#[test]
fn what_is_allowed_counts_for_nothing() {
    assert_eq!(sheet().worst(), Some(Level::Critical));
    let sheet = Sheet { findings: Vec::new(), ..sheet() };
    assert_eq!(sheet.worst(), None);
}

#[test]
fn json_has_every_finding_with_its_place() {
    let json = sheet().json();
    assert_eq!(json["summary"], serde_json::json!({ "critical": 2, "high": 0, "warning": 1, "allowed": 1 }));
    assert_eq!(json["findings"].as_array().map(Vec::len), Some(4));
    assert_eq!(json["findings"][0]["place"], serde_json::json!({ "database": "app" }));
    assert_eq!(json["findings"][0]["mend"], "ALTER TABLE …;");
    assert_eq!(json["findings"][2]["mend"], Value::Null);
    assert_eq!(json["findings"][3]["allowed"], true);
}

#[test]
fn sarif_has_what_the_standard_requires() {
    let sarif = sheet().sarif("0.1.0");
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    assert_eq!(run["tool"]["driver"]["name"], "pgusher");
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    for result in run["results"].as_array().unwrap() {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
        assert!(matches!(result["level"].as_str(), Some("error" | "warning")), "{result}");
        assert!(result["message"]["text"].is_string(), "{result}");
        let location = &result["locations"][0];
        assert_eq!(location["physicalLocation"]["artifactLocation"]["uri"], "my%20proxy.toml");
        assert!(location["logicalLocations"][0]["fullyQualifiedName"].is_string(), "{result}");
    }
    assert_eq!(run["results"][0]["properties"]["mend"], "ALTER TABLE …;");
    assert_eq!(run["results"][0]["suppressions"], serde_json::json!([]));
    assert_eq!(run["results"][3]["suppressions"][0]["kind"], "external");
}

#[test]
fn a_line_of_the_configuration_is_a_region() {
    let place = Place::File { path: "/etc/pgusher/proxy.toml".into(), line: Some(7) };
    let finding = Finding::new(rule("config-error").unwrap(), "pool.x", "unknown key").at(place);
    let sheet = Sheet { findings: vec![finding], ..Sheet::default() };
    let location = &sheet.sarif("0")["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(location["artifactLocation"]["uri"], "file:///etc/pgusher/proxy.toml");
    assert_eq!(location["region"]["startLine"], 7);
}
