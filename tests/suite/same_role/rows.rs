//! Rows that a policy hides: nothing of what is in them is shown, and that they are there is told by what Postgres tells
//! everybody.

use pgusher_tests::{Message, Proxy, Raw, Stage};

use super::{session, state, theatre};

/// Mallory, who has no rows, in a database where alice and bob have some.
async fn mallory(stage: &Stage) -> (Proxy, Raw, tokio_postgres::Client) {
    let proxy = Proxy::start(stage).await;
    let (database, superuser) = theatre(stage).await;
    let mallory = session(&proxy, stage, "mallory", &database).await;
    (proxy, mallory, superuser)
}

/// All that was said, errors and notices included.
fn text(answer: &[Message]) -> String {
    answer.iter().map(|message| String::from_utf8_lossy(&message.body)).collect()
}

#[tokio::test]
async fn a_condition_of_a_users_own_never_sees_a_hidden_row() {
    let stage = Stage::get();
    let (_proxy, mut mallory, _superuser) = mallory(stage).await;
    // As cheap as can be, so that the planner would rather ask it first.
    let tell = "CREATE FUNCTION pg_temp.tell(task text) RETURNS bool LANGUAGE plpgsql COST 0.0000001 AS
                $$ BEGIN RAISE NOTICE 'it is %', task; RETURN true; END $$";
    assert_eq!(state(&mut mallory, tell).await, "00000");
    for attempt in [
        "SELECT FROM todos WHERE pg_temp.tell(task)",
        "SELECT count(*) FILTER (WHERE pg_temp.tell(task)) FROM todos",
        "SELECT FROM todos WHERE task::int = 1",
        "SELECT FROM todos WHERE 1 / (length(task) - length(task)) = 1",
        "SELECT FROM todos ORDER BY task::int",
        "SELECT FROM todos JOIN posts ON pg_temp.tell(task)",
        "UPDATE todos SET task = 'mine' WHERE pg_temp.tell(task) RETURNING task",
        "DELETE FROM todos WHERE pg_temp.tell(task) RETURNING task",
        "CREATE TEMP VIEW mine AS SELECT task FROM todos WHERE pg_temp.tell(task); SELECT * FROM mine",
        "COPY (SELECT task FROM todos WHERE pg_temp.tell(task)) TO STDOUT",
        "EXPLAIN ANALYZE SELECT FROM todos WHERE pg_temp.tell(task)",
        "DECLARE mine CURSOR WITH HOLD FOR SELECT task FROM todos WHERE pg_temp.tell(task); FETCH ALL FROM mine",
        "SELECT query_to_xml('SELECT task FROM todos WHERE pg_temp.tell(task)', true, true, '')",
        "SELECT FROM ts_stat('SELECT to_tsvector(task) FROM todos WHERE pg_temp.tell(task)')",
    ] {
        let answer = mallory.query(attempt).await;
        assert!(answer.iter().all(|message| message.tag != b'E' && message.tag != b'N'), "{attempt}: {answer:?}");
    }
    // It would be heard.
    assert!(text(&mallory.query("SELECT pg_temp.tell('mine')").await).contains("it is mine"));
    let swears = "CREATE FUNCTION pg_temp.sworn(text) RETURNS bool LEAKPROOF LANGUAGE sql AS 'SELECT true'";
    assert_eq!(state(&mut mallory, swears).await, "42501");
}

#[tokio::test]
async fn turning_row_security_off_is_an_error_and_shows_nothing() {
    let stage = Stage::get();
    let (_proxy, mut mallory, _superuser) = mallory(stage).await;
    for way in ["SET row_security = off", "SELECT set_config('row_security', 'off', false)", "SET ROLE NONE"] {
        assert_eq!(state(&mut mallory, &format!("{way}; TABLE todos")).await, "42501", "{way}");
        assert_eq!(state(&mut mallory, "RESET ROLE").await, "00000");
    }
    for change in [
        "ALTER TABLE todos DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE todos NO FORCE ROW LEVEL SECURITY",
        "CREATE POLICY mine ON todos USING (true)",
        "ALTER POLICY \"view todos\" ON todos USING (true)",
        "DROP POLICY \"view todos\" ON todos",
        "ALTER TABLE todos OWNER TO authenticated",
        "CREATE RULE mine AS ON INSERT TO todos DO ALSO SELECT 1",
        "CREATE TRIGGER mine BEFORE INSERT ON todos EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "TRUNCATE todos",
        "LOCK todos IN ACCESS EXCLUSIVE MODE",
        "CREATE TEMP TABLE mine () INHERITS (todos)",
    ] {
        let verdict = state(&mut mallory, change).await;
        // Postgres lets whoever may update a table lock it: nobody's rows are shown by that.
        let locked = change.starts_with("LOCK") && ["00000", "25P01"].contains(&verdict.as_str());
        assert!(verdict == "42501" || locked, "{change}: {verdict}");
    }
}

#[tokio::test]
async fn a_snapshot_of_anothers_shows_ones_own_rows() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ";
    let mut bob = proxy.session(&stage.token("bob")).await;
    bob.query(begin).await;
    let snapshot = bob.value("SELECT pg_export_snapshot()").await;
    let mut mallory = proxy.session(&stage.token("mallory")).await;

    mallory.query(begin).await;
    assert_eq!(state(&mut mallory, &format!("SET TRANSACTION SNAPSHOT '{snapshot}'")).await, "00000");

    assert_eq!(mallory.value("SELECT count(*) FROM todos").await, "0");
    assert_eq!(bob.value("SELECT count(*) FROM todos").await, "2");
}

#[tokio::test]
async fn a_key_that_is_taken_tells_that_it_is_and_no_more() {
    let stage = Stage::get();
    let (_proxy, mut mallory, _superuser) = mallory(stage).await;

    let taken = mallory.query("INSERT INTO todos (id, task) VALUES (1, 'mine')").await;

    assert_eq!(taken[0].sqlstate(), "23505");
    assert!(!text(&taken).contains("Buy a ticket") && !text(&taken).contains("alice"), "{taken:?}");
    for row in ["ON CONFLICT DO NOTHING", "ON CONFLICT (id) DO UPDATE SET task = 'mine'"] {
        let answer =
            mallory.query(&format!("INSERT INTO todos (id, task) VALUES (1, 'mine') {row} RETURNING task")).await;
        assert!(Message::values(&answer).is_empty(), "{row}: {answer:?}");
        assert!(!text(&answer).contains("Buy a ticket"), "{row}: {answer:?}");
    }
}

/// The first releases in which a condition of ON CONFLICT is asked behind the policies, and DROP OWNED leaves policies be.
pub(super) const MENDED: [(u32, u32); 5] = [(14, 25), (15, 20), (16, 16), (17, 12), (18, 7)];

/// Whether this server has the mended code.
pub(super) async fn is_mended(client: &mut Raw) -> bool {
    let version: u32 = client.value("SELECT current_setting('server_version_num')").await.parse().expect("a number");
    let (major, minor) = (version / 10_000, version % 10_000);
    MENDED.iter().find(|first| first.0 == major).is_none_or(|first| minor >= first.1)
}

#[tokio::test]
async fn the_condition_of_a_conflict_sees_no_hidden_row_on_a_server_that_is_up_to_date() {
    let stage = Stage::get();
    let (_proxy, mut mallory, _superuser) = mallory(stage).await;

    let conflict = "INSERT INTO todos (id, task) VALUES (1, 'mine')
                    ON CONFLICT (id) DO UPDATE SET task = 'mine' WHERE todos.task::int = 1";
    let answer = mallory.query(conflict).await;

    assert!(Message::values(&answer).is_empty(), "{answer:?}");
    let shown = text(&answer).contains("Buy a ticket");
    // On an older one this shows the row, whoever is in front of it; `pgusher check` says so.
    assert!(!(shown && is_mended(&mut mallory).await), "{answer:?}");
}

#[tokio::test]
async fn statistics_say_how_many_rows_are_hidden_and_never_what_is_in_them() {
    let stage = Stage::get();
    let (_proxy, mut mallory, superuser) = mallory(stage).await;
    superuser.batch_execute("ANALYZE todos").await.expect("a superuser may");

    assert_eq!(mallory.value("SELECT reltuples FROM pg_class WHERE oid = 'todos'::regclass").await, "5");
    assert_eq!(mallory.value("SELECT count(*) FROM pg_stats WHERE tablename = 'todos'").await, "0");
    assert_eq!(mallory.value("SELECT count(*) FROM pg_stats_ext WHERE tablename = 'todos'").await, "0");
    for table in ["pg_statistic", "pg_statistic_ext_data"] {
        assert_eq!(state(&mut mallory, &format!("TABLE {table}")).await, "42501", "{table}");
    }
}
