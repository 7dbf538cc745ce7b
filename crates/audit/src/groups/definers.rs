//! Group 7: functions with their owner's rights.

use crate::check::{Check, Reach};
use crate::rule::{Group, Level, Rule};

pub(super) const CHECK: Check = Check {
    group: Group::Definers,
    reach: Reach::Database,
    sql: include_str!("../../sql/07_definers.sql"),
    needs: None,
    rules: &[
        Rule {
            id: "definer-callable",
            group: Group::Definers,
            level: Level::Warning,
            what: "clients may call a SECURITY DEFINER function",
            why: "Within it the owner's rights and policies count and not the caller's, so it has to do by itself what the policies do.",
        },
        Rule {
            id: "definer-search-path",
            group: Group::Definers,
            level: Level::High,
            what: "clients have a hand in the search_path of a SECURITY DEFINER function",
            why: "A table, function or operator of the caller's, found in place of what was meant, runs with the owner's rights.",
        },
        Rule {
            id: "definer-forgeable",
            group: Group::Definers,
            level: Level::High,
            what: "clients may call a SECURITY DEFINER function that reads claims which they can set",
            why: "It gives the owner's rights to whoever the caller says he is.",
        },
    ],
};
