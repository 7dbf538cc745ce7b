//! Group 1: the attributes of the served roles and of their logins.

use crate::check::{Check, Reach};
use crate::rule::{Group, Level, Rule};

pub(super) const CHECK: Check = Check {
    group: Group::Attributes,
    reach: Reach::Cluster,
    sql: include_str!("../../sql/01_attributes.sql"),
    needs: None,
    rules: &[
        Rule {
            id: "role-missing",
            group: Group::Attributes,
            level: Level::High,
            what: "a role of the configuration does not exist",
            why: "Nobody can get in by it, and whoever may create roles decides what it will be.",
        },
        Rule {
            id: "role-superuser",
            group: Group::Attributes,
            level: Level::Critical,
            what: "a client's role is superuser",
            why: "A superuser reads and writes everything, whatever grants and policies say.",
        },
        Rule {
            id: "role-bypassrls",
            group: Group::Attributes,
            level: Level::Critical,
            what: "a client's role has BYPASSRLS",
            why: "No policy applies to it.",
        },
        Rule {
            id: "role-createrole",
            group: Group::Attributes,
            level: Level::Critical,
            what: "a client's role has CREATEROLE",
            why: "It can make roles with other rights than its own, before PostgreSQL 16 by joining nearly any other.",
        },
        Rule {
            id: "role-replication",
            group: Group::Attributes,
            level: Level::Critical,
            what: "a client's role has REPLICATION",
            why: "It can copy the whole cluster or follow every change, and replication knows no policies.",
        },
        Rule {
            id: "role-createdb",
            group: Group::Attributes,
            level: Level::High,
            what: "a client's role has CREATEDB",
            why: "It can fill the disk with databases of its own, or copy one whose owner allows that.",
        },
        Rule {
            id: "served-role-can-login",
            group: Group::Attributes,
            level: Level::High,
            what: "a served role can log in by itself",
            why: "Every client of the role may set its password (ALTER ROLE CURRENT_USER), and then comes without a token.",
        },
        Rule {
            id: "login-cannot-login",
            group: Group::Attributes,
            level: Level::High,
            what: "a login has no LOGIN",
            why: "The proxy cannot open a session with it.",
        },
        Rule {
            id: "login-inherits",
            group: Group::Attributes,
            level: Level::Warning,
            what: "a login inherits the rights of its role",
            why: "After SET ROLE NONE a client still has all rights of the role, where it should find none.",
        },
    ],
};
