//! Who asks: the policy is that of TCP.

use pgusher_tests::{Answer, Proxy, Stage};
use reqwest::{Client, StatusCode};
use serde_json::json;

async fn proxy() -> Proxy {
    Proxy::builder(Stage::get()).http().start().await
}

#[tokio::test]
async fn each_sees_their_rows_by_the_same_statement_on_the_same_server() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("pool.default_pool_size", 1).start().await;
    let (alice, bob) = (stage.token("alice"), stage.token("bob"));
    for _ in 0..20 {
        for (token, who) in [(&alice, "alice"), (&bob, "bob")] {
            let rows = proxy.sql_rows(token, "SELECT DISTINCT user_id, auth.user_id() AS me FROM todos").await;
            assert_eq!(rows, json!([{"user_id": who, "me": who}]));
        }
    }
}

#[tokio::test]
async fn what_one_request_leaves_the_next_does_not_find() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("pool.default_pool_size", 1).start().await;
    let (alice, bob) = (stage.token("alice"), stage.token("bob"));
    for query in [
        "SET TIME ZONE 'Asia/Tokyo'",
        "CREATE TEMP TABLE todos (x int)",
        "LISTEN somebody",
        "SELECT pg_advisory_lock(4810)::text",
        "SELECT set_config('request.jwt.claims', '{\"sub\":\"bob\"}', false)",
    ] {
        assert_eq!(proxy.sql(&alice, query).await.status, StatusCode::OK, "{query}");
    }
    let look = "SELECT current_setting('TimeZone') <> 'Asia/Tokyo' AS zone, \
        (SELECT count(*)::int FROM pg_listening_channels()) AS channels, \
        (SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND objid = 4810) AS locks, \
        'todos'::regclass = 'public.todos'::regclass AS todos, auth.user_id() AS me";
    for (token, me) in [(&alice, "alice"), (&bob, "bob")] {
        let found = proxy.sql_rows(token, look).await;
        assert_eq!(found, json!([{"zone": true, "channels": 0, "locks": 0, "todos": true, "me": me}]));
    }
}

#[tokio::test]
async fn a_token_comes_as_bearer_or_as_the_password_of_the_connection_string() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let token = stage.token("alice").to_string();
    let body = json!({"query": "SELECT auth.user_id() AS me"}).to_string();
    let with = |connection: String| {
        Client::new().post(proxy.sql_url()).header("neon-connection-string", connection).body(body.clone())
    };
    let answers = [
        with("postgresql://authenticated@elsewhere.example:1/neondb".to_owned()).bearer_auth(&token),
        with(format!("postgres://authenticated:{token}@elsewhere.example/neondb?sslmode=require")),
    ];
    for request in answers {
        assert_eq!(Answer::to(request).await.json()["rows"], json!([{"me": "alice"}]));
    }
    let both = with("postgres://authenticated:nonsense@host/neondb".to_owned()).bearer_auth(&token);
    assert_eq!(Answer::to(both).await.json()["rows"], json!([{"me": "alice"}]));
}

#[tokio::test]
async fn a_refusal_has_the_status_that_http_has_for_it_and_neons_driver_the_one_it_reads() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let good = stage.token("alice").to_string();
    let forged = format!("{}x", &good[..good.len() - 2]);
    let body = json!({"query": "SELECT 1"}).to_string();
    let plain = |role: &str, database: &str| {
        let request = Client::new().post(proxy.sql_url()).header("pgusher-role", role).body(body.clone());
        request.header("pgusher-database", database)
    };
    let neon = |role: &str, database: &str| {
        let connection = format!("postgres://{role}@host/{database}");
        Client::new().post(proxy.sql_url()).header("neon-connection-string", connection).body(body.clone())
    };
    let bearer = |error: &str| Some(format!("Bearer error=\"{error}\""));
    for (role, token, code, status, challenge) in [
        ("authenticated", None, "28P01", 401, Some("Bearer".to_owned())),
        ("authenticated", Some(&forged), "28P01", 401, bearer("invalid_token")),
        ("nobody", Some(&good), "28000", 403, bearer("insufficient_scope")),
    ] {
        let add = |request: reqwest::RequestBuilder| match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = Answer::to(add(plain(role, "neondb"))).await;
        assert_eq!((answer.status.as_u16(), &*answer.code()), (status, code), "{answer:?}");
        assert_eq!(answer.header("www-authenticate").map(str::to_owned), challenge);
        let answer = Answer::to(add(neon(role, "neondb"))).await;
        assert_eq!((answer.status.as_u16(), &*answer.code()), (400, code), "{answer:?}");
        assert!(!answer.text.contains(&forged) && !answer.text.contains(&good));
    }
    let elsewhere = Answer::to(plain("authenticated", "nowhere").bearer_auth(&good)).await;
    assert_eq!((elsewhere.status, &*elsewhere.code()), (StatusCode::BAD_REQUEST, "3D000"), "{elsewhere:?}");
}

#[tokio::test]
async fn what_to_do_about_a_refusal_is_told_in_words_of_http() {
    let proxy = Proxy::builder(Stage::get()).http().set("http.trusted_proxies", "127.0.0.1").start().await;
    let body = json!({"query": "SELECT 1"}).to_string();
    let plain = |role: &str| Client::new().post(proxy.sql_url()).header("pgusher-role", role).body(body.clone());
    for (request, words) in [
        (plain("authenticated"), ["Authorization: Bearer", "Neon-Connection-String"]),
        (plain("authenticated").bearer_auth("nonsense"), ["Authorization: Bearer", "Neon-Connection-String"]),
        (Client::new().post(proxy.sql_url()).body(body.clone()), ["Pgusher-Role", "Neon-Connection-String"]),
        (plain(&"x".repeat(64)), ["Authorization: Bearer", "Neon-Connection-String"]),
        (plain("authenticated").header("x-forwarded-for", "192.0.2.1"), ["[tls]", "X-Forwarded-Proto"]),
    ] {
        let error = Answer::to(request).await.json();
        let hint = error["hint"].as_str().unwrap_or_default();
        assert!(words.iter().all(|word| hint.contains(word)), "{error}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(!message.contains("startup packet"), "{error}");
    }
}

#[tokio::test]
async fn anonymous_needs_no_token_where_it_is_configured() {
    let stage = Stage::get();
    let body = json!({"query": "SELECT current_user::text AS who, auth.user_id() AS me"}).to_string();
    let ask = async |proxy: &Proxy| {
        let request = Client::new().post(proxy.sql_url()).header("pgusher-role", "anonymous");
        Answer::to(request.header("pgusher-database", "neondb").body(body.clone())).await
    };
    let with = proxy().await;
    assert_eq!(ask(&with).await.json()["rows"], json!([{"who": "anonymous", "me": null}]));
    let without = Proxy::builder(stage).http().without_anonymous().start().await;
    assert_eq!(ask(&without).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn role_and_database_have_defaults() {
    let stage = Stage::get();
    let defaults = [("http.default_role", "authenticated"), ("http.default_database", "neondb")];
    let builder = defaults.iter().fold(Proxy::builder(stage).http(), |builder, (key, value)| builder.set(key, value));
    let proxy = builder.start().await;
    let request = Client::new().post(proxy.sql_url()).bearer_auth(stage.token("alice"));
    let answer = Answer::to(request.body("{\"query\":\"select auth.user_id() as me\"}")).await;
    assert_eq!(answer.json()["rows"], json!([{"me": "alice"}]));
    let without = self::proxy().await;
    let none = Client::new().post(without.sql_url()).bearer_auth(stage.token("alice")).body("{}");
    assert_eq!(Answer::to(none).await.status, StatusCode::BAD_REQUEST);
}
