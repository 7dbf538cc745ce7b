//! Group 15, as far as no query alone can say it: whether the server's release is safe, and whether it has room for what
//! the proxy may ask of it. What the server says is read once; what follows from it are functions of that.

use tokio_postgres::Client;

use crate::database::{Error, Served};
use crate::finding::Finding;
use crate::rule::{Group, Level, Rule};

/// What this file finds.
pub(crate) static RULES: &[Rule] = &[OUTDATED, END_OF_LIFE, PREPARED_TRANSACTIONS, TOO_MANY_SERVERS];

const OUTDATED: Rule = Rule {
    id: "server-outdated",
    group: Group::Server,
    level: Level::High,
    what: "the server lacks fixes that row security depends on",
    why: "Anybody with SQL can use the published gaps, and some of them show the rows of others.",
};

const END_OF_LIFE: Rule = Rule {
    id: "server-end-of-life",
    group: Group::Server,
    level: Level::High,
    what: "the server's major version is no longer maintained",
    why: "Gaps that are found from now on stay open.",
};

const PREPARED_TRANSACTIONS: Rule = Rule {
    id: "prepared-transactions",
    group: Group::Server,
    level: Level::Warning,
    what: "clients may prepare transactions for a two-phase commit",
    why: "A prepared transaction outlives its session and keeps its locks until somebody ends it.",
};

const TOO_MANY_SERVERS: Rule = Rule {
    id: "too-many-servers",
    group: Group::Server,
    level: Level::Warning,
    what: "the pools may open more connections than the server takes",
    why: "When the pools are full clients are refused, and so are others who use the server.",
};

/// The oldest minor release of each major version in which no published gap lets SQL pass row security.
///
/// As of November 2026. The releases of 12 November 2026 closed, among others, CVE-2026-120154 (the WHERE of ON CONFLICT
/// DO UPDATE saw rows before the policies did) and CVE-2026-14666 (a plan that depends on the role was kept for another
/// one), and DROP OWNED no longer takes policies with it; tried on 15.18, which has the first and the last, and on 15.20,
/// which has not. Sources: the release notes and <https://www.postgresql.org/support/security/>.
const OLDEST_SAFE: [(i32, i32); 5] = [(14, 25), (15, 20), (16, 16), (17, 12), (18, 7)];

/// The last major version that is no longer maintained: 14, since 12 November 2026. Source:
/// <https://www.postgresql.org/support/versioning/>.
const LAST_ENDED: i32 = 14;

/// What a server says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its version, as in `server_version_num`.
    pub version: i32,
    /// How many connections it takes from others than superusers and the holders of reserved ones.
    pub connections: i32,
    /// How many prepared transactions it keeps.
    pub prepared_transactions: i32,
    /// How many databases the logins may connect to.
    pub databases: i32,
}

/// How many servers the proxy may open, as its configuration has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pools {
    /// For each database and role: those of the pool and those of its reserve.
    pub role_size: u32,
    /// For each database, over all roles; none where there is no limit.
    pub database_size: Option<u32>,
    /// The databases that clients may name; none where that is up to the server.
    pub databases: Option<u32>,
}

/// Asks the server.
///
/// # Errors
/// [`Error::Database`].
pub async fn facts(client: &Client, served: &Served) -> Result<Facts, Error> {
    let logins: Vec<_> = served.roles.iter().map(|served| served.login.as_str()).collect();
    let row = client.query_one(include_str!("../sql/15_server.sql"), &[&logins]).await?;
    Ok(Facts { version: row.get(0), connections: row.get(1), prepared_transactions: row.get(2), databases: row.get(3) })
}

/// What is wrong with a server of these facts behind pools of these sizes, which are those of each of the served roles.
#[must_use]
pub fn findings(facts: &Facts, pools: &Pools, served: &Served) -> Vec<Finding> {
    let of_version = of_version(facts.version);
    let prepared = (facts.prepared_transactions > 0).then(|| {
        let evidence = format!("max_prepared_transactions is {}", facts.prepared_transactions);
        Finding::new(&PREPARED_TRANSACTIONS, "server", format!("{evidence}; a change of it needs a restart"))
    });
    of_version.into_iter().chain(prepared).chain(of_pools(facts, pools, served)).collect()
}

/// Major versions that are newer than this file are taken to be safe.
fn of_version(version: i32) -> Vec<Finding> {
    let (major, minor) = (version / 10_000, version % 10_000);
    let mut findings = Vec::new();
    if let Some((_, safe)) = OLDEST_SAFE.into_iter().find(|(of, safe)| *of == major && minor < *safe) {
        let evidence = format!("it is {major}.{minor}; the oldest safe release is {major}.{safe}");
        findings.push(Finding::new(&OUTDATED, "server", evidence));
    }
    if major <= LAST_ENDED {
        let evidence = format!("it is {major}.{minor}; the oldest version that is maintained is {}", LAST_ENDED + 1);
        findings.push(Finding::new(&END_OF_LIFE, "server", evidence));
    }
    findings
}

fn of_pools(facts: &Facts, pools: &Pools, served: &Served) -> Option<Finding> {
    let roles = u64::try_from(served.roles.len()).unwrap_or(u64::MAX);
    let of_roles = u64::from(pools.role_size).saturating_mul(roles);
    let of_database = pools.database_size.map_or(of_roles, |limit| of_roles.min(limit.into()));
    let databases = pools.databases.map_or_else(|| u64::try_from(facts.databases).unwrap_or(0), u64::from);
    let wanted = of_database.saturating_mul(databases);
    let taken = u64::try_from(facts.connections).unwrap_or(0);
    (wanted > taken).then(|| {
        let evidence = format!("the pools may open {wanted} ({of_database} for each of {databases} databases)");
        Finding::new(&TOO_MANY_SERVERS, "server", format!("{evidence}; it takes {taken} that are not reserved"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::ServedRole;

    const FACTS: Facts = Facts { version: 180_007, connections: 97, prepared_transactions: 0, databases: 1 };
    const POOLS: Pools = Pools { role_size: 20, database_size: None, databases: Some(1) };

    fn ids(facts: &Facts, pools: &Pools) -> Vec<&'static str> {
        let role = ServedRole { role: "authenticated".into(), login: "pgusher_authenticated".into() };
        let served = Served { roles: vec![role.clone(), role], ..Served::default() };
        findings(facts, pools, &served).iter().map(|finding| finding.rule.id).collect()
    }

    fn of(version: i32) -> Vec<&'static str> {
        ids(&Facts { version, ..FACTS }, &POOLS)
    }

    #[test]
    fn the_oldest_safe_release_is_safe_and_the_one_before_it_is_not() {
        for (safe, older) in [(150_020, 150_019), (160_016, 160_015), (170_012, 170_011), (180_007, 180_006)] {
            assert_eq!(of(safe), [""; 0], "{safe}");
            assert_eq!(of(older), ["server-outdated"], "{older}");
        }
    }

    #[test]
    fn a_version_that_is_not_maintained_is_told_whatever_its_release() {
        assert_eq!(of(140_025), ["server-end-of-life"]);
        assert_eq!(of(140_024), ["server-outdated", "server-end-of-life"]);
        assert_eq!(of(130_099), ["server-end-of-life"]);
    }

    #[test]
    fn a_version_that_is_newer_than_the_table_is_taken_as_safe() {
        assert_eq!(of(190_000), [""; 0]);
    }

    #[test]
    fn prepared_transactions_are_told_where_there_can_be_any() {
        assert_eq!(ids(&Facts { prepared_transactions: 1, ..FACTS }, &POOLS), ["prepared-transactions"]);
    }

    #[test]
    fn the_pools_of_all_roles_and_databases_must_fit() {
        let fits = |databases, database_size| ids(&FACTS, &Pools { databases, database_size, ..POOLS }).is_empty();
        assert!(fits(Some(2), None)); // 2 roles of 20 in 2 databases are 80
        assert!(!fits(Some(3), None));
        assert!(fits(Some(3), Some(32)));
        assert!(!fits(Some(3), Some(33)));
    }

    #[test]
    fn where_clients_may_name_any_database_those_that_the_logins_may_enter_count() {
        let any = Pools { databases: None, ..POOLS };
        assert_eq!(ids(&Facts { databases: 2, ..FACTS }, &any), [""; 0]);
        assert_eq!(ids(&Facts { databases: 3, ..FACTS }, &any), ["too-many-servers"]);
    }
}
