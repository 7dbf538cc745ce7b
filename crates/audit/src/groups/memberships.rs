//! Group 2: the roles that can be reached from a login.

use crate::check::{Check, Reach};
use crate::rule::{Group, Level, Rule};

pub(super) const CHECK: Check = Check {
    group: Group::Memberships,
    reach: Reach::Cluster,
    needs: None,
    sql: include_str!("../../sql/02_memberships.sql"),
    rules: &[
        Rule {
            id: "powerful-role-reached",
            group: Group::Memberships,
            level: Level::Critical,
            what: "a client can become a role with an administrator's attribute",
            why: "SET ROLE is all that it takes, and no filter of SQL stops that.",
        },
        Rule {
            id: "predefined-role-reached",
            group: Group::Memberships,
            level: Level::Critical,
            what: "a client has one of Postgres's predefined roles",
            why: "Most of them reach past grants: into all data, files, programs, or the statements of other sessions.",
        },
        Rule {
            id: "login-has-other-role",
            group: Group::Memberships,
            level: Level::Critical,
            what: "a login is a member of more than the role that it serves",
            why: "A client can go back to the login (SET ROLE NONE) and from there to each of its memberships.",
        },
        Rule {
            id: "served-role-becomes-other",
            group: Group::Memberships,
            level: Level::High,
            what: "a served role can become another one",
            why: "After SET ROLE the policies for the served role, and with them its restrictions, no longer apply.",
        },
        Rule {
            id: "admin-option",
            group: Group::Memberships,
            level: Level::Critical,
            what: "a client may grant a role",
            why: "It can let every other role in, or keep the proxy out.",
        },
        Rule {
            id: "membership-missing",
            group: Group::Memberships,
            level: Level::High,
            what: "a login cannot become the role that it serves",
            why: "No client of the role gets in.",
        },
        Rule {
            id: "membership-inherits",
            group: Group::Memberships,
            level: Level::Warning,
            what: "a login inherits the rights of the role that it serves",
            why: "After SET ROLE NONE a client still has all rights of the role, where it should find none.",
        },
    ],
};
