//! What a client leaves on its server does not outlive it there, whether somebody needs that server or not.

use pgusher_tests::{Proxy, Stage, wait};

#[tokio::test]
async fn a_lock_is_free_when_its_holder_has_left() {
    let stage = Stage::get();
    for mode in ["transaction", "session"] {
        let proxy = Proxy::builder(stage).set("pool.pool_mode", mode).start().await;
        let mut holder = proxy.session(&stage.token("alice")).await;
        holder.value("SELECT pg_advisory_lock(4711)").await;
        let superuser = stage.superuser().await;
        let free = "SELECT pg_try_advisory_lock(4711) AND pg_advisory_unlock(4711)";
        assert!(!superuser.query_one(free, &[]).await.expect("a row").get::<_, bool>(0));

        drop(holder);

        wait::until("the lock to be free", async || {
            superuser.query_one(free, &[]).await.expect("a row").get::<_, bool>(0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_cleared_out_is_closed() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("pool.default_pool_size", 1).start().await;
    let superuser = stage.superuser().await;
    let mut mallory = proxy.session(&stage.token("mallory")).await;
    mallory.query("CREATE TEMP TABLE kept ()").await;
    let schema = mallory.value("SELECT pg_my_temp_schema()::regnamespace").await;
    let backend = mallory.backend().await;
    superuser.batch_execute(&format!("BEGIN; LOCK {schema}.kept IN ACCESS SHARE MODE")).await.expect("a lock");
    // The reset waits for the lock, and no longer than this. Then the backend leaves, and waits for it again.
    mallory.query("SET statement_timeout = 5").await;
    drop(mallory);
    stage.until_backend(backend, "state = 'idle' AND wait_event_type = 'Lock'").await;
    superuser.batch_execute("ROLLBACK").await.expect("the lock is let go");

    let mut bob = proxy.session(&stage.token("bob")).await;
    assert_eq!(
        bob.value("SELECT count(*) FROM pg_class WHERE relname = 'kept' AND pg_table_is_visible(oid)").await,
        "0"
    );
    assert_ne!(bob.backend().await, backend);
}
