//! A text in parts beside the whole: where a part ends must make no difference.

use super::{Effects, Reader, effects, glance, read};

/// Reads arbitrary bytes as SQL: must not panic, and must find in parts what it finds in the whole. The first byte says
/// where the text is cut. For the fuzzer.
pub fn fuzz_effects(bytes: &[u8]) {
    let Some((&size, text)) = bytes.split_first() else { return };
    let mut reader = Reader::default();
    for part in text.chunks(usize::from(size) % 32 + 1) {
        reader.read(part);
    }
    let whole = read(text);
    assert!(whole == Effects::default() || !glance::is_harmless(text));
    // What is found in the whole alone must not make it panic.
    effects(text);
    assert_eq!(reader.finish(), whole);
    let (head, tail) = text.split_at(usize::from(size) * text.len() / 256);
    let mut reader = Reader::default();
    reader.read(head);
    reader.read(tail);
    assert_eq!(reader.finish(), whole);
}
