//! A database that has the extension pg_session_jwt, or its stand-in where Postgres does not have it.

use pgusher_tests::STAND_IN;

use super::lab::{As, Lab, value};

const WHO: &str = "SELECT auth.user_id()";

#[tokio::test]
async fn the_extension_of_a_database_is_used() {
    let lab = Lab::new().await;
    let superuser = lab.superuser().await;
    let available = "SELECT FROM pg_available_extensions WHERE name = 'pg_session_jwt'";
    let real = superuser.query_opt(available, &[]).await.expect("an answer").is_some();
    let script = if real { "CREATE EXTENSION pg_session_jwt" } else { STAND_IN };
    superuser.batch_execute(script).await.expect("the extension");

    lab.apply_as(As::Superuser, &[]).await;

    let schema = "SELECT string_agg(nspname, ' ') FROM pg_namespace n, pg_roles r \
        WHERE nspname = 'auth' AND rolname = 'authenticated' AND has_schema_privilege(r.oid, n.oid, 'USAGE')";
    assert_eq!(value(&superuser, schema).await.as_deref(), Some("auth"));
    let ours = "SELECT to_regrole('pgusher_auth')::text";
    assert_eq!(value(&superuser, ours).await, None, "there is no schema of ours, and no key");
    assert_eq!(lab.setup_as(As::Superuser, &["--verify"]).await.code, Some(0));
    let dump = lab.dump().await;
    lab.apply_as(As::Superuser, &[]).await;
    assert_eq!(lab.dump().await, dump);
    let proxy = lab.serve().await;
    for user in ["alice", "bob"] {
        assert_eq!(value(&lab.user(&proxy, user).await, WHO).await.as_deref(), Some(user));
    }
    lab.close().await;
}
