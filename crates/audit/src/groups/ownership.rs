//! Group 3: what a served role or a login owns.

use crate::check::{Check, Reach};
use crate::rule::{Group, Level, Rule};

pub(super) const CHECK: Check = Check {
    group: Group::Ownership,
    reach: Reach::Database,
    needs: None,
    sql: include_str!("../../sql/03_ownership.sql"),
    rules: &[
        Rule {
            id: "client-owns",
            group: Group::Ownership,
            level: Level::Critical,
            what: "a served role or a login owns something",
            why: "An owner is not held by policies, may drop or change what it owns, and so may every client of the role.",
        },
        Rule {
            id: "owner-reached",
            group: Group::Ownership,
            level: Level::Critical,
            what: "a client has the rights of an owner",
            why: "Whoever has the rights of a table's owner is not held by its policies, and may drop them.",
        },
        Rule {
            id: "large-objects-owned",
            group: Group::Ownership,
            level: Level::Warning,
            what: "clients have made large objects",
            why: "Large objects know no policies: every client of the role can read, change and delete them.",
        },
    ],
};
