//! How many servers there are, who gets them, and what becomes of clients when there are none.

use pgusher_tests::request::query;
use pgusher_tests::{Message, Proxy, Raw, Stage, wait};
use tokio_postgres::Client;

use super::run;

/// How many servers a database has for the login of `authenticated`.
async fn servers(superuser: &Client, database: &str) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'pgusher_authenticated' AND datname = $1";
    superuser.query_one(sql, &[&database]).await.expect("a row").get(0)
}

async fn until_servers(superuser: &Client, database: &str, count: i64) {
    let look = async || (servers(superuser, database).await == count).then_some(());
    wait::until(&format!("{count} servers"), look).await;
}

async fn session(proxy: &Proxy, database: &str, subject: &str) -> Raw {
    proxy.session_with(&Stage::get().token(subject), &[("database", database)]).await
}

/// Asserts that a client that asks for something now has to wait; it gets its answer later.
async fn assert_waits(client: &mut Raw) {
    client.send(&query("SELECT 1")).await;
    let notice = client.receive().await.expect("a notice");
    assert_eq!((notice.tag, notice.field(b'S').as_deref()), (b'N', Some("NOTICE")));
}

#[tokio::test]
async fn a_client_that_gets_no_server_in_time_is_told_so() {
    let stage = Stage::get();
    let builder = Proxy::builder(stage).set("pool.default_pool_size", 1).set("pool.query_wait_notify", "100ms");
    let proxy = builder.set("pool.query_wait_timeout", "300ms").start().await;
    // The server is open then, and nobody waits for that.
    proxy.let_in(&proxy.config(&stage.token("alice"))).await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    run(&mut alice, "BEGIN").await;

    let mut bob = proxy.session(&stage.token("bob")).await;
    assert_waits(&mut bob).await;
    let end = bob.until_end().await;

    assert_eq!(Message::tags(&end), "E");
    assert_eq!(end[0].sqlstate(), "53300");
    assert_eq!(end[0].field(b'M').as_deref(), Some("no server connection became free in time"));
    let detail = "default_pool_size is 1, query_wait_timeout is 0.3 s.";
    assert_eq!(end[0].field(b'D').as_deref(), Some(detail));
    run(&mut alice, "COMMIT").await;
    proxy.session(&stage.token("bob")).await.who().await;
}

#[tokio::test]
async fn who_waits_in_vain_is_told_which_limit_it_was() {
    let stage = Stage::get();
    for (limit, other) in [("max_identity_servers", "alice"), ("max_db_connections", "bob")] {
        let builder = Proxy::builder(stage).set(&format!("pool.{limit}"), 1).set("pool.query_wait_timeout", "300ms");
        let proxy = builder.start().await;
        // The server is open then, and nobody waits for that.
        proxy.let_in(&proxy.config(&stage.token("alice"))).await;
        let mut alice = proxy.session(&stage.token("alice")).await;
        run(&mut alice, "BEGIN").await;
        let mut waiting = proxy.session(&stage.token(other)).await;
        waiting.send(&query("SELECT 1")).await;
        let end = waiting.until_end().await;
        assert_eq!(Message::tags(&end), "E");
        assert_eq!(end[0].field(b'D').as_deref(), Some(&*format!("{limit} is 1, query_wait_timeout is 0.3 s.")));
        assert!(end[0].field(b'H').is_some_and(|hint| hint.contains(limit)), "{end:?}");
    }
}

#[tokio::test]
async fn an_identity_has_so_many_clients_and_no_more() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("pool.max_identity_conn", 2).start().await;
    let (_one, two) = (proxy.session(&stage.token("alice")).await, proxy.session(&stage.token("alice")).await);
    let refused = proxy.refused(&stage.token("alice")).await;
    assert_eq!(refused.code().code(), "53300");
    assert!(refused.detail().is_some_and(|detail| detail.contains("max_identity_conn is 2")), "{refused:?}");
    proxy.session(&stage.token("bob")).await.who().await;
    drop(two);
    proxy.let_in(&proxy.config(&stage.token("alice"))).await;
}

#[tokio::test]
async fn an_identity_has_so_many_servers_and_leaves_the_others_to_the_rest() {
    let stage = Stage::get();
    let builder = Proxy::builder(stage).set("pool.default_pool_size", 2).set("pool.max_identity_servers", 1);
    let proxy = builder.set("pool.query_wait_notify", "50ms").start().await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    run(&mut alice, "BEGIN").await;
    let mut again = proxy.session(&stage.token("alice")).await;
    assert_waits(&mut again).await;

    assert_eq!(proxy.session(&stage.token("bob")).await.value("SELECT auth.user_id()").await, "bob");

    run(&mut alice, "COMMIT").await;
    assert_eq!(Message::tags(&again.until_ready().await), "TDCZ");
}

#[tokio::test]
async fn the_reserve_is_for_those_who_have_waited() {
    let stage = Stage::get();
    let builder = Proxy::builder(stage).set("pool.default_pool_size", 1).set("pool.reserve_pool_size", 1);
    let proxy = builder.set("pool.reserve_pool_timeout", "300ms").set("pool.query_wait_notify", "50ms").start().await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    run(&mut alice, "BEGIN").await;
    let mut bob = proxy.session(&stage.token("bob")).await;

    assert_waits(&mut bob).await;
    assert_eq!(Message::tags(&bob.until_ready().await), "TDCZ");
    run(&mut bob, "BEGIN").await;

    let mut carol = proxy.session(&stage.token("carol")).await;
    assert_waits(&mut carol).await;
    run(&mut alice, "COMMIT").await;
    assert_eq!(Message::tags(&carol.until_ready().await), "TDCZ");
}

#[tokio::test]
async fn the_roles_of_a_database_share_its_max_db_connections() {
    let stage = Stage::get();
    let builder = Proxy::builder(stage).set("pool.max_db_connections", 1);
    let proxy = builder.set("pool.query_wait_notify", "50ms").start().await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    run(&mut alice, "BEGIN").await;
    let mut anonymous = proxy.raw().await;
    anonymous.startup(&[("user", "anonymous"), ("database", "neondb")]).await;
    // What to tell it only a server knows.
    run(&mut alice, "COMMIT").await;
    assert_eq!(anonymous.until_ready().await.last().map(|message| message.tag), Some(b'Z'));

    run(&mut alice, "BEGIN").await;
    assert_waits(&mut anonymous).await;
    run(&mut alice, "COMMIT").await;
    assert_eq!(Message::tags(&anonymous.until_ready().await), "TDCZ");
}

#[tokio::test]
async fn servers_are_kept_warm_before_the_first_client_comes() {
    let stage = Stage::get();
    let (database, superuser) = stage.database().await;
    let builder = Proxy::builder(stage).set("upstream.databases", &database);
    let proxy = builder.set("pool.min_pool_size", 3).start().await;
    until_servers(&superuser, &database, 3).await;
    assert_eq!(session(&proxy, &database, "alice").await.value("SELECT auth.user_id()").await, "alice");
    assert_eq!(servers(&superuser, &database).await, 3);
}

#[tokio::test]
async fn a_server_goes_when_nobody_needed_it_for_long_and_when_it_is_old() {
    let stage = Stage::get();
    for key in ["server_idle_timeout", "server_lifetime"] {
        let (database, superuser) = stage.database().await;
        let proxy = Proxy::builder(stage).set(&format!("pool.{key}"), "300ms").start().await;
        let mut alice = session(&proxy, &database, "alice").await;
        let first = alice.backend().await;
        run(&mut alice, "SET work_mem = '3MB'").await;

        stage.until_gone(first).await;
        until_servers(&superuser, &database, 0).await;

        assert_eq!(alice.value("SHOW work_mem").await, "3MB", "{key}");
        run(&mut alice, "BEGIN").await;
        let held = alice.backend().await;
        let another = session(&proxy, &database, "bob").await.backend().await;
        stage.until_gone(another).await;
        assert_eq!(alice.backend().await, held, "{key}: a transaction keeps its server");
    }
}

#[tokio::test]
async fn clients_that_are_idle_do_not_notice_that_their_server_was_ended() {
    let stage = Stage::get();
    let superuser = stage.superuser().await;
    let proxy = Proxy::builder(stage).set("pool.default_pool_size", 1).start().await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    for client in [&mut alice, &mut bob] {
        let backend = client.backend().await;
        superuser.execute("SELECT pg_terminate_backend($1)", &[&backend]).await.expect("it may");
        stage.until_gone(backend).await;
        assert_ne!(client.backend().await, backend);
    }
    assert_eq!(alice.value("SELECT auth.user_id()").await, "alice");
    assert_eq!(bob.value("SELECT auth.user_id()").await, "bob");
}

#[tokio::test]
async fn a_database_that_is_down_is_an_error_for_those_who_ask_and_the_others_go_on_when_it_is_back() {
    let stage = Stage::get();
    let (database, _) = stage.database().await;
    let superuser = stage.superuser().await;
    let proxy = Proxy::builder(stage).set("pool.server_login_retry", "0s").start().await;
    let (mut asking, mut idle) = (session(&proxy, &database, "alice").await, session(&proxy, &database, "bob").await);
    run(&mut idle, "SET work_mem = '3MB'").await;

    let down = format!(
        "ALTER DATABASE {database} ALLOW_CONNECTIONS false; \
         SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE datname = '{database}'"
    );
    superuser.batch_execute(&down).await.expect("it may");
    asking.send(&query("SELECT 1")).await;
    let end = asking.until_end().await;
    assert_eq!(Message::tags(&end), "E");
    assert_eq!((end[0].sqlstate().as_str(), end[0].field(b'S').as_deref()), ("57P03", Some("FATAL")));

    let up = format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true");
    superuser.batch_execute(&up).await.expect("it may");
    assert_eq!(idle.value("SHOW work_mem").await, "3MB");
}

/// A server that a login cannot have is cleared out of the way before the next one is opened in its place.
#[tokio::test]
async fn a_server_that_could_not_be_made_a_logins_own_keeps_its_place_until_it_is_gone() {
    let stage = Stage::get();
    let builder = Proxy::builder(stage).set("pool.default_pool_size", 1).set("pool.query_wait_notify", "100ms");
    let proxy = builder.set("pool.server_connect_timeout", "3s").start().await;
    let (database, superuser) = stage.database().await;
    let hide = "CREATE FUNCTION hide(sql text) RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE sql; END'";
    superuser.batch_execute(hide).await.expect("a function");
    let mut alice = session(&proxy, &database, "alice").await;
    // What is left unseen is not discarded before somebody else needs the server, and then it waits for the lock.
    run(&mut alice, "SELECT hide('CREATE TEMP TABLE t ()')").await;
    let schema = alice.value("SELECT pg_my_temp_schema()::regnamespace").await;
    superuser.batch_execute(&format!("BEGIN; LOCK {schema}.t IN ACCESS SHARE MODE")).await.expect("a lock");

    // What its settings come to has to be asked.
    let mut bob = proxy.raw().await;
    let here = [("database", database.as_str()), ("application_name", "new")];
    let refused = bob.log_in_with(&stage.token("bob").to_string(), &here).await;
    assert_eq!(refused.last().map(|message| message.tag), Some(b'E'), "{refused:?}");

    assert_waits(&mut alice).await;
    assert_eq!(servers(&superuser, &database).await, 1);
    superuser.batch_execute("ROLLBACK").await.expect("an end");
    assert_eq!(Message::tags(&alice.until_ready().await), "TDCZ");
    assert_eq!(servers(&superuser, &database).await, 1);
}
