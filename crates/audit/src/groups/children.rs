//! Group 13: partitions and children of tables with row security.

use crate::check::{Check, Reach};
use crate::rule::{Group, Level, Rule};

pub(super) const CHECK: Check = Check {
    group: Group::Children,
    reach: Reach::Database,
    needs: None,
    sql: include_str!("../../sql/13_children.sql"),
    rules: &[Rule {
        id: "child-without-rls",
        group: Group::Children,
        level: Level::Critical,
        what: "clients reach a partition or child whose parent has row security and which has none",
        why: "A query that names the child is not held by the parent's policies.",
    }],
};
