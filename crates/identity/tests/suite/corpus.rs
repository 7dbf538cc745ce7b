//! Replays the fuzzer's corpus on any compiler.

use std::fs;

#[test]
fn the_corpus_of_tokens_passes() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/token");
    let mut inputs = fs::read_dir(directory).unwrap().peekable();
    assert!(inputs.peek().is_some(), "{directory} is empty");
    for input in inputs {
        pgusher_identity::fuzz_token(&fs::read(input.unwrap().path()).unwrap());
    }
}
