//! Group 11: dangerous functions of the server.

use crate::check::{Check, Reach};
use crate::rule::{Group, Level, Rule};

pub(super) const CHECK: Check = Check {
    group: Group::Functions,
    reach: Reach::Database,
    sql: include_str!("../../sql/11_functions.sql"),
    needs: None,
    rules: &[
        Rule {
            id: "function-ends-sessions",
            group: Group::Functions,
            level: Level::Warning,
            what: "clients may end sessions and cancel statements",
            why: "Users of one role are one user to Postgres: each can end what the others do.",
        },
        Rule {
            id: "function-shows-statements",
            group: Group::Functions,
            level: Level::Warning,
            what: "clients may see the statements of others",
            why: "Users of one role are one user to Postgres: each sees what the others run, and the values in it.",
        },
        Rule {
            id: "function-makes-large-objects",
            group: Group::Functions,
            level: Level::Warning,
            what: "clients may make large objects",
            why: "No policy is about them, they outlive the session, and they fill the disk.",
        },
        Rule {
            id: "function-of-files",
            group: Group::Functions,
            level: Level::High,
            what: "clients may read or write files of the server",
            why: "The files of the server hold all rows, and its configuration the ways in.",
        },
        Rule {
            id: "function-of-administrators",
            group: Group::Functions,
            level: Level::High,
            what: "clients may call a function for administrators",
            why: "It acts on the whole server and not on a session.",
        },
    ],
};
