//! What `serve` refuses to be in front of, at start and later.

use std::time::Duration;

use pgusher::demo::home::{random_hex, write_private};
use pgusher_tests::{Proxy, Stage, wait};

/// A role of a test's own with its login, which a proxy may be told to serve too.
struct Actor {
    role: String,
    /// Its table in the configuration.
    table: String,
}

impl Actor {
    async fn new(stage: &Stage) -> Self {
        let role = format!("actor_{}", random_hex(4));
        let password = random_hex(16);
        let script = format!(
            "CREATE ROLE {role}; CREATE ROLE login_{role} LOGIN NOINHERIT PASSWORD '{password}';
             GRANT {role} TO login_{role}"
        );
        stage.superuser().await.batch_execute(&script).await.expect("a superuser may");
        let file = stage.files().join(format!("{role}.password"));
        write_private(&file, &password).expect("a file");
        let file = file.display();
        let table = format!("\n[[role]]\nname = \"{role}\"\nlogin = \"login_{role}\"\npassword_file = \"{file}\"\n");
        Self { role, table }
    }

    async fn becomes(&self, stage: &Stage, attribute: &str) {
        let alter = format!("ALTER ROLE {} {attribute}", self.role);
        stage.superuser().await.batch_execute(&alter).await.expect("a superuser may");
    }
}

#[tokio::test]
async fn a_role_that_no_policy_holds_is_not_served() {
    let stage = Stage::get();
    for (attribute, rule) in [("SUPERUSER", "role-superuser"), ("BYPASSRLS", "role-bypassrls")] {
        let actor = Actor::new(stage).await;
        actor.becomes(stage, attribute).await;

        let mut refused = Proxy::builder(stage).tables(&actor.table).spawn().await;

        assert_eq!(refused.exit_code().await, Some(78));
        refused.logs(&format!("{rule}: role {}: the served role has {attribute}", actor.role)).await;
        refused.logs(&format!("ALTER ROLE {} NO{attribute};", actor.role)).await;
        refused.logs("accept it by its id in [safety] allow").await;
        assert!(!refused.log().iter().any(|line| line.contains("listening")), "{:?}", refused.log());
    }
}

#[tokio::test]
async fn a_login_with_more_than_its_one_membership_is_not_used() {
    let stage = Stage::get();
    let actor = Actor::new(stage).await;
    let role = &actor.role;
    let script = format!("CREATE ROLE other_{role}; GRANT other_{role} TO login_{role}");
    stage.superuser().await.batch_execute(&script).await.expect("a superuser may");

    let mut refused = Proxy::builder(stage).tables(&actor.table).spawn().await;

    assert_eq!(refused.exit_code().await, Some(78));
    refused.logs(&format!("login-has-other-role: role login_{role}: ")).await;
    refused.logs(&format!("REVOKE other_{role} FROM login_{role}")).await;
}

#[tokio::test]
async fn a_login_that_owns_something_in_a_database_that_is_served_is_not_used() {
    let stage = Stage::get();
    let actor = Actor::new(stage).await;
    let (database, superuser) = stage.database().await;
    let script = format!("CREATE TABLE mine (); ALTER TABLE mine OWNER TO login_{}", actor.role);
    superuser.batch_execute(&script).await.expect("a superuser may");

    let builder = Proxy::builder(stage).tables(&actor.table);
    let mut refused = builder.set("upstream.databases", format!("neondb,{database}")).spawn().await;

    assert_eq!(refused.exit_code().await, Some(78));
    refused.logs(&format!("client-owns: role login_{}: ", actor.role)).await;
}

#[tokio::test]
async fn what_is_accepted_by_its_id_is_served_and_told() {
    let stage = Stage::get();
    let actor = Actor::new(stage).await;
    actor.becomes(stage, "BYPASSRLS").await;

    let proxy = Proxy::builder(stage).tables(&actor.table).set("safety.allow", "role-bypassrls").start().await;

    let told = proxy.logs("allowed by [safety]").await;
    assert!(told.contains("role-bypassrls") && told.contains(&actor.role), "{told}");
    assert_eq!(proxy.session(&stage.token("alice")).await.value("SELECT count(*) FROM todos").await, "3");
}

#[tokio::test]
async fn claims_that_anybody_can_forge_have_to_be_accepted() {
    let stage = Stage::get();
    let mut refused = Proxy::builder(stage).plain_claims().set("safety.allow", "role-superuser").spawn().await;
    assert_eq!(refused.exit_code().await, Some(78));
    refused.logs("claims-forgeable: claims.mode: ").await;
}

#[tokio::test]
async fn what_comes_up_later_is_an_error_in_the_log_and_a_number_and_ends_nobody() {
    let stage = Stage::get();
    let actor = Actor::new(stage).await;
    let often = Proxy::builder(stage).tables(&actor.table).set("safety.interval", "1s");
    let proxy = often.set("listen.admin", "127.0.0.1:0").start().await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    alice.query("BEGIN").await;
    let critical = r#"pgusher_findings{rule="role-superuser",level="critical"}"#;
    assert_eq!(proxy.metric(critical).await, None);

    actor.becomes(stage, "SUPERUSER").await;

    let told = proxy.logs("unsafe: ").await;
    assert!(told.contains("\"ERROR\"") && told.contains("role-superuser") && told.contains(&actor.role), "{told}");
    assert_eq!(proxy.metric(critical).await.as_deref(), Some("1"));
    assert_eq!(alice.value("SELECT count(*) FROM todos").await, "3");
    actor.becomes(stage, "NOSUPERUSER").await;
    let gone = async || proxy.metric(critical).await.is_none().then_some(());
    wait::until("the finding to be gone", gone).await;
    let once = proxy.log().iter().filter(|line| line.contains("unsafe: ")).count();
    assert_eq!(once, 1, "it is told when it comes up");
}

#[tokio::test]
async fn a_database_that_cannot_be_audited_is_served_with_a_warning() {
    let stage = Stage::get();
    let databases = ["neondb", "nowhere_to_be_found"].join(",");
    let builder = Proxy::builder(stage).set("upstream.databases", databases).set("listen.admin", "127.0.0.1:0");
    let proxy = builder.start().await;
    let told = proxy.logs("not audited").await;
    assert!(told.contains("nowhere_to_be_found") && told.contains("does not exist"), "{told}");
    assert_eq!(proxy.metric("pgusher_audit_last_success_timestamp_seconds").await, None);
    assert_eq!(proxy.session(&stage.token("alice")).await.value("SELECT count(*) FROM todos").await, "3");
}

#[tokio::test]
async fn a_server_that_lacks_a_release_is_told() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let version = "SELECT current_setting('server_version_num')::int";
    let version: i32 = stage.superuser().await.query_one(version, &[]).await.expect("a row").get(0);
    // Those of 2026-11, in which ON CONFLICT no longer shows hidden rows.
    let first =
        [140_025, 150_020, 160_016, 170_012, 180_007].into_iter().find(|first| first / 10_000 == version / 10_000);
    let outdated = first.is_some_and(|first| version < first);
    assert_eq!(proxy.log().iter().any(|line| line.contains("server-outdated")), outdated);
}

#[tokio::test]
async fn where_no_database_is_named_those_in_use_are_audited() {
    let stage = Stage::get();
    let (database, superuser) = stage.database().await;
    superuser.batch_execute("CREATE TABLE open (); GRANT SELECT ON open TO authenticated").await.expect("a table");
    let proxy = Proxy::builder(stage).set("safety.interval", "1s").start().await;
    let before = proxy.log();
    assert!(
        !before.iter().any(|line| line.contains("table-without-rls") || line.contains("auth-missing")),
        "{before:?}"
    );

    let mut alice = proxy.session_with(&stage.token("alice"), &[("database", &database)]).await;
    alice.query("BEGIN").await;

    let told = proxy.logs("table-without-rls").await;
    assert!(told.contains(&database) && told.contains("table public.open"), "{told}");
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_told_before_it_does() {
    let stage = Stage::get();
    let directory = stage.files().join(format!("certificate-{}", random_hex(4)));
    std::fs::create_dir(&directory).expect("a directory");
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("parameters");
    params.not_after = std::time::SystemTime::now().checked_add(Duration::from_secs(24 * 3600)).expect("a time").into();
    let certificate = params.self_signed(&key).expect("a certificate");
    std::fs::write(directory.join("server.crt"), certificate.pem()).expect("a file");
    write_private(&directory.join("server.key"), &key.serialize_pem()).expect("a file");
    let file = |name: &str| directory.join(name).display().to_string();

    let builder = Proxy::builder(stage).set("tls.certificate_file", file("server.crt"));
    let builder = builder.set("tls.key_file", file("server.key")).set("listen.admin", "127.0.0.1:0");
    let proxy = builder.start().await;

    proxy.logs("certificate-expires-soon").await;
    let soon = r#"pgusher_findings{rule="certificate-expires-soon",level="warning"}"#;
    assert_eq!(proxy.metric(soon).await.as_deref(), Some("1"));
}
