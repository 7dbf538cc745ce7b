//! What `pgusher setup` runs, as text: the schema `auth` or the extension, the roles, and on demand a schema's grants and
//! the hardening. Everything may be run again, in one transaction, and changes nothing then.

use std::fmt::Write as _;

use crate::quote::{array, block, literal};
use crate::{BECOME_OWNER, INSTALL, LEAVE_OWNER, REMOVE, ServedRole, kid, pads};

/// How the database gets to know whose session it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity<'a> {
    /// The schema `auth` of this crate, with this key; without one it has those that it has.
    Signed(Option<&'a [u8; 32]>),
    /// The extension `pg_session_jwt`.
    Extension,
    /// Nothing of ours: plain claims in a parameter.
    Plain,
}

/// What a database is to have.
pub struct Setup<'a> {
    /// The way of its claims.
    pub identity: Identity<'a>,
    /// The roles that clients get.
    pub roles: &'a [ServedRole<'a>],
    /// A schema whose tables, present and future, these roles may read and write.
    pub schema: Option<&'a str>,
    /// Whether PUBLIC loses what sessions could use against each other.
    pub harden: bool,
}

/// A part of a script: what it is for, and what is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// A heading.
    pub title: String,
    /// What to do.
    pub step: Step,
}

/// What to do.
#[derive(Clone, PartialEq, Eq)]
pub enum Step {
    /// Run these statements, as one simple query.
    Statements(String),
    /// Add this key: [`INSERT_KEY`](crate::INSERT_KEY) between [`BECOME_OWNER`] and [`LEAVE_OWNER`].
    Key(StoredKey),
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Statements(sql) => f.debug_tuple("Statements").field(sql).finish(),
            Self::Key(key) => f.debug_tuple("Key").field(&key.kid).finish(),
        }
    }
}

/// A key as the database keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Its name.
    pub kid: String,
    /// The inner block of its HMAC.
    pub ipad: [u8; 64],
    /// The outer block of its HMAC.
    pub opad: [u8; 64],
}

impl StoredKey {
    /// The form in which the database keeps `key`.
    #[must_use]
    pub fn of(key: &[u8; 32]) -> Self {
        let (ipad, opad) = pads(key);
        Self { kid: kid(key), ipad, opad }
    }
}

impl Setup<'_> {
    /// The parts that make all this, in their order.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = vec![statements("Beginning", BEGINNING.to_owned())];
        match self.identity {
            Identity::Signed(key) => {
                parts.push(statements("The schema auth", INSTALL.to_owned()));
                parts.extend(key.map(add_key));
            }
            Identity::Extension | Identity::Plain => {}
        }
        for role in self.roles {
            let title = format!("The role {} and its login {}", role.role, role.login);
            let admission = match self.identity {
                Identity::Signed(_) => role.admission_sql(),
                Identity::Extension | Identity::Plain => String::new(),
            };
            parts.push(statements(title, role.roles_sql() + &admission));
        }
        if self.identity == Identity::Extension {
            let body = include_str!("../sql/extension.sql");
            parts.push(statements("The extension pg_session_jwt", block(&[("roles", "text[]", &self.names())], body)));
        }
        if let Some(schema) = self.schema {
            parts.push(self.schema_part("Grants", schema, include_str!("../sql/grant_schema.sql")));
        }
        if self.harden {
            parts.push(harden("false"));
            if self.identity != Identity::Plain {
                let logins = array(self.roles.iter().map(|role| role.login));
                let body = include_str!("../sql/guard.sql");
                parts.push(statements("Commands that are refused", block(&[("logins", "text[]", &logins)], body)));
            }
        }
        parts
    }

    /// The parts that undo what [`parts`](Self::parts) makes. They fail with 2BP01, and the message says why, while a
    /// policy, default or view still uses a function of the schema.
    #[must_use]
    pub fn removal(&self) -> Vec<Part> {
        let mut parts = vec![statements("Beginning", BEGINNING.to_owned())];
        parts.push(statements("Commands that were refused", block(&[], include_str!("../sql/unguard.sql"))));
        if self.harden {
            parts.push(harden("true"));
        }
        if let Some(schema) = self.schema {
            parts.push(self.schema_part("Grants", schema, include_str!("../sql/revoke_schema.sql")));
        }
        match self.identity {
            Identity::Signed(_) => parts.push(statements("The schema auth", REMOVE.to_owned())),
            Identity::Extension => {
                let body = include_str!("../sql/remove_extension.sql");
                let removal = block(&[("roles", "text[]", &self.names())], body);
                parts.push(statements("The extension pg_session_jwt", removal));
            }
            Identity::Plain => {}
        }
        for role in self.roles {
            let title = format!("The role {} and its login {}", role.role, role.login);
            parts.push(statements(title, role.removal_sql()));
        }
        parts
    }

    fn schema_part(&self, title: &str, schema: &str, body: &str) -> Part {
        let declarations = [("name", "text", &*literal(schema)), ("roles", "text[]", &self.names())];
        statements(format!("{title} in the schema {schema}"), block(&declarations, body))
    }

    fn names(&self) -> String {
        array(self.roles.iter().map(|role| role.role))
    }
}

/// A part of a script that waits for a lock keeps everybody waiting behind it, so it rather fails.
const BEGINNING: &str = "SET LOCAL lock_timeout = '5s';\nSET LOCAL client_min_messages = warning;\n";

/// Adds a key to those that there are.
#[must_use]
pub fn add_key(key: &[u8; 32]) -> Part {
    Part { title: "The signing key".to_owned(), step: Step::Key(StoredKey::of(key)) }
}

/// Retires every key but the one of this name. What they signed is refused from the next statement on.
#[must_use]
pub fn retire_other_keys(kid: &str) -> Part {
    let others = format!("kid OPERATOR(pg_catalog.<>) {} AND valid_until > pg_catalog.clock_timestamp()", literal(kid));
    let retire = format!("UPDATE auth.keys SET valid_until = pg_catalog.clock_timestamp() WHERE {others}");
    statements("The keys of before", format!("{BECOME_OWNER};\n{retire};\n{LEAVE_OWNER};\n"))
}

fn harden(undo: &str) -> Part {
    let body = include_str!("../sql/harden.sql");
    statements("Hardening", block(&[("undo", "bool", undo)], body))
}

fn statements(title: impl Into<String>, sql: String) -> Part {
    Part { title: title.into(), step: Step::Statements(sql) }
}

/// A script for psql: all the parts in one transaction. The key goes by COPY, whose data no log has.
#[must_use]
pub fn script(parts: &[Part]) -> String {
    let mut text = String::from("\\set ON_ERROR_STOP on\nBEGIN;\n");
    for Part { title, step } in parts {
        if !title.is_empty() {
            // A name may have a line end, behind which there would be no comment.
            let _ = write!(text, "\n-- {}\n\n", title.replace(['\n', '\r'], " "));
        }
        match step {
            Step::Statements(sql) => {
                text.push_str(sql);
                if !sql.ends_with('\n') {
                    text.push('\n');
                }
            }
            Step::Key(key) => text.push_str(&copy(key)),
        }
    }
    text.push_str("\nCOMMIT;\n");
    text
}

/// A key that is there already is kept as it is, which COPY alone cannot do.
fn copy(key: &StoredKey) -> String {
    let [ipad, opad] = [key.ipad, key.opad].map(hex);
    format!(
        "CREATE TEMPORARY TABLE pgusher_key (kid text, ipad bytea, opad bytea) ON COMMIT DROP;\n\
         COPY pgusher_key FROM stdin;\n{}\t\\\\x{ipad}\t\\\\x{opad}\n\\.\n\
         GRANT SELECT ON pgusher_key TO pgusher_auth;\n{BECOME_OWNER};\n\
         INSERT INTO auth.keys (kid, ipad, opad) TABLE pgusher_key ON CONFLICT (kid) DO NOTHING;\n{LEAVE_OWNER};\n",
        key.kid
    )
}

fn hex(bytes: [u8; 64]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup<'a>(identity: Identity<'a>, roles: &'a [ServedRole<'a>]) -> Setup<'a> {
        Setup { identity, roles, schema: None, harden: false }
    }

    const ROLES: [ServedRole<'_>; 1] = [ServedRole { role: "r", login: "l\nDROP", verifier: None }];

    #[test]
    fn only_the_signed_way_brings_the_schema_and_its_key() {
        let key = [7; 32];
        let signed = script(&setup(Identity::Signed(Some(&key)), &ROLES).parts());
        assert!(signed.contains("CREATE SCHEMA IF NOT EXISTS auth") && signed.contains(&kid(&key)));
        for identity in [Identity::Extension, Identity::Plain] {
            let other = script(&setup(identity, &ROLES).parts());
            assert!(!other.contains("pgusher_init") && !other.contains("auth.keys"), "{identity:?}");
        }
    }

    #[test]
    fn what_takes_rights_away_is_only_there_on_demand() {
        let mut setup = setup(Identity::Signed(None), &ROLES);
        assert!(!script(&setup.parts()).contains("pg_terminate_backend"));
        setup.harden = true;
        setup.schema = Some("public");
        let script = script(&setup.parts());
        assert!(script.contains("pg_terminate_backend") && script.contains("EVENT TRIGGER"));
        assert!(script.contains("ALTER DEFAULT PRIVILEGES IN SCHEMA"));
    }

    #[test]
    fn a_name_cannot_leave_its_comment() {
        let script = script(&setup(Identity::Plain, &ROLES).parts());
        assert!(script.contains("-- The role r and its login l DROP\n"), "{script}");
    }

    #[test]
    fn debug_tells_no_key() {
        let parts = add_key(&[7; 32]);
        assert!(
            !format!("{parts:?}").contains(&hex(pads(&[7; 32]).0)[..16]) && !format!("{parts:?}").contains("49, 49")
        );
    }
}
