//! What the audit says where nothing is wrong.

use pgusher_audit::checks;

use crate::fault::told;
use crate::fixture::fixture;

#[tokio::test]
async fn a_database_that_is_as_it_should_be_has_no_finding() {
    let report = fixture().await.report().await;
    assert_eq!(told(&report), [""; 0]);
}

#[tokio::test]
async fn an_administrator_sees_everything() {
    let report = fixture().await.report().await;
    assert_eq!(report.unseen, []);
}

#[tokio::test]
async fn a_login_finds_nothing_either() {
    let fixture = fixture().await;
    let mut login = fixture.login().await;
    let report = fixture.audit(&mut login, checks()).await;
    assert_eq!(told(&report), [""; 0]);
}

#[tokio::test]
async fn what_a_session_has_set_changes_no_answer() {
    let fixture = fixture().await;
    fixture.run("CREATE SCHEMA trap; CREATE VIEW trap.pg_roles AS SELECT * FROM pg_catalog.pg_roles WHERE false").await;
    fixture.run("ALTER ROLE {role} SUPERUSER").await;
    let mut session = fixture.session().await;
    session.batch_execute("SET search_path = trap, pg_catalog").await.unwrap();

    let report = fixture.audit(&mut session, checks()).await;

    assert!(report.findings.iter().any(|finding| finding.rule.id == "role-superuser"));
}
