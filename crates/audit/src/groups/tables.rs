//! Group 5: relations that clients reach and policies do not hold.

use crate::check::{Check, Reach};
use crate::rule::{Group, Level, Rule};

pub(super) const CHECK: Check = Check {
    group: Group::Tables,
    reach: Reach::Database,
    needs: None,
    sql: include_str!("../../sql/05_tables.sql"),
    rules: &[
        Rule {
            id: "table-without-rls",
            group: Group::Tables,
            level: Level::Critical,
            what: "clients reach a table that has no row security",
            why: "Without row security every client of the role has all rows.",
        },
        Rule {
            id: "materialized-view-readable",
            group: Group::Tables,
            level: Level::High,
            what: "clients can read a materialized view",
            why: "It holds what its owner saw, and cannot have row security.",
        },
        Rule {
            id: "foreign-table-reachable",
            group: Group::Tables,
            level: Level::High,
            what: "clients reach a foreign table",
            why: "It cannot have row security, and what is behind it does not know who asks.",
        },
        Rule {
            id: "catalog-granted",
            group: Group::Tables,
            level: Level::Critical,
            what: "clients have a right on the system's catalogs that Postgres does not give",
            why: "The catalogs hold password hashes and samples of all rows, and row security does not cover them.",
        },
        Rule {
            id: "truncate-granted",
            group: Group::Tables,
            level: Level::High,
            what: "clients may TRUNCATE a table",
            why: "TRUNCATE knows no policies: it takes everybody's rows.",
        },
        Rule {
            id: "trigger-granted",
            group: Group::Tables,
            level: Level::High,
            what: "clients may add triggers to a table",
            why: "A trigger runs with the identity and the rights of whoever writes next.",
        },
        Rule {
            id: "references-granted",
            group: Group::Tables,
            level: Level::Warning,
            what: "clients may refer to a table with foreign keys",
            why: "A foreign key is checked without policies, so it tells which keys others have, and blocks their deletion.",
        },
        Rule {
            id: "maintain-granted",
            group: Group::Tables,
            level: Level::Warning,
            what: "clients may maintain a table",
            why: "MAINTAIN allows locks that keep everybody else out.",
        },
    ],
};
