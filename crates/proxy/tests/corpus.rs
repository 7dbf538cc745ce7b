//! Replays the fuzzer's corpus on any compiler.

use std::fs;

#[test]
fn the_corpus_of_statements_passes() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/effects");
    let mut inputs = fs::read_dir(directory).unwrap().peekable();
    assert!(inputs.peek().is_some(), "{directory} is empty");
    for input in inputs {
        pgusher::fuzz_effects(&fs::read(input.unwrap().path()).unwrap());
    }
}
