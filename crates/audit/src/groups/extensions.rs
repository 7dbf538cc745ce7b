//! Group 14: extensions and languages.

use crate::check::{Check, Reach};
use crate::rule::{Group, Level, Rule};

pub(super) const CHECK: Check = Check {
    group: Group::Extensions,
    reach: Reach::Database,
    sql: include_str!("../../sql/14_extensions.sql"),
    needs: None,
    rules: &[
        Rule {
            id: "extension-reaches-out",
            group: Group::Extensions,
            level: Level::High,
            what: "clients may call an extension that reaches out of the database",
            why: "What it connects to, sends or runs later does not have the session's identity, and may trust the server more than a client.",
        },
        Rule {
            id: "extension-reads-below",
            group: Group::Extensions,
            level: Level::High,
            what: "clients may call an extension that reads below the policies",
            why: "Pages, files and the log hold the rows of everybody.",
        },
        Rule {
            id: "extension-shows-statements",
            group: Group::Extensions,
            level: Level::Warning,
            what: "clients may see statements that an extension keeps",
            why: "Users of one role are one user to Postgres: each sees what the others ran.",
        },
        Rule {
            id: "foreign-server-usable",
            group: Group::Extensions,
            level: Level::High,
            what: "clients may use a foreign server or wrapper",
            why: "The other side sees the server's address and a stored password, not the client's identity.",
        },
        Rule {
            id: "language-untrusted",
            group: Group::Extensions,
            level: Level::High,
            what: "clients may call a function in an untrusted language",
            why: "It has the rights of the server's own account, and what it lets its caller do is up to its text.",
        },
        Rule {
            id: "language-usable",
            group: Group::Extensions,
            level: Level::Warning,
            what: "clients may write functions",
            why: "Loops that nothing but a time limit ends, and functions in a WHERE that see rows before a policy does, where a release of Postgres has such a gap.",
        },
    ],
};
