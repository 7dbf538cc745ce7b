//! The checks of a database, run over a connection of its owner or of a login.
//!
//! Most of what they read is open to everybody in Postgres, so a served role's login finds nearly all that a superuser
//! does; what it may not see is told as [`Unseen`] and never as clean.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, IsolationLevel, Row, Transaction};

use crate::check::{Check, Reach};
use crate::finding::{Finding, Place};
use crate::rule::Level;

/// What the audit is told about the proxy in front of the database.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// The roles that clients get.
    pub roles: Vec<ServedRole>,
    /// Tables that are open to all on purpose, as `schema.table`; without a schema one of `public` is meant.
    pub allowed_tables: Vec<String>,
    /// Whether the database verifies the claims (every mode but `claims`).
    pub claims_are_verified: bool,
}

/// A role that clients get, and the login that reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedRole {
    /// The role.
    pub role: String,
    /// The login.
    pub login: String,
}

/// What an audit has to tell.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What is wrong, in the order of the checks.
    pub findings: Vec<Finding>,
    /// What could not be looked at.
    pub unseen: Vec<Unseen>,
}

/// Something that the audit could not look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// What.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// Why an audit ended without a report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused, or went away.
    #[error(transparent)]
    Database(#[from] tokio_postgres::Error),
    /// A query named a rule that the catalogue does not have, or a level that there is not.
    #[error("a check returned {0:?}, which is unknown")]
    Unknown(String),
}

/// Runs these checks in the database of the connection. Nothing is changed there.
///
/// # Errors
/// [`Error`]; what was found until then is lost, for half an audit would look like a clean one.
pub async fn audit(
    client: &mut Client,
    served: &Served,
    checks: impl IntoIterator<Item = &'static Check>,
) -> Result<Report, Error> {
    let snapshot = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    let transaction = snapshot.start().await?;
    // Names in the queries, and in what pg_get_expr() returns, must not hang on what a role or database has set.
    // pg_get_expr() takes a lock on the table, and whoever may write to a table may lock it for as long as they like.
    let settings = "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL jit = off; SET LOCAL lock_timeout = '5s'";
    transaction.batch_execute(settings).await?;
    let database: String = transaction.query_one("SELECT current_database()::text", &[]).await?.get(0);
    let roles: Vec<_> = served.roles.iter().map(|served| served.role.as_str()).collect();
    let logins: Vec<_> = served.roles.iter().map(|served| served.login.as_str()).collect();
    let tables: Vec<_> = served.allowed_tables.iter().map(|table| qualified(table)).collect();
    let seats =
        transaction.prepare_typed(include_str!("../sql/seats.sql"), &[Type::TEXT_ARRAY, Type::TEXT_ARRAY]).await?;
    let seats = transaction.query(&seats, &[&roles, &logins]).await?;
    let seats: Vec<String> = seats.iter().map(|row| row.get(0)).collect();
    let parameters: [&(dyn ToSql + Sync); 5] = [&roles, &logins, &tables, &served.claims_are_verified, &seats];
    // Said rather than inferred, so that a query need not use them all.
    let types = [Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::BOOL, Type::TEXT_ARRAY];
    let mut report = Report::default();
    for check in checks {
        match readable(&transaction, check).await? {
            Some(true) => {}
            Some(false) => {
                let why = "the role that looks may not read it".to_owned();
                report.unseen.push(Unseen { what: check.needs.unwrap_or_default().to_owned(), why });
                continue;
            }
            None => continue,
        }
        let statement = transaction.prepare_typed(check.sql, &types).await?;
        let place = (check.reach == Reach::Database).then(|| Place::Database(database.clone()));
        for row in transaction.query(&statement, &parameters).await? {
            report.add(check, &row, place.as_ref())?;
        }
    }
    Ok(report)
}

/// Whether what a check needs may be read; none where there is no such catalog.
async fn readable(transaction: &Transaction<'_>, check: &Check) -> Result<Option<bool>, Error> {
    let Some(catalog) = check.needs else { return Ok(Some(true)) };
    let may_read = "SELECT has_table_privilege(to_regclass($1), 'SELECT')";
    Ok(transaction.query_one(may_read, &[&catalog]).await?.get(0))
}

fn qualified(table: &str) -> String {
    if table.contains('.') { table.to_owned() } else { format!("public.{table}") }
}

impl Report {
    fn add(&mut self, check: &Check, row: &Row, place: Option<&Place>) -> Result<(), Error> {
        let [rule, level, subject, evidence, mend] = std::array::from_fn(|column| row.get::<_, Option<String>>(column));
        let (subject, evidence) = (subject.unwrap_or_default(), evidence.unwrap_or_default());
        let Some(id) = rule else {
            self.unseen.push(Unseen { what: subject, why: evidence });
            return Ok(());
        };
        let rule = check.rules.iter().find(|rule| rule.id == id).ok_or(Error::Unknown(id))?;
        let level = match level {
            None => rule.level,
            Some(word) => Level::from_word(&word).ok_or(Error::Unknown(word))?,
        };
        self.findings.push(Finding { rule, level, subject, evidence, mend, place: place.cloned() });
        Ok(())
    }
}
