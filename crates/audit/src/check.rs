//! A check: one query that looks for the rules of one group.

use crate::rule::{Group, Rule};

/// One query and the rules that it looks for.
///
/// The query runs on PostgreSQL 14 to 18, with `search_path` at `pg_catalog` and in a transaction that only reads. It
/// gets `$1` the served roles and `$2` their logins in the same order (`text[]`), `$3` the tables that may be open to
/// all (`text[]`, as `schema.table`), `$4` whether the database verifies claims (`bool`) and `$5` every role that a client
/// can be (`text[]`, see `sql/seats.sql`), and need not use them all.
///
/// Each row `(rule, level, subject, evidence, mend)`, all `text`, is a finding. Where `level` is null it is the rule's
/// own; where `rule` is null, the row says that `subject` could not be looked at, and in `evidence` why.
#[derive(Debug)]
pub struct Check {
    /// The group of all its rules.
    pub group: Group,
    /// Whether it would find the same in every database.
    pub reach: Reach,
    /// The query.
    pub sql: &'static str,
    /// A catalog that it reads and that not every server has, or shows to everybody. Where there is none the check finds
    /// nothing; where it may not be read, that is what the report says.
    pub needs: Option<&'static str>,
    /// What it can find.
    pub rules: &'static [Rule],
}

/// Where the same is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// In every database: one is enough.
    Cluster,
    /// In this database only.
    Database,
}
