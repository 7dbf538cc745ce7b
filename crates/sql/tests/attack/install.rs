//! Installing, upgrading and removing the schema, and setting up the roles that are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pgusher_sql::{BECOME_OWNER, INSERT_KEY, INSTALL, LEAVE_OWNER, REMOVE, ServedRole, pads};
use tokio::task::JoinSet;
use tokio_postgres::{Client, Config};

use crate::postgres::{Postgres, unique};
use crate::session::{ALICE, Session, state};
use crate::signer::Signer;

#[tokio::test]
async fn a_second_install_keeps_keys_and_sessions() {
    let postgres = Postgres::shared().await;
    let session = Session::alice(postgres).await;
    let (_, _guard) = postgres.fresh_database().await;

    postgres.admin("app").await.batch_execute(INSTALL).await.unwrap();

    assert_eq!(session.user_id().await.as_deref(), Some("alice"));
    assert_eq!(Session::alice(postgres).await.user_id().await.as_deref(), Some("alice"));
}

#[tokio::test]
async fn an_install_disturbs_no_session_that_is_at_work() {
    let postgres = Postgres::shared().await;
    let (_, _guard) = postgres.fresh_database().await;
    let admin = postgres.admin("app").await;
    let installed = Arc::new(AtomicBool::new(false));
    let mut sessions = JoinSet::new();
    for is_forged in [false, false, true, true] {
        let (session, installed) = (Session::open(postgres).await, installed.clone());
        let claims = session.become_user(ALICE).await;
        if is_forged {
            session.forge(&claims.replace("alice", "bob")).await;
        }
        sessions.spawn(async move {
            while !installed.load(Ordering::Relaxed) {
                match session.text("auth.user_id()").await {
                    refused if is_forged => assert_eq!(state(refused), "28000"),
                    answer => assert_eq!(answer.unwrap().as_deref(), Some("alice")),
                }
            }
        });
    }

    for _ in 0..50 {
        admin.batch_execute(INSTALL).await.unwrap();
    }

    installed.store(true, Ordering::Relaxed);
    while let Some(session) = sessions.join_next().await {
        session.expect("each answer is right");
    }
}

#[tokio::test]
async fn an_administrator_who_is_no_superuser_installs_everything() {
    let postgres = Postgres::empty().await;
    let superuser = postgres.admin("app").await;
    superuser.batch_execute("CREATE ROLE cloud LOGIN CREATEROLE; GRANT CREATE ON DATABASE app TO cloud").await.unwrap();
    let cloud = postgres.connect(Config::new().user("cloud").dbname("app")).await.unwrap();

    for _ in 0..2 {
        cloud.batch_execute(INSTALL).await.unwrap();
        insert_key_as_owner(&cloud, &postgres.signer).await;
        let served = ServedRole { role: "authenticated", login: "pgusher_authenticated", verifier: Some(VERIFIER) };
        cloud.batch_execute(&served.sql()).await.unwrap();
    }

    assert_eq!(Session::alice(&postgres).await.user_id().await.as_deref(), Some("alice"));
    assert_eq!(state(cloud.batch_execute("TABLE auth.keys").await), "42501", "the ownership is given up");
    cloud.batch_execute(REMOVE).await.unwrap();
    assert_eq!(owner_of_schema(&superuser).await, None);
}

#[tokio::test]
async fn a_schema_auth_of_somebody_else_is_left_alone() {
    let postgres = Postgres::shared().await;
    let (database, _guard) = postgres.fresh_database().await;
    let admin = postgres.admin(&database).await;
    admin.batch_execute("CREATE SCHEMA auth AUTHORIZATION authenticated").await.unwrap();

    assert_eq!(state(admin.batch_execute(INSTALL).await), "42P06");

    assert_eq!(owner_of_schema(&admin).await.as_deref(), Some("authenticated"));
}

#[tokio::test]
async fn an_owner_within_a_users_reach_is_refused() {
    let postgres = Postgres::shared().await;
    let (database, _guard) = postgres.fresh_database().await;
    let admin = postgres.admin(&database).await;

    for reach in [
        "GRANT pgusher_auth TO authenticated",
        "GRANT authenticated TO pgusher_auth",
        "ALTER ROLE pgusher_auth LOGIN",
        "ALTER ROLE pgusher_auth BYPASSRLS",
    ] {
        admin.batch_execute(&format!("BEGIN; {reach}")).await.unwrap();
        assert_eq!(state(admin.batch_execute(INSTALL).await), "55000", "{reach}");
        admin.batch_execute("ROLLBACK").await.unwrap();
    }
    assert_eq!(owner_of_schema(&admin).await, None, "nothing is left of an install that failed");
}

#[tokio::test]
async fn names_in_the_administrators_search_path_are_not_called() {
    let postgres = Postgres::shared().await;
    let (database, _guard) = postgres.fresh_database().await;
    let admin = postgres.admin(&database).await;
    admin
        .batch_execute(
            "CREATE FUNCTION public.to_regrole(text) RETURNS regrole LANGUAGE plpgsql
               AS $$ BEGIN RAISE EXCEPTION 'captured'; END $$;
             CREATE FUNCTION public.format(text, text) RETURNS text LANGUAGE sql RETURN 'ALTER ROLE anonymous SUPERUSER';
             CREATE FUNCTION public.sha256(bytea) RETURNS bytea LANGUAGE sql RETURN $1;
             SET search_path = public, pg_catalog",
        )
        .await
        .unwrap();

    admin.batch_execute(INSTALL).await.unwrap();
    admin.batch_execute(&served(&unique_names()).sql()).await.unwrap();

    let captured = "SELECT FROM pg_depend WHERE refobjid = 'public.sha256'::regproc UNION ALL
                    SELECT FROM pg_roles WHERE rolname = 'anonymous' AND rolsuper";
    assert!(admin.query(captured, &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn removal_waits_for_the_last_policy_and_leaves_nothing() {
    let postgres = Postgres::shared().await;
    let (database, _guard) = postgres.fresh_database().await;
    let admin = postgres.admin(&database).await;
    admin.batch_execute(INSTALL).await.unwrap();
    let table = "CREATE TABLE t (owner text); CREATE POLICY p ON t USING (owner = (SELECT auth.user_id()))";
    admin.batch_execute(table).await.unwrap();

    assert_eq!(state(admin.batch_execute(REMOVE).await), "2BP01");
    assert_eq!(owner_of_schema(&admin).await.as_deref(), Some("pgusher_auth"));

    admin.batch_execute("DROP POLICY p ON t").await.unwrap();
    admin.batch_execute(REMOVE).await.unwrap();
    assert_eq!(owner_of_schema(&admin).await, None);
    admin.batch_execute(INSTALL).await.unwrap();
}

#[tokio::test]
async fn a_served_role_has_one_login_which_has_that_role_alone() {
    let postgres = Postgres::shared().await;
    let (database, _guard) = postgres.fresh_database().await;
    let admin = postgres.admin(&database).await;
    admin.batch_execute(INSTALL).await.unwrap();
    let names = unique_names();

    for _ in 0..2 {
        admin.batch_execute(&served(&names).sql()).await.unwrap();
    }

    let logins = "SELECT NOT r.rolcanlogin AND l.rolcanlogin AND NOT l.rolinherit AND l.rolpassword = $3
                     AND NOT m.admin_option AND coalesce(to_jsonb(m) ->> 'inherit_option', 'false') = 'false'
                    FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid JOIN pg_authid l ON l.oid = m.member
                   WHERE r.rolname = $1 AND l.rolname = $2";
    let rows = admin.query(logins, &[&names.0, &names.1, &VERIFIER]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<bool>>(), [true]);
}

#[tokio::test]
async fn a_login_with_more_than_its_one_role_is_refused() {
    let postgres = Postgres::shared().await;
    let (database, _guard) = postgres.fresh_database().await;
    let admin = postgres.admin(&database).await;
    admin.batch_execute(INSTALL).await.unwrap();
    let (role, login) = (format!("role_{}", unique()), format!("login_{}", unique()));
    admin.batch_execute(&format!("CREATE ROLE {role}; CREATE ROLE {login}")).await.unwrap();

    for surplus in [
        format!("GRANT anonymous TO {login}"),
        format!("GRANT pg_read_all_data TO {login}"),
        format!("CREATE TABLE owned (); ALTER TABLE owned OWNER TO {login}"),
        format!("ALTER ROLE {login} BYPASSRLS"),
        format!("ALTER ROLE {role} SUPERUSER"),
        format!("ALTER ROLE {role} LOGIN"),
    ] {
        admin.batch_execute(&format!("BEGIN; {surplus}")).await.unwrap();
        let set_up = ServedRole { role: &role, login: &login, verifier: Some(VERIFIER) }.sql();
        assert_eq!(state(admin.batch_execute(&set_up).await), "55000", "{surplus}");
        admin.batch_execute("ROLLBACK").await.unwrap();
    }
}

#[tokio::test]
async fn a_login_that_may_pass_its_role_on_is_refused_or_loses_that() {
    let postgres = Postgres::shared().await;
    let (database, _guard) = postgres.fresh_database().await;
    let admin = postgres.admin(&database).await;
    admin.batch_execute(INSTALL).await.unwrap();
    let (role, login) = (format!("role_{}", unique()), format!("login_{}", unique()));
    let make = format!("CREATE ROLE {role}; CREATE ROLE {login}; GRANT {role} TO {login} WITH ADMIN OPTION");
    admin.batch_execute(&make).await.unwrap();

    let answer =
        state(admin.batch_execute(&ServedRole { role: &role, login: &login, verifier: Some(VERIFIER) }.sql()).await);

    // Only from 16 on does a plain GRANT take an older admin option back.
    let option = format!("SELECT bool_or(admin_option) FROM pg_auth_members WHERE member = '{login}'::regrole");
    let may_pass_on: bool = admin.query_one(&option, &[]).await.unwrap().get(0);
    assert_eq!(answer, if may_pass_on { "55000" } else { "00000" });
}

/// What PostgreSQL stores as it is, instead of hashing it: a SCRAM verifier.
const VERIFIER: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
    WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

/// Names of a role and a login with all that quoting has to bear.
fn unique_names() -> (String, String) {
    let number = unique();
    (format!("Role \"{number}\" it's \\ $do$ %I"), format!("Login '{number}'; DROP ROLE x --\\'"))
}

fn served((role, login): &(String, String)) -> ServedRole<'_> {
    ServedRole { role, login, verifier: Some(VERIFIER) }
}

async fn insert_key_as_owner(admin: &Client, signer: &Signer) {
    let (ipad, opad) = pads(&signer.key);
    admin.batch_execute(&format!("BEGIN; {BECOME_OWNER}")).await.unwrap();
    admin.execute(INSERT_KEY, &[&signer.kid, &&ipad[..], &&opad[..]]).await.unwrap();
    admin.batch_execute(&format!("{LEAVE_OWNER}; COMMIT")).await.unwrap();
}

async fn owner_of_schema(admin: &Client) -> Option<String> {
    let owner = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'auth'";
    admin.query_opt(owner, &[]).await.unwrap().map(|row| row.get(0))
}
