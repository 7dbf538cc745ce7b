//! The live attempt to forge claims.

use pgusher_audit::forgery::attempt;
use pgusher_audit::{Report, Unseen};

use crate::fault::told;
use crate::fixture::{Fixture, fixture};

#[tokio::test]
async fn a_schema_as_it_was_shipped_believes_no_forgery() {
    let fixture = fixture().await;
    for mut session in [fixture.session().await, fixture.login().await] {
        let report = attempt(&mut session, &fixture.served).await.unwrap();
        assert_eq!(told(&report), [""; 0]);
    }
}

#[tokio::test]
async fn a_login_tries_its_own_role_and_says_so_of_others() {
    let fixture = fixture().await;
    let report = attempt(&mut fixture.login().await, &fixture.served).await.unwrap();
    let what = fixture.named("whether claims can be forged as {anonymous}");
    let why = fixture.named(r#"permission denied to set role "{anonymous}""#);
    assert_eq!(report.unseen, [Unseen { what, why }]);
}

#[tokio::test]
async fn readers_that_believe_a_parameter_are_found_out() {
    for (fault, parameter) in [
        ("RETURN current_setting('request.jwt.claims', true)::jsonb", "request.jwt.claims"),
        ("RETURN substr(current_setting('pgusher.claims', true), strpos(current_setting('pgusher.claims', true), '{'))::jsonb",
         "pgusher.claims"),
        ("RETURN convert_from(decode(rpad(translate(split_part(current_setting('pg_session_jwt.jwt', true), '.', 2), '-_', '+/'),
             44, '='), 'base64'), 'UTF8')::jsonb", "pg_session_jwt.jwt"),
    ] {
        let fixture = fixture().await;
        fixture.run(&format!("CREATE OR REPLACE FUNCTION auth.session() RETURNS jsonb LANGUAGE sql STABLE {fault}")).await;
        assert_found(&fixture, "auth-forged", parameter).await;
    }
}

#[tokio::test]
async fn a_role_that_may_do_what_only_the_owner_may_is_found_out() {
    for (fault, evidence) in [
        ("GRANT SELECT ON auth.keys TO {role}", "it could read auth.keys"),
        ("GRANT UPDATE ON SEQUENCE auth.epoch TO {role}", "it could move auth.epoch"),
        ("GRANT CREATE ON SCHEMA auth TO {role}", "it could create in the schema auth"),
        (
            "ALTER FUNCTION auth.session() OWNER TO {role}; GRANT CREATE ON SCHEMA auth TO {role};
             GRANT USAGE ON LANGUAGE sql TO {role}",
            "it could replace auth.session()",
        ),
    ] {
        let fixture = fixture().await;
        fixture.run(fault).await;
        assert_found(&fixture, "auth-open", evidence).await;
    }
}

#[tokio::test]
async fn an_attempt_leaves_nothing_behind() {
    let fixture = fixture().await;
    fixture.run("GRANT CREATE ON SCHEMA auth TO {role}; GRANT ALL ON auth.keys TO {role}").await;
    let mut session = fixture.session().await;
    attempt(&mut session, &fixture.served).await.unwrap();

    let left =
        "SELECT current_user::text, current_setting('request.jwt.claims', true), to_regclass('auth.forged')::text";
    let left = session.query_one(left, &[]).await.unwrap();

    let claims: Option<String> = left.get(1);
    assert_eq!(left.get::<_, String>(0), "postgres");
    assert_eq!(claims.filter(|claims| !claims.is_empty()), None);
    assert_eq!(left.get::<_, Option<String>>(2), None);
}

#[tokio::test]
async fn where_nothing_is_verified_nothing_is_tried() {
    let mut fixture = fixture().await;
    fixture.served.claims_are_verified = false;
    fixture.run("DROP SCHEMA auth CASCADE").await;
    let Report { findings, unseen } = attempt(&mut fixture.session().await, &fixture.served).await.unwrap();
    assert!(findings.is_empty() && unseen.is_empty());
}

async fn assert_found(fixture: &Fixture, rule: &str, evidence: &str) {
    for mut session in [fixture.session().await, fixture.login().await] {
        let findings = attempt(&mut session, &fixture.served).await.unwrap().findings;
        let subject = fixture.named("role {role}");
        let found =
            findings.iter().find(|f| f.rule.id == rule && f.subject == subject && f.evidence.contains(evidence));
        assert!(found.is_some(), "no {rule} with {evidence:?}: {findings:#?}");
    }
}
