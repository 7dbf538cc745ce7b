//! What the log says of logins and refusals, and what it never says.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use pgusher_tests::{Answer, Proxy, Stage, message, wait};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::{Value, json};

/// The one line with this message of the log whose other fields are these.
async fn line(proxy: &Proxy, text: &str) -> Value {
    let message = format!("\"message\":\"{text}\"");
    let line = proxy.logs(&message).await;
    assert_eq!(proxy.log().iter().filter(|line| line.contains(&message)).count(), 1);
    serde_json::from_str(&line).expect("a line of JSON")
}

/// Whether this is a client on this machine.
fn is_peer(value: &Value) -> bool {
    value.as_str().and_then(|peer| peer.parse().ok()).is_some_and(|peer: SocketAddr| peer.ip().is_loopback())
}

/// What of this token is in this text: every 20 bytes of it count.
fn parts_in(token: &str, text: &str) -> Vec<String> {
    let parts = token.as_bytes().windows(20).map(|part| String::from_utf8_lossy(part).into_owned());
    parts.filter(|part| text.contains(part)).collect()
}

#[tokio::test]
async fn a_login_is_one_line_that_says_who_as_what_and_from_where() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let client = proxy.connect(&stage.token("alice")).await;
    let login = line(&proxy, "login").await;
    drop(client);
    let end = line(&proxy, "session ended").await;

    let told = ["level", "provider", "subject", "role", "database"].map(|name| login[name].clone());
    assert_eq!(json!(told), json!(["INFO", "issuer", "alice", "authenticated", "neondb"]));
    assert!(is_peer(&login["peer"]) && login["id"].is_u64(), "{login}");
    assert_eq!((&end["id"], &end["reason"]), (&login["id"], &json!("client left")));
}

#[tokio::test]
async fn an_anonymous_login_has_no_provider_and_no_subject() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    proxy.connect_with(proxy.config(&"").user("anonymous")).await;
    let login = line(&proxy, "login").await;
    assert_eq!(
        (&login["role"], &login["provider"], &login["subject"]),
        (&json!("anonymous"), &Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn a_refusal_is_one_line_that_says_why() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    proxy.refused(&stage.token("alice").without("exp")).await;
    let refusal = line(&proxy, "connection refused").await;
    assert_eq!((&refusal["level"], &refusal["reason"]), (&json!("WARN"), &json!("the claim \"exp\" is missing")));
    assert!(is_peer(&refusal["peer"]) && refusal["id"].is_u64(), "{refusal}");
}

#[tokio::test]
async fn no_part_of_a_token_is_ever_logged() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("log.level", "trace").start().await;
    let secret = |subject| stage.token(subject).claim("email", "somebody@private.example");
    let good = secret("alice").to_string();
    let bad = [secret("mallory").expired(), secret("mallory").claim("aud", "x"), secret("mallory").claim("iss", "x")];
    let bad = bad.map(|token| token.to_string());

    drop(proxy.connect(&good).await);
    for token in bad.iter().chain([&good[..300].to_owned(), &format!("Bearer {good}")]) {
        proxy.refused(token).await;
    }
    let mut pasted = proxy.raw().await;
    pasted.startup(&[("user", "authenticated"), ("database", "neondb")]).await;
    pasted.receive().await;
    pasted.send(&message(b'p', good.as_bytes())).await;
    pasted.receive().await;
    proxy.logs("client left").await;
    proxy.logs("not one zero-terminated").await;

    let log = proxy.log().concat();
    assert!(log.matches("connection refused").count() == 6 && log.contains("alice"), "{log}");
    for token in bad.iter().chain([&good]) {
        assert_eq!(parts_in(token, &log), [""; 0]);
    }
    assert!(!log.contains("mallory") && !log.contains("private.example"), "unverified or personal: {log}");
}

#[tokio::test]
async fn a_token_over_http_is_not_logged_wherever_it_is_and_not_sent_back_by_who_does_not_run_it() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("log.level", "trace").start().await;
    let token = stage.token("alice").to_string();
    let (query, header) = ("{\"query\": \"SELECT 1\"}", "neon-connection-string");
    let post = || reqwest::Client::new().post(proxy.sql_url());
    let connection = |text: String| post().header(header, text).body(query);
    let named = |role: &str, database: &str| {
        post().bearer_auth(&token).header("pgusher-role", role).header("pgusher-database", database).body(query)
    };
    let mut answers = String::new();
    for request in [
        named("authenticated", "neondb"),
        named("nobody", "neondb"),
        named(&token, "neondb"),
        named("authenticated", &token),
        proxy.sql_request().header("authorization", &token).body(query),
        proxy.sql_request().header("authorization", format!("Basic {token}")).body(query),
        proxy.sql_request().bearer_auth(format!("Bearer {token}")).body(query),
        proxy.sql_request().bearer_auth(&token).header("neon-batch-isolation-level", &token).body(query),
        connection(token.clone()),
        connection(format!("postgres://{token}@localhost/neondb")),
        connection(format!("postgres://authenticated:{token}@localhost/{token}")),
        connection(format!("postgres://authenticated:{token}%zz@localhost/neondb")),
        connection(format!("postgres://authenticated:{token}@localhost/neondb?options={token}")),
        connection(format!("postgres://authenticated:{token}@localhost/neondb?options=-c%20token%3D{token}")),
    ] {
        let answer = Answer::to(request).await;
        answers += &format!("{} {}", answer.text, answer.status);
    }
    assert_eq!(answers.matches("200 OK").count(), 1, "{answers}");
    for body in [json!(token), json!({"query": token}), json!({"query": "SELECT $1::int", "params": [token]})] {
        let answer = Answer::to(proxy.sql_request().bearer_auth(&token).body(body.to_string())).await;
        assert_eq!(answer.status, 400);
    }
    let log = async || Some(proxy.log().concat()).filter(|log| log.matches("request failed").count() >= 3);
    let log = wait::until("what is logged of them", log).await;
    assert_eq!(parts_in(&token, &format!("{answers} {log}")), [""; 0]);
}

#[tokio::test]
async fn a_token_in_the_wrong_place_is_neither_logged_nor_sent_back() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("upstream.databases", "neondb").start().await;
    let token = stage.token("alice").to_string();
    let config = || proxy.config(&token);
    let as_user = proxy.refused_with(config().user(&token)).await;
    let as_database = proxy.refused_with(config().dbname(&token)).await;
    let as_option = proxy.refused_with(config().options(&token)).await;
    let as_named_option = proxy.refused_with(config().options(format!("token={token}"))).await;

    assert_eq!((as_user.code().code(), as_user.hint()), ("42622", Some("Send the token as the password.")));
    let answers = format!("{as_user:?} {as_database:?} {as_option:?} {as_named_option:?}");
    proxy.logs("token=").await;
    assert_eq!(parts_in(&token, &format!("{answers} {}", proxy.log().concat())), [""; 0]);
}

#[tokio::test]
async fn nobody_writes_a_line_of_their_own_into_the_log() {
    let stage = Stage::get();
    for format in ["text", "json"] {
        let proxy = Proxy::builder(stage).set("log.format", format).set("upstream.databases", "neondb").start().await;
        let forged = "x\r\nFORGED \x1b[31m";
        let token = stage.token(forged);
        drop(proxy.connect(&token).await);
        proxy.refused(&token.clone().claim("iss", forged)).await;
        proxy.refused_with(proxy.config(&token).user(forged)).await;
        proxy.refused_with(proxy.config(&token).dbname(forged)).await;
        proxy.refused_with(proxy.config(&token).options(format!("-c {}=1", forged.replace(' ', "")))).await;
        proxy.refused_with(proxy.config(&token).options(format!("-c myapp.{}=1", forged.replace(' ', "")))).await;
        proxy.logs("client left").await;
        let lines = proxy.log();
        assert_eq!(lines.iter().find(|line| line.starts_with("FORGED") || line.contains('\x1b')), None);
    }
}

/// A reader may take the first of two, or the last, or refuse both.
#[tokio::test]
async fn no_line_has_a_field_twice() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).set("tls.required", "always").tls().start().await;
    proxy.refused(&stage.token("alice")).await;
    for line in proxy.log() {
        let fields: Fields = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(fields.0.contains("message"), "{line}");
    }
    assert!(proxy.log().iter().any(|line| line.contains("\"severity\":\"")), "nothing was found: {:?}", proxy.log());
}

/// The names of an object's fields, which has each once.
struct Fields(BTreeSet<String>);

impl<'a> Deserialize<'a> for Fields {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self(BTreeSet::new()))
    }
}

impl<'a> Visitor<'a> for Fields {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some((name, IgnoredAny)) = map.next_entry::<String, _>()? {
            if !self.0.insert(name.clone()) {
                return Err(A::Error::custom(format!("{name:?} is there twice")));
            }
        }
        Ok(self)
    }
}
