//! A first look at a text. Most have no word in them that could do anything to a session, and those need not be read.

use super::lexer::MOST_NAME;
use super::lexer::class::{CLASS, Class, end_of_number, end_of_word};
use super::word::Word;

/// Whether a text has no effects for sure, however its words are put together and wherever its strings and comments
/// are. What might hide a word from this look is in doubt: escapes, and dollars that are no parameter's.
pub(super) fn is_harmless(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = match CLASS[usize::from(byte)] {
            Class::Word => {
                let (word, behind) = rest.split_at(end_of_word(rest, 1));
                if word.len() >= MOST_NAME || Word::matters(word) {
                    return false;
                }
                behind
            }
            Class::Digit => &behind[end_of_number(behind, 0)..],
            Class::Dollar if !behind.first().is_some_and(u8::is_ascii_digit) => return false,
            Class::Mark if matches!(byte, b'&' | b'\\') => return false,
            _ => behind,
        }
    }
    true
}
