//! Group 12: rights that may be passed on.

use crate::check::{Check, Reach};
use crate::rule::{Group, Level, Rule};

pub(super) const CHECK: Check = Check {
    group: Group::GrantOptions,
    reach: Reach::Database,
    needs: None,
    sql: include_str!("../../sql/12_grant_options.sql"),
    rules: &[Rule {
        id: "grant-option",
        group: Group::GrantOptions,
        level: Level::High,
        what: "clients may pass a right on",
        why: "One client decides what all others may do, and what it granted outlives its session.",
    }],
};
