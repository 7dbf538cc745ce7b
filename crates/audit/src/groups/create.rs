//! Group 4: rights to create something.

use crate::check::{Check, Reach};
use crate::rule::{Group, Level, Rule};

pub(super) const CHECK: Check = Check {
    group: Group::Create,
    reach: Reach::Database,
    needs: None,
    sql: include_str!("../../sql/04_create.sql"),
    rules: &[
        Rule {
            id: "schema-create",
            group: Group::Create,
            level: Level::High,
            what: "clients may create objects in a schema",
            why: "Where a search_path has the schema, a client's function or table is taken for the one that was meant.",
        },
        Rule {
            id: "database-create",
            group: Group::Create,
            level: Level::High,
            what: "clients may create schemas in the database",
            why: "A client would own what it creates, and a schema named like a role comes first in its search_path.",
        },
        Rule {
            id: "database-temporary",
            group: Group::Create,
            level: Level::Warning,
            what: "clients may create temporary objects",
            why: "A temporary table stands before the real one of its name, also in functions that do not pin search_path.",
        },
    ],
};
