//! Group 9: rights on what is yet to be created.

use crate::check::{Check, Reach};
use crate::rule::{Group, Level, Rule};

pub(super) const CHECK: Check = Check {
    group: Group::Defaults,
    reach: Reach::Database,
    needs: None,
    sql: include_str!("../../sql/09_defaults.sql"),
    rules: &[
        Rule {
            id: "default-table-grant",
            group: Group::Defaults,
            level: Level::Warning,
            what: "clients will have rights on tables that do not exist yet",
            why: "Tomorrow's table is open to every client until somebody enables its row security.",
        },
        Rule {
            id: "default-schema-grant",
            group: Group::Defaults,
            level: Level::Warning,
            what: "clients will be allowed to create objects in schemas that do not exist yet",
            why: "Where a search_path has the schema, a client's function or table is taken for the one that was meant.",
        },
    ],
};
