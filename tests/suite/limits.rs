//! How many may come, how long they may take, and that every place is free again after whoever had it.

use std::fmt::Display;

use pgusher_tests::request::{parse, query};
use pgusher_tests::{Message, Proxy, Raw, Stage, startup, wait};
use tokio::net::TcpStream;
use tokio_postgres::NoTls;

/// What a client is told that came too many.
async fn assert_full(proxy: &Proxy, token: &impl Display, message: &str, detail: &str) {
    let error = proxy.refused(token).await;
    assert_eq!((error.code().code(), error.message()), ("53300", message));
    assert_eq!(error.detail(), Some(detail));
}

#[tokio::test]
async fn one_client_more_than_max_client_conn_is_refused_until_one_leaves() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("pool.max_client_conn", 2).start().await;
    let token = stage.token("alice");
    let (first, _second) = (proxy.connect(&token).await, proxy.connect(&token).await);

    assert_full(&proxy, &token, "sorry, too many clients already", "max_client_conn is 2.").await;

    drop(first);
    proxy.let_in(&proxy.config(&token)).await;
}

#[tokio::test]
async fn one_login_more_than_max_logins_is_refused_until_one_is_done() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("session.max_logins", 1).start().await;
    let token = stage.token("alice");
    // Somebody who says nothing is logging in too. To be noticed it has to be accepted, and the next one was accepted
    // after it.
    let silent = proxy.raw().await;

    let full = "sorry, too many logins in progress already";
    assert_full(&proxy, &token, full, "max_logins is 1.").await;

    drop(silent);
    let _in = proxy.let_in(&proxy.config(&token)).await;
    proxy.let_in(&proxy.config(&token)).await;
}

#[tokio::test]
async fn a_client_that_takes_too_long_is_ended_wherever_it_stands() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).tls().set("session.client_login_timeout", "200ms").start().await;
    let ssl_request = [0, 0, 0, 8, 4, 210, 22, 47];
    let hello = startup(3 << 16, &[("user", "authenticated"), ("database", "neondb")]);
    let half = &hello[..hello.len() / 2];
    for said in [&[][..], &[0], &ssl_request[..7], half, &ssl_request, &[0x16]] {
        let mut client = proxy.raw().await;
        client.send(said).await;
        let answer = client.until_ready().await;
        assert_eq!(Message::tags(&answer), "", "{said:?}");
    }
    for said in [&hello[..], &[&hello[..], b"p"].concat(), &[&hello[..], &[b'p', 0, 0, 3, 0], b"eyJ"].concat()] {
        let mut client = proxy.raw().await;
        client.send(said).await;
        let answer = client.until_ready().await;
        assert_eq!(Message::tags(&answer), "RE");
        assert_eq!(answer[1].sqlstate(), "57014");
        assert_eq!(answer[1].field(b'D').as_deref(), Some("client_login_timeout is 0.2 s."));
    }
}

#[tokio::test]
async fn clients_that_dawdle_do_not_keep_others_out() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut dawdlers = Vec::new();
    for byte in startup(3 << 16, &[("user", "authenticated")]).chunks(1).cycle().take(300) {
        let mut client = proxy.raw().await;
        client.send(byte).await;
        dawdlers.push(client);
    }

    let client = proxy.connect(&stage.token("alice")).await;

    assert_eq!(client.query("SELECT FROM todos", &[]).await.expect("rows").len(), 3);
}

#[tokio::test]
async fn a_client_that_finds_no_server_in_time_is_told_which_limit_it_was() {
    let stage = Stage::get();
    let builder = Proxy::builder(stage).set("pool.pool_mode", "session").set("pool.default_pool_size", 1);
    let proxy = builder.set("pool.query_wait_timeout", "200ms").start().await;
    let token = stage.token("alice");
    // A server may take longer to open than clients wait here. It is there for a later one then.
    let first = proxy.let_in(&proxy.config(&token)).await;

    let detail = "default_pool_size is 1, query_wait_timeout is 0.2 s.";
    assert_full(&proxy, &token, "no server connection became free in time", detail).await;

    // Another role has servers of its own.
    let mut anonymous = proxy.config(&"");
    proxy.let_in(anonymous.user("anonymous")).await;
    drop(first);
    proxy.let_in(&proxy.config(&token)).await;
}

#[tokio::test]
async fn clients_that_wait_for_a_server_get_it_in_the_order_they_came() {
    let stage = Stage::get();
    let builder = Proxy::builder(stage).set("pool.pool_mode", "session").set("pool.default_pool_size", 1);
    let proxy = builder.set("listen.admin", "127.0.0.1:0").start().await;
    let first = proxy.connect(&stage.token("alice")).await;
    let (entered, mut order) = tokio::sync::mpsc::unbounded_channel();
    let in_line = r#"pgusher_clients_waiting{database="neondb",role="authenticated"}"#;
    let names = ["one", "two", "three", "four"];
    for (number, name) in (1..).zip(names) {
        let (config, entered) = (proxy.config(&stage.token(name)), entered.clone());
        tokio::spawn(async move {
            drop(config.connect(NoTls).await.expect("there will be a server"));
            entered.send(name).expect("the test waits");
        });
        let waits = async || (proxy.metric(in_line).await? == number.to_string()).then_some(());
        wait::until("a client to be in line", waits).await;
    }

    drop(first);

    for name in names {
        assert_eq!(wait::within("the next in line", order.recv()).await, Some(name));
    }
}

#[tokio::test]
async fn a_place_is_free_again_however_its_holder_ended() {
    let stage = Stage::get();
    let limits = ["pool.max_client_conn", "pool.default_pool_size", "session.max_logins"];
    let builder = limits.iter().fold(Proxy::builder(stage), |builder, limit| builder.set(limit, 1));
    let (proxy, superuser) = (builder.start().await, stage.superuser().await);
    let token = stage.token("alice");
    let get_in = async || wait::until("a place to be free", async || fragile(&proxy, &token).await).await;

    for _ in 0..3 {
        // Refused, for the token, the role, the database and the startup packet.
        proxy.refused(&token.clone().expired()).await;
        proxy.refused_with(proxy.config(&token).user("postgres")).await;
        proxy.refused_with(proxy.config(&token).dbname("nowhere")).await;
        proxy.raw().await.send(&[0, 0, 0, 9, 0, 0, 0, 0]).await;
        // Gone before it was in, idle, in the middle of a statement, of a batch, of a transaction; and broken.
        drop(get_in().await);
        for request in [query("SELECT pg_sleep(600)"), parse("SELECT 1"), query("BEGIN"), vec![b'Q', 0, 0, 0, 0]] {
            let mut session = get_in().await;
            session.send(&request).await;
            drop(session);
        }
        // Ended by the database.
        let mut session = get_in().await;
        session.query("BEGIN").await;
        let backend = session.backend().await;
        superuser.execute("SELECT pg_terminate_backend($1)", &[&backend]).await.expect("it may");
        session.until(b'E').await;
        proxy.let_in(&proxy.config(&token)).await;
    }
}

#[tokio::test]
async fn a_client_whose_machine_is_gone_will_be_missed() {
    let proxy = Proxy::start(Stage::get()).await;
    let _client = proxy.raw().await;
    let local = format!("0100007F:{:04X}", proxy.port());

    // proc_net_tcp(5): number, local and remote address, state, queues, timer. Timer 2 is keep-alive.
    wait::until("a keep-alive timer", async || {
        let sockets = std::fs::read_to_string("/proc/net/tcp").expect("it is Linux");
        let mut sockets = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        sockets.find(|socket| socket[1] == local && socket[5].starts_with("02:")).map(drop)
    })
    .await;
}

/// A session that resets its connection when dropped, if there is a place for it.
async fn fragile(proxy: &Proxy, token: &impl Display) -> Option<Raw> {
    let socket = TcpStream::connect(proxy.address()).await.ok()?;
    socket.set_zero_linger().expect("a socket");
    let mut session = Raw::over(socket);
    session.startup(&[("user", "authenticated"), ("database", "neondb")]).await;
    session.message(b'p', format!("{token}\0").as_bytes()).await;
    Message::tags(&session.until_ready().await).ends_with('Z').then_some(session)
}

#[tokio::test]
async fn three_hundred_clients_may_idle_and_each_still_gets_its_answer() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("pool.default_pool_size", 300).start().await;
    let token = stage.token("alice").to_string();
    let mut clients = Vec::new();
    for _ in 0..300 {
        clients.push(proxy.connect(&token).await);
    }

    for (number, client) in (0_i32..).zip(&clients) {
        let row = client.query_one("SELECT $1::int", &[&number]).await.expect("an answer");
        assert_eq!(row.get::<_, i32>(0), number);
    }
    assert!(proxy.peak_memory() < 128 << 20, "{} bytes", proxy.peak_memory());
}

#[tokio::test]
async fn a_statement_that_cannot_be_cancelled_keeps_its_place_in_the_pool() {
    let stage = Stage::get();
    let builder = Proxy::builder(stage).set("pool.default_pool_size", 1);
    let proxy = builder.set("pool.query_wait_timeout", "300ms").start().await;
    let token = stage.token("alice");
    // The server may take longer to open than clients wait here. Who has been greeted so once needs none to be let in.
    proxy.let_in(proxy.config(&token).application_name("first")).await;
    let mut session = proxy.fragile_session(&token).await;
    let backend = session.backend().await;
    let stubborn =
        "DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN END; END LOOP; END $$";
    session.send(&query(stubborn)).await;
    stage.until_backend(backend, "wait_event = 'PgSleep'").await;

    drop(session);
    proxy.logs("session ended").await;

    let detail = "default_pool_size is 1, query_wait_timeout is 0.3 s.";
    assert_full(&proxy, &token, "no server connection became free in time", detail).await;
    let superuser = stage.superuser().await;
    superuser.execute("SELECT pg_terminate_backend($1)", &[&backend]).await.expect("it may");
    proxy.let_in(&proxy.config(&token)).await;
}

#[tokio::test]
async fn as_many_files_may_be_open_as_the_system_allows_and_too_few_are_told() {
    // Soft and hard.
    let limits = |proxy: &Proxy| {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", proxy.pid())).expect("its limits");
        let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("one of files");
        line.split_whitespace().skip(3).take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let proxy =
        Proxy::builder(Stage::get()).set("pool.max_client_conn", 200).ulimit("-Sn 64 && ulimit -Hn 400").start().await;
    assert_eq!(limits(&proxy), ["400", "400"]);
    assert!(!proxy.log().iter().any(|line| line.contains("limit on open files")));
    let proxy = Proxy::builder(Stage::get()).set("pool.max_client_conn", 400).ulimit("-n 400").start().await;
    proxy.logs("the hard limit on open files is lower").await;
}
