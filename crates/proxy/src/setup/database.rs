//! The database that is set up, as its owner sees it: scripts that are tried, scripts that are run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use sql::{INSERT_KEY, Part, Step};
use tokio_postgres::Client;
use tokio_postgres::error::{DbError, Severity, SqlState};

use super::Way;
use super::changes::{Change, State, between};
use crate::config::RoleSetup;
use crate::owner::{Owner, OwnerError, connect};

/// A connection, and what the server remarks on it.
pub(super) struct Database {
    client: Client,
    pub(super) owner: Owner,
    warnings: Arc<Mutex<Vec<String>>>,
}

/// What a script would do.
pub(super) struct Preview {
    pub(super) changes: Vec<Change>,
    warnings: Vec<String>,
    after: State,
}

/// A part of a script that failed, and with it the whole.
#[derive(Debug, thiserror::Error)]
#[error("{title}: {}", words(source))]
pub struct ScriptError {
    title: String,
    source: tokio_postgres::Error,
}

/// Versions of the extension whose protocol the proxy speaks.
const EXTENSION_VERSIONS: &str = "^0[.][345]([.]|$)";

impl Database {
    pub(super) async fn connect(owner: Owner) -> Result<Self, OwnerError> {
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&warnings);
        let on_notice = move |notice: DbError| {
            if notice.parsed_severity() == Some(Severity::Warning) {
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(notice.message().to_owned());
            }
        };
        Ok(Self { client: connect(&owner, on_notice).await?, owner, warnings })
    }

    /// Whether claims are to go through the extension where nobody has chosen: it is there, or nothing is there and it
    /// can be had.
    pub(super) async fn prefers_extension(&self) -> Result<bool, ScriptError> {
        let chosen = self.has(Way::Extension).await?.or(self.has(Way::Signed).await?);
        if let Some(way) = chosen {
            return Ok(way == Way::Extension);
        }
        let available = "SELECT FROM pg_catalog.pg_available_extensions
                          WHERE name = 'pg_session_jwt' AND default_version OPERATOR(pg_catalog.~) $1";
        self.exists(available, &[&EXTENSION_VERSIONS]).await
    }

    /// The way itself, if the database has what it needs.
    pub(super) async fn has(&self, way: Way) -> Result<Option<Way>, ScriptError> {
        let question = match way {
            Way::Extension => "SELECT FROM pg_catalog.pg_extension WHERE extname = 'pg_session_jwt'",
            Way::Signed => {
                "SELECT FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner
                  WHERE n.nspname = 'auth' AND r.rolname = 'pgusher_auth'"
            }
            Way::Plain => return Ok(Some(way)),
        };
        Ok(self.exists(question, &[]).await?.then_some(way))
    }

    /// Whether there is such a role.
    pub(super) async fn has_role(&self, name: &str) -> Result<bool, ScriptError> {
        self.exists("SELECT FROM pg_catalog.pg_roles WHERE rolname = $1", &[&name]).await
    }

    /// What is stored of every login's password, for those who may read that.
    pub(super) async fn verifiers(&self) -> Result<Option<BTreeMap<String, String>>, ScriptError> {
        let readable = "SELECT WHERE pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')";
        if !self.exists(readable, &[]).await? {
            return Ok(None);
        }
        let stored = "SELECT rolname::text, rolpassword FROM pg_catalog.pg_authid WHERE rolpassword IS NOT NULL";
        let rows = self.client.query(stored, &[]).await.map_err(failed("Look"))?;
        Ok(Some(rows.iter().map(|row| (row.get(0), row.get(1))).collect()))
    }

    /// Runs the parts, tells what they change, and undoes them.
    pub(super) async fn preview(
        &self,
        parts: &[Part],
        roles: &[RoleSetup],
        schema: Option<&str>,
    ) -> Result<Preview, ScriptError> {
        self.batch("Beginning", "BEGIN").await?;
        let tried = self.try_out(parts, roles, schema).await;
        self.batch("End", "ROLLBACK").await?;
        tried
    }

    /// Runs the parts, all or none.
    pub(super) async fn apply(&self, parts: &[Part]) -> Result<(), ScriptError> {
        self.batch("Beginning", "BEGIN").await?;
        let ran = self.run(parts).await;
        self.batch("End", if ran.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
        ran
    }

    async fn try_out(&self, parts: &[Part], roles: &[RoleSetup], schema: Option<&str>) -> Result<Preview, ScriptError> {
        let before = self.state(roles, schema).await?;
        self.take_warnings();
        self.run(parts).await?;
        let after = self.state(roles, schema).await?;
        Ok(Preview { changes: between(&before, &after), warnings: self.take_warnings(), after })
    }

    async fn run(&self, parts: &[Part]) -> Result<(), ScriptError> {
        for Part { title, step } in parts {
            match step {
                Step::Statements(statements) => self.batch(title, statements).await?,
                Step::Key(key) => {
                    let values: [&[u8]; 2] = [&key.ipad, &key.opad];
                    self.batch(title, sql::BECOME_OWNER).await?;
                    let inserted = self.client.execute(INSERT_KEY, &[&key.kid, &values[0], &values[1]]).await;
                    inserted.map_err(failed(title))?;
                    self.batch(title, sql::LEAVE_OWNER).await?;
                }
            }
        }
        Ok(())
    }

    /// What there is now, keys included.
    async fn state(&self, roles: &[RoleSetup], schema: Option<&str>) -> Result<State, ScriptError> {
        let failed = || failed("State");
        let [names, logins]: [Vec<&str>; 2] =
            [roles.iter().map(|role| &*role.name).collect(), roles.iter().map(|role| &*role.login).collect()];
        let rows = self.client.query(sql::STATE, &[&names, &logins, &schema]).await.map_err(failed())?;
        let mut state: State = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let has_keys = "SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
                         WHERE c.oid = pg_catalog.to_regclass('auth.keys') AND r.rolname = 'pgusher_auth'";
        if self.exists(has_keys, &[]).await? {
            let keys = "SELECT 'key ' || kid, CASE WHEN valid_until > pg_catalog.clock_timestamp() THEN 'valid'
                               ELSE 'retired' END FROM auth.keys";
            self.batch("State", sql::BECOME_OWNER).await?;
            let rows = self.client.query(keys, &[]).await.map_err(failed())?;
            self.batch("State", sql::LEAVE_OWNER).await?;
            state.extend(rows.iter().map(|row| (row.get(0), row.get(1))));
        }
        Ok(state)
    }

    async fn exists(
        &self,
        query: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<bool, ScriptError> {
        Ok(self.client.query_opt(query, parameters).await.map_err(failed("Look"))?.is_some())
    }

    async fn batch(&self, title: &str, statements: &str) -> Result<(), ScriptError> {
        self.client.batch_execute(statements).await.map_err(failed(title))
    }

    fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "database {:?} at {}", self.owner.database, self.owner.connect.address)
    }
}

impl Preview {
    /// Whether there is a key of this name that is no more in force.
    pub(super) fn has_retired(&self, kid: &str) -> bool {
        self.key(kid) == Some("retired")
    }

    /// Whether there is a key of this name that is in force.
    pub(super) fn has_valid(&self, kid: &str) -> bool {
        self.key(kid) == Some("valid")
    }

    fn key(&self, kid: &str) -> Option<&str> {
        self.after.get(&format!("key {kid}")).map(String::as_str)
    }
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            writeln!(f, "  {change}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "  ! {warning}")?;
        }
        Ok(())
    }
}

impl ScriptError {
    /// Whether it says that the database has something that setup would not make: roles with too much, or a schema
    /// `auth` of somebody else's.
    pub(super) fn is_difference(&self) -> bool {
        let differences = [SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, SqlState::DUPLICATE_SCHEMA];
        self.source.code().is_some_and(|code| differences.contains(code))
    }
}

fn failed(title: &str) -> impl FnOnce(tokio_postgres::Error) -> ScriptError {
    let title = title.to_owned();
    move |source| ScriptError { title, source }
}

/// All that the server said of it.
fn words(error: &tokio_postgres::Error) -> String {
    let Some(error) = error.as_db_error() else { return error.to_string() };
    let mut words = format!("{} (SQLSTATE {})", error.message(), error.code().code());
    // Of what hangs on the schema, PostgreSQL would have it dropped too. That would be somebody's policies.
    let hint = error.hint().filter(|_| *error.code() != SqlState::DEPENDENT_OBJECTS_STILL_EXIST);
    for (name, text) in [("Detail", error.detail()), ("Hint", hint)] {
        if let Some(text) = text {
            words.push_str(&format!("\n{name}: {text}"));
        }
    }
    words
}
