use serde_json::{Value as Json, json};
use tokio_postgres::types::Type;
use wire::owed::TxStatus;

use super::{LISTS, OBJECTS, RAW, complete, description, message, ready, row, statement};
use crate::http::sql::error::{Failure, SqlError};
use crate::http::sql::results::{Layout, Progress, Results};

fn text(out: Vec<u8>) -> String {
    String::from_utf8(out).unwrap()
}

fn document(mut results: Results, answer: &[u8]) -> Json {
    let mut out = Vec::new();
    assert_eq!(results.read(answer, &mut out), Ok(Progress::Done(TxStatus::Idle)));
    serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(&out)))
}

fn failure(answer: &[u8]) -> Failure {
    Results::single(OBJECTS, Layout::Document).read(answer, &mut Vec::new()).unwrap_err()
}

fn refusal() -> Vec<u8> {
    message(b'E', b"SERROR\0VERROR\0C42601\0Msyntax error\0P8\0Fscan.l\0L1\0Rf\0\0")
}

const COLUMNS: [(&str, u32); 2] = [("id", 23), ("a\"b", 25)];
const ROWS: [&[Option<&[u8]>]; 2] = [&[Some(b"1"), Some(b"x")], &[None, None]];

#[test]
fn a_document_has_what_the_driver_reads() {
    let answer = [statement(&COLUMNS, &ROWS, "SELECT 2"), ready()].concat();
    let mut out = Vec::new();
    let end = Results::single(OBJECTS, Layout::Document).read(&answer, &mut out);
    assert_eq!(end, Ok(Progress::Done(TxStatus::Idle)));
    let field = r#""tableID":16385,"columnID":2,"dataTypeSize":-1,"dataTypeModifier":-1,"format":"text"}"#;
    let fields = format!(r#"[{{"name":"id","dataTypeID":23,{field},{{"name":"a\"b","dataTypeID":25,{field}]"#);
    let rows = r#"[{"id":1,"a\"b":"x"},{"id":null,"a\"b":null}]"#;
    let expected = format!(r#"{{"fields":{fields},"rows":{rows},"command":"SELECT","rowCount":2,"rowAsArray":false}}"#);
    assert_eq!(text(out), expected);
}

#[test]
fn rows_are_lists_in_array_mode() {
    let answer = [statement(&COLUMNS, &ROWS, "SELECT 2"), ready()].concat();
    let json = document(Results::single(LISTS, Layout::Document), &answer);
    assert_eq!((&json["rows"], &json["rowAsArray"]), (&json!([[1, "x"], [null, null]]), &json!(true)));
    let json = document(Results::single(RAW, Layout::Document), &answer);
    assert_eq!(json["rows"], json!([["1", "x"], [null, null]]));
}

#[test]
fn columns_of_one_name_are_all_told_in_array_mode_and_the_last_is_in_an_object() {
    let columns = [("a", 23), ("a", 23)];
    let answer = [statement(&columns, &[&[Some(b"1"), Some(b"2")]], "SELECT 1"), ready()].concat();
    assert_eq!(document(Results::single(OBJECTS, Layout::Document), &answer)["rows"], json!([{"a": 2}]));
    assert_eq!(document(Results::single(LISTS, Layout::Document), &answer)["rows"], json!([[1, 2]]));
}

#[test]
fn a_statement_need_not_have_rows_or_columns() {
    let none = [message(b'1', b""), message(b'2', b""), message(b'n', b""), complete("CREATE TABLE"), ready()].concat();
    let json = document(Results::single(OBJECTS, Layout::Document), &none);
    assert_eq!(json, json!({"fields": [], "rows": [], "command": "CREATE", "rowCount": null, "rowAsArray": false}));
    let empty = [message(b'2', b""), message(b'n', b""), message(b'I', b""), ready()].concat();
    let json = document(Results::single(OBJECTS, Layout::Document), &empty);
    assert_eq!((&json["command"], &json["rowCount"]), (&json!(""), &json!(null)));
    let bare = [statement(&[], &[&[], &[]], "SELECT 2"), ready()].concat();
    assert_eq!(document(Results::single(OBJECTS, Layout::Document), &bare)["rows"], json!([{}, {}]));
    assert_eq!(document(Results::single(LISTS, Layout::Document), &bare)["rows"], json!([[], []]));
}

#[test]
fn a_tag_is_a_command_and_a_count() {
    for (tag, command, count) in [
        ("INSERT 0 3", "INSERT", json!(3)),
        ("UPDATE 0", "UPDATE", json!(0)),
        ("MERGE 12", "MERGE", json!(12)),
        ("BEGIN", "BEGIN", json!(null)),
        ("DROP TABLE", "DROP", json!(null)),
        ("REFRESH MATERIALIZED VIEW", "REFRESH", json!(null)),
        ("SELECT x\"y", "SELECT", json!(null)),
        ("SELECT ", "SELECT", json!(null)),
        ("SELECT 007", "SELECT", json!(null)),
        ("INSERT 0", "INSERT", json!(null)),
        ("A\"B 1", "A\"B", json!(1)),
    ] {
        let answer = [message(b'n', b""), complete(tag), ready()].concat();
        let json = document(Results::single(OBJECTS, Layout::Document), &answer);
        assert_eq!((&json["command"], &json["rowCount"]), (&json!(command), &count), "{tag}");
    }
}

#[test]
fn a_batch_tells_nothing_of_its_begin_and_commit() {
    let begin = [message(b'1', b""), message(b'2', b""), complete("BEGIN")].concat();
    let commit = [message(b'1', b""), message(b'2', b""), complete("COMMIT"), ready()].concat();
    let one = statement(&[("a", 23)], &[&[Some(b"1")]], "SELECT 1");
    let two = [message(b'2', b""), message(b'n', b""), complete("INSERT 0 1")].concat();
    let answer = [begin.clone(), one, two, commit.clone()].concat();
    let json = document(Results::batch(vec![LISTS, OBJECTS], Layout::Document), &answer);
    let results = json["results"].as_array().unwrap();
    assert_eq!((results.len(), &results[0]["rows"]), (2, &json!([[1]])));
    assert_eq!((&results[1]["command"], &results[1]["rowAsArray"]), (&json!("INSERT"), &json!(false)));
    let nothing = document(Results::batch(vec![], Layout::Document), &[begin, commit].concat());
    assert_eq!(nothing, json!({"results": []}));
}

#[test]
fn lines_say_what_they_are() {
    let answer = [statement(&[("a", 23)], &[&[Some(b"1")], &[Some(b"2")]], "SELECT 2"), ready()].concat();
    let mut out = Vec::new();
    assert_eq!(Results::single(OBJECTS, Layout::Lines).read(&answer, &mut out), Ok(Progress::Done(TxStatus::Idle)));
    let out = text(out);
    let lines: Vec<_> = out.lines().map(|line| serde_json::from_str::<Json>(line).unwrap()).collect();
    assert_eq!((&lines[0]["fields"][0]["name"], &lines[0]["rowAsArray"]), (&json!("a"), &json!(false)));
    assert_eq!(lines[1..3], [json!({"row": {"a": 1}}), json!({"row": {"a": 2}})]);
    assert_eq!(lines[3..], [json!({"command": "SELECT", "rowCount": 2})]);
    assert!(out.ends_with('\n'));
}

#[test]
fn the_last_end_is_told_when_all_is_committed() {
    let mut results = Results::single(LISTS, Layout::Lines);
    let mut out = Vec::new();
    assert_eq!(results.read(&statement(&[("a", 23)], &[], "SELECT 0"), &mut out), Ok(Progress::More));
    assert!(!text(std::mem::take(&mut out)).contains("command"));
    assert_eq!(results.read(&refusal(), &mut out), Ok(Progress::More));
    let Ok(Progress::Failed(TxStatus::Idle, error)) = results.read(&ready(), &mut out) else {
        panic!("it has not failed")
    };
    let out = text(out);
    assert_eq!(serde_json::from_str::<Json>(&out).unwrap(), json!({ "error": *error }), "and nothing else");
    assert!(out.ends_with("}}\n"));
}

#[test]
fn an_error_has_all_its_fields() {
    let body = b"SFEHLER\0VERROR\0C23505\0Mm\0Dd\0Hh\0P1\0p2\0qq\0Ww\0ss\0tt\0cc\0dd\0nn\0Ff\0L3\0Rr\0\0";
    let mut results = Results::single(OBJECTS, Layout::Document);
    let end = results.read(&[message(b'E', body), ready()].concat(), &mut Vec::new());
    let Ok(Progress::Failed(TxStatus::Idle, error)) = end else { panic!("{end:?}") };
    let mut out = Vec::new();
    error.write(&mut out);
    let expected = concat!(
        r#"{"message":"m","code":"23505","detail":"d","hint":"h","position":"1","internalPosition":"2","#,
        r#""internalQuery":"q","severity":"FEHLER","where":"w","table":"t","column":"c","schema":"s","#,
        r#""dataType":"d","constraint":"n","file":"f","line":"3","routine":"r"}"#
    );
    assert_eq!(text(out), expected);
    let own = serde_json::to_value(SqlError::new("54023", "no")).unwrap();
    assert_eq!((&own["severity"], &own["detail"], &own["position"]), (&json!("ERROR"), &json!(null), &json!(null)));
}

#[test]
fn a_refusal_ends_at_the_sync_or_with_the_connection() {
    let mut results = Results::batch(vec![OBJECTS], Layout::Document);
    assert_eq!(results.read(&refusal(), &mut Vec::new()), Ok(Progress::More));
    assert_eq!(results.broken_off(&mut Vec::new()).code, "42601");
    let mut out = Vec::new();
    let mut results = Results::single(OBJECTS, Layout::Lines);
    results.read(&[description(&COLUMNS), row(&[Some(b"1"), Some(b"xyz")])[..17].to_vec()].concat(), &mut out).unwrap();
    out.clear();
    assert_eq!(results.broken_off(&mut out).code, "08006");
    assert!(text(out).starts_with("\n{\"error\":{\"message\":"), "what was begun is a broken line");
}

#[test]
fn a_long_error_is_cut() {
    let body = [&b"C42601\0M"[..], "é".repeat(100_000).as_bytes(), b"\0Hh\0\0"].concat();
    let end =
        Results::single(OBJECTS, Layout::Document).read(&[message(b'E', &body), ready()].concat(), &mut Vec::new());
    let Ok(Progress::Failed(TxStatus::Idle, error)) = end else { panic!("{end:?}") };
    assert!(error.code == "42601" && error.message.len() > 60_000 && error.message.len() < 70_000);
}

#[test]
fn copy_and_other_encodings_are_refused() {
    for tag in [b'G', b'H', b'W'] {
        assert_eq!(failure(&message(tag, &[0, 0, 0])), Failure::Copy);
    }
    assert_eq!(failure(&message(b'S', b"client_encoding\0LATIN1\0")), Failure::ClientEncoding);
    assert_eq!(SqlError::from(Failure::Copy).code, "0A000");
    let fine = [
        message(b'S', b"client_encoding\0UTF8\0"),
        message(b'S', &[&b"search_path\0"[..], &[b'x'; 100_000], b"\0"].concat()),
        message(b'N', &vec![b'M'; 100_000]),
        message(b'A', b"\0\0\0\x01c\0p\0"),
        message(b'n', b""),
        complete("SET"),
        ready(),
    ];
    assert_eq!(document(Results::single(OBJECTS, Layout::Document), &fine.concat())["command"], "SET");
}

#[test]
fn an_answer_that_cannot_be_is_refused() {
    let columns = description(&[("a", 25)]);
    let row_of = |body: &[u8]| [columns.clone(), message(b'D', body)].concat();
    for answer in [
        message(b'D', b"\0\0"),
        message(b'C', b"SELECT 1\0"),
        message(b'Z', b"I"),
        message(b's', b""),
        message(b'Z', b""),
        [message(b'n', b""), complete("SET"), message(b'Z', b"X")].concat(),
        message(b'R', b"\0\0\0\0"),
        b"T\0\0\0\x03".to_vec(),
        b"T\x7f\0\0\0".to_vec(),
        message(b'T', b"\0\x01a\0"),
        message(b'T', b"\0\0x"),
        [columns.clone(), columns.clone()].concat(),
        row_of(b"\0\x02\0\0\0\x01x\0\0\0\x01x"),
        row_of(b"\0\x01\0\0\0\x02x"),
        row_of(b"\0\x01\0\0\0\x01xy"),
        row_of(b"\0\x01\xff\xff\xff\xfe"),
        row_of(b"\0"),
        [refusal(), columns.clone()].concat(),
    ] {
        assert!(matches!(failure(&answer), Failure::Unexpected(_)), "{answer:?}");
    }
    let binary = message(b'T', b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\x01");
    assert!(matches!(failure(&binary), Failure::Unexpected(_)));
    assert_eq!(failure(&description_of_bytes()), Failure::NotUtf8);
}

fn description_of_bytes() -> Vec<u8> {
    let mut description = description(&[("a", Type::TEXT.oid())]);
    description[7] = 0xff;
    description
}
