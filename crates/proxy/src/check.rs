//! `pgusher check`: the configuration, the issuers and the databases, audited in one go.
//!
//! The rules are the audit crate's; here is where it gets its connections and its knowledge of the configuration from.
//! Whatever keeps one thing from being looked at is told, and the rest is looked at all the same: a check that stops at
//! the first refusal would have to be run as often as there are refusals.

use std::time::{Duration, SystemTime};

use audit::server::Pools;
use audit::{
    CLAIMS_FORGEABLE, CLAIMS_REFUSED, CONFIG_ERROR, CONFIG_WARNING, Finding, Place, Reach, Report, Rule, Served,
    ServedRole, Sheet, Unseen,
};
use tokio::time::timeout;
use tokio_postgres::Client;
use upstream::ClaimsMode;

use crate::cli::CheckArgs;
use crate::config::{Config, Databases, Encryption, Origin, Overrides, Problem, Upstream};
use crate::owner::{Owner, OwnerError, connect, connect_as, try_claims};

/// How long the audit of one database may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The databases that a role's login can be in, but templates.
const REACHABLE: &str = "SELECT datname::text FROM pg_catalog.pg_database
     WHERE datallowconn AND NOT datistemplate AND pg_catalog.has_database_privilege(session_user, oid, 'CONNECT')
     ORDER BY datname";

/// What came out.
pub(crate) struct Checked {
    /// All that is to be told.
    pub(crate) sheet: Sheet,
    /// What kept the check from looking at all that it was to look at.
    pub(crate) hindered: Option<Hindrance>,
}

/// What keeps a check from looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hindrance {
    /// The configuration is wrong: nothing else was looked at.
    Configuration,
    /// A database or an issuer is out of reach, or refuses a login.
    Unavailable,
}

/// Looks at everything.
///
/// # Errors
/// [`OwnerError::Url`] or [`OwnerError::Tls`]: the command line is wrong.
pub(crate) async fn run(args: &CheckArgs) -> Result<Checked, OwnerError> {
    let overrides = Overrides::of_process(&args.config.set);
    let path = args.config.config.clone();
    let mut sheet = Sheet { seen: vec![path.display().to_string()], configuration: path, ..Sheet::default() };
    let (config, warnings) = match Config::load(&args.config.config, &overrides) {
        Ok(loaded) => loaded,
        Err(errors) => {
            sheet.findings = errors.problems().iter().map(|problem| configured(&CONFIG_ERROR, problem)).collect();
            let why = "the configuration is wrong".to_owned();
            sheet.unseen.push(Unseen { what: "issuers and databases".to_owned(), why });
            return Ok(Checked { sheet, hindered: Some(Hindrance::Configuration) });
        }
    };
    let owner = args.url.as_ref().map(|url| Owner::parse(url, &config.upstream, &overrides)).transpose()?;
    sheet.findings = warnings.iter().map(|problem| configured(&CONFIG_WARNING, problem)).collect();
    if matches!(config.claims, ClaimsMode::Claims) {
        sheet.findings.push(Finding::new(&CLAIMS_FORGEABLE, "claims.mode", "the mode is \"claims\""));
    }
    sheet.findings.extend(Encryption::of(&config).findings(SystemTime::now()));
    sheet.findings.extend(audit::issuers(&config.providers).await);
    sheet.seen.extend(config.providers.iter().map(|provider| format!("provider {}", provider.name)));
    let mut check = Audit { args, config: &config, owner, checked: Checked { sheet, hindered: None } };
    check.databases().await;
    let Checked { mut sheet, hindered } = check.checked;
    let accepted = |finding: &Finding| config.safety.allow.contains(finding.rule.id);
    (sheet.allowed, sheet.findings) = sheet.findings.into_iter().partition(accepted);
    Ok(Checked { sheet, hindered })
}

/// A problem of the configuration as a finding.
fn configured(rule: &'static Rule, problem: &Problem) -> Finding {
    let subject = if problem.key.is_empty() { "the configuration" } else { &problem.key };
    let (path, line) = match &problem.origin {
        Origin::File(path) => (path, None),
        Origin::Line(path, line) => (path, Some(*line)),
        Origin::Variable(_) | Origin::Flag(_) => {
            return Finding::new(rule, subject, format!("{}: {}", problem.origin, problem.message));
        }
    };
    Finding::new(rule, subject, &*problem.message).at(Place::File { path: path.to_path_buf(), line })
}

/// A check under way.
struct Audit<'a> {
    args: &'a CheckArgs,
    config: &'a Config,
    owner: Option<Owner>,
    checked: Checked,
}

/// A connection, and the roles that it can try to forge claims as.
struct Entered {
    client: Client,
    roles: Vec<ServedRole>,
}

impl Audit<'_> {
    async fn databases(&mut self) {
        let mut served = self.config.served();
        served.allowed_tables.clone_from(&self.args.table_allow);
        // What a whole cluster shares is told once.
        let mut cluster = true;
        for database in self.names().await {
            let mut entered = self.enter(&database, &served).await;
            if entered.is_empty() {
                continue;
            }
            let audit = timeout(PATIENCE, look(&mut entered, &served, cluster.then(|| self.config.pools()))).await;
            let what = format!("database {database}");
            match audit {
                Err(_) => self.hinder(what, format!("it took longer than {PATIENCE:?}")),
                Ok(Err(error)) => self.hinder(what, told(&error)),
                Ok(Ok(Report { findings, unseen })) => {
                    cluster = false;
                    self.checked.sheet.findings.extend(findings);
                    unseen.into_iter().for_each(|unseen| self.miss(unseen));
                    self.checked.sheet.seen.push(what);
                }
            }
            self.claims(&database).await;
        }
    }

    /// The databases to look at.
    async fn names(&mut self) -> Vec<String> {
        if !self.args.database.is_empty() {
            return self.args.database.clone();
        }
        if let Some(owner) = &self.owner {
            return vec![owner.database.clone()];
        }
        match &self.config.upstream.databases {
            Databases::Named(names) => names.clone(),
            Databases::Any => self.reachable().await,
        }
    }

    /// All that clients may name, as the first login to get in sees them.
    async fn reachable(&mut self) -> Vec<String> {
        let Some(any) = self.config.upstream.databases.known().next() else { return Vec::new() };
        let served = self.config.served();
        let Some(entered) = self.enter(any, &served).await.into_iter().next() else { return Vec::new() };
        match entered.client.query(REACHABLE, &[]).await {
            Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
            Err(error) => {
                self.hinder("databases".to_owned(), error.to_string());
                Vec::new()
            }
        }
    }

    /// A connection as the owner, or else one for every login; whoever does not get in is told.
    async fn enter(&mut self, database: &str, served: &Served) -> Vec<Entered> {
        let mut entered = Vec::new();
        if let Some(owner) = &self.owner {
            let there = Owner { database: database.to_owned(), ..owner.clone() };
            match connect(&there, |_| {}).await {
                Ok(client) => entered.push(Entered { client, roles: served.roles.clone() }),
                Err(error) => self.hinder(format!("database {database}"), error.to_string()),
            }
            return entered;
        }
        for (role, login) in &self.config.roles {
            match connect_as(role, login, database, &self.config.upstream, &self.config.claims).await {
                Ok(client) => {
                    let roles = served.roles.iter().filter(|served| served.role == *role).cloned().collect();
                    entered.push(Entered { client, roles });
                }
                Err(error) => self.hinder(format!("database {database}"), error.to_string()),
            }
        }
        entered
    }

    /// Whether the people with tokens get in, which the login alone does not tell. That the database has nothing that
    /// could take claims is the audit's to say.
    async fn claims(&mut self, database: &str) {
        let connect = self.owner.as_ref().map_or(&self.config.upstream.connect, |owner| &owner.connect);
        let upstream = Upstream { connect: connect.clone(), ..self.config.upstream.clone() };
        let claimants = self.config.claimants();
        for (role, login) in self.config.roles.iter().filter(|(role, _)| claimants.contains(*role)) {
            match try_claims(role, login, database, &upstream, &self.config.claims).await {
                Ok(()) | Err(upstream::Error::Means(_)) => {}
                Err(error) if is_refusal(&error) => {
                    let finding = Finding::new(&CLAIMS_REFUSED, format!("role {role}"), error.to_string());
                    self.checked.sheet.findings.push(finding.at(Place::Database(database.to_owned())));
                }
                Err(upstream::Error::Init(_)) => {}
                Err(error) => {
                    let what = format!("whether database {database} takes claims for {role}");
                    self.miss(Unseen { what, why: format!("login {}: {error}", login.user) });
                }
            }
        }
    }

    fn hinder(&mut self, what: String, why: String) {
        self.checked.hindered = Some(Hindrance::Unavailable);
        self.miss(Unseen { what, why });
    }

    fn miss(&mut self, unseen: Unseen) {
        if !self.checked.sheet.unseen.contains(&unseen) {
            self.checked.sheet.unseen.push(unseen);
        }
    }
}

/// Whether the database has what takes claims, and does not take these.
fn is_refusal(error: &upstream::Error) -> bool {
    match error {
        upstream::Error::Key(_) => true,
        upstream::Error::Init(refusal) => refusal.sqlstate == "42501",
        _ => false,
    }
}

/// Everything about one database; what its whole cluster shares where the sizes of the pools are given.
async fn look(
    entered: &mut [Entered],
    served: &Served,
    pools: Option<Pools>,
) -> Result<Report, audit::database::Error> {
    let checks = audit::checks().filter(|check| pools.is_some() || check.reach == Reach::Database);
    // What one login sees all do.
    let first = &mut entered[0].client;
    let mut report = audit::database::audit(first, served, checks).await?;
    if let Some(pools) = pools {
        let facts = audit::server::facts(first, served).await?;
        report.findings.extend(audit::server::findings(&facts, &pools, served));
    }
    for Entered { client, roles } in entered {
        let forger = Served { roles: roles.clone(), ..served.clone() };
        let Report { findings, unseen } = audit::forgery::attempt(client, &forger).await?;
        report.findings.extend(findings);
        report.unseen.extend(unseen);
    }
    Ok(report)
}

/// An error with what the server said, which `tokio_postgres` leaves to the source.
fn told(error: &audit::database::Error) -> String {
    match error {
        audit::database::Error::Database(error) => {
            error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
        }
        unknown => unknown.to_string(),
    }
}
