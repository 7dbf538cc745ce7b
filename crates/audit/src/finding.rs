//! What was found: a rule that is broken, by what, and how to mend it.

use std::path::PathBuf;

use crate::rule::{Level, Rule};

/// A rule that something breaks.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// How bad it is here.
    pub level: Level,
    /// What breaks it, as in `role authenticated` or `table public.todos`.
    pub subject: String,
    /// What was seen.
    pub evidence: String,
    /// Statements that make the finding go away, ended by semicolons; none where no SQL can.
    pub mend: Option<String>,
    /// Where it was seen; none for what a whole cluster shares.
    pub place: Option<Place>,
}

/// Where something was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this database.
    Database(String),
    /// In a file, where that is known at a line, counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: Option<usize>,
    },
}

impl Finding {
    /// A finding of the rule's own level, with no SQL that mends it.
    pub fn new(rule: &'static Rule, subject: impl Into<String>, evidence: impl Into<String>) -> Self {
        let (subject, evidence) = (subject.into(), evidence.into());
        Self { rule, level: rule.level, subject, evidence, mend: None, place: None }
    }

    /// The same, mended by these statements.
    #[must_use]
    pub fn mended_by(self, statements: impl Into<String>) -> Self {
        Self { mend: Some(statements.into()), ..self }
    }

    /// The same, seen there.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self { place: Some(place), ..self }
    }
}
