//! Group 16: the schema `auth`.

use crate::check::{Check, Reach};
use crate::rule::{Group, Level, Rule};

/// Claims are not taken, whoever they are of.
pub static CLAIMS_REFUSED: Rule = Rule {
    id: "claims-refused",
    group: Group::AuthSchema,
    level: Level::High,
    what: "the database refuses the claims that the proxy signs",
    why: "Nobody with a token gets in by the role.",
};

pub(super) const CHECK: Check = Check {
    group: Group::AuthSchema,
    reach: Reach::Database,
    sql: include_str!("../../sql/16_auth.sql"),
    needs: None,
    rules: &[
        Rule {
            id: "auth-missing",
            group: Group::AuthSchema,
            level: Level::Critical,
            what: "there is no schema auth that verifies claims",
            why: "Without it no session gets an identity, and policies have nothing to ask.",
        },
        Rule {
            id: "auth-owner",
            group: Group::AuthSchema,
            level: Level::Critical,
            what: "something of the schema auth belongs to another role",
            why: "Its owner may change it, and with it who everybody is.",
        },
        Rule {
            id: "auth-grant",
            group: Group::AuthSchema,
            level: Level::Critical,
            what: "the schema auth has a right that it was not shipped with",
            why: "Who reads the key or writes into the schema can be anybody.",
        },
        Rule {
            id: "auth-keys-exposed",
            group: Group::AuthSchema,
            level: Level::Critical,
            what: "the signing key is less hidden than it was shipped",
            why: "Who reads the key can be anybody.",
        },
        Rule {
            id: "auth-source",
            group: Group::AuthSchema,
            level: Level::Critical,
            what: "a function or domain of the schema auth is not as it was shipped",
            why: "All policies believe it, and nobody but the setup has a reason to change it.",
        },
        Rule {
            id: "auth-stranger",
            group: Group::AuthSchema,
            level: Level::High,
            what: "something else is in the schema auth",
            why: "A policy that means a function of the schema can get this one in its place.",
        },
    ],
};

pub(super) const OWNER: Check = Check {
    group: Group::AuthSchema,
    reach: Reach::Cluster,
    sql: include_str!("../../sql/16_auth_owner.sql"),
    needs: None,
    rules: &[Rule {
        id: "auth-owner-role",
        group: Group::AuthSchema,
        level: Level::Critical,
        what: "the owner of the schema auth is within reach",
        why: "Who can become the owner reads the key and can be anybody.",
    }],
};
