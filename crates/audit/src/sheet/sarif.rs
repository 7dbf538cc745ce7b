//! The sheet as SARIF 2.1.0, for whatever shows findings beside code:
//! <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>
//!
//! Databases have no files and most viewers want one, so every result is at least at the configuration; what it is about
//! is its logical location. SQL is no change of a file, so it is the property `mend` and no `fix`.

use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::finding::{Finding, Place};
use crate::groups::rules;
use crate::rule::{Level, Rule};
use crate::sheet::Sheet;

/// What stands for itself in the path of a URI (RFC 3986).
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Sheet {
    /// The sheet as SARIF, told by this version of the program.
    #[must_use]
    pub fn sarif(&self, version: &str) -> Value {
        let findings = self.findings.iter().map(|finding| result(finding, false, &self.configuration));
        let allowed = self.allowed.iter().map(|finding| result(finding, true, &self.configuration));
        let unseen = |unseen: &crate::Unseen| json!({ "level": "warning", "message": { "text": format!("not looked at: {}: {}", unseen.what, unseen.why) } });
        json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": {
                    "name": "pgusher",
                    "version": version,
                    "rules": rules().map(descriptor).collect::<Vec<_>>(),
                } },
                "invocations": [{
                    "executionSuccessful": self.unseen.is_empty(),
                    "toolExecutionNotifications": self.unseen.iter().map(unseen).collect::<Vec<_>>(),
                }],
                "results": findings.chain(allowed).collect::<Vec<_>>(),
            }],
        })
    }
}

fn descriptor(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": { "text": rule.what },
        "fullDescription": { "text": rule.why },
        "defaultConfiguration": { "level": level(rule.level) },
        "properties": {
            "group": rule.group.title(),
            "tags": ["security"],
            "security-severity": severity(rule.level),
        },
    })
}

fn result(finding: &Finding, allowed: bool, configuration: &Path) -> Value {
    let index = rules().position(|rule| rule.id == finding.rule.id);
    let database = if let Some(Place::Database(name)) = &finding.place { Some(name.as_str()) } else { None };
    let qualified = database.map_or_else(|| finding.subject.clone(), |name| format!("{name}: {}", finding.subject));
    let mut result = json!({
        "ruleId": finding.rule.id,
        "level": level(finding.level),
        "message": { "text": format!("{}: {}", finding.subject, finding.evidence) },
        "locations": [{
            "physicalLocation": physical(finding, configuration),
            "logicalLocations": [{ "name": finding.subject, "fullyQualifiedName": qualified }],
        }],
        // What makes it the same finding tomorrow, when its evidence may read differently.
        "partialFingerprints": { "subject/v1": format!("{}/{qualified}", finding.rule.id) },
        "properties": { "level": finding.level.word(), "why": finding.rule.why, "mend": finding.mend, "database": database },
        "suppressions": [],
    });
    if let Some(index) = index {
        result["ruleIndex"] = json!(index);
    }
    if allowed {
        result["suppressions"] = json!([{ "kind": "external", "justification": "[safety] allow names the rule" }]);
    }
    result
}

fn physical(finding: &Finding, configuration: &Path) -> Value {
    let (path, line) = match &finding.place {
        Some(Place::File { path, line }) => (path.as_path(), *line),
        _ => (configuration, None),
    };
    let mut location = json!({ "artifactLocation": { "uri": uri(path) } });
    if let Some(line) = line {
        location["region"] = json!({ "startLine": line });
    }
    location
}

fn uri(path: &Path) -> String {
    let path = utf8_percent_encode(&path.to_string_lossy(), PATH).to_string();
    if path.starts_with('/') { format!("file://{path}") } else { path }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Critical | Level::High => "error",
        Level::Warning => "warning",
    }
}

/// As some viewers sort by: 9 and more is critical, 7 high, 4 medium.
fn severity(level: Level) -> &'static str {
    match level {
        Level::Critical => "9.5",
        Level::High => "8.0",
        Level::Warning => "5.0",
    }
}
