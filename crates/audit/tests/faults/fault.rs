//! A fault, and what the audit must say about it.

use pgusher_audit::{Finding, Group, Level, Report, checks};

use crate::fixture::{Fixture, fixture, fixture_alone, version};

/// Statements that break a rule, and the finding that this must give. All texts may have the fixture's names in braces.
pub(crate) struct Fault {
    /// The rule's id.
    pub(crate) rule: &'static str,
    /// The fault, run as the superuser.
    pub(crate) sql: &'static str,
    /// The finding's subject.
    pub(crate) subject: &'static str,
    /// Something that its evidence says.
    pub(crate) evidence: &'static str,
    /// How bad it is, where that is not the rule's own level.
    pub(crate) level: Option<Level>,
    /// The first version of PostgreSQL that can have the fault, and the first that cannot.
    pub(crate) versions: std::ops::Range<i32>,
    /// An extension that it needs, which not every server has at hand.
    pub(crate) extension: Option<&'static str>,
    /// Whether others would have the fault too, in the same server.
    pub(crate) alone: bool,
}

impl Fault {
    /// A fault of any version, at its rule's level.
    pub(crate) const fn new(
        rule: &'static str,
        sql: &'static str,
        subject: &'static str,
        evidence: &'static str,
    ) -> Self {
        Self { rule, sql, subject, evidence, level: None, versions: 0..i32::MAX, extension: None, alone: false }
    }

    /// The same, told at another level.
    pub(crate) const fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// The same, from this major version on.
    pub(crate) const fn since(mut self, major: i32) -> Self {
        self.versions.start = major * 10_000;
        self
    }

    /// The same, up to the version before this one.
    pub(crate) const fn before(mut self, major: i32) -> Self {
        self.versions.end = major * 10_000;
        self
    }

    /// The same, where this extension is at hand.
    pub(crate) const fn with_extension(mut self, name: &'static str) -> Self {
        self.extension = Some(name);
        self
    }

    /// The same, on a server that no other test shares.
    pub(crate) const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    async fn has_extension(&self, fixture: &Fixture) -> bool {
        let at_hand = "SELECT $1::text IS NULL OR EXISTS (SELECT FROM pg_available_extensions WHERE name = $1)";
        fixture.admin.query_one(at_hand, &[&self.extension]).await.unwrap().get(0)
    }

    fn told_in(&self, fixture: &Fixture, report: &Report) -> Option<Finding> {
        let subject = fixture.named(self.subject);
        report.findings.iter().find(|finding| finding.rule.id == self.rule && finding.subject == subject).cloned()
    }
}

/// Tries all faults of a group, each in a database of its own: none is told before it is there, then it is, and no more
/// once its mend has run. Every rule of the group must be among them.
pub(crate) async fn try_all(group: Group, faults: &[Fault]) {
    for rule in checks().filter(|check| check.group == group).flat_map(|check| check.rules) {
        assert!(faults.iter().any(|fault| fault.rule == rule.id), "no fault for {}", rule.id);
    }
    for fault in faults {
        try_one(fault).await;
    }
}

/// Tries statements that look like a fault and are none, each in a database of its own: nothing at all is told.
pub(crate) async fn try_harmless(statements: &[&str]) {
    for statements in statements {
        let fixture = fixture().await;
        fixture.run(statements).await;
        assert_eq!(told(&fixture.report().await), [""; 0], "after {statements}");
    }
}

/// The findings, for an assertion's message.
pub(crate) fn told(report: &Report) -> Vec<String> {
    let line = |finding: &Finding| format!("{}: {}: {}", finding.rule.id, finding.subject, finding.evidence);
    report.findings.iter().map(line).collect()
}

async fn try_one(fault: &Fault) {
    if !fault.versions.contains(&version().await) {
        return;
    }
    let fixture = if fault.alone { fixture_alone().await } else { fixture().await };
    if !fault.has_extension(&fixture).await {
        return;
    }
    let told = async || fault.told_in(&fixture, &fixture.report().await);
    assert!(told().await.is_none(), "{} is told of a clean database", fault.rule);

    fixture.run(fault.sql).await;
    let finding = told().await.unwrap_or_else(|| panic!("{} is not told after {}", fault.rule, fault.sql));
    let evidence = fixture.named(fault.evidence);
    assert!(finding.evidence.contains(&evidence), "{}: {:?} lacks {evidence:?}", fault.rule, finding.evidence);
    assert_eq!(finding.level, fault.level.unwrap_or(finding.rule.level), "{}", fault.rule);

    if let Some(mend) = &finding.mend {
        fixture.run(mend).await;
        assert!(told().await.is_none(), "{} is still told after {mend}", fault.rule);
    }
}
