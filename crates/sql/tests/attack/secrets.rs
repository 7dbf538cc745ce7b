//! The key and the epoch, looked for by every road that SQL has.

use std::sync::{Arc, Mutex};

use tokio_postgres::{AsyncMessage, Client, Config, NoTls};

use crate::postgres::{Postgres, unique};
use crate::session::{ALICE, Session, fresh_epoch, state};
use crate::signer::{Signer, from_now};

#[tokio::test]
async fn a_user_has_no_right_on_key_epoch_or_helper() {
    let session = Session::alice(Postgres::shared().await).await;
    let attempts = [
        "TABLE auth.keys",
        "SELECT count(*) FROM auth.keys",
        "SELECT k FROM auth.keys k",
        "COPY auth.keys TO STDOUT",
        "COPY auth.keys FROM STDIN",
        "COPY (TABLE auth.keys) TO STDOUT",
        "SELECT FROM ts_stat('SELECT to_tsvector(kid) FROM auth.keys')",
        "DO $$ BEGIN EXECUTE 'TABLE auth.keys'; END $$",
        "CREATE TEMP TABLE mine AS TABLE auth.keys",
        "CREATE TEMP TABLE child () INHERITS (auth.keys)",
        "INSERT INTO auth.keys DEFAULT VALUES",
        "UPDATE auth.keys SET valid_until = 'infinity'",
        "DELETE FROM auth.keys",
        "TRUNCATE auth.keys",
        "SELECT; LOCK auth.keys IN ACCESS SHARE MODE",
        "ALTER TABLE auth.keys DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE auth.keys OWNER TO authenticated",
        "CREATE POLICY mine ON auth.keys USING (true)",
        "CREATE RULE mine AS ON SELECT TO auth.keys DO ALSO SELECT 1",
        "CREATE TRIGGER mine BEFORE INSERT ON auth.keys EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE INDEX ON auth.keys (kid)",
        "CREATE STATISTICS auth.mine ON ipad, opad FROM auth.keys",
        "ANALYZE auth.keys; TABLE auth.keys",
        "GRANT SELECT ON auth.keys TO PUBLIC; TABLE auth.keys",
        "SELECT * FROM pg_statistic",
        "SELECT currval('auth.epoch')",
        "SELECT nextval('auth.epoch')",
        "SELECT setval('auth.epoch', 1)",
        "SELECT setval('auth.epoch', 1, false)",
        "TABLE auth.epoch",
        "ALTER SEQUENCE auth.epoch RESTART",
        "ALTER SEQUENCE auth.epoch OWNED BY todos.id",
        "DROP SEQUENCE auth.epoch",
        "CREATE TEMP TABLE mine (id bigint DEFAULT nextval('auth.epoch')); INSERT INTO mine DEFAULT VALUES",
        "SELECT auth.mac_matches('', '', '')",
        "SELECT auth.refused('')",
        "SELECT auth.has_expired('')",
        "SELECT ' claims1'::auth.signed",
        "SELECT ' claims1'::auth.genuine",
        "SELECT ''::auth.proven",
        "SELECT pg_read_file('postgresql.conf')",
        "SET ROLE pgusher_auth",
        "GRANT pgusher_auth TO authenticated",
    ];
    for attempt in attempts {
        let verdict = state(session.batch_execute(attempt).await);
        // 42809: a rule that would turn the table into a view is refused for its kind first.
        assert!(["42501", "42809"].contains(&verdict.as_str()), "{attempt}: {verdict}");
    }
    assert_eq!(session.user_id().await.as_deref(), Some("alice"));
}

#[tokio::test]
async fn catalogs_and_views_say_nothing_about_key_and_epoch() {
    let postgres = Postgres::shared().await;
    postgres.admin("app").await.batch_execute("ANALYZE auth.keys").await.unwrap();
    let session = Session::alice(postgres).await;

    for nothing in [
        "SELECT FROM pg_stats WHERE schemaname = 'auth' AND attname IN ('ipad', 'opad')",
        "SELECT FROM pg_sequences WHERE schemaname = 'auth' AND last_value IS NOT NULL",
        "SELECT FROM information_schema.columns WHERE table_schema = 'auth'",
    ] {
        assert!(session.query(nothing, &[]).await.unwrap().is_empty(), "{nothing}");
    }
    // Its right to the sequence is looked at first where lastval() knows one; setval() doesn't tell it.
    assert_eq!(state(session.text("lastval()").await), "55000");
    let told = session.text("pg_sequence_last_value('auth.epoch'::regclass)").await;
    assert!(!matches!(told, Ok(Some(_))), "{told:?}");
}

#[tokio::test]
async fn roles_that_read_and_write_all_data_neither_read_nor_plant_keys() {
    let postgres = Postgres::shared().await;
    let admin = postgres.admin("app").await;
    admin.batch_execute("ANALYZE auth.keys").await.unwrap();
    let role = format!("all_data_{}", unique());
    let make = format!("CREATE ROLE {role}; GRANT pg_read_all_data, pg_write_all_data TO {role}; SET ROLE {role}");
    admin.batch_execute(&make).await.unwrap();

    assert!(admin.query("TABLE auth.keys", &[]).await.unwrap().is_empty());
    let planted = Signer::unknown();
    let (ipad, opad) = planted.pads();
    let insert = admin.execute(pgusher_sql::INSERT_KEY, &[&planted.kid, &&ipad[..], &&opad[..]]).await;
    assert_eq!(state(insert), "42501");
    assert_eq!(admin.execute("UPDATE auth.keys SET ipad = opad", &[]).await.unwrap(), 0);
    assert_eq!(admin.execute("DELETE FROM auth.keys", &[]).await.unwrap(), 0);
    let copied = "SELECT FROM pg_statistic WHERE starelid = 'auth.keys'::regclass AND staattnum IN (2, 3)";
    assert!(admin.query(copied, &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn debug_output_shows_no_byte_of_the_key() {
    let postgres = Postgres::shared().await;
    let (client, notices) = listening(postgres).await;
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let (epoch, signer) = (fresh_epoch(), &postgres.signer);
    let (claims, proof) = (signer.claims(epoch, from_now(3600), ALICE), signer.proof(epoch, pid));
    client
        .batch_execute(
            "SET client_min_messages = debug5; SET debug_print_parse = on; SET debug_print_rewritten = on;
             SET debug_print_plan = on; SET debug_pretty_print = off; SET plan_cache_mode = force_custom_plan",
        )
        .await
        .unwrap();

    client.query_one("SELECT auth.pgusher_init($1, $2)", &[&claims, &proof]).await.unwrap();
    client.batch_execute("SELECT auth.user_id(), auth.uid(), auth.session() FROM todos LIMIT 1").await.unwrap();

    let (ipad, opad) = signer.pads();
    let seen = std::mem::take(&mut *notices.lock().unwrap());
    assert!(seen.contains("mac_matches") || seen.contains("valid_until"), "the plans of the readers are printed");
    for pad in [&ipad, &opad] {
        assert!(!prints(&seen, pad), "a pad is printed");
    }
    // The search would find them: here they are constants of a query.
    client.query_one("SELECT $1::bytea", &[&&ipad[..]]).await.unwrap();
    assert!(prints(&notices.lock().unwrap(), &ipad));
}

/// Does the text hold four bytes of this in a row, as hex or as Postgres prints a constant?
fn prints(text: &str, secret: &[u8; 64]) -> bool {
    let numbers: Vec<String> = secret[..4].iter().map(u8::to_string).collect();
    let hex: String = secret[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    // Plans are printed in lines of some 80 characters, broken anywhere between two words.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.contains(&numbers.join(" ")) || text.contains(&hex)
}

/// A session of `authenticated` and all that the server tells it beside its answers.
async fn listening(postgres: &Postgres) -> (Client, Arc<Mutex<String>>) {
    let mut config = Config::new();
    config.host_path(&postgres.dir).user("pgusher_authenticated").dbname("app").options("-c role=authenticated");
    let (client, mut connection) = config.connect(NoTls).await.unwrap();
    let notices = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&notices);
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notice(notice) = message {
                let mut sink = sink.lock().unwrap();
                sink.push_str(notice.message());
                sink.push_str(notice.detail().unwrap_or_default());
                sink.push_str(notice.where_().unwrap_or_default());
            }
        }
    });
    (client, notices)
}
