//! What comes in the connection string reaches neither SQL nor a line of its own in the log.

use pgusher_tests::{Answer, Proxy, Stage};
use reqwest::Client;
use serde_json::{Value, json};

use super::{goes_on, proxy};

/// The answer to a question about who asks, by alice.
async fn ask(proxy: &Proxy, connection: &str) -> Answer {
    let request = Client::new().post(proxy.sql_url()).header("neon-connection-string", connection);
    let query =
        json!({"query": "SELECT current_user::text AS role, session_user::text AS login, auth.user_id() AS me"});
    Answer::to(request.bearer_auth(Stage::get().token("alice")).body(query.to_string())).await
}

#[tokio::test]
async fn no_spelling_of_a_role_or_database_is_taken_for_another() {
    let proxy = proxy().await;
    let long = "x".repeat(64);
    for place in [
        "authenticated%0d%0aneon-x:y@host/neondb",
        "authenticated%0a@host/neondb",
        "authenticated%00@host/neondb",
        "authenticated%00postgres@host/neondb",
        "%22authenticated%22@host/neondb",
        "authenticated'--@host/neondb",
        "authenticated\\@host/neondb",
        "AUTHENTICATED@host/neondb",
        "authenticated%20@host/neondb",
        "postgres@host/neondb",
        "pgusher_authenticated@host/neondb",
        &format!("{long}@host/neondb"),
        &format!("authenticated{long}@host/neondb"),
        &format!("authenticated@host/{long}"),
        "authenticated@host/neondb%2Fother",
        "authenticated@host/neondb%00",
        "authenticated@host/neondb%0a",
        "authenticated@host/neondb%20options='-c%20role=postgres'",
        "authenticated@host/neondb?options=-c%20role%3Dpostgres",
        "authenticated@host/neondb?options=--role%3Dpostgres",
        "authenticated@host/neondb?options=-c%20session_authorization%3Dpostgres",
        "authenticated@host/neondb?options=-crequest.jwt.claims%3Dx",
        "authenticated@host/neondb?options=-c%20a%0d%0ab",
        "authenticated@host/neondb?application_name=%00",
    ] {
        let answer = ask(&proxy, &format!("postgres://{place}")).await;
        assert_eq!(answer.status, 400, "{place}: {answer:?}");
        assert!(answer.json()["code"].is_string(), "{place}: {answer:?}");
    }
    goes_on(&proxy).await;
}

#[tokio::test]
async fn what_is_ignored_changes_nothing() {
    let proxy = proxy().await;
    let expected = json!([{"role": "authenticated", "login": "pgusher_authenticated", "me": "alice"}]);
    for place in [
        "authenticated@host/neondb?role=postgres&session_authorization=postgres&user=postgres&password=x&dbname=postgres",
        "authenticated@host/neondb?host=elsewhere&port=1&hostaddr=192.0.2.1&service=x&passfile=/etc/passwd",
        "authenticated@host/neondb?replication=database&row_security=off&search_path=pg_temp",
        "authenticated@host/neondb/../postgres",
        "authenticated@host/neondb#/postgres?role=postgres",
        "authenticated@host/neondb?application_name=%0d%0ainjected%22%27%3B",
    ] {
        let answer = ask(&proxy, &format!("postgres://{place}")).await;
        assert_eq!(answer.json()["rows"], expected, "{place}");
    }
}

#[tokio::test]
async fn nothing_begins_a_line_of_the_log() {
    for format in ["json", "text"] {
        let builder = Proxy::builder(Stage::get()).http().set("http.address_failures", 0).set("log.format", format);
        let proxy = builder.start().await;
        for place in [
            "u%0d%0ainjected%20line%1b[31m@host/neondb",
            "authenticated@host/d%0ainjected%20line",
            "authenticated@host/neondb?options=-c%20x%3D1%0ainjected%20line",
            "authenticated@host/neondb?application_name=%0ainjected%20line",
        ] {
            ask(&proxy, &format!("postgres://{place}")).await;
        }
        goes_on(&proxy).await;
        let log = proxy.log();
        assert!(log.iter().any(|line| line.contains("injected line")), "{log:?}");
        let begun = |line: &&String| line.starts_with("injected") || line.chars().any(char::is_control);
        assert_eq!(log.iter().find(begun), None, "{log:#?}");
        if format == "json" {
            log.iter().for_each(|line| drop(serde_json::from_str::<Value>(line).expect(line)));
        }
    }
}
