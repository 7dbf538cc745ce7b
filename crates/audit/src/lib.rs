//! What is unsafe about a database, told as findings: each with its evidence, why it matters, and the SQL that mends it.
//!
//! A [`Rule`] is a fact that must not be; the catalogue ([`rules`]) has them all. A [`Check`] looks for the rules of one
//! group with one query, a file in `sql/`; [`database::audit`] runs checks over a connection. Nothing here knows the
//! proxy's configuration: whoever asks says which roles are served ([`Served`]).
//!
//! Two things are not told by a query alone: [`server`] holds the server's release and room against what they should be,
//! and [`forgery`] tries to be somebody else.
//!
//! To add a group: a query `sql/NN_name.sql`, a file in `src/groups/` with its [`Check`], its line in `groups.rs`, and
//! for each rule a fault in `tests/faults/`.

mod check;
pub mod database;
mod finding;
pub mod forgery;
mod groups;
mod rule;
pub mod server;
mod sheet;

pub use check::{Check, Reach};
pub use database::{Report, Served, ServedRole, Unseen};
pub use finding::{Finding, Place};
pub use groups::{
    CLAIMS_FORGEABLE, CLAIMS_REFUSED, CONFIG_ERROR, CONFIG_WARNING, Encryption, checks, issuers, rule, rules, tls,
};
pub use rule::{Group, Level, Rule};
pub use sheet::{Colour, Sheet};
