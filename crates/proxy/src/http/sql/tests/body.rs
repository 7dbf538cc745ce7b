use crate::http::sql::body::{BodyError, MAX_QUERIES, Statement, Work, parse};
use crate::http::sql::parameter::Parameters;

fn single(body: &str) -> Statement {
    match parse(body.as_bytes()) {
        Ok(Work::Single(statement)) => statement,
        other => panic!("{body}: {other:?}"),
    }
}

/// The parameters of a query with these.
fn parameters(json: &str) -> Result<Parameters, BodyError> {
    match parse(format!(r#"{{"query":"q","params":[{json}]}}"#).as_bytes())? {
        Work::Single(statement) => Ok(statement.parameters),
        Work::Batch(_) => panic!("{json} is a batch"),
    }
}

fn texts(values: &[Option<&str>]) -> Parameters {
    let mut parameters = Parameters::default();
    values.iter().for_each(|value| parameters.push(value.map(str::as_bytes)).unwrap());
    parameters
}

#[test]
fn a_query_alone_is_enough() {
    let statement = single(r#" {"query":"select 1"} "#);
    assert_eq!(statement, Statement { query: "select 1".to_owned(), parameters: texts(&[]), array_mode: None });
    assert_eq!(single(r#"{"query":"","params":null,"arrayMode":null,"other":[{}]}"#).parameters, texts(&[]));
    assert_eq!(single(r#"{"arrayMode":true,"params":[],"query":"a"}"#).array_mode, Some(true));
}

#[test]
fn a_parameter_is_what_neon_makes_of_it_and_to_the_letter() {
    for (json, text) in [
        ("true", "true"),
        ("-0", "-0"),
        ("1e400", "1e400"),
        ("12345678901234567890.12345678901234567890", "12345678901234567890.12345678901234567890"),
        (r#""""#, ""),
        (r#""a\"b\\c\u00e9\n\ud83d\ude00é""#, "a\"b\\cé\n😀é"),
        (r#""\\x00ff""#, r"\x00ff"),
        (r#""2024-01-01T00:00:00.000Z""#, "2024-01-01T00:00:00.000Z"),
        (r#"{ "b": 1.0, "a": {"b":[1, "]}\""]}, "a":2 }"#, r#"{ "b": 1.0, "a": {"b":[1, "]}\""]}, "a":2 }"#),
        ("[]", "{}"),
        ("[ ]", "{}"),
        ("[ 1 , 2.50,-3e5\n]", "{1,2.50,-3e5}"),
        ("[true,false,null]", "{true,false,NULL}"),
        (r#"["NULL","null",""," ","a,b","{}"]"#, r#"{"NULL","null",""," ","a,b","{}"}"#),
        (r#"["a\"b","\\","\n"]"#, "{\"a\\\"b\",\"\\\\\",\"\n\"}"),
        (r#"[[1,[]],[["a"],null]]"#, r#"{{1,{}},{{"a"},NULL}}"#),
        (r#"[{"a":"b]\"\\"},{}]"#, r#"{"{\"a\":\"b]\\\"\\\\\"}","{}"}"#),
    ] {
        assert_eq!(parameters(json), Ok(texts(&[Some(text)])), "{json}");
    }
    assert_eq!(parameters("null"), Ok(texts(&[None])));
}

#[test]
fn parameters_keep_their_places() {
    let expected = [Some("1"), None, Some("a"), Some("{2}"), Some(r#"{"b":3}"#)];
    assert_eq!(parameters(r#"1, null ,"a" , [2],{"b":3}"#), Ok(texts(&expected)));
}

#[test]
fn a_batch_is_a_list_of_queries() {
    let body = br#"{"queries":[{"query":"a","params":["x"],"arrayMode":false}, {"query":"b"}]}"#;
    let Ok(Work::Batch(statements)) = parse(body) else { panic!("no batch") };
    assert_eq!(statements[0].parameters, texts(&[Some("x")]));
    assert_eq!((statements[0].array_mode, &*statements[1].query), (Some(false), "b"));
    assert_eq!(parse(br#"{"queries":[]}"#), Ok(Work::Batch(vec![])));
}

#[test]
fn what_is_neither_query_nor_batch_is_refused() {
    for (body, code) in [
        ("", "22032"),
        ("null", "22032"),
        ("[]", "22032"),
        (r#" ["select 1",[],null,null]"#, "22032"),
        ("{}", "08P01"),
        (r#"{"query":null}"#, "08P01"),
        (r#"{"query":"a","queries":[]}"#, "08P01"),
        (r#"{"query":1}"#, "22032"),
        (r#"{"query":"a","query":"b"}"#, "22032"),
        (r#"{"query":"a"} x"#, "22032"),
        (r#"{"query":"a","params":{}}"#, "08P01"),
        (r#"{"query":"a","params":"b"}"#, "08P01"),
        (r#"{"query":"a","params":[1,]}"#, "22032"),
        (r#"{"query":"a","params":["\ud800"]}"#, "22032"),
        (r#"{"query":"a","arrayMode":"true"}"#, "22032"),
        (r#"{"queries":{}}"#, "08P01"),
        (r#"{"queries":[["a"]]}"#, "22032"),
        (r#"{"queries":[{"query":"a"},{}]}"#, "22032"),
        (r#"{"query":"\u0000"}"#, "22021"),
        (r#"{"query":"a","params":["\u0000"]}"#, "22021"),
        (r#"{"query":"a","params":[["\u0000"]]}"#, "22021"),
    ] {
        assert_eq!(parse(body.as_bytes()).map_err(|error| error.code()).err(), Some(code), "{body}");
    }
    assert_eq!(parse(b"{\"query\":\"\xff\"}"), Err(BodyError::Encoding(10)));
}

#[test]
fn the_query_of_a_batch_that_is_wrong_is_named() {
    let error = parse(br#"{"queries":[{"query":"a"},{"query":1}]}"#).unwrap_err();
    assert!(error.to_string().starts_with("query 2 of the batch is not the JSON expected: invalid type"), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn an_error_quotes_little_of_the_request() {
    let body = format!(r#"{{"query":"a","arrayMode":"{}"}}"#, "é".repeat(100_000));
    let error = parse(body.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("éé") && error.len() < 300, "{error}");
}

#[test]
fn a_body_cut_anywhere_or_changed_anywhere_is_answered() {
    let body = r#"{"queries":[{"query":"select $1\n","params":[1e3,null,["a",{"b":"\"c"}]],"arrayMode":true}]}"#;
    assert!(parse(body.as_bytes()).is_ok());
    for at in 0..body.len() {
        let cut = &body.as_bytes()[..at];
        assert!(parse(cut).is_err(), "{}", String::from_utf8_lossy(cut));
        for byte in 0..=u8::MAX {
            let mut changed = body.as_bytes().to_vec();
            changed[at] = byte;
            // Many a change is another valid body: what counts is that it is looked at.
            super::super::fuzz_body(&changed);
        }
    }
}

#[test]
fn a_bind_counts_its_parameters_in_16_bits() {
    let list = |count: usize| format!("{}0", "0,".repeat(count - 1));
    assert_eq!(parameters(&list(65_535)).unwrap().into_encoded().0, 65_535);
    for count in [65_536, 100_000] {
        let error = parameters(&list(count)).unwrap_err();
        assert_eq!((&error, error.code()), (&BodyError::TooManyParameters, "54023"));
    }
}

#[test]
fn a_batch_has_a_limit() {
    let body = |count| format!(r#"{{"queries":[{}{{"query":"a"}}]}}"#, r#"{"query":"a"},"#.repeat(count - 1));
    let Ok(Work::Batch(statements)) = parse(body(MAX_QUERIES).as_bytes()) else { panic!("no batch") };
    assert_eq!(statements.len(), MAX_QUERIES);
    assert_eq!(parse(body(MAX_QUERIES + 1).as_bytes()), Err(BodyError::TooManyQueries));
}

#[test]
fn depth_takes_no_stack() {
    const DEEP: usize = 5 << 20;
    let nested = |open: &str, close: &str, depth| format!("{}{}", open.repeat(depth), close.repeat(depth));
    assert_eq!(parameters(&nested("[", "]", 64)), Ok(texts(&[Some(&nested("{", "}", 64))])));
    for depth in [65, DEEP] {
        assert_eq!(parameters(&nested("[", "]", depth)), Err(BodyError::TooDeep));
    }
    // An object is text to us, however deep.
    let object = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    assert_eq!(parameters(&object), Ok(texts(&[Some(&object)])));
    for body in [
        "[".repeat(DEEP),
        r#"{"query":"#.repeat(DEEP / 8),
        format!(r#"{{"queries":{}"#, "[".repeat(DEEP)),
        format!(r#"{{"queries":{}}}"#, nested("[", "]", DEEP)),
        format!(r#"{{"query":"a","params":{}"#, r#"[{"a":"#.repeat(DEEP / 6)),
    ] {
        assert!(parse(body.as_bytes()).is_err(), "{}", &body[..30]);
    }
    let ignored = format!(r#"{{"query":"a","else":{}}}"#, nested("[", "]", DEEP));
    assert!(parse(ignored.as_bytes()).is_ok());
}
