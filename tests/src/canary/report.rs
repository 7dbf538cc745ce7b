//! What a run saw: counts, and the violations that must not be.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What the canary exists to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A row of another identity.
    ForeignRow,
    /// `auth.user_id()` is not the client's.
    WrongSubject,
    /// `current_user` is not the client's.
    WrongRole,
    /// A setting, temporary table or prepared statement that is not the client's, or that it lost.
    WrongState,
    /// An answer to something else than what was asked, or one too few or too many.
    MixedAnswer,
    /// An error that nothing explains.
    UnexpectedError,
    /// A client that got no answer in time.
    Hang,
    /// More servers than the pool may have.
    TooManyServers,
    /// Something of a session that outlived it.
    LeftBehind,
}

/// One of those, and everything that is known about it.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub kind: Kind,
    /// What was expected and what came.
    pub text: String,
}

impl Violation {
    /// One of a kind.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// With one more line that says where it happened.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        self.text = format!("{place}\n  {}", self.text);
        self
    }
}

/// What all clients of a run count in. The first violation ends the run.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Statements sent; what a run of bounded work is bounded by.
    statements: AtomicU64,
    failed: AtomicBool,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    named: BTreeMap<&'static str, u64>,
    faults: BTreeMap<&'static str, u64>,
    errors: BTreeMap<String, u64>,
    violations: Vec<Violation>,
}

/// The counts at the end of a run.
#[derive(Debug)]
pub struct Report {
    statements: u64,
    counts: Counts,
}

impl Ledger {
    /// Counts so many of something.
    pub fn add(&self, name: &'static str, count: u64) {
        *self.lock().named.entry(name).or_default() += count;
    }

    /// Counts statements.
    pub fn add_statements(&self, count: u64) {
        self.statements.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts a fault that was injected.
    pub fn fault(&self, name: &'static str) {
        *self.lock().faults.entry(name).or_default() += 1;
    }

    /// Counts an error by its SQLSTATE.
    pub fn error(&self, sqlstate: &str) {
        *self.lock().errors.entry(sqlstate.to_owned()).or_default() += 1;
    }

    /// Notes a violation.
    pub fn violated(&self, violation: Violation) {
        self.lock().violations.push(violation);
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Whether there has been one.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Statements sent so far.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// The counts so far, which are taken out.
    pub fn report(&self) -> Report {
        Report { statements: self.statements(), counts: std::mem::take(&mut *self.lock()) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().expect("nobody panics while counting")
    }
}

impl Report {
    /// The violations, the first one first.
    pub fn violations(&self) -> &[Violation] {
        &self.counts.violations
    }

    /// A count by its name, such as `rows`.
    pub fn count(&self, name: &str) -> u64 {
        self.counts.named.get(name).copied().unwrap_or_default()
    }

    /// How many faults were injected, by kind.
    pub fn faults(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts.faults
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>12} statements", self.statements)?;
        for (name, count) in &self.counts.named {
            writeln!(f, "{count:>12} {name}")?;
        }
        for (name, count) in &self.counts.faults {
            writeln!(f, "{count:>12} faults: {name}")?;
        }
        for (sqlstate, count) in &self.counts.errors {
            writeln!(f, "{count:>12} errors {sqlstate}")?;
        }
        for kind in [Kind::ForeignRow, Kind::WrongSubject, Kind::WrongRole, Kind::WrongState, Kind::MixedAnswer] {
            let count = self.violations().iter().filter(|violation| violation.kind == kind).count();
            writeln!(f, "{count:>12} {kind:?}")?;
        }
        for violation in self.violations() {
            writeln!(f, "\nVIOLATION: {:?}\n{}", violation.kind, violation.text)?;
        }
        Ok(())
    }
}
