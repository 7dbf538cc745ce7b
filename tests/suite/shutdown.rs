//! How the proxy goes, and with which code; and with which it does not even start.

use pgusher_tests::request::query;
use pgusher_tests::{Message, Proxy, ProxyBuilder, Raw, Stage, binary};
use tokio::net::TcpStream;

/// Nobody listens there: a port below those that are given out, for a service that was never much used.
const NOBODY: u16 = 1;

async fn assert_told_to_go(session: &mut Raw) {
    let end = session.until_ready().await;
    assert_eq!(Message::tags(&end), "E");
    assert_eq!(end[0].sqlstate(), "57P01");
    assert_eq!(end[0].field(b'S').as_deref(), Some("FATAL"));
    assert_eq!(session.receive().await, None);
}

#[tokio::test]
async fn at_sigterm_and_sigint_idle_sessions_are_told_and_the_code_is_0() {
    let stage = Stage::get();
    for signal in ["TERM", "INT"] {
        let mut proxy = Proxy::start(stage).await;
        let mut session = proxy.session(&stage.token("alice")).await;

        proxy.signal(signal).await;

        assert_told_to_go(&mut session).await;
        assert_eq!(proxy.exit_code().await, Some(0));
    }
}

#[tokio::test]
async fn a_transaction_is_finished_before_its_session_ends_and_nobody_new_gets_in() {
    let stage = Stage::get();
    let mut proxy = Proxy::start(stage).await;
    let mut session = proxy.session(&stage.token("alice")).await;
    session.query("BEGIN").await;

    proxy.signal("TERM").await;
    proxy.logs("shutting down").await;

    assert!(TcpStream::connect(proxy.address()).await.is_err());
    assert_eq!(session.value("SELECT 'still here'").await, "still here");
    assert_eq!(Message::tags(&session.query("COMMIT").await), "CZ");
    assert_told_to_go(&mut session).await;
    assert_eq!(proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_statement_is_answered_before_its_session_ends() {
    let stage = Stage::get();
    let mut proxy = Proxy::start(stage).await;
    let mut session = proxy.session(&stage.token("alice")).await;
    let backend = session.backend().await;
    let holder = stage.superuser().await;
    holder.batch_execute("SELECT pg_advisory_lock(4800)").await.expect("a lock");
    session.send(&query("SELECT pg_advisory_xact_lock(4800)")).await;
    stage.until_backend(backend, "wait_event = 'advisory'").await;

    proxy.signal("TERM").await;
    proxy.logs("shutting down").await;
    holder.batch_execute("SELECT pg_advisory_unlock(4800)").await.expect("its own lock");

    assert_eq!(Message::tags(&session.until_ready().await), "TDCZ");
    assert_told_to_go(&mut session).await;
    assert_eq!(proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn what_is_not_done_within_the_grace_is_ended_with_its_statement() {
    let stage = Stage::get();
    let mut proxy = Proxy::builder(stage).set("session.shutdown_grace", "200ms").start().await;
    let mut idle = proxy.session(&stage.token("alice")).await;
    idle.query("BEGIN").await;
    let mut busy = proxy.session(&stage.token("alice")).await;
    let backend = busy.backend().await;
    busy.send(&query("SELECT pg_sleep(600)")).await;
    stage.until_backend(backend, "wait_event = 'PgSleep'").await;

    proxy.signal("TERM").await;

    assert_told_to_go(&mut idle).await;
    assert_told_to_go(&mut busy).await;
    stage.until_gone(backend).await;
    assert_eq!(proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let stage = Stage::get();
    let mut proxy = Proxy::builder(stage).set("session.shutdown_grace", "1d").start().await;
    let mut session = proxy.session(&stage.token("alice")).await;
    session.query("BEGIN").await;
    proxy.signal("TERM").await;
    proxy.logs("shutting down").await;

    proxy.signal("INT").await;

    assert_told_to_go(&mut session).await;
    assert_eq!(proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn those_who_are_not_in_yet_are_turned_away() {
    let stage = Stage::get();
    let builder = Proxy::builder(stage).set("session.client_login_timeout", "1d").set("session.shutdown_grace", "1d");
    let builder = builder.set("pool.default_pool_size", 1).set("pool.query_wait_timeout", "1d");
    let mut proxy = builder.start().await;
    let mut silent = proxy.raw().await;
    let mut asked = proxy.raw().await;
    asked.startup(&[("user", "authenticated"), ("database", "neondb")]).await;
    asked.until(b'R').await;
    let mut session = proxy.session(&stage.token("alice")).await;
    session.query("BEGIN").await;
    let waiting = proxy.config(&stage.token("bob"));
    let waiting = tokio::spawn(async move { waiting.connect(tokio_postgres::NoTls).await.map(drop) });
    proxy.logs("\"subject\":\"bob\"").await;

    proxy.signal("TERM").await;

    assert_eq!(silent.receive().await, None);
    assert_told_to_go(&mut asked).await;
    let refused = waiting.await.expect("no panic").expect_err("nobody new gets in");
    assert_eq!(refused.code().map(|code| code.code()), Some("57P01"));
    session.query("COMMIT").await;
    assert_told_to_go(&mut session).await;
    assert_eq!(proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn the_socket_file_goes_with_its_proxy() {
    let stage = Stage::get();
    let mut proxy = Proxy::builder(stage).socket().start().await;
    let files = std::fs::read_dir(proxy.directory()).expect("a directory");
    let sockets: Vec<_> = files
        .map(|file| file.expect("a file").path())
        .filter(|path| path.to_string_lossy().contains(".s.PGSQL."))
        .collect();
    let [socket] = &sockets[..] else { panic!("one socket: {sockets:?}") };

    proxy.signal("TERM").await;

    assert_eq!(proxy.exit_code().await, Some(0));
    assert!(!socket.exists());
}

/// The exit code of a proxy that does not start, and has to say all this about it.
async fn failure(builder: ProxyBuilder<'_>, words: &[&str]) -> Option<i32> {
    let mut proxy = builder.spawn().await;
    for word in words {
        proxy.logs(word).await;
    }
    proxy.exit_code().await
}

#[tokio::test]
async fn without_its_database_it_does_not_start_and_the_code_is_69() {
    let builder = Proxy::builder(Stage::get()).set("upstream.port", NOBODY);
    assert_eq!(failure(builder, &["127.0.0.1:1:", "login pgusher_"]).await, Some(69));
}

#[tokio::test]
async fn with_a_wrong_password_of_its_own_it_does_not_start_and_the_code_is_69() {
    let wrong = Stage::get().files().join("claims.secret");
    let builder = Proxy::builder(Stage::get()).set("role.0.password_file", wrong.display());
    assert_eq!(failure(builder, &["login pgusher_authenticated", "28P01"]).await, Some(69));
}

#[tokio::test]
async fn without_an_issuers_keys_it_does_not_start_and_the_code_is_69() {
    let issuer = format!("http://127.0.0.1:{NOBODY}");
    let builder = Proxy::builder(Stage::get()).set("provider.0.issuer", issuer);
    assert_eq!(failure(builder, &["provider issuer"]).await, Some(69));
}

#[tokio::test]
async fn a_wrong_configuration_is_78_and_a_wrong_command_line_2() {
    let builder = Proxy::builder(Stage::get()).set("pool.default_pool_sise", 1);
    assert_eq!(failure(builder, &["default_pool_size"]).await, Some(78));

    let usage = std::process::Command::new(binary()).arg("--no-such-thing").output().expect("it runs");
    assert_eq!(usage.status.code(), Some(2));
}
