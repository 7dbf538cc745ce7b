//! Group 6: policies.

use crate::check::{Check, Reach};
use crate::rule::{Group, Level, Rule};

pub(super) const CHECK: Check = Check {
    group: Group::Policies,
    reach: Reach::Database,
    sql: include_str!("../../sql/06_policies.sql"),
    needs: None,
    rules: &[
        Rule {
            id: "policy-forgeable",
            group: Group::Policies,
            level: Level::Critical,
            what: "a policy asks for claims that a session can set",
            why: "Whoever may send SQL sets the parameter to somebody else's claims, and has that user's rows.",
        },
        Rule {
            id: "policy-immutable",
            group: Group::Policies,
            level: Level::High,
            what: "a policy calls an IMMUTABLE function that depends on the session",
            why: "It is computed when a plan is made, and a plan that is kept answers with the user of then.",
        },
        Rule {
            id: "policy-always-true",
            group: Group::Policies,
            level: Level::High,
            what: "a policy holds for every row",
            why: "With it every client of the role has the rows of all others.",
        },
        Rule {
            id: "policy-calls-per-row",
            group: Group::Policies,
            level: Level::Warning,
            what: "a policy verifies the claims for each row",
            why: "The signature is checked again for every row that is looked at, unless the call is in a sub-select of its own.",
        },
        Rule {
            id: "policy-none",
            group: Group::Policies,
            level: Level::Warning,
            what: "a table with row security has no policy for clients",
            why: "Nobody sees a row, so a right to the table was given by mistake or its policies were forgotten.",
        },
    ],
};
