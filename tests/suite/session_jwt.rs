//! Claims by the extension pg_session_jwt: the whole way, and everything by which one user might pass for another. Where
//! Postgres does not have the extension, a stand-in does its work; `docs/claims.md` tells how to run this with the real one.

use pgusher_tests::request::{extended, query, sync, terminate};
use pgusher_tests::{Message, Proxy, Raw, Stage, WHO};

const MODE: &str = "mode = \"pg_session_jwt\"";
const ALICE: &str = "alice authenticated pgusher_authenticated";
const TOKEN: &str = "SELECT current_setting('pg_session_jwt.jwt')";

/// The SQLSTATE with which the extension refuses a token.
const REFUSED: &str = "23514";

/// A proxy with one server for each role and database, and a database that has the extension.
struct House {
    proxy: Proxy,
    database: String,
}

impl House {
    async fn open(stage: &Stage, pool_mode: &str) -> Self {
        let (database, _) = stage.session_jwt_database().await;
        let proxy =
            Proxy::builder(stage).claims(MODE).set("pool.default_pool_size", 1).set("pool.pool_mode", pool_mode);
        Self { proxy: proxy.start().await, database }
    }

    async fn enter(&self, stage: &Stage, subject: &str) -> Raw {
        self.proxy.session_with(&stage.token(subject), &[("database", &self.database)]).await
    }
}

/// The SQLSTATE of an error among these messages, or what the rows hold.
fn verdict(answer: &[Message]) -> String {
    match answer.iter().find(|message| message.tag == b'E') {
        Some(error) => error.sqlstate(),
        None => Message::values(answer).concat(),
    }
}

#[tokio::test]
async fn two_users_share_a_server_and_see_their_own_rows() {
    let stage = Stage::get();
    let house = House::open(stage, "transaction").await;
    let (mut alice, mut bob) = (house.enter(stage, "alice").await, house.enter(stage, "bob").await);
    let own = "SELECT string_agg(DISTINCT user_id, ' ') || pg_backend_pid() FROM todos";
    for _ in 0..3 {
        let (alices, bobs) = (alice.value(own).await, bob.value(own).await);
        assert!(alices.starts_with("alice") && bobs.starts_with("bob"), "{alices}, {bobs}");
        assert_eq!(alices.trim_start_matches("alice"), bobs.trim_start_matches("bob"), "one server");
    }
}

#[tokio::test]
async fn claims_are_back_after_whatever_resets_them() {
    let stage = Stage::get();
    let house = House::open(stage, "transaction").await;
    let mut alice = house.enter(stage, "alice").await;
    for reset in [
        "RESET ALL",
        "DISCARD ALL",
        "RESET pg_session_jwt.jwt",
        "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;",
    ] {
        alice.query(reset).await;
        assert_eq!(alice.who().await, ALICE, "{reset}");
        let answers = alice.answers(&[query(reset), extended(WHO), sync()].concat(), 2).await;
        assert_eq!(Message::values(&answers[1]), [ALICE], "{reset}, in one go");
    }
    for reset in ["RESET ALL", "RESET pg_session_jwt.jwt", "DISCARD TEMP"] {
        for (begin, end) in [
            ("BEGIN", "ROLLBACK"),
            ("BEGIN READ ONLY", "COMMIT"),
            ("BEGIN; SAVEPOINT here", "ROLLBACK TO here"),
            ("BEGIN; SELECT 1 / 0", "ROLLBACK"),
        ] {
            alice.query(begin).await;
            alice.query(reset).await;
            alice.query(end).await;
            assert_eq!(alice.who().await, ALICE, "{begin}; {reset}; {end}");
            alice.query("COMMIT").await;
            assert_eq!(alice.who().await, ALICE, "{begin}; {reset}; {end}; COMMIT");
        }
    }
}

#[tokio::test]
async fn a_reset_that_is_rolled_back_brings_back_nobody_elses_claims() {
    let stage = Stage::get();
    let house = House::open(stage, "transaction").await;
    house.enter(stage, "bob").await.who().await;
    let mut alice = house.enter(stage, "alice").await;
    alice.query("BEGIN").await;
    alice.query("RESET pg_session_jwt.jwt").await;
    assert_eq!(alice.who().await, ALICE);
    alice.query("SELECT 1 / 0").await;
    let answers = alice.answers(&[query("ROLLBACK"), query(WHO)].concat(), 2).await;
    assert_eq!(verdict(&answers[1]), ALICE);
}

#[tokio::test]
async fn a_token_of_the_user_before_is_refused_to_whoever_comes_next() {
    let stage = Stage::get();
    for mode in ["session", "transaction"] {
        let house = House::open(stage, mode).await;
        let mut bob = house.enter(stage, "bob").await;
        let (stolen, server) = (bob.value(TOKEN).await, bob.backend().await);
        bob.send(&terminate()).await;
        bob.until_end().await;
        for next in ["alice", "bob"] {
            for road in [
                format!("SET pg_session_jwt.jwt = '{stolen}'"),
                format!("BEGIN; SET LOCAL pg_session_jwt.jwt = '{stolen}'"),
                format!("SELECT set_config('pg_session_jwt.jwt', '{stolen}', false)"),
                format!("SELECT auth.jwt_session_init('{stolen}')"),
                format!("DISCARD ALL; SELECT 1; SET pg_session_jwt.jwt = '{stolen}'"),
            ] {
                let mut thief = house.enter(stage, next).await;
                assert_eq!(thief.backend().await, server, "{mode}: one server for all");
                let answers = thief.answers(&[query(&road), query(WHO)].concat(), 2).await;
                let seen = [verdict(&answers[0]), verdict(&answers[1])];
                let own = format!("{next} authenticated pgusher_authenticated");
                assert!(seen.contains(&REFUSED.to_owned()) || seen[1] == own, "{mode}, {next}, {road}: {seen:?}");
                thief.query("ROLLBACK").await;
                thief.query("RESET pg_session_jwt.jwt").await;
                assert_eq!(thief.who().await, own, "{road}");
                thief.send(&terminate()).await;
                thief.until_end().await;
            }
        }
    }
}

#[tokio::test]
async fn what_nobody_signed_makes_nobody_somebody() {
    let stage = Stage::get();
    let house = House::open(stage, "transaction").await;
    let mut alice = house.enter(stage, "alice").await;
    let own = alice.value(TOKEN).await;
    let (head, signature) = own.rsplit_once('.').expect("a token");
    let nobodys = "A".repeat(86);
    for forged in [
        format!("{head}.{nobodys}"),
        format!("{}.{signature}", head.replace("eyJ", "eyK")),
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJib2IiLCJqdGkiOjk5OX0.".to_owned(),
        stage.token("bob").to_string(),
    ] {
        let road = query(format!("SELECT auth.jwt_session_init('{forged}')"));
        let answers = alice.answers(&[road, query(WHO)].concat(), 2).await;
        assert!(answers[0].iter().any(|message| message.tag == b'E'), "{forged}");
        assert_eq!(verdict(&answers[1]), ALICE, "{forged}");
    }
}

#[tokio::test]
async fn neither_the_key_nor_plain_claims_are_the_users_to_set() {
    let stage = Stage::get();
    let house = House::open(stage, "transaction").await;
    let mut alice = house.enter(stage, "alice").await;
    let key = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    for forgery in [
        format!("SET pg_session_jwt.jwk = '{key}'"),
        format!("SET pg_session_jwt.jwk = '{key}'; SELECT auth.init()"),
        "RESET pg_session_jwt.jwk".to_owned(),
        "SET pg_session_jwt.jwk = ''".to_owned(),
        r#"SET request.jwt.claims = '{"sub":"bob"}'"#.to_owned(),
        "SELECT auth.init()".to_owned(),
    ] {
        alice.query(&forgery).await;
        assert_eq!(alice.who().await, ALICE, "{forgery}");
    }
}

#[tokio::test]
async fn a_client_without_a_token_is_nobody_whatever_it_sets() {
    let stage = Stage::get();
    let house = House::open(stage, "transaction").await;
    let token = house.enter(stage, "alice").await.value(TOKEN).await;
    let mut nobody = house.proxy.raw().await;
    nobody.startup(&[("user", "anonymous"), ("database", &house.database)]).await;
    nobody.until_ready().await;

    assert_eq!(nobody.who().await, "nobody anonymous pgusher_anonymous");
    assert_eq!(nobody.value("SELECT auth.session()").await, "null");
    let road = query(format!("SET pg_session_jwt.jwt = '{token}'"));
    let answers = nobody.answers(&[road, query(WHO)].concat(), 2).await;
    assert_eq!(verdict(&answers[1]), REFUSED);
}

#[tokio::test]
async fn the_tokens_own_number_is_told_as_orig_jti() {
    let stage = Stage::get();
    let house = House::open(stage, "transaction").await;
    let token = stage.token("alice").claim("jti", "abc").claim("orig_jti", "forged");
    let mut alice = house.proxy.session_with(&token, &[("database", &house.database)]).await;

    let told = "SELECT concat_ws(' ', auth.session() ->> 'orig_jti', jsonb_typeof(auth.session() -> 'jti'))";

    assert_eq!(alice.value(told).await, "abc number");
}

#[tokio::test]
async fn auto_takes_what_each_database_has_and_says_so() {
    let stage = Stage::get();
    let (with_extension, _one) = stage.session_jwt_database().await;
    let (with_schema, _other) = stage.database().await;
    let (bare, _third) = stage.bare_database().await;
    let secret = stage.files().join("claims.secret");
    let auto = Proxy::builder(stage).claims(&format!("mode = \"auto\"\nsecret_file = \"{}\"", secret.display()));
    let proxy = auto.start().await;
    for (database, mode) in [(&with_extension, "pg_session_jwt"), (&with_schema, "signed")] {
        let mut alice = proxy.session_with(&stage.token("alice"), &[("database", database)]).await;
        assert_eq!(alice.who().await, ALICE, "{mode}");
        let told =
            proxy.logs(&format!("\"database\":\"{database}\",\"role\":\"authenticated\",\"mode\":\"{mode}\"")).await;
        assert!(told.contains("the database has decided"), "{told}");
    }
    let answer = proxy.raw().await.log_in_with(&stage.token("alice").to_string(), &[("database", &bare)]).await;
    assert_eq!(verdict(&answer), "57P03");
    proxy.logs("the database has neither the extension pg_session_jwt nor pgusher's schema auth").await;
}

#[tokio::test]
async fn what_a_named_database_lacks_is_told_at_start() {
    let stage = Stage::get();
    let (with_schema, _superuser) = stage.database().await;
    let (bare, _) = stage.bare_database().await;
    let mut proxy = Proxy::builder(stage).claims("mode = \"auto\"").set("upstream.databases", &bare).spawn().await;
    let told = proxy.logs("has neither the extension pg_session_jwt nor").await;
    assert!(told.contains(&format!("database {bare}, ")) && told.contains("`pgusher setup --apply`"), "{told}");
    assert_ne!(proxy.exit_code().await, Some(0));
    for (claims, expected) in
        [("mode = \"auto\"", "there is no claims.secret_file"), (MODE, "does not have the extension pg_session_jwt")]
    {
        let mut proxy = Proxy::builder(stage).claims(claims).set("upstream.databases", &with_schema).spawn().await;
        assert!(proxy.logs(expected).await.contains(&format!("database {with_schema}, ")));
        assert_ne!(proxy.exit_code().await, Some(0));
    }
}
