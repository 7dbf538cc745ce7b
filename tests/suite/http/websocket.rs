//! WebSockets: the session of TCP behind them, however its bytes are cut into frames.

use pgusher_tests::request::{bind_named, execute, parse_named, query, sync, terminate};
use pgusher_tests::{Handshake, Message, Proxy, Raw, Stage, Token, WebSocket, message, startup, wait};
use tokio_postgres::NoTls;
use tokio_tungstenite::tungstenite;

mod ending;
mod handshake;
mod hostile;

async fn proxy() -> Proxy {
    Proxy::builder(Stage::get()).http().start().await
}

/// Startup packet and password.
fn login(token: &Token<'_>) -> [Vec<u8>; 2] {
    let packet = startup(3 << 16, &[("user", "authenticated"), ("database", "neondb")]);
    [packet, message(b'p', &[token.to_string().as_bytes(), &[0]].concat())]
}

async fn session(proxy: &Proxy, token: &Token<'_>) -> Raw {
    let mut raw = proxy.websocket().await.into_raw();
    raw.log_in(&token.to_string()).await;
    raw
}

/// The answer to a login and one query.
async fn assert_counts(websocket: WebSocket, wanted: &str) {
    let mut raw = websocket.into_raw();
    let greeting = Message::tags(&raw.until_ready().await);
    assert!(greeting.starts_with("RR") && greeting.ends_with("KZ"), "{greeting}");
    assert_eq!(Message::values(&raw.until_ready().await), [wanted]);
}

#[tokio::test]
async fn each_has_a_session_of_their_own() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    for who in ["alice", "bob"] {
        let mut raw = session(&proxy, &stage.token(who)).await;
        assert_eq!(raw.who().await, format!("{who} authenticated pgusher_authenticated"));
        assert_eq!(raw.value("SELECT string_agg(DISTINCT user_id, ' ') FROM todos").await, who);
    }
}

#[tokio::test]
async fn nothing_that_is_sent_has_to_wait_for_an_answer() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let [packet, password] = login(&stage.token("alice"));
    let all = [packet, password, query("SELECT count(*) FROM todos")];
    let mut frames = proxy.websocket().await;
    for part in &all {
        frames.send(&part[..]).await;
    }
    assert_counts(frames, "3").await;
    let mut frame = proxy.websocket().await;
    frame.send(all.concat()).await;
    assert_counts(frame, "3").await;
}

#[tokio::test]
async fn bytes_mean_the_same_wherever_they_are_cut() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let all = [&login(&stage.token("alice")).concat()[..], &query("SELECT count(*) FROM todos")].concat();
    let mut single = proxy.websocket().await;
    for byte in &all {
        single.send([*byte]).await;
    }
    assert_counts(single, "3").await;
    for cut in 1..startup(3 << 16, &[("user", "authenticated"), ("database", "neondb")]).len() {
        let mut websocket = proxy.websocket().await;
        websocket.send(&all[..cut]).await;
        websocket.send([]).await;
        websocket.send(&all[cut..]).await;
        assert_counts(websocket, "3").await;
    }
}

#[tokio::test]
async fn a_message_may_come_in_fragments_with_pings_between() {
    use tungstenite::protocol::frame::Frame;
    use tungstenite::protocol::frame::coding::{Data, OpCode};

    let (stage, proxy) = (Stage::get(), proxy().await);
    let all = [&login(&stage.token("alice")).concat()[..], &query("SELECT count(*) FROM todos")].concat();
    let mut websocket = proxy.websocket().await;
    for (number, part) in all.chunks(7).enumerate() {
        let opcode = OpCode::Data(if number == 0 { Data::Binary } else { Data::Continue });
        let frame = Frame::message(part.to_vec(), opcode, (number + 1) * 7 >= all.len());
        websocket.send_message(tungstenite::Message::Frame(frame)).await;
        websocket.send_message(tungstenite::Message::Ping(vec![7; 3].into())).await;
    }
    assert_counts(websocket, "3").await;
}

#[tokio::test]
async fn a_driver_has_transactions_and_parameters() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let (pipe, _) = proxy.websocket().await.into_pipe();
    let connecting = proxy.config(&stage.token("alice")).connect_raw(pipe, NoTls).await;
    let (mut client, connection) = connecting.expect("the proxy lets us in");
    tokio::spawn(connection);
    let transaction = client.transaction().await.expect("a transaction");
    let changed = transaction.execute("UPDATE todos SET task = $1", &[&"gone"]).await.expect("an update");
    assert_eq!(changed, 3);
    transaction.rollback().await.expect("a rollback");
    let row = client.query_one("SELECT count(*) FROM todos WHERE task = $1", &[&"gone"]).await.expect("a row");
    assert_eq!(row.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_notification_goes_from_one_to_another() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let mut listener = session(&proxy, &stage.token("alice")).await;
    listener.query("LISTEN over_websocket").await;
    let mut other = session(&proxy, &stage.token("bob")).await;
    other.query("NOTIFY over_websocket, 'hello'").await;
    let heard = listener.until(b'A').await;
    assert!(heard.last().is_some_and(|heard| heard.body.ends_with(b"over_websocket\0hello\0")), "{heard:?}");
}

#[tokio::test]
async fn a_cancel_request_may_come_over_another() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let mut raw = proxy.websocket().await.into_raw();
    let greeting = raw.log_in_with(&stage.token("alice").to_string(), &[]).await;
    let key = greeting.iter().find(|message| message.tag == b'K').expect("a key").body.clone();
    let backend = raw.backend().await;
    raw.send(&query("SELECT pg_sleep(600)")).await;
    stage.until_backend(backend, "wait_event = 'PgSleep'").await;
    let mut canceller = proxy.websocket().await;
    canceller.send(pgusher_tests::request::cancel(&key)).await;
    assert_eq!(canceller.closed().await, (1000, vec![]));
    let answer = raw.until_ready().await;
    assert!(answer.iter().any(|message| message.tag == b'E' && message.sqlstate() == "57014"), "{answer:?}");
}

#[tokio::test]
async fn a_frame_of_any_size_costs_no_memory() {
    const LARGE: usize = 40 << 20;
    let (stage, proxy) = (Stage::get(), proxy().await);
    let mut websocket = proxy.websocket().await;
    let [packet, password] = login(&stage.token("alice"));
    websocket.send([packet, password].concat()).await;
    let large = "x".repeat(LARGE);
    let before = proxy.peak_memory();
    let parse = parse_named("s", "SELECT length($1), $1::text");
    websocket.send([parse, bind_named("", "s", &[&large]), execute(), sync()].concat()).await;
    let mut raw = websocket.into_raw();
    raw.until_ready().await;
    assert_eq!(raw.receive().await.map(|message| message.tag), Some(b'1'));
    assert_eq!(raw.receive().await.map(|message| message.tag), Some(b'2'));
    let mut stream = raw.into_stream();
    let row = wait::within("a row", wire::frame::read_frame(&mut stream, LARGE as u32 + 100)).await.expect("a row");
    assert!(row.body.len() > LARGE);
    let grown = proxy.peak_memory() - before;
    assert!(grown < LARGE as u64 / 4, "{grown} bytes more");
}

#[tokio::test]
async fn who_says_goodbye_in_either_protocol_has_it_answered() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let mut websocket = proxy.websocket().await;
    websocket.send([&login(&stage.token("alice")).concat()[..], &terminate()].concat()).await;
    assert_eq!(websocket.closed().await.0, 1000);

    let mut websocket = proxy.websocket().await;
    websocket.send(login(&stage.token("alice")).concat()).await;
    let code = tungstenite::protocol::frame::coding::CloseCode::Away;
    let frame = tungstenite::protocol::CloseFrame { code, reason: "the tab is closed".into() };
    websocket.send_message(tungstenite::Message::Close(Some(frame))).await;
    assert_eq!(websocket.closed().await.0, 1001);
}

#[tokio::test]
async fn it_is_taken_on_any_path_beside_requests() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    for path in ["/v2", "/", "/sql", "/v2?address=elsewhere:5432", "/a/b/c"] {
        let websocket = Handshake::default().line(&format!("GET {path} HTTP/1.1")).with(&proxy).await;
        let mut raw = websocket.expect("a WebSocket").into_raw();
        raw.log_in(&stage.token("alice").to_string()).await;
        assert_eq!(raw.value("SELECT 1").await, "1", "{path}");
    }
}
