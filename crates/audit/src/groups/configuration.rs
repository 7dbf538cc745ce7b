//! What the configuration alone tells.

use crate::rule::{Group, Level, Rule};

/// The mode of claims is one that SQL can forge.
pub static CLAIMS_FORGEABLE: Rule = Rule {
    id: "claims-forgeable",
    group: Group::Configuration,
    level: Level::Critical,
    what: "the database believes claims that nobody verifies",
    why: "Whoever can run SQL is whoever they say they are: SET request.jwt.claims is open to all.",
};
