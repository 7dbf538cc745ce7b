//! The same in a WebSocket, where clients send the password in clear before anybody has asked.

use pgusher_tests::request::query;
use pgusher_tests::{Message, Proxy, Stage, message, startup, wait};

use super::{WHO, builder, under_tls};

async fn proxy() -> Proxy {
    builder("neondb_owner").http().start().await
}

/// Startup packet, password and a query, as Neon's driver has them on their way at once.
fn pipelined(password: &str, sql: &str) -> Vec<u8> {
    let packet = startup(3 << 16, &[("user", "neondb_owner"), ("database", "neondb")]);
    [packet, message(b'p', format!("{password}\0").as_bytes()), query(sql)].concat()
}

#[tokio::test]
async fn the_password_is_asked_for_in_clear_and_used_here_whatever_the_server_asks_for() {
    for proxy in [builder("neondb_owner").http(), under_tls(builder("neondb_owner").http())] {
        let proxy = proxy.start().await;
        let mut raw = proxy.websocket().await.into_raw();
        raw.send(&pipelined("owner", WHO)).await;
        let greeting = raw.until_ready().await;
        assert_eq!(greeting[0], Message { tag: b'R', body: vec![0, 0, 0, 3] });
        assert_eq!(greeting[1], Message { tag: b'R', body: vec![0; 4] });
        assert!(Message::tags(&greeting).ends_with("KZ"), "{greeting:?}");
        assert_eq!(Message::values(&raw.until_ready().await), ["neondb_owner neondb_owner"]);
        assert_eq!(raw.value("SELECT auth.user_id() IS NULL").await, "t");
        raw.query("BEGIN").await;
        assert_eq!(raw.value("SELECT set_config('app.x', 'kept', true)").await, "kept");
        assert_eq!(raw.value("SELECT current_setting('app.x')").await, "kept");
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_as_postgres_tells_it_and_nothing_behind_it_is_done() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let token = stage.token("alice").to_string();
    for wrong in ["wrong", "", &token] {
        let mut raw = proxy.websocket().await.into_raw();
        raw.send(&pipelined(wrong, "SELECT 1")).await;
        let heard = raw.until_end().await;
        assert_eq!(Message::tags(&heard), "RE");
        assert_eq!((heard[1].sqlstate(), heard[1].field(b'R')), ("28P01".to_owned(), Some("auth_failed".to_owned())));
    }
    let logged = proxy.log().iter().any(|line| line.contains("\"login\""));
    assert!(!logged && proxy.log().iter().all(|line| !line.contains(&token)));
}

#[tokio::test]
async fn a_socket_that_breaks_takes_the_statement_along() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let superuser = stage.superuser().await;
    let mut websocket = proxy.websocket().await;
    websocket.send(pipelined("owner", "SELECT pg_sleep(600), 'a socket that breaks'")).await;
    let look = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%socket that breaks%'";
    let running = async || superuser.query_opt(look, &[]).await.expect("it may look").map(|row| row.get(0));
    let backend = wait::until("the statement to run", running).await;

    drop(websocket);

    stage.until_gone(backend).await;
}
