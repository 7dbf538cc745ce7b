//! What carries requests: TLS, compression, pages of other origins, and the end of the process.

use std::io::Read;

use flate2::read::GzDecoder;
use pgusher_tests::{Answer, Proxy, Stage, wait};
use reqwest::{Certificate, Client, Method, StatusCode};
use serde_json::json;
use tokio::net::TcpStream;

use super::limits::{ask_for_ever, until_running};

#[tokio::test]
async fn one_port_speaks_tls_and_clear_text_and_takes_tokens_as_configured() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().tls().set("tls.required", "always").start().await;
    let root = Certificate::from_pem(stage.authority.pem().as_bytes()).unwrap();
    let client = Client::builder().tls_certs_only([root]).build().unwrap();
    let port = proxy.http_address().split_once(':').unwrap().1.to_owned();
    let ask = async |client: &Client, url: String| {
        let request = client.post(url).bearer_auth(stage.token("alice")).header("pgusher-role", "authenticated");
        Answer::to(request.header("pgusher-database", "neondb").body("{\"query\":\"select auth.user_id() as me\"}"))
            .await
    };
    let under_tls = ask(&client, format!("https://localhost:{port}/sql")).await;
    assert_eq!(under_tls.json()["rows"], json!([{"me": "alice"}]));
    let in_clear = ask(&Client::new(), proxy.sql_url()).await;
    assert_eq!((in_clear.status, &*in_clear.code()), (StatusCode::FORBIDDEN, "28000"));
}

#[tokio::test]
async fn a_client_whose_machine_vanishes_is_asked_whether_it_is_there() {
    let proxy = Proxy::builder(Stage::get()).http().start().await;
    let client = TcpStream::connect(proxy.http_address()).await.unwrap();
    let [near, far] =
        [client.local_addr(), client.peer_addr()].map(|address| format!("{:04X}", address.unwrap().port()));
    // The proxy's end, and its timer: 02 is that of keep-alive (proc_net_tcp in the kernel's documentation).
    let timer = async || {
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let of_proxy = |fields: &Vec<&str>| fields[1].ends_with(&far) && fields[2].ends_with(&near);
        let mut lines = sockets.lines().skip(1).map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
        lines.find(of_proxy).map(|fields| fields[5].split(':').next().unwrap().to_owned())
    };
    assert_eq!(wait::until("the connection", timer).await, "02");
}

#[tokio::test]
async fn a_trusted_proxy_says_who_asks_and_whether_under_tls() {
    let stage = Stage::get();
    let trusting = Proxy::builder(stage).http().set("http.trusted_proxies", "127.0.0.1").start().await;
    let ask = async |proxy: &Proxy, scheme: &str| {
        let request = proxy.sql_request().bearer_auth(stage.token("alice")).header("x-forwarded-for", "192.0.2.1");
        let answer = Answer::to(request.header("x-forwarded-proto", scheme).body("{\"query\":\"select 1\"}")).await;
        answer.status
    };
    assert_eq!(ask(&trusting, "https").await, StatusCode::OK);
    assert_eq!(ask(&trusting, "http").await, StatusCode::FORBIDDEN);
    let trusts_nobody = Proxy::builder(stage).http().start().await;
    assert_eq!(ask(&trusts_nobody, "http").await, StatusCode::OK);
}

#[tokio::test]
async fn an_answer_is_compressed_as_asked_where_that_is_worth_it() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().start().await;
    let ask = async |encoding: &str, length: usize| {
        let body = json!({"query": format!("SELECT repeat('x', {length}) AS x")}).to_string();
        let request =
            proxy.sql_request().bearer_auth(stage.token("alice")).header("accept-encoding", encoding).body(body);
        let response = request.send().await.unwrap();
        let coding = response.headers().get("content-encoding").map(|coding| coding.to_str().unwrap().to_owned());
        (coding, response.bytes().await.unwrap())
    };
    let (plain, text) = ask("identity", 10_000).await;
    assert_eq!((plain, text.len() > 10_000), (None, true));
    let (gzip, bytes) = ask("gzip", 10_000).await;
    let mut unzipped = Vec::new();
    GzDecoder::new(&bytes[..]).read_to_end(&mut unzipped).unwrap();
    assert_eq!((gzip.as_deref(), bytes.len() < 1_000, &unzipped[..]), (Some("gzip"), true, &text[..]));
    let (zstd, bytes) = ask("zstd", 10_000).await;
    assert_eq!((zstd.as_deref(), zstd::decode_all(&bytes[..]).unwrap()), (Some("zstd"), text.to_vec()));
    assert_eq!(ask("gzip, zstd", 10).await.0, None);
}

#[tokio::test]
async fn pages_of_listed_origins_may_send_every_header_that_is_read() {
    let stage = Stage::get();
    let app = "https://app.example.com";
    let proxy = Proxy::builder(stage).http().set("http.cors_origins", app).start().await;
    let headers = [
        "authorization",
        "content-type",
        "accept",
        "pgusher-role",
        "pgusher-database",
        "neon-connection-string",
        "neon-raw-text-output",
        "neon-array-mode",
        "neon-pool-opt-in",
        "neon-batch-isolation-level",
        "neon-batch-read-only",
        "neon-batch-deferrable",
    ];
    let preflight = async |proxy: &Proxy, origin: &str| {
        let request = Client::new().request(Method::OPTIONS, proxy.sql_url()).header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        Answer::to(request.header("access-control-request-headers", headers.join(","))).await
    };
    let allowed = preflight(&proxy, app).await;
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (StatusCode::OK, Some(app)));
    let listed: Vec<_> = allowed.header("access-control-allow-headers").unwrap().split(',').collect();
    assert!(headers.iter().all(|header| listed.contains(header)), "{listed:?}");
    let foreign = preflight(&proxy, "https://evil.example.com").await;
    assert_eq!(foreign.header("access-control-allow-origin"), None);

    let asked = proxy.sql_request().bearer_auth(stage.token("alice")).header("origin", app);
    let answer = Answer::to(asked.body("{\"query\":\"select 1\"}")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (StatusCode::OK, Some(app)));
    let refused = Answer::to(proxy.sql_request().header("origin", app).body("{}")).await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (StatusCode::UNAUTHORIZED, Some(app)));

    let off = Proxy::builder(stage).http().start().await;
    assert_eq!(preflight(&off, app).await.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn who_is_answered_at_the_end_gets_the_answer_and_nobody_new_is_let_in() {
    let stage = Stage::get();
    let mut proxy = Proxy::builder(stage).http().start().await;
    let body = json!({"query": "SELECT pg_sleep(3600), 'at_the_end'"}).to_string();
    let asking = tokio::spawn(Answer::to(proxy.sql_request().bearer_auth(stage.token("alice")).body(body)));
    until_running(stage, "at_the_end", 1).await;
    proxy.signal("TERM").await;
    proxy.logs("shutting down").await;
    let refused = proxy.sql_request().bearer_auth(stage.token("alice")).body("{\"query\":\"select 1\"}").send().await;
    assert!(refused.unwrap_err().is_connect());
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%at_the_end%' AND state = 'active' AND pid <> pg_backend_pid()";
    stage.superuser().await.query_one(cancel, &[]).await.unwrap();
    let answer = wait::within("the answer", asking).await.unwrap();
    assert_eq!((answer.status, &*answer.code()), (StatusCode::BAD_REQUEST, "57014"));
    assert_eq!(proxy.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_requests_where_they_stand() {
    let stage = Stage::get();
    let mut proxy = Proxy::builder(stage).http().start().await;
    let asking = ask_for_ever(&proxy, &stage.token("alice"), "to_be_ended");
    until_running(stage, "to_be_ended", 1).await;
    proxy.signal("TERM").await;
    proxy.logs("shutting down").await;
    proxy.signal("TERM").await;
    assert!(wait::within("the end of the request", asking).await.unwrap_err().is_panic(), "there is no answer");
    assert_eq!(proxy.exit_code().await, Some(0));
    until_running(stage, "to_be_ended", 0).await;
}
