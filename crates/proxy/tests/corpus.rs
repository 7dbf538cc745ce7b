//! Replays the fuzzer's corpora on any compiler.

use std::fs;

fn replay(corpus: &str, fuzz: impl Fn(&[u8])) {
    let directory = format!("{}/fuzz/corpus/{corpus}", env!("CARGO_MANIFEST_DIR"));
    let mut inputs = fs::read_dir(&directory).expect("the corpus is here").peekable();
    assert!(inputs.peek().is_some(), "{directory} is empty");
    for input in inputs {
        let path = input.expect("the corpus can be listed").path();
        fuzz(&fs::read(path).expect("an input can be read"));
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
