//! Clients that leave at any point: nothing of them stays.

use pgusher_tests::{Proxy, Random, Raw, Stage, message, startup, wait};
use tokio::net::TcpStream;
use tokio_postgres::error::SqlState;

/// How many may be in at once.
const SEATS: usize = 16;

const SSL: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Connects, goes on to a point of a connection's life, and leaves there: with a goodbye of TCP's, or with a reset.
async fn come_and_go(proxy: &Proxy, random: &mut Random) {
    let stage = Stage::get();
    let socket = TcpStream::connect(proxy.address()).await.expect("it listens");
    if random.below(2) == 0 {
        socket.set_zero_linger().expect("a socket");
    }
    let mut raw = Raw::over(socket);
    let packet = startup(3 << 16, &[("user", "authenticated"), ("database", "neondb")]);
    match random.below(20) {
        0 => {}
        1..3 => raw.send(&packet[..random.below(packet.len())]).await,
        3..5 => raw.send(&SSL).await,
        5..7 => raw.send(&[&SSL[..], &random.bytes(300)].concat()).await,
        7..9 => raw.send(&[&[0x16, 3, 1], &random.bytes(300)[..]].concat()).await,
        9..11 => {
            raw.send(&SSL).await;
            raw.byte().await;
            let _ = raw.into_tls(stage.authority.client_config(&[])).await;
        }
        11..14 => raw.send(&packet).await,
        14..17 => raw.send(&[packet, message(b'p', b"no token\0")].concat()).await,
        17 => raw.send(&[packet, message(b'p', b"cut"), random.bytes(9)].concat()).await,
        _ => {
            let password = [stage.token("alice").to_string().as_bytes(), &[0]].concat();
            let query = message(b'Q', b"SELECT count(*) FROM generate_series(1, 1000000)\0");
            raw.send(&[packet, message(b'p', &password), query].concat()).await;
            if random.below(2) == 0 {
                raw.until_ready().await;
            }
        }
    }
}

#[tokio::test]
async fn after_two_thousand_clients_that_left_anywhere_all_seats_are_free_and_memory_is_what_it_was() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).tls().set("pool.max_client_conn", SEATS).set("pool.default_pool_size", SEATS);
    let proxy = proxy.set("session.max_logins", 2 * SEATS).start().await;
    let mut random = Random(3);
    for _ in 0..200 {
        come_and_go(&proxy, &mut random).await;
    }
    let before = proxy.memory();
    for _ in 0..1_800 {
        come_and_go(&proxy, &mut random).await;
    }

    let (token, mut inside) = (stage.token("bob"), Vec::new());
    while inside.len() < SEATS {
        inside.push(proxy.let_in(&proxy.config(&token)).await);
    }
    assert_eq!(proxy.refused(&token).await.code(), &SqlState::TOO_MANY_CONNECTIONS);
    assert!(proxy.memory().saturating_sub(before) < 16 << 20);
}

#[tokio::test]
async fn all_that_a_client_has_asked_for_is_cancelled_when_it_leaves() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("pool.default_pool_size", 1).start().await;
    let mut session = proxy.fragile_session(&stage.token("alice")).await;
    let statement = |which: u8| message(b'Q', format!("SELECT pg_sleep(3600), 'asked_for_{which}'\0").as_bytes());
    session.send(&[statement(1), statement(2), statement(3)].concat()).await;
    let superuser = stage.superuser().await;
    let running = "SELECT FROM pg_stat_activity WHERE query LIKE '%asked_for_1%' AND state = 'active' AND pid <> pg_backend_pid()";
    let is_running = async || superuser.query_opt(running, &[]).await.expect("an answer").map(drop);
    wait::until("the first", is_running).await;
    drop(session);
    // There is one server, which it has until nothing of it runs.
    let client = proxy.connect(&stage.token("bob")).await;
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
}
