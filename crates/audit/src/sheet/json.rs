//! The sheet for scripts. Its shape is in `docs/check.md`; a field may be added, and none changes its meaning.

use serde_json::{Value, json};

use crate::finding::{Finding, Place};
use crate::rule::Level;
use crate::sheet::Sheet;

impl Sheet {
    /// The sheet as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let findings = self.findings.iter().map(|finding| (finding, false));
        let allowed = self.allowed.iter().map(|finding| (finding, true));
        json!({
            "version": 1,
            "summary": {
                "critical": self.count(Level::Critical),
                "high": self.count(Level::High),
                "warning": self.count(Level::Warning),
                "allowed": self.allowed.len(),
            },
            "looked_at": self.seen,
            "not_looked_at": self.unseen.iter().map(|unseen| json!({ "what": unseen.what, "why": unseen.why }))
                .collect::<Vec<_>>(),
            "findings": findings.chain(allowed).map(|(finding, allowed)| entry(finding, allowed)).collect::<Vec<_>>(),
        })
    }
}

fn entry(finding: &Finding, allowed: bool) -> Value {
    let place = finding.place.as_ref().map(|place| match place {
        Place::Database(name) => json!({ "database": name }),
        Place::File { path, line } => json!({ "file": path.display().to_string(), "line": line }),
    });
    json!({
        "rule": finding.rule.id,
        "group": finding.rule.group.title(),
        "level": finding.level.word(),
        "subject": finding.subject,
        "evidence": finding.evidence,
        "why": finding.rule.why,
        "mend": finding.mend,
        "place": place,
        "allowed": allowed,
    })
}
