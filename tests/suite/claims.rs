//! Claims: two users side by side, and everything by which one might pass for the other.

use pgusher_tests::request::query;
use pgusher_tests::{Message, Proxy, Raw, Stage, WHO, wait};
use tokio::task::JoinSet;

/// The SQLSTATE of an error among these messages, or what `who` is.
fn verdict(answer: &[Message]) -> String {
    match answer.iter().find(|message| message.tag == b'E') {
        Some(error) => error.sqlstate(),
        None => Message::values(answer).concat(),
    }
}

/// Whom the client passes for after these statements.
async fn who_after(client: &mut Raw, sql: &str) -> String {
    client.query(sql).await;
    verdict(&client.query(WHO).await)
}

/// A session of this subject, and its claims as the subject may read and give away.
async fn claims_of(proxy: &Proxy, stage: &Stage, subject: &str) -> (Raw, String) {
    let mut session = proxy.session(&stage.token(subject)).await;
    let claims = session.value("SELECT current_setting('pgusher.claims')").await;
    (session, claims)
}

#[tokio::test]
async fn users_side_by_side_see_their_own_rows_through_every_reset() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut users = JoinSet::new();
    for user in 0..8 {
        let subject = if user % 2 == 0 { "alice" } else { "bob" };
        let mut session = proxy.session(&stage.token(subject)).await;
        users.spawn(async move {
            for reset in ["SELECT 1", "RESET ALL", "DISCARD ALL", "SET ROLE NONE; RESET ROLE"].repeat(25) {
                let own = "SELECT string_agg(DISTINCT user_id, ' ') FROM todos";
                let answers = session.answers(&[query(own), query(reset)].concat(), 2).await;
                assert_eq!(Message::values(&answers[0]), [subject], "before {reset}");
                assert_eq!(session.value(own).await, subject, "after {reset}");
            }
        });
    }
    users.join_all().await;
}

#[tokio::test]
async fn rows_are_written_as_their_owner_and_nobody_else() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut erin = proxy.session(&stage.token("erin")).await;

    let forged = erin.query("INSERT INTO todos (user_id, task) VALUES ('alice', 'gift')").await;
    let given_away = erin.query("INSERT INTO todos (task) VALUES ('mine'); UPDATE todos SET user_id = 'alice'").await;
    erin.query("UPDATE todos SET task = 'stolen'; DELETE FROM todos").await;

    assert_eq!((verdict(&forged).as_str(), verdict(&given_away).as_str()), ("42501", "42501"));
    let alices = "SELECT count(*) FROM todos WHERE user_id = 'alice' AND task NOT IN ('gift', 'mine', 'stolen')";
    assert_eq!(stage.superuser().await.query_one(alices, &[]).await.expect("a row").get::<_, i64>(0), 3);
}

#[tokio::test]
async fn claims_of_another_session_are_refused_by_whatever_road_they_come() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let (_bob, stolen) = claims_of(&proxy, stage, "bob").await;
    for road in [
        format!("SET pgusher.claims = '{stolen}'"),
        format!("BEGIN; SET LOCAL pgusher.claims = '{stolen}'"),
        format!("SELECT set_config('pgusher.claims', '{stolen}', false)"),
        format!("SELECT set_config('PGUSHER.claims', '{stolen}', false)"),
        format!("DO $$ BEGIN PERFORM set_config('pgusher.claims', '{stolen}', false); END $$"),
        format!("SELECT FROM ts_stat($$SELECT to_tsvector(set_config('pgusher.claims', '{stolen}', false))$$)"),
        format!("SELECT 1; SET pgusher.claims = '{stolen}'; SELECT 2"),
        format!("SET ROLE NONE; SET pgusher.claims = '{stolen}'; SET ROLE authenticated"),
        format!("SET pgusher.claims = '{}'", stolen.replace("bob", "eve")),
        "SET pgusher.claims = '{\"sub\":\"bob\"}'".to_owned(),
    ] {
        let mut alice = proxy.session(&stage.token("alice")).await;
        assert_eq!(who_after(&mut alice, &road).await, "28000", "{road}");
        let rows = alice.query("ROLLBACK; SELECT count(*) FROM todos").await;
        let own = rows.iter().any(|message| message.tag == b'E') || Message::values(&rows) == ["3"];
        assert!(own, "{road}: {rows:?}");
    }
}

#[tokio::test]
async fn claims_of_an_earlier_session_are_refused_even_to_their_owner() {
    let stage = Stage::get();
    for mode in ["session", "transaction"] {
        let one_server = Proxy::builder(stage).set("pool.pool_mode", mode).set("pool.default_pool_size", 1);
        let proxy = one_server.start().await;
        let (_, earlier) = claims_of(&proxy, stage, "alice").await;
        proxy.session(&stage.token("bob")).await.who().await;
        let mut alice = proxy.session(&stage.token("alice")).await;
        let again = format!("SET pgusher.claims = '{earlier}'");
        assert_eq!(who_after(&mut alice, &again).await, "28000", "{mode}");
    }
}

#[tokio::test]
async fn a_client_without_a_token_is_not_let_in_by_somebodys_claims() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let (_bob, stolen) = claims_of(&proxy, stage, "bob").await;
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(proxy.port()).user("anonymous").dbname("neondb");
    let client = proxy.connect_with(&config).await;

    client.batch_execute(&format!("SET pgusher.claims = '{stolen}'")).await.expect("anyone may");
    let refused = client.query("SELECT auth.user_id()", &[]).await.expect_err("a refusal");

    assert_eq!(refused.code().map(|code| code.code()), Some("28000"));
}

#[tokio::test]
async fn claims_that_nobody_signed_mean_nothing() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    let forged = r#"{"sub":"bob"}"#;
    for forgery in [
        format!("SET request.jwt.claims = '{forged}'"),
        format!("SET request.jwt.claim.sub = 'bob'; SET request.jwt = '{forged}'"),
        format!("SELECT set_config('pg_session_jwt.jwt', '{forged}', false), set_config('auth.user_id', 'bob', false)"),
    ] {
        assert_eq!(who_after(&mut alice, &forgery).await, "alice authenticated pgusher_authenticated", "{forgery}");
    }
}

#[tokio::test]
async fn a_client_cannot_make_itself_somebody_by_the_proxys_own_function() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let (_bob, stolen) = claims_of(&proxy, stage, "bob").await;
    let mut alice = proxy.session(&stage.token("alice")).await;
    let own = alice.value("SELECT current_setting('pgusher.claims')").await;
    for claims in [&stolen, &own] {
        for proof in ["", &stolen[..64], &own[..64]] {
            let answer = alice.query(&format!("SELECT auth.pgusher_init('{claims}', '{proof}')")).await;
            assert_eq!(verdict(&answer), "28000");
        }
    }
    assert_eq!(alice.who().await, "alice authenticated pgusher_authenticated");
}

#[tokio::test]
async fn sessions_of_the_same_login_do_not_see_each_others_claims() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let mut bob = proxy.session(&stage.token("bob")).await;
    let backend = bob.backend().await;
    // In a transaction he keeps his server.
    bob.query("BEGIN").await;
    bob.query("RESET ALL").await;
    let mut mallory = proxy.session(&stage.token("mallory")).await;

    // Bob's reset is answered before session init is, which then is the last that his session ran.
    let activity = format!("SELECT query FROM pg_stat_activity WHERE pid = {backend}");
    mallory.query("SET ROLE NONE").await;
    let look = async || Some(mallory.value(&activity).await).filter(|query| !query.starts_with("RESET"));
    let seen = wait::until("the session init of another session", look).await;

    assert_eq!(seen, "SELECT auth.pgusher_init($1, $2)");
}

#[tokio::test]
async fn startup_parameters_carry_no_identity() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let (_bob, stolen) = claims_of(&proxy, stage, "bob").await;
    let options = ["pgusher.claims", "request.jwt.claims", "role", "session_authorization", "Pgusher.Backend"]
        .map(|name| format!("-c {name}={}", stolen.replace(' ', "\\ ")));
    let in_options = options.iter().map(|value| ("options", value.as_str()));
    let keys = [("pgusher.claims", stolen.as_str()), ("request.jwt.claims", "{}"), ("role", "anonymous")];
    for parameter in in_options.chain(keys) {
        let mut client = proxy.raw().await;
        client.startup(&[("user", "authenticated"), ("database", "neondb"), parameter]).await;
        let answer = client.receive().await.expect("an answer");
        assert_eq!(answer.sqlstate(), "42501", "{parameter:?}");
    }
}

#[tokio::test]
async fn plain_claims_come_back_after_resets_and_are_warned_of() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).plain_claims().start().await;
    proxy.logs("whoever can run SQL can change the claims").await;
    let mut client = proxy.session(&stage.token("alice").claim("name", "Zoë 😀")).await;
    let who = r"SELECT concat_ws(' ', claims ->> 'sub', claims ->> 'name' = U&'Zo\00eb \+01f600', current_user)
                  FROM (SELECT nullif(current_setting('request.jwt.claims'), '')::json) AS given(claims)";
    for reset in ["SELECT 1", "RESET ALL", "DISCARD ALL", "BEGIN READ ONLY; RESET ALL", "ROLLBACK"] {
        client.query(reset).await;
        assert_eq!(client.value(who).await, "alice t authenticated", "{reset}");
    }
}

#[tokio::test]
async fn plain_claims_need_no_schema() {
    let stage = Stage::get();
    let (database, _superuser) = stage.bare_database().await;
    let proxy = Proxy::builder(stage).plain_claims().start().await;
    let mut client = proxy.session_with(&stage.token("alice"), &[("database", &database)]).await;
    let claims = client.value("SELECT current_setting('request.jwt.claims')::json ->> 'sub'").await;
    assert_eq!(claims, "alice");
}

#[tokio::test]
async fn a_database_without_the_schema_takes_nobody_in_and_the_log_says_why() {
    let stage = Stage::get();
    let (database, _superuser) = stage.bare_database().await;
    let proxy = Proxy::start(stage).await;

    let answer = proxy.raw().await.log_in_with(&stage.token("alice").to_string(), &[("database", &database)]).await;

    assert_eq!((Message::tags(&answer).as_str(), answer[0].sqlstate().as_str()), ("E", "57P03"));
    let reason = proxy.logs("session init refused").await;
    assert!(reason.contains("schema \\\"auth\\\" does not exist") && reason.contains("3F000"), "{reason}");
}
