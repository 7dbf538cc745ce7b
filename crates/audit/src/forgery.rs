//! A live attempt to forge claims: as a served role, in a transaction that is rolled back, the parameters that carry
//! claims are set to somebody else's and the schema `auth` is asked who that is. Nobody, or an error, is right.

use tokio_postgres::{Client, Transaction};

use crate::database::{Error, Report, Served, Unseen};
use crate::finding::{Finding, Place};
use crate::rule::{Group, Level, Rule};

/// What this file finds.
pub(crate) static RULES: &[Rule] = &[FORGED, OPEN];

const FORGED: Rule = Rule {
    id: "auth-forged",
    group: Group::AuthSchema,
    level: Level::Critical,
    what: "claims that a session made up were believed",
    why: "Every user can be any other.",
};

const OPEN: Rule = Rule {
    id: "auth-open",
    group: Group::AuthSchema,
    level: Level::Critical,
    what: "a served role could do what only the owner of the schema auth may",
    why: "With the key, the epoch or the functions in hand every user can be any other.",
};

/// Parameters and values by which a session could claim to be `forged`: `{mac}` is a made-up signature, `{kid}` the name
/// of a key that is in force, `{pid}` the backend. The tokens have `{"alg":"none"}` and no signature, and `EdDSA` with a
/// made-up one.
const FORGERIES: [&[(&str, &str)]; 6] = [
    &[("pgusher.claims", r#"{"sub":"forged"}"#)],
    &[("pgusher.claims", r#"{mac} claims1 {kid} 1 9999999999 {"sub":"forged"}"#), ("pgusher.backend", "{pid}")],
    &[("pgusher.claims", r#"{mac} claims1 none 1 9999999999 {"sub":"forged"}"#), ("pgusher.backend", "{pid}")],
    &[("request.jwt.claims", r#"{"sub":"forged"}"#), ("request.jwt.claim.sub", "forged")],
    &[("pg_session_jwt.jwt", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJmb3JnZWQiLCJqdGkiOjk5OTk5OTk5fQ.")],
    &[("pg_session_jwt.jwt", "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJmb3JnZWQiLCJqdGkiOjk5OTk5OTk5fQ.AAAA")],
];

/// What must be refused, and the statement that tries it. What it changes is rolled back.
const TRESPASSES: [(&str, &str); 4] = [
    ("read auth.keys", "SELECT kid FROM auth.keys"),
    ("move auth.epoch", "SELECT pg_catalog.setval('auth.epoch', 1)"),
    ("create in the schema auth", "CREATE TABLE auth.forged ()"),
    (
        "replace auth.session()",
        "CREATE OR REPLACE FUNCTION auth.session() RETURNS jsonb LANGUAGE sql STABLE RETURN NULL::jsonb",
    ),
];

/// Tries to forge claims as each served role, and finds what should have failed. Nothing is left of it but errors in the
/// server's log.
///
/// The session needs a membership in the roles, as their logins and superusers have it; without it the attempt is told as
/// unseen. Where `pg_session_jwt` verifies, the session must have been opened with a key (`pg_session_jwt.jwk`), for
/// without one the extension believes anything.
///
/// # Errors
/// [`Error::Database`].
pub async fn attempt(client: &mut Client, served: &Served) -> Result<Report, Error> {
    let mut report = Report::default();
    if !served.claims_are_verified {
        return Ok(report);
    }
    let session = Session::ask(client).await?;
    for role in &served.roles {
        let what = format!("whether claims can be forged as {}", role.role);
        if session.has_no_key {
            let why = "pg_session_jwt verifies only in sessions that were opened with a key".to_owned();
            report.unseen.push(Unseen { what, why });
            continue;
        }
        let transaction = client.transaction().await?;
        let become_role = transaction.execute("SELECT pg_catalog.set_config('role', $1, true)", &[&role.role]).await;
        if let Err(error) = become_role {
            let why = refusal(error)?;
            report.unseen.push(Unseen { what, why });
            continue;
        }
        report.findings.extend(session.attempts(transaction, &role.role).await?);
    }
    Ok(report)
}

/// What a forger would know.
struct Session {
    database: String,
    pid: i32,
    kid: String,
    /// Whether the claims would be verified by the extension, but not in this session.
    has_no_key: bool,
}

impl Session {
    async fn ask(client: &mut Client) -> Result<Self, Error> {
        let about = "SELECT pg_catalog.current_database()::pg_catalog.text, pg_catalog.pg_backend_pid(), \
            EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'pg_session_jwt') \
            AND coalesce(pg_catalog.current_setting('pg_session_jwt.jwk', true), '') OPERATOR(pg_catalog.=) ''";
        let row = client.query_one(about, &[]).await?;
        // Its name is in the claims of every session, so a forger has it; the audit has it only where it may read it.
        let kid = client.query_opt("SELECT kid FROM auth.keys ORDER BY valid_until DESC LIMIT 1", &[]).await;
        let kid = match kid {
            Ok(row) => row.map(|row| row.get(0)),
            Err(error) => refusal(error).map(|_| None)?,
        };
        let kid = kid.unwrap_or_else(|| "0000000000000000".to_owned());
        Ok(Self { database: row.get(0), pid: row.get(1), kid, has_no_key: row.get(2) })
    }

    /// What should have failed. The transaction is rolled back with the end of this, whatever that is.
    async fn attempts(&self, mut transaction: Transaction<'_>, role: &str) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        let mut find = |rule, evidence: String| {
            let place = Place::Database(self.database.clone());
            findings.push(Finding::new(rule, format!("role {role}"), evidence).at(place));
        };
        for forgery in FORGERIES {
            if let Some(believed) = self.forge(&mut transaction, forgery).await? {
                let (parameter, _) = forgery[0];
                find(&FORGED, format!("after {parameter} was set, the schema auth said that it is {believed:?}"));
            }
        }
        for (what, statement) in TRESPASSES {
            let attempt = transaction.savepoint("trespass").await?;
            match attempt.batch_execute(statement).await {
                Ok(()) => find(&OPEN, format!("it could {what}")),
                Err(error) => drop(refusal(error)?),
            }
            attempt.rollback().await?;
        }
        transaction.rollback().await?;
        Ok(findings)
    }

    /// Who the schema says that a session is which has set these parameters.
    async fn forge(
        &self,
        transaction: &mut Transaction<'_>,
        forgery: &[(&str, &str)],
    ) -> Result<Option<String>, Error> {
        let attempt = transaction.savepoint("forgery").await?;
        let believed = async {
            for (parameter, value) in forgery {
                let value = value.replace("{mac}", &"0".repeat(64));
                let value = value.replace("{kid}", &self.kid).replace("{pid}", &self.pid.to_string());
                attempt.execute("SELECT pg_catalog.set_config($1, $2, true)", &[parameter, &value]).await?;
            }
            let row = attempt.query_one("SELECT auth.user_id(), auth.session()::pg_catalog.text", &[]).await?;
            let (user, session): (Option<String>, Option<String>) = (row.get(0), row.get(1));
            Ok(user.or_else(|| session.filter(|session| session != "null")))
        };
        let believed = match believed.await {
            Ok(believed) => believed,
            Err(error) => refusal(error).map(|_| None)?,
        };
        attempt.rollback().await?;
        Ok(believed)
    }
}

/// What the database said when it refused; an error where it did not say anything.
fn refusal(error: tokio_postgres::Error) -> Result<String, Error> {
    match error.as_db_error() {
        Some(refused) => Ok(refused.message().to_owned()),
        None => Err(error.into()),
    }
}
