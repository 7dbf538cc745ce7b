//! For the fuzzer: bodies, and answers of a server that need not be a Postgres.

use super::body::{self, Work};
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
        let (count, parameters) = statement.parameters.into_encoded();
        assert!(!statement.query.contains('\0') && parameters.len() <= 6 * bytes.len());
        assert_eq!(read_parameters(&parameters), usize::from(count));
    }
}

/// How many there are, each a text as Postgres takes it.
fn read_parameters(mut encoded: &[u8]) -> usize {
    let mut count = 0;
    while let Some((length, rest)) = encoded.split_first_chunk() {
        let length = i32::from_be_bytes(*length);
        let (value, rest) = rest.split_at(usize::try_from(length).unwrap_or(0));
        assert!(length >= -1 && !value.contains(&0) && std::str::from_utf8(value).is_ok());
        (encoded, count) = (rest, count + 1);
    }
    assert!(encoded.is_empty());
    count
}

/// Reads arbitrary bytes as a server's answer: must not panic, and must make of parts what it makes of the whole. The
/// first byte says how it is asked for and where it is cut.
pub fn fuzz_results(bytes: &[u8]) {
    let Some((&how, answer)) = bytes.split_first() else { return };
    let whole = read(asked(how), answer, usize::MAX);
    assert_eq!(whole, read(asked(how), answer, usize::from(how >> 4) + 1));
    let Some((Progress::Done(_), json)) = whole else { return };
    // JSON of the server's is put in as it is.
    if how & RAW_TEXT != 0 {
        for line in json.split_inclusive(|byte| *byte == b'\n' && how & LINES != 0) {
            serde_json::from_slice::<serde::de::IgnoredAny>(line).expect("what is written is JSON");
        }
    }
}

const RAW_TEXT: u8 = 1;
const ARRAY_MODE: u8 = 2;
const LINES: u8 = 4;
const BATCH: u8 = 8;

pub(super) fn asked(how: u8) -> Results {
    let style = Style { raw_text: how & RAW_TEXT != 0, array_mode: how & ARRAY_MODE != 0 };
    let layout = if how & LINES == 0 { Layout::Document } else { Layout::Lines };
    if how & BATCH == 0 { Results::single(style, layout) } else { Results::batch(vec![style; 3], layout) }
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
