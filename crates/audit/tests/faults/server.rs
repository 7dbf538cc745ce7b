//! Group 15.

use pgusher_audit::server::{Facts, Pools, facts, findings};
use pgusher_audit::{Group, checks};

use crate::fault::{Fault, try_all, try_harmless};
use crate::fixture::{Fixture, fixture, fixture_alone, version};

/// The beginning of statements that append what follows. The file is read anew whenever it is looked at.
macro_rules! append_to_hba {
    () => {
        "CREATE FUNCTION append_to_hba(lines text) RETURNS void LANGUAGE plpgsql AS $$
         BEGIN
           EXECUTE format('COPY (SELECT regexp_split_to_table(pg_read_file(%1$L) || %2$L, E''\\n'')) TO %1$L',
                          current_setting('hba_file'), lines);
         END $$;
         SELECT append_to_hba($hba$"
    };
}

/// A line at the end of `pg_hba.conf`.
macro_rules! hba {
    ($rule:literal, $line:literal, $evidence:literal) => {
        Fault::new($rule, concat!(append_to_hba!(), $line, "$hba$)"), "role {login}", $evidence).alone()
    };
}

#[tokio::test]
async fn logs_that_print_claims_and_ways_in_that_are_too_wide_are_told() {
    try_all(Group::Server, &FAULTS).await;
}

#[tokio::test]
async fn a_log_without_parameters_is_not() {
    try_harmless(&HARMLESS).await;
}

#[tokio::test]
async fn a_line_that_refuses_everybody_closes_those_below_it() {
    let fixture = fixture_alone().await;
    append_to_hba(&fixture, "host all {login} 0.0.0.0/0 reject\nhost all all 0.0.0.0/0 trust").await;
    let findings = fixture.report().await.findings;
    let of_login: Vec<_> = findings.iter().filter(|f| f.subject == fixture.named("role {login}")).collect();
    assert!(of_login.is_empty(), "{of_login:#?}");
}

#[tokio::test]
async fn a_login_is_told_that_it_may_not_see_the_ways_in() {
    let fixture = fixture().await;
    let mut login = fixture.login().await;
    let unseen = fixture.audit(&mut login, checks()).await.unseen;
    let what: Vec<_> = unseen.iter().map(|unseen| unseen.what.as_str()).collect();
    assert_eq!(what, ["pg_catalog.pg_hba_file_rules"]);
}

#[tokio::test]
async fn a_login_may_ask_for_the_facts_of_the_server() {
    let fixture = fixture().await;
    let seen = facts(&fixture.login().await, &fixture.served).await.unwrap();
    assert_eq!(seen.version, version().await);
    // As the test server is started, less those that PostgreSQL keeps for superusers.
    assert_eq!((seen.connections, seen.prepared_transactions), (197, 0));
    assert!(seen.databases >= 1);
}

#[tokio::test]
async fn reserved_connections_are_nobodys_to_count_on() {
    let fixture = fixture().await;
    let seen = Facts { version: 18_00_99, ..facts(&fixture.admin, &fixture.served).await.unwrap() };
    let pools = |role_size| Pools { role_size, database_size: None, databases: Some(1) };
    assert_eq!(findings(&seen, &pools(98), &fixture.served).len(), 0);
    assert_eq!(findings(&seen, &pools(99), &fixture.served).len(), 1);
}

async fn append_to_hba(fixture: &Fixture, lines: &str) {
    fixture.run(&[append_to_hba!(), lines, "$hba$)"].concat()).await;
}

const FAULTS: [Fault; 12] = [
    Fault::new(
        "log-prints-claims",
        "ALTER DATABASE {database} SET log_statement = 'all'",
        "role {login}",
        "log_statement is all, and log_parameter_max_length is -1",
    ),
    Fault::new(
        "log-prints-claims",
        "ALTER ROLE {login} SET log_min_duration_statement = '1s'",
        "role {login}",
        "log_min_duration_statement is 1s",
    ),
    Fault::new(
        "log-prints-claims",
        "ALTER ROLE {login} SET log_min_duration_sample = 0; ALTER ROLE {login} SET log_parameter_max_length = '1kB'",
        "role {login}",
        "log_min_duration_sample is 0, and log_parameter_max_length is 1kB",
    ),
    Fault::new(
        "log-prints-claims",
        "ALTER ROLE {login} IN DATABASE {database} SET log_transaction_sample_rate = 0.5",
        "role {login}",
        "log_transaction_sample_rate is 0.5",
    ),
    Fault::new(
        "log-prints-claims-on-error",
        "ALTER DATABASE {database} SET log_parameter_max_length_on_error = -1",
        "role {login}",
        "log_parameter_max_length_on_error is -1",
    ),
    Fault::new(
        "log-prints-claims-on-error",
        "ALTER ROLE {login} SET log_parameter_max_length_on_error = '1kB'",
        "role {login}",
        "is 1kB",
    ),
    Fault::new(
        "guard-off",
        "CREATE FUNCTION public.guard() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
         CREATE EVENT TRIGGER pgusher_guard ON ddl_command_start EXECUTE FUNCTION public.guard();
         ALTER EVENT TRIGGER pgusher_guard DISABLE",
        "event trigger pgusher_guard",
        "does not fire",
    ),
    hba!(
        "hba-anywhere",
        "host all all 0.0.0.0/0 scram-sha-256",
        "takes it from everywhere (host 0.0.0.0 scram-sha-256)"
    ),
    hba!("hba-anywhere", "host {database} {login} ::/0 password", "takes it from everywhere (host :: password)"),
    hba!("hba-anywhere", "host all +{role} all scram-sha-256", "takes it from everywhere (host all scram-sha-256)"),
    hba!("hba-trust", "host all {login} 10.0.0.0/8 trust", "asks for no password (host 10.0.0.0)"),
    hba!("hba-trust", "host all all samenet trust", "asks for no password (host samenet)"),
];

const HARMLESS: [&str; 3] = [
    "ALTER DATABASE {database} SET log_statement = 'all'; ALTER ROLE {login} SET log_parameter_max_length = 0;
     ALTER ROLE pgusher_{anonymous} SET log_parameter_max_length = 0",
    "ALTER DATABASE {database} SET log_statement = 'mod'",
    // That of a role goes before that of a database.
    "ALTER DATABASE {database} SET log_statement = 'all'; ALTER ROLE {login} SET log_statement = 'none';
     ALTER ROLE pgusher_{anonymous} SET log_statement = 'ddl'",
];
