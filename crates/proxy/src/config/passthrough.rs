//! `[passthrough]`: the roles that log in with passwords of their own.

use std::collections::BTreeSet;

use upstream::Password;

use super::roles::{Role, role_error};
use super::section::{Placed, Section};

/// `[passthrough]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passthrough {
    /// The roles; none: nobody gets in without a token but the anonymous role.
    pub users: BTreeSet<String>,
    /// How many of their clients there may be at once, each with a server of its own. Those that are logging in count.
    pub max_conn: usize,
}

pub(super) fn read(
    mut section: Section<'_>,
    roles: &[Placed<Role<Password>>],
    anonymous: Option<&Placed<String>>,
) -> Passthrough {
    let listed = section.list("users").unwrap_or_default();
    let mut users = BTreeSet::new();
    for user in listed {
        match error(&user.value, roles, anonymous) {
            Some(message) => user.error(section.reading.report, message),
            None if users.contains(&user.value) => {
                user.error(section.reading.report, format!("{:?} is listed twice", user.value));
            }
            None => {
                users.insert(user.value);
            }
        }
    }
    let max_conn = section.number("max_conn", 10, 1..=100_000);
    section.finish();
    Passthrough { users, max_conn }
}

/// Why this cannot be one of them. Who gets a role by a token, or is served by a login, must not get it by a password too:
/// behind the one stand claims, behind the other nothing.
fn error(user: &str, roles: &[Placed<Role<Password>>], anonymous: Option<&Placed<String>>) -> Option<String> {
    let serving = |role: &&Placed<Role<Password>>| role.value.name == user || role.value.login == user;
    if anonymous.is_some_and(|anonymous| anonymous.value == user) {
        return Some(format!("{user:?} is the role of [anonymous], which needs no password"));
    }
    match roles.iter().find(serving) {
        Some(role) if role.value.name == user => Some(format!("{user:?} is a served role; clients get it by a token")),
        Some(role) => Some(format!("{user:?} is the login of the served role {:?}", role.value.name)),
        None => role_error(user),
    }
}
