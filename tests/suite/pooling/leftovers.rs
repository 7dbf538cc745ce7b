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
