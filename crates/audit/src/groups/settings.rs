//! Group 10: settings of roles and databases, and rights to change parameters.

use crate::check::{Check, Reach};
use crate::rule::{Group, Level, Rule};

pub(super) const CHECK: Check = Check {
    group: Group::Settings,
    reach: Reach::Database,
    sql: include_str!("../../sql/10_settings.sql"),
    needs: None,
    rules: &[
        Rule {
            id: "setting-dangerous",
            group: Group::Settings,
            level: Level::High,
            what: "a stored setting decides who a session is or what it runs",
            why: "It is in force before the proxy has said anything, for every client that gets the login.",
        },
        Rule {
            id: "setting-of-login",
            group: Group::Settings,
            level: Level::Warning,
            what: "a setting is stored for a login",
            why: "Any client can store it (SET ROLE NONE, ALTER ROLE CURRENT_USER), so pgusher takes it from the login when it opens a server; what is meant for sessions belongs into [upstream.settings].",
        },
    ],
};

pub(super) const PARAMETERS: Check = Check {
    group: Group::Settings,
    reach: Reach::Cluster,
    sql: include_str!("../../sql/10_parameters.sql"),
    needs: Some("pg_catalog.pg_parameter_acl"),
    rules: &[Rule {
        id: "parameter-granted",
        group: Group::Settings,
        level: Level::High,
        what: "clients have a right on a parameter",
        why: "Such parameters are a superuser's because they switch off triggers, load code, or change the server for all.",
    }],
};
