//! The SQL that makes a database trust pgusher: the schema `auth`, its keys, and the roles that clients get.
//!
//! Text only: nothing here connects. The caller runs, in this order and best in one transaction,
//! [`INSTALL`], [`INSERT_KEY`] with [`kid`] and [`pads`], and [`ServedRole::sql`] for each role. Each may
//! be run again. [`Setup`] has all of it in order. How the signed claims look and why a session cannot forge them is told in `sql/auth.sql`.

mod key;
mod quote;
mod rls;
mod roles;
mod setup;
mod verifier;

pub use key::{INSERT_KEY, RETIRE_KEY, kid, pads};
pub use rls::OwnedTable;
pub use roles::ServedRole;
pub use setup::{Identity, Part, Setup, Step, StoredKey, add_key, retire_other_keys, script};
pub use verifier::{scram_verifier, scram_verifies};

/// Installs or upgrades the schema `auth` in the current database, on PostgreSQL 14 to 18.
///
/// Many statements, so send it as one simple query: alone it is its own transaction. It needs a superuser, or a
/// role with `CREATEROLE` and `CREATE` on the database. It fails with 42P06 if somebody else's schema `auth` is
/// there, and with 55000 if the owner role `pgusher_auth` is within a user's reach. Inside a caller's
/// transaction it leaves `search_path` at `pg_catalog` until the end of that.
pub const INSTALL: &str = include_str!("../sql/auth.sql");

/// Undoes [`INSTALL`], keys included; sent the same way.
///
/// Fails with 2BP01, and changes nothing, while a policy, default or view still uses a reader.
pub const REMOVE: &str = include_str!("../sql/remove.sql");

/// What a [`Setup`] amounts to, a row for each thing: its name and its state, both text. `$1` text[] the served roles, `$2`
/// text[] their logins, `$3` text the schema of the grants, or null. The keys are not in it.
pub const STATE: &str = include_str!("../sql/state.sql");

/// Makes the session the owner of the schema until [`LEAVE_OWNER`]; only inside a transaction.
///
/// An administrator who isn't superuser needs it around [`INSERT_KEY`] and [`RETIRE_KEY`].
pub const BECOME_OWNER: &str = "GRANT pgusher_auth TO CURRENT_USER; SET LOCAL ROLE pgusher_auth";

/// Gives up what [`BECOME_OWNER`] took.
pub const LEAVE_OWNER: &str = "RESET ROLE; REVOKE pgusher_auth FROM CURRENT_USER";
