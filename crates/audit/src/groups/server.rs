//! Group 15: the server's log, its ways in, and the setup's event trigger.

use crate::check::{Check, Reach};
use crate::rule::{Group, Level, Rule};

pub(super) const LOGS: Check = Check {
    group: Group::Server,
    reach: Reach::Database,
    sql: include_str!("../../sql/15_logs.sql"),
    needs: None,
    rules: &[
        Rule {
            id: "log-prints-claims",
            group: Group::Server,
            level: Level::Warning,
            what: "the server's log holds the claims of users",
            why: "They travel as parameters, which this log prints unless log_parameter_max_length is 0, for whoever reads logs.",
        },
        Rule {
            id: "log-prints-claims-on-error",
            group: Group::Server,
            level: Level::Warning,
            what: "the server's log holds the claims of users whose session failed to start",
            why: "They travel as parameters, which an error prints unless log_parameter_max_length_on_error is 0.",
        },
        Rule {
            id: "guard-off",
            group: Group::Server,
            level: Level::High,
            what: "the event trigger of the setup does not fire",
            why: "It keeps sessions from DROP OWNED, GRANT and the like, by which one could change what others see.",
        },
    ],
};

pub(super) const HBA: Check = Check {
    group: Group::Server,
    reach: Reach::Database,
    sql: include_str!("../../sql/15_hba.sql"),
    needs: Some("pg_catalog.pg_hba_file_rules"),
    rules: &[
        Rule {
            id: "hba-anywhere",
            group: Group::Server,
            level: Level::Warning,
            what: "a login may come from anywhere",
            why: "Whoever learns or, as its clients can, changes its password comes in beside the proxy, so only the proxy's address should be let in.",
        },
        Rule {
            id: "hba-trust",
            group: Group::Server,
            level: Level::High,
            what: "a login needs no password",
            why: "Whoever reaches the server's port is in, without a token.",
        },
    ],
};
