use serde_json::Value as Json;
use tokio_postgres::types::Type;

use super::{LISTS, description, message, row};
use crate::http::sql::error::Failure;
use crate::http::sql::results::{Layout, Results, Style};

/// What a value of this type becomes.
fn json_in(oid: u32, value: &[u8], style: Style, layout: Layout) -> Result<String, Failure> {
    let mut results = Results::single(style, layout);
    let mut out = Vec::new();
    results.read(&[message(b'2', b""), description(&[("a", oid)])].concat(), &mut out)?;
    out.clear();
    results.read(&row(&[Some(value)]), &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn json(oid: &Type, value: &str) -> Result<String, Failure> {
    let row = json_in(oid.oid(), value.as_bytes(), LISTS, Layout::Document)?;
    serde_json::from_str::<Json>(&row).unwrap_or_else(|error| panic!("{row}: {error}"));
    Ok(row[1..row.len() - 1].to_owned())
}

#[test]
fn a_value_is_what_json_has_for_it_or_a_string() {
    for (oid, text, expected) in [
        (Type::BOOL, "t", "true"),
        (Type::BOOL, "f", "false"),
        (Type::INT2, "-32768", "-32768"),
        (Type::INT4, "0", "0"),
        (Type::INT8, "9223372036854775807", r#""9223372036854775807""#),
        (Type::OID, "26", r#""26""#),
        (Type::NUMERIC, "1.50", r#""1.50""#),
        (Type::FLOAT4, "1.1", "1.1"),
        (Type::FLOAT8, "1e+300", "1e+300"),
        (Type::FLOAT8, "2.2250738585072014e-308", "2.2250738585072014e-308"),
        (Type::FLOAT8, "-0", "-0"),
        (Type::FLOAT8, "NaN", r#""NaN""#),
        (Type::FLOAT8, "Infinity", r#""Infinity""#),
        (Type::FLOAT4, "-Infinity", r#""-Infinity""#),
        (Type::JSON, "{ \"b\":1,\n \"a\":[1.0] }", "{ \"b\":1,\n \"a\":[1.0] }"),
        (Type::JSONB, "null", "null"),
        (Type::TEXT, "", r#""""#),
        (
            Type::TEXT,
            "a\"b\\c\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}é😀",
            "\"a\\\"b\\\\c\\n\\r\\t\\b\\f\\u0001\\u001f\u{7f}é😀\"",
        ),
        (Type::BYTEA, r"\x00ff", r#""\\x00ff""#),
        (Type::INT2_VECTOR, "1 2", r#""1 2""#),
        (Type::TIMESTAMPTZ, "2024-01-01 00:00:00+00", r#""2024-01-01 00:00:00+00""#),
    ] {
        assert_eq!(json(&oid, text).as_deref(), Ok(expected), "{oid} {text}");
    }
}

#[test]
fn an_array_is_a_list_of_such() {
    for (oid, text, expected) in [
        (Type::INT4_ARRAY, "{}", "[]"),
        (Type::INT4_ARRAY, "{1,NULL,-3}", "[1,null,-3]"),
        (Type::INT4_ARRAY, "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
        (Type::INT4_ARRAY, "[0:1][-2:-1]={{1,2},{3,4}}", "[[1,2],[3,4]]"),
        (Type::INT8_ARRAY, "{1,NULL}", r#"["1",null]"#),
        (Type::BOOL_ARRAY, "{t,f,NULL}", "[true,false,null]"),
        (Type::FLOAT8_ARRAY, "{1.5,NaN,-Infinity,1e-05}", r#"[1.5,"NaN","-Infinity",1e-05]"#),
        (
            Type::TEXT_ARRAY,
            r#"{a,NULL,"NULL",NULLS,nul,"",longer,"a b"}"#,
            r#"["a",null,"NULL","NULLS","nul","","longer","a b"]"#,
        ),
        (Type::TEXT_ARRAY, r#"{"a\"b","\\","{},","é"}"#, r#"["a\"b","\\","{},","é"]"#),
        (Type::TEXT_ARRAY, "{é,😀😀,\"\n\"}", "[\"é\",\"😀😀\",\"\\n\"]"),
        (Type::TEXT_ARRAY, " { a , { \"b\" } } ", r#"["a ",["b"]]"#),
        (
            Type::JSONB_ARRAY,
            r#"{"{\"a\": [1, \"\\\"\"]}",1,"null",NULL,"\"x\""}"#,
            r#"[{"a": [1, "\""]},1,null,null,"x"]"#,
        ),
        (Type::BOX_ARRAY, "{(1,1),(0,0);(2,2),(1,1)}", r#"["(1,1),(0,0)","(2,2),(1,1)"]"#),
        (Type::POINT_ARRAY, r#"{"(1,2)"}"#, r#"["(1,2)"]"#),
    ] {
        assert_eq!(json(&oid, text).as_deref(), Ok(expected), "{oid} {text}");
    }
}

#[test]
fn an_array_that_is_none_is_no_result() {
    for text in [
        "", "{", "{1", "{1,", "{1,}", "{,1}", "{1}}", "{1}x", "1", "[1:2]", "{\"a", "{\"a\\", "{\"a\"b}", "{{1}2}", "}",
    ] {
        assert_eq!(json(&Type::TEXT_ARRAY, text), Err(Failure::Unexpected("an array is malformed")), "{text}");
    }
}

#[test]
fn raw_text_is_what_postgres_says() {
    let raw = Style { raw_text: true, array_mode: false };
    for (oid, text, expected) in [
        (Type::INT4, "1", r#"{"a":"1"}"#),
        (Type::BOOL, "t", r#"{"a":"t"}"#),
        (Type::JSON, r#"{"b":1}"#, r#"{"a":"{\"b\":1}"}"#),
        (Type::TEXT_ARRAY, r#"{"x y"}"#, r#"{"a":"{\"x y\"}"}"#),
    ] {
        assert_eq!(json_in(oid.oid(), text.as_bytes(), raw, Layout::Document).as_deref(), Ok(expected));
    }
}

#[test]
fn json_stays_on_one_line_among_lines() {
    let line = json_in(Type::JSON.oid(), b"{\n\"a\":\r\n\"\\n\"}", LISTS, Layout::Lines).unwrap();
    assert_eq!(line, "{\"row\":[{ \"a\":  \"\\n\"}]}\n");
    let line = json_in(Type::JSON_ARRAY.oid(), b"{\"[1,\n2]\"}", LISTS, Layout::Lines).unwrap();
    assert_eq!(line, "{\"row\":[[[1, 2]]]}\n");
}

#[test]
fn a_number_that_json_has_not_is_a_string() {
    for text in ["01", "1.", ".5", "+1", "-", "1e", "1e+", "0x1", "1 ", "", "--1", "1.5.5"] {
        assert_eq!(json(&Type::FLOAT8, text), Ok(format!("\"{text}\"")));
    }
    assert!(json(&Type::INT4, &"1".repeat(33)).is_err());
    assert!(json(&Type::JSON, "").is_err());
}

#[test]
fn bytes_that_are_not_utf8_are_no_text() {
    for bytes in [&b"\xff"[..], b"a\xc3", b"\xc3(", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xc0\x80"] {
        let array = [b"{", bytes, b"}"].concat();
        for (oid, value) in [(Type::TEXT, bytes), (Type::JSON, bytes), (Type::TEXT_ARRAY, &array)] {
            let answer = [description(&[("a", oid.oid())]), row(&[Some(value)])].concat();
            for size in 1..answer.len() {
                let mut results = Results::single(LISTS, Layout::Document);
                let failure = answer.chunks(size).find_map(|part| results.read(part, &mut Vec::new()).err());
                assert_eq!(failure, Some(Failure::NotUtf8), "{oid} {bytes:?}");
            }
        }
    }
}
