//! Group 8: views with their owner's rights.

use crate::check::{Check, Reach};
use crate::rule::{Group, Level, Rule};

pub(super) const CHECK: Check = Check {
    group: Group::Views,
    reach: Reach::Database,
    sql: include_str!("../../sql/08_views.sql"),
    needs: None,
    rules: &[Rule {
        id: "view-owner-rights",
        group: Group::Views,
        level: Level::High,
        what: "clients reach a view that reads with its owner's rights",
        why: "The policies of the tables behind it are those for the owner, whom as a rule none holds.",
    }],
};
