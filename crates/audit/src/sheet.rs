//! What an audit has to tell, as people, scripts and viewers of SARIF want it.

use std::path::PathBuf;

use crate::database::Unseen;
use crate::finding::Finding;
use crate::rule::Level;

mod json;
mod sarif;
mod text;

pub use text::Colour;

/// An audit's result.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    /// The configuration that the audit is about.
    pub configuration: PathBuf,
    /// What was looked at, as in `database app`.
    pub seen: Vec<String>,
    /// What could not be looked at.
    pub unseen: Vec<Unseen>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What is wrong and was accepted by the operator.
    pub allowed: Vec<Finding>,
}

impl Sheet {
    /// How many findings of this level nobody has accepted.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// The level of the worst finding that nobody has accepted.
    #[must_use]
    pub fn worst(&self) -> Option<Level> {
        self.findings.iter().map(|finding| finding.level).max()
    }
}

#[cfg(test)]
mod tests;
