//! What single bytes are, whatever the client's encoding: those beyond ASCII are letters.

/// What a byte is where a token may begin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::effect) enum Class {
    Space,
    Word,
    Digit,
    Quote,
    DoubleQuote,
    Dollar,
    Dash,
    Slash,
    Mark,
}

pub(in crate::effect) static CLASS: [Class; 256] = {
    let mut classes = [Class::Mark; 256];
    let mut byte = 0;
    while byte < classes.len() {
        classes[byte] = match byte as u8 {
            // Where there is a zero the text has ended.
            0 | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => Class::Space,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..=0xff => Class::Word,
            b'0'..=b'9' => Class::Digit,
            b'\'' => Class::Quote,
            b'"' => Class::DoubleQuote,
            b'$' => Class::Dollar,
            b'-' => Class::Dash,
            b'/' => Class::Slash,
            _ => Class::Mark,
        };
        byte += 1;
    }
    classes
};

/// Whether a word goes on with it.
static IS_OF_WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = matches!(CLASS[byte], Class::Word | Class::Digit | Class::Dollar);
        byte += 1;
    }
    table
};

/// Where the number ends that goes on at `from`, with all that is glued to it.
pub(in crate::effect) fn end_of_number(part: &[u8], from: usize) -> usize {
    let ends = |&byte: &u8| byte == b'$' || !IS_OF_WORD[usize::from(byte)];
    part[from..].iter().position(ends).map_or(part.len(), |end| from + end)
}

/// Where the word ends that goes on at `from`.
#[inline]
pub(in crate::effect) fn end_of_word(part: &[u8], from: usize) -> usize {
    // By hand: words are shorter than what a search over an iterator takes to begin. Eight at a time, so that hardly
    // any byte is asked whether it is the last.
    let mut end = from;
    while let Some(eight) = part.get(end..).and_then(<[u8]>::first_chunk::<8>) {
        for (index, &byte) in eight.iter().enumerate() {
            if !IS_OF_WORD[usize::from(byte)] {
                return end + index;
            }
        }
        end += eight.len();
    }
    while end < part.len() && IS_OF_WORD[usize::from(part[end])] {
        end += 1;
    }
    end
}
