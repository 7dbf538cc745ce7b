//! The audit of what the proxy is in front of: at start, and again at every interval of `[safety]`.
//!
//! The rules are the audit crate's; they are looked for as the login of a served role, which sees nearly all that an
//! owner does. What is critical about the served roles, their logins and the claims keeps the proxy from starting unless
//! `[safety] allow` names the rule. If it comes up later it is logged as an error and counted: who may be at work is not
//! ours to end for what an administrator has just done. All else is a warning when it appears, and a number in the
//! metrics. That something cannot be looked at is a warning too, and stops nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use audit::server::{Facts, Pools};
use audit::{CLAIMS_FORGEABLE, Check, Finding, Group, Level, Place, Reach, Served};
use tokio::time::timeout;
use tracing::{debug, error, warn};

use crate::config::{Config, Databases, Encryption, Safety};
use crate::owner::connect_as;
use crate::proxy::Proxy;

/// How long the audit of a database may take. A start waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Of how many subjects of a rule a line in the log has the names.
const SHOWN: usize = 5;

/// The groups in which a critical finding keeps the proxy from starting.
const GUARDED: [Group; 5] =
    [Group::Configuration, Group::Attributes, Group::Memberships, Group::Ownership, Group::Policies];

/// The groups that no database is asked for.
const CONFIGURED: [Group; 2] = [Group::Configuration, Group::Tls];

/// What is audited, and what the last audit found.
#[derive(Debug)]
pub(crate) struct Guard {
    served: Served,
    encryption: Encryption,
    databases: Databases,
    pools: Pools,
    safety: Safety,
    seen: Mutex<Seen>,
}

/// What the last audit found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) findings: Vec<Finding>,
    /// When everything was last looked at.
    pub(crate) at: Option<SystemTime>,
}

/// Critical findings that nobody has allowed; there is at least one.
#[derive(Debug)]
pub struct Unsafe(Vec<Finding>);

impl Guard {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            served: config.served(),
            encryption: Encryption::of(config),
            databases: config.upstream.databases.clone(),
            pools: config.pools(),
            safety: config.safety.clone(),
            seen: Mutex::default(),
        }
    }

    /// The audit at start.
    ///
    /// # Errors
    /// What must not be.
    pub(crate) async fn admit(&self, proxy: &Proxy) -> Result<(), Unsafe> {
        let fresh = self.look(proxy).await;
        let (refused, told): (Vec<_>, Vec<_>) = fresh.into_iter().partition(|finding| self.refuses(finding));
        self.tell(&told);
        if refused.is_empty() { Ok(()) } else { Err(Unsafe(refused)) }
    }

    /// The audits from then on; never ends.
    pub(crate) async fn watch(&self, proxy: &Proxy) {
        loop {
            tokio::time::sleep(self.safety.interval).await;
            let fresh = self.look(proxy).await;
            self.tell(&fresh);
        }
    }

    /// What the last audit found.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Audits everything, and returns the findings that the last time had not.
    async fn look(&self, proxy: &Proxy) -> Vec<Finding> {
        let before = self.seen();
        let mut now = Seen { findings: self.configured(), at: Some(SystemTime::now()) };
        // What a whole cluster shares is looked at once.
        let mut cluster = true;
        for (database, scope) in &self.places(proxy) {
            let here = |check: &&Check| (cluster && check.reach == Reach::Cluster) || scope.has(check);
            let checks = audit::checks().filter(here).collect();
            match look_at(proxy, &self.served, database, checks).await {
                Ok((found, facts)) => {
                    now.findings.extend(found);
                    if cluster {
                        now.findings.extend(audit::server::findings(&facts, &self.pools, &self.served));
                    }
                    cluster = false;
                }
                Err(why) => {
                    warn!(database, why, "not audited");
                    let here = |finding: &&Finding| finding.place == Some(Place::Database(database.clone()));
                    now.findings.extend(before.findings.iter().filter(here).cloned());
                    now.at = before.at;
                }
            }
        }
        if cluster {
            let shared = |finding: &&Finding| finding.place.is_none() && !CONFIGURED.contains(&finding.rule.group);
            now.findings.extend(before.findings.iter().filter(shared).cloned());
        }
        let known = |finding: &Finding| before.findings.iter().any(|old| is_same(old, finding));
        let fresh = now.findings.iter().filter(|finding| !known(finding)).cloned().collect();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
        fresh
    }

    /// The databases to look at. Where none is named, one that every cluster has tells of roles and logins; of the others
    /// those are known that somebody uses.
    fn places(&self, proxy: &Proxy) -> BTreeMap<String, Scope> {
        let known = self.databases.known().map(str::to_owned);
        let Databases::Any = self.databases else { return known.map(|name| (name, Scope::All)).collect() };
        let used = proxy.pools.counts().into_iter().map(|pool| (pool.database.to_string(), Scope::All));
        known.map(|name| (name, Scope::Roles)).chain(used).collect()
    }

    /// What the configuration alone tells.
    fn configured(&self) -> Vec<Finding> {
        let mut findings = self.encryption.findings(SystemTime::now());
        if !self.served.claims_are_verified {
            findings.push(Finding::new(&CLAIMS_FORGEABLE, "claims.mode", "the mode is \"claims\""));
        }
        findings
    }

    fn refuses(&self, finding: &Finding) -> bool {
        finding.level == Level::Critical && GUARDED.contains(&finding.rule.group) && !self.allows(finding)
    }

    fn allows(&self, finding: &Finding) -> bool {
        self.safety.allow.contains(finding.rule.id)
    }

    /// Logs what is new: a line for each finding that must not be, else a line for each rule and database, because a
    /// database may have as many faults as tables. `pgusher check` tells them all.
    fn tell(&self, fresh: &[Finding]) {
        let (refused, mut others): (Vec<_>, Vec<_>) = fresh.iter().partition(|finding| self.refuses(finding));
        for Finding { rule, level, subject, evidence, mend, place } in refused {
            let (rule, severity, why, database) = (rule.id, level.word(), rule.why, database(place.as_ref()));
            error!(rule, severity, database, subject, evidence, mend, "unsafe: {why}");
        }
        let kind =
            |finding: &Finding| (finding.rule.id, finding.level, database(finding.place.as_ref()).map(str::to_owned));
        others.sort_by_key(|finding| kind(finding));
        for same in others.chunk_by(|one, other| kind(one) == kind(other)) {
            let Finding { rule, level, evidence, place, .. } = same[0];
            let (rule, severity, why, database) = (rule.id, level.word(), rule.why, database(place.as_ref()));
            let (count, subjects) = (same.len(), first_subjects(same));
            if self.allows(same[0]) {
                debug!(rule, severity, database, count, subjects, evidence, "found, and allowed by [safety]");
            } else {
                warn!(rule, severity, database, count, subjects, evidence, "found: {why}");
            }
        }
    }
}

/// What a database is looked at for, beside what the whole cluster shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// Everything.
    All,
    /// What roles and logins have there: it need not be one that is served.
    Roles,
}

impl Scope {
    fn has(self, check: &Check) -> bool {
        check.reach == Reach::Database && (self == Self::All || check.group == Group::Ownership)
    }
}

/// The database in which something was found.
fn database(place: Option<&Place>) -> Option<&str> {
    if let Some(Place::Database(name)) = place { Some(name) } else { None }
}

fn first_subjects(findings: &[&Finding]) -> String {
    let first: Vec<_> = findings.iter().take(SHOWN).map(|finding| finding.subject.as_str()).collect();
    let rest = findings.len() - first.len();
    let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("{}{rest}", first.join(", "))
}

/// Audits a database as the first role whose login gets in.
async fn look_at(
    proxy: &Proxy,
    served: &Served,
    database: &str,
    checks: Vec<&'static Check>,
) -> Result<(Vec<Finding>, Facts), String> {
    let looking = async {
        let mut client = Err("there is no role".to_owned());
        for (role, login) in proxy.roles() {
            let connected = connect_as(role, login, database, &proxy.upstream, &proxy.claims).await;
            client = connected.map_err(|error| error.to_string());
            if client.is_ok() {
                break;
            }
        }
        let mut client = client?;
        let report = audit::database::audit(&mut client, served, checks).await;
        let facts = audit::server::facts(&client, served).await;
        report.and_then(|report| Ok((report, facts?))).map_err(|error| error.to_string())
    };
    let (report, facts) =
        timeout(PATIENCE, looking).await.map_err(|_| format!("it took longer than {PATIENCE:?}"))??;
    for unseen in report.unseen {
        debug!(database, what = unseen.what, why = unseen.why, "not looked at; `pgusher check --url` does");
    }
    Ok((report.findings, facts))
}

/// Whether it is the same that is found, if perhaps by other evidence.
fn is_same(one: &Finding, other: &Finding) -> bool {
    (one.rule.id, one.level, &one.subject, &one.place) == (other.rule.id, other.level, &other.subject, &other.place)
}

impl fmt::Display for Unsafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is not safe to serve")?;
        for Finding { rule, subject, evidence, mend, .. } in &self.0 {
            write!(f, "\n{}: {subject}: {evidence}\n    {}", rule.id, rule.why)?;
            if let Some(mend) = mend {
                write!(f, "\n    {mend}")?;
            }
        }
        f.write_str("\nmend it, or accept it by its id in [safety] allow")
    }
}

impl std::error::Error for Unsafe {}
