//! A first look at a text. Most have no word in them that could do anything to a session, and those need not be read.

use super::lexer::MOST_NAME;
use super::lexer::class::{CLASS, Class, end_of_number, end_of_word};
use super::word::Word;

/// Whether a text has no effects for sure, however its words are put together and wherever its strings and comments
/// are. What might hide a word from this look is in doubt: escapes, and dollars that are no parameter's.
pub(super) fn is_harmless(text: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let from = at;
        at += 1;
        match CLASS[usize::from(byte)] {
            Class::Space => {}
            Class::Word => {
                at = end_of_word(text, at);
                if at - from >= MOST_NAME || Word::matters(&text[from..at]) {
                    return false;
                }
            }
            Class::Digit => at = end_of_number(text, at),
            Class::Dollar if !text.get(at).is_some_and(u8::is_ascii_digit) => return false,
            Class::Mark if matches!(byte, b'&' | b'\\') => return false,
            _ => {}
        }
    }
    true
}
