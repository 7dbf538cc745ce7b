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

/// The configuration is wrong.
pub static CONFIG_ERROR: Rule = Rule {
    id: "config-error",
    group: Group::Configuration,
    level: Level::High,
    what: "the configuration is wrong",
    why: "The proxy does not start with it.",
};

/// The configuration is worth a warning.
pub static CONFIG_WARNING: Rule = Rule {
    id: "config-warning",
    group: Group::Configuration,
    level: Level::Warning,
    what: "the configuration is probably not what was meant",
    why: "The proxy starts with it, and somebody may be surprised.",
};
