//! For the fuzzer: bodies, and answers of a server that need not be a Postgres.

use super::body::{self, MAX_PARAMETERS, Work};
use super::results::{Layout, Progress, Results, Style};

/// Reads arbitrary bytes as a request: must not panic, and what is taken must keep to the limits.
pub fn fuzz_body(bytes: &[u8]) {
    let statements = match body::parse(bytes) {
        Ok(Work::Single(statement)) => vec![statement],
        Ok(Work::Batch(statements)) => statements,
        Err(error) => {
            assert!(error.to_string().len() < 1000, "an error quotes the whole request");
            return;
        }
    };
    assert!(statements.len() <= body::MAX_QUERIES);
    for statement in statements {
        assert!(!statement.query.contains('\0') && statement.parameters.len() <= MAX_PARAMETERS);
        for parameter in statement.parameters.iter().flatten() {
            assert!(!parameter.contains(&0) && std::str::from_utf8(parameter).is_ok());
        }
    }
}

/// Reads arbitrary bytes as a server's answer: must not panic, and must make of parts what it makes of the whole. The
/// first byte says how it is asked for and where it is cut.
pub fn fuzz_results(bytes: &[u8]) {
    let Some((&how, answer)) = bytes.split_first() else { return };
    let style = Style { raw_text: how & 1 != 0, array_mode: how & 2 != 0 };
    let layout = if how & 4 == 0 { Layout::Document } else { Layout::Lines };
    let results = || match how & 8 {
        0 => Results::single(style, layout),
        _ => Results::batch(vec![style; 3], layout),
    };
    let (whole, in_parts) = (read(results(), answer, usize::MAX), read(results(), answer, usize::from(how >> 4) + 1));
    assert_eq!(whole, in_parts);
    if let Some((Progress::Done, json)) = whole
        && style.raw_text
    {
        for line in json.split_inclusive(|byte| *byte == b'\n' && layout == Layout::Lines) {
            serde_json::from_slice::<serde::de::IgnoredAny>(line).expect("what is written is JSON");
        }
    }
}

/// What comes of the answer, unless it cannot become JSON: what is written before that is seen depends on the parts.
fn read(mut results: Results, answer: &[u8], size: usize) -> Option<(Progress, Vec<u8>)> {
    let mut out = Vec::new();
    for part in answer.chunks(size) {
        match results.read(part, &mut out) {
            Ok(Progress::More) => {}
            Ok(end) => return Some((end, out)),
            Err(_) => return None,
        }
    }
    Some((Progress::More, out))
}
