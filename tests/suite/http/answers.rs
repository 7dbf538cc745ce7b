//! What is answered: rows, several results, errors, streams.

use pgusher_tests::{Answer, Proxy, Stage};
use reqwest::StatusCode;
use serde_json::{Value, json};

async fn proxy() -> Proxy {
    Proxy::builder(Stage::get()).http().start().await
}

#[tokio::test]
async fn a_query_is_answered_with_fields_rows_and_count() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let body = json!({"query": "SELECT $1::int + 1 AS next, $2 AS word, NULL AS nothing", "params": [41, "é\"\\"]});
    let answer = Answer::to(proxy.sql_request().bearer_auth(stage.token("alice")).body(body.to_string())).await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, Some("application/json")));
    let field = |name: &str, kind: u32, size: i32| {
        json!({"name": name, "dataTypeID": kind, "tableID": 0, "columnID": 0, "dataTypeSize": size,
            "dataTypeModifier": -1, "format": "text"})
    };
    let expected = json!({
        "fields": [field("next", 23, 4), field("word", 25, -1), field("nothing", 25, -1)],
        "rows": [{"next": 42, "word": "é\"\\", "nothing": null}],
        "command": "SELECT", "rowCount": 1, "rowAsArray": false,
    });
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn a_batch_is_one_transaction() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let token = stage.token("batch");
    let batch = |queries: &[&str]| {
        let queries: Vec<_> = queries.iter().map(|query| json!({"query": query})).collect();
        proxy.sql_request().bearer_auth(&token).body(json!({"queries": queries}).to_string())
    };
    let insert = "INSERT INTO todos (task) VALUES ('in a batch')";
    let done = Answer::to(batch(&[insert, "SELECT count(*)::int AS n FROM todos", "SELECT txid_current()"])).await;
    assert_eq!((done.status, &done.json()["results"][1]["rows"]), (StatusCode::OK, &json!([{"n": 1}])));

    let failed = Answer::to(batch(&[insert, "SELECT 1/0"])).await;
    assert_eq!((failed.status, &*failed.code()), (StatusCode::BAD_REQUEST, "22012"));
    assert_eq!(proxy.sql_rows(&token, "SELECT count(*)::int AS n FROM todos").await, json!([{"n": 1}]));
}

#[tokio::test]
async fn a_batch_has_the_transaction_that_is_asked_for() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let settings = ["transaction_isolation", "transaction_read_only", "transaction_deferrable"];
    let queries = settings.map(|name| json!({"query": format!("SHOW {name}")}));
    let request =
        || proxy.sql_request().bearer_auth(stage.token("alice")).body(json!({"queries": queries}).to_string());
    let shown = |answer: Answer| {
        let results = answer.json()["results"].clone();
        settings.iter().zip(results.as_array().unwrap()).map(|(name, result)| result["rows"][0][name].clone()).collect()
    };
    let plain: Vec<Value> = shown(Answer::to(request()).await);
    assert_eq!(plain, ["read committed", "off", "off"]);
    // Not serializable: that would wait for whatever else is serializable in the cluster.
    let strict =
        request().header("neon-batch-isolation-level", "RepeatableRead").header("neon-batch-read-only", "true");
    let strict: Vec<Value> = shown(Answer::to(strict.header("neon-batch-deferrable", "true")).await);
    assert_eq!(strict, ["repeatable read", "on", "on"]);
    let wrong = Answer::to(request().header("neon-batch-isolation-level", "serializable")).await;
    assert_eq!((wrong.status, &*wrong.code()), (StatusCode::BAD_REQUEST, "08P01"));
}

#[tokio::test]
async fn an_error_has_all_that_postgres_says_of_it() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let answer = proxy.sql(&stage.token("alice"), "SELECT nothing FROM todos").await;
    let error = answer.json();
    assert_eq!(
        (answer.status, &error["code"], &error["severity"]),
        (StatusCode::BAD_REQUEST, &json!("42703"), &json!("ERROR"))
    );
    assert_eq!((&error["position"], &error["routine"]), (&json!("8"), &json!("errorMissingColumn")));
    assert_eq!(proxy.sql_rows(&stage.token("alice"), "SELECT 1 AS one").await, json!([{"one": 1}]));
}

#[tokio::test]
async fn a_stream_has_a_line_for_each_row_and_ends_with_the_count_or_the_error() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let lines = async |query: &str| {
        let request = proxy.sql_request().bearer_auth(stage.token("alice")).header("accept", "application/x-ndjson");
        let answer = Answer::to(request.body(json!({"query": query}).to_string())).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, Some("application/x-ndjson")));
        let lines = answer.text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect::<Vec<Value>>()
    };
    let rows = lines("SELECT n FROM generate_series(1, 100000) n").await;
    assert_eq!((rows.len(), &rows[100_000]), (100_002, &json!({"row": {"n": 100_000}})));
    assert_eq!(rows[100_001], json!({"command": "SELECT", "rowCount": 100_000}));
    let failed = lines("SELECT 1 / (3 - n) AS n FROM generate_series(1, 5) n").await;
    assert_eq!((failed.len(), &failed.last().unwrap()["error"]["code"]), (4, &json!("22012")));
}

#[tokio::test]
async fn what_a_request_has_had_prepared_the_next_one_finds_if_it_is_of_the_same_identity() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let sql = "SELECT name, prepare_time FROM pg_prepared_statements WHERE statement LIKE '%prepare_time%'";
    let [alice, bob] = ["alice", "bob"].map(|subject| stage.token(subject));
    let first = proxy.sql_rows(&alice, sql).await;
    assert_eq!(first.as_array().map(Vec::len), Some(1));
    assert_eq!(proxy.sql_rows(&alice, sql).await, first);
    let anothers = proxy.sql_rows(&bob, sql).await;
    assert_eq!(anothers.as_array().map(Vec::len), Some(1));
    assert_ne!(anothers, first);
}

#[tokio::test]
async fn a_table_that_is_altered_is_no_concern_of_who_asks() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let superuser = stage.superuser().await;
    superuser.batch_execute("CREATE TABLE widths (a int); GRANT SELECT ON widths TO authenticated").await.unwrap();
    superuser.batch_execute("INSERT INTO widths VALUES (1)").await.unwrap();
    let token = stage.token("alice");
    assert_eq!(proxy.sql_rows(&token, "SELECT * FROM widths").await, json!([{"a": 1}]));
    superuser.batch_execute("ALTER TABLE widths ADD COLUMN b text DEFAULT 'new'").await.unwrap();
    for _ in 0..2 {
        assert_eq!(proxy.sql_rows(&token, "SELECT * FROM widths").await, json!([{"a": 1, "b": "new"}]));
    }
    superuser.batch_execute("DROP TABLE widths").await.unwrap();
}

#[tokio::test]
async fn a_table_that_is_altered_costs_who_asks_no_second_place() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("pool.max_identity_conn", 1).start().await;
    let superuser = stage.superuser().await;
    superuser.batch_execute("CREATE TABLE heights (a int); GRANT SELECT ON heights TO authenticated").await.unwrap();
    let token = stage.token("alice");
    assert_eq!(proxy.sql(&token, "SELECT * FROM heights").await.status, StatusCode::OK);
    superuser.batch_execute("ALTER TABLE heights ADD COLUMN b int").await.unwrap();
    let again = proxy.sql(&token, "SELECT * FROM heights").await;
    assert_eq!((again.status, again.json()["fields"].as_array().map(Vec::len)), (StatusCode::OK, Some(2)), "{again:?}");
    superuser.batch_execute("DROP TABLE heights").await.unwrap();
}

#[tokio::test]
async fn what_has_committed_and_then_finds_a_table_altered_is_not_done_again() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let superuser = stage.superuser().await;
    let script = "CREATE SCHEMA deeds; CREATE TABLE deeds.done (n int); CREATE TABLE deeds.widths (a int);
        CREATE SCHEMA altered; CREATE TABLE altered.widths (a int, b int);
        GRANT USAGE ON SCHEMA deeds, altered TO authenticated;
        GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA deeds, altered TO authenticated";
    superuser.batch_execute(script).await.unwrap();
    let work = "DO $$ BEGIN
        INSERT INTO deeds.done VALUES (1); COMMIT;
        PERFORM set_config('search_path', 'deeds', false); EXECUTE 'PREPARE p AS SELECT * FROM widths'; EXECUTE 'EXECUTE p';
        PERFORM set_config('search_path', 'altered', false); EXECUTE 'EXECUTE p'; END $$";
    let answer = proxy.sql(&stage.token("alice"), work).await.json();
    assert_eq!((&answer["code"], &answer["routine"]), (&json!("0A000"), &json!("RevalidateCachedQuery")), "{answer}");
    let done: i64 = superuser.query_one("SELECT count(*) FROM deeds.done", &[]).await.unwrap().get(0);
    assert_eq!(done, 1);
    superuser.batch_execute("DROP SCHEMA deeds, altered CASCADE").await.unwrap();
}

#[tokio::test]
async fn a_batch_may_have_more_statements_than_a_server_keeps_and_fail_in_the_midst_of_them() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("pool.default_pool_size", 1).set("pool.max_prepared_statements", 3);
    let proxy = proxy.start().await;
    let token = stage.token("alice");
    let ask = async |fails_at: Option<usize>| {
        let query = |number: usize| match fails_at {
            Some(at) if at == number => "SELECT 1 / 0".to_owned(),
            _ => format!("SELECT {} AS n, $1::text AS text", number % 7),
        };
        let queries: Vec<_> = (0..30)
            .map(|number| json!({"query": query(number), "params": if fails_at == Some(number) { json!([]) } else { json!([number]) }}))
            .collect();
        Answer::to(proxy.sql_request().bearer_auth(&token).body(json!({"queries": queries}).to_string())).await.json()
    };
    for at in 0..30 {
        assert_eq!(ask(Some(at)).await["code"], "22012");
        let answer = ask(None).await;
        let rows: Vec<_> = (0..30).map(|number| answer["results"][number]["rows"].clone()).collect();
        let expected: Vec<_> = (0..30).map(|number| json!([{"n": number % 7, "text": number.to_string()}])).collect();
        assert_eq!(rows, expected, "{at}");
    }
}

#[tokio::test]
async fn text_is_unicode_whatever_the_connection_string_and_requests_before_say_of_it() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("pool.default_pool_size", 1).start().await;
    let token = stage.token("alice").to_string();
    for encoding in ["LATIN1", "SQL_ASCII", "WIN1252"] {
        for (options, query) in [
            ("", format!("SELECT set_config('client_encoding', '{encoding}', false)")),
            ("", format!("SET client_encoding = {encoding}")),
            ("", format!("DO $$ BEGIN PERFORM set_config('client_encoding', '{encoding}', false); END $$")),
            (&*format!("?client_encoding={encoding}&options=-c%20client_encoding%3D{encoding}"), "SELECT 1".to_owned()),
        ] {
            let connection = format!("postgres://authenticated:{token}@localhost/neondb{options}");
            let ask = async |query: &str| {
                let request =
                    reqwest::Client::new().post(proxy.sql_url()).header("neon-connection-string", &connection);
                Answer::to(request.body(json!({"query": query}).to_string())).await
            };
            ask(&query).await;
            let answer = ask("SELECT 'é' AS letter, length('é')::text AS length").await;
            if answer.status == 200 {
                assert_eq!(answer.json()["rows"], json!([{"letter": "é", "length": "1"}]), "{query} {options}");
            } else {
                assert!(!options.is_empty(), "{answer:?}");
            }
        }
    }
}

/// Whether a server was somebody else's makes no difference to what is told of the encoding.
#[tokio::test]
async fn a_batch_that_changes_the_encoding_is_refused_on_any_server() {
    let stage = Stage::get();
    let proxy = Proxy::builder(stage).http().set("pool.default_pool_size", 1).start().await;
    for (number, name) in ["alice", "bob", "bob", "alice"].into_iter().enumerate() {
        let token = stage.token(name).to_string();
        // A text that no server has prepared: its letter is read as two, and told as two that are the one in UTF-8.
        let queries = ["SET client_encoding = LATIN1", &format!("SELECT 'é' AS letter{number}")];
        let batch = json!({"queries": queries.map(|query| json!({"query": query}))}).to_string();
        let refused = Answer::to(proxy.sql_request().bearer_auth(&token).body(batch)).await;
        assert_eq!(refused.json()["code"], "0A000", "{name}: {refused:?}");
        let rows = proxy.sql_rows(&stage.token(name), "SELECT 'é' AS letter").await;
        assert_eq!(rows, json!([{"letter": "é"}]), "{name}");
    }
}

#[tokio::test]
async fn a_transaction_that_is_left_open_is_rolled_back_and_its_server_goes_on() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let token = stage.token("open");
    let backend = "SELECT pg_backend_pid() AS pid";
    let before = proxy.sql_rows(&token, backend).await;
    assert_eq!(proxy.sql(&token, "BEGIN").await.status, StatusCode::OK);
    assert_eq!(proxy.sql_rows(&token, backend).await, before);
    let state = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND usename = current_user";
    assert_eq!(proxy.sql_rows(&token, state).await, json!([{"n": 0}]));
}

#[tokio::test]
async fn copy_is_not_for_http() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    for copy in ["COPY todos TO STDOUT", "COPY todos (task) FROM STDIN"] {
        let answer = proxy.sql(&stage.token("alice"), copy).await;
        assert_eq!((answer.status, &*answer.code()), (StatusCode::BAD_REQUEST, "0A000"), "{answer:?}");
    }
    assert_eq!(proxy.sql_rows(&stage.token("alice"), "SELECT 1 AS one").await, json!([{"one": 1}]));
}
