//! Replays the fuzzers' corpora on any compiler.

use std::fs;

fn replay(target: &str, fuzz: fn(&[u8])) {
    let directory = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut inputs = fs::read_dir(&directory).expect(&directory).peekable();
    assert!(inputs.peek().is_some(), "{directory} is empty");
    for input in inputs {
        fuzz(&fs::read(input.expect("an entry").path()).expect("a file"));
    }
}

#[test]
fn the_corpus_of_first_packets_passes() {
    replay("first_packet", pgusher_wire::startup::fuzz_first_packet);
}

#[test]
fn the_corpus_of_frames_passes() {
    replay("lane", pgusher_wire::lane::fuzz_lane);
}
