use std::fs;

use serde::de::IgnoredAny;
use tokio_postgres::types::Type;
use wire::owed::TxStatus;

use super::{OBJECTS, complete, description, ready};
use crate::http::sql::error::Failure;
use crate::http::sql::fuzz::{asked, fuzz_results};
use crate::http::sql::results::{Layout, Progress, Results};

/// What Postgres 15 answered, as the fuzzer has it: the first byte is how it was asked.
fn recorded() -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/results")).unwrap();
    let files = files.map(|file| file.unwrap());
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

fn read<'a>(how: u8, parts: impl Iterator<Item = &'a [u8]>) -> (Result<Progress, Failure>, String) {
    let (mut results, mut out, mut end) = (asked(how), Vec::new(), Ok(Progress::More));
    for part in parts {
        end = results.read(part, &mut out);
        if end != Ok(Progress::More) {
            break;
        }
    }
    (end, String::from_utf8(out).unwrap())
}

/// What the answer with this name becomes.
fn whole(name: &str) -> (Result<Progress, Failure>, String) {
    let (_, bytes) = recorded().into_iter().find(|(known, _)| known == name).unwrap();
    read(bytes[0], [&bytes[1..]].into_iter())
}

#[test]
fn it_makes_no_difference_where_an_answer_is_cut() {
    for (name, bytes) in recorded() {
        let (how, answer) = (bytes[0], &bytes[1..]);
        let whole = read(how, [answer].into_iter());
        assert_ne!(whole.0, Ok(Progress::More), "{name}");
        for cut in 0..answer.len() {
            let (head, tail) = answer.split_at(cut);
            assert_eq!(read(how, [head, tail].into_iter()), whole, "{name} cut at {cut}");
        }
        for size in 1..20 {
            assert_eq!(read(how, answer.chunks(size)), whole, "{name} in parts of {size}");
        }
    }
}

#[test]
fn whatever_a_server_sends_is_read_without_panic() {
    for (_, mut bytes) in recorded() {
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff, bytes[at]] {
                bytes[at] ^= flip;
                fuzz_results(&bytes);
                bytes[at] ^= flip;
            }
        }
    }
}

fn done(name: &str) -> String {
    let (end, out) = whole(name);
    assert_eq!(end, Ok(Progress::Done(TxStatus::Idle)), "{name}");
    out
}

/// What is said behind the fields of a document.
fn rows(name: &str) -> String {
    let out = done(name);
    serde_json::from_str::<IgnoredAny>(&out).unwrap_or_else(|error| panic!("{out}: {error}"));
    out.split_once("}],\"rows\":").unwrap_or_else(|| panic!("{out}")).1.to_owned()
}

#[test]
fn what_postgres_has_of_each_type_is_told() {
    let types = concat!(
        r#"[{"a":true,"b":1,"c":-2,"d":"9007199254740993","e":"1.50","f":1.1,"g":"NaN","h":"-Infinity","i":1e+300,"#,
        "\"j\":{\"a\":\n[1, \"\\u00e9\"]},",
        r#""k":{"b": null},"l":null,"m":"2024-01-01 00:00:00+00","n":"\\x00ff","o":"1 2","p":"(1,\"a b\")","#,
        r#""q":"1 day","r":"1 2"}],"command":"SELECT","rowCount":1,"rowAsArray":false}"#
    );
    assert_eq!(rows("types"), types);
    let arrays = concat!(
        r#"[[[[1,null],[3,4]],[],["a\"b","c\\d","","NULL",null,"NULLS","{},","\n","é"],[{"a": "\"}"},null,1,null],"#,
        r#"[true,false],["(1,1),(0,0)","(2,2),(1,1)"],["NaN",1.5,-1e-07],["9007199254740993"],[[["2024-01-01"]]],"#,
        r#""{\"(1,\\\"a b\\\")\"}",["[1,3)"]]],"command":"SELECT","rowCount":1,"rowAsArray":true}"#
    );
    assert_eq!(rows("arrays"), arrays);
    let raw = r#"[["1","t","{\"a\": 1}","{a,NULL}"]],"command":"SELECT","rowCount":1,"rowAsArray":true}"#;
    assert_eq!(rows("raw_text"), raw);
    let inserted = r#"[[1,"x"],[2,"x"]],"command":"INSERT","rowCount":2,"rowAsArray":true}"#;
    assert_eq!(rows("insert_returning"), inserted);
}

#[test]
fn what_postgres_answers_without_rows_is_told() {
    for (name, expected) in [
        ("create_table", r#"{"fields":[],"rows":[],"command":"CREATE","rowCount":null,"rowAsArray":false}"#),
        ("empty_query", r#"{"fields":[],"rows":[],"command":"","rowCount":null,"rowAsArray":false}"#),
        ("notice", r#"{"fields":[],"rows":[],"command":"DO","rowCount":null,"rowAsArray":false}"#),
        ("setting", r#"{"fields":[],"rows":[],"command":"SET","rowCount":null,"rowAsArray":false}"#),
        ("no_columns", r#"{"fields":[],"rows":[{},{},{}],"command":"SELECT","rowCount":3,"rowAsArray":false}"#),
    ] {
        assert_eq!(done(name), expected, "{name}");
    }
}

#[test]
fn what_postgres_refuses_is_told() {
    for (name, status, code, rows) in [
        ("syntax_error", TxStatus::Idle, "42601", 0),
        ("constraint_error", TxStatus::Idle, "23502", 0),
        ("error_among_rows", TxStatus::Idle, "22012", 2),
        ("error_at_sync", TxStatus::Idle, "23505", 0),
        ("error_in_function", TxStatus::Idle, "42703", 0),
        ("batch_with_error", TxStatus::Failed, "22012", 0),
        ("batch_refused_at_commit", TxStatus::Idle, "23505", 2),
    ] {
        let (end, out) = whole(name);
        let Ok(Progress::Failed(left, error)) = end else { panic!("{name}: {end:?}") };
        assert_eq!((left, error.code.as_str()), (status, code), "{name}");
        assert_eq!(out.matches("\n{\"row\":").count(), rows, "{out}");
    }
    assert_eq!(whole("copy_to").0, Err(Failure::Copy));
    assert_eq!(whole("other_encoding").0, Err(Failure::ClientEncoding));
}

#[test]
fn every_line_of_what_postgres_answers_is_json() {
    for name in ["escapes", "many_rows_in_lines", "batch_in_lines"] {
        let out = done(name);
        assert!(out.lines().all(|line| serde_json::from_str::<IgnoredAny>(line).is_ok()), "{out}");
        assert!(out.lines().last().unwrap().starts_with("{\"command\":"), "{out}");
    }
    assert_eq!(done("batch_in_lines").matches("{\"command\":").count(), 3);
}
#[test]
fn a_row_of_any_size_takes_no_room() {
    const PART: usize = 32 << 10;
    const MIB: u32 = 1 << 20;
    for (oid, open, close, size) in [
        (Type::TEXT, "", "", 100 * MIB),
        (Type::JSON, "\"", "\"", 5 * MIB),
        (Type::TEXT_ARRAY, "{", "}", 5 * MIB),
        (Type::TEXT_ARRAY, "{\"", "\"}", 5 * MIB),
    ] {
        let mut results = Results::single(OBJECTS, Layout::Lines);
        let mut out = Vec::new();
        results.read(&description(&[("a", oid.oid())]), &mut out).unwrap();
        let head = [&b"D"[..], &(4 + 6 + size).to_be_bytes(), b"\0\x01", &size.to_be_bytes(), open.as_bytes()].concat();
        results.read(&head, &mut out).unwrap();
        let part = [b'x'; PART];
        let (mut left, mut written) = (size as usize - open.len() - close.len(), 0);
        while left > 0 {
            out.clear();
            let taken = left.min(PART);
            results.read(&part[..taken], &mut out).unwrap();
            (left, written) = (left - taken, written + out.len());
        }
        out.clear();
        let tail = [close.as_bytes(), &complete("SELECT 1"), &ready()].concat();
        assert_eq!(results.read(&tail, &mut out), Ok(Progress::Done(TxStatus::Idle)));
        assert!(written >= size as usize - 8 && out.capacity() <= 2 * PART, "{oid}: {}", out.capacity());
    }
}
