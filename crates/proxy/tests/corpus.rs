//! Replays the fuzzer's corpora on any compiler.

use std::fs;

fn replay(corpus: &str, fuzz: impl Fn(&[u8])) {
    let directory = format!("{}/fuzz/corpus/{corpus}", env!("CARGO_MANIFEST_DIR"));
    let mut inputs = fs::read_dir(&directory).unwrap().peekable();
    assert!(inputs.peek().is_some(), "{directory} is empty");
    for input in inputs {
        fuzz(&fs::read(input.unwrap().path()).unwrap());
    }
}

#[test]
fn the_corpus_of_statements_passes() {
    replay("effects", pgusher::fuzz_effects);
}

#[test]
fn the_corpus_of_requests_passes() {
    replay("bodies", pgusher::fuzz_body);
}

#[test]
fn the_corpus_of_answers_passes() {
    replay("results", pgusher::fuzz_results);
}
