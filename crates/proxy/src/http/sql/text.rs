//! The letters of JSON: strings with what must be escaped, numbers, and the check that bytes are UTF-8 when they come in
//! parts.

use std::str;

use super::error::Failure;

/// How many bytes are looked at together. The compiler makes vector instructions of it.
const BLOCK: usize = 16;

/// Appends the inside of a string. UTF-8 passes as it is, wherever it is cut.
pub(super) fn escape(mut text: &[u8], out: &mut Vec<u8>) {
    loop {
        let (plain, rest) = text.split_at(plain(text));
        out.extend_from_slice(plain);
        let Some((&byte, rest)) = rest.split_first() else { return };
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x08 => out.extend(b"\\b"),
            0x0c => out.extend(b"\\f"),
            _ => {
                let digit = |nibble| b"0123456789abcdef"[usize::from(nibble)];
                out.extend([b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 0xf)]);
            }
        }
        text = rest;
    }
}

/// Appends a string.
pub(super) fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    escape(text, out);
    out.push(b'"');
}

/// How many bytes there are before the first that must be escaped.
fn plain(text: &[u8]) -> usize {
    let special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    let blocks = text.as_chunks::<BLOCK>().0;
    let clean = blocks.iter().take_while(|block| !block.iter().fold(false, |any, byte| any | special(*byte)));
    let start = clean.count() * BLOCK;
    text[start..].iter().position(|byte| special(*byte)).map_or(text.len(), |at| start + at)
}

/// Appends JSON, with blanks for the line breaks between its tokens: within a token it has none.
pub(super) fn on_one_line(json: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(json);
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

/// Appends a whole number.
pub(super) fn number(value: i64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), value.unsigned_abs());
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// Whether JSON has such a number.
pub(super) fn is_number(text: &[u8]) -> bool {
    let digits = |text: &mut &[u8]| {
        let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        *text = &text[count..];
        count
    };
    let mut rest = text.strip_prefix(b"-").unwrap_or(text);
    let zero = rest.first() == Some(&b'0');
    let whole = digits(&mut rest);
    if whole == 0 || zero && whole > 1 {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        rest = fraction;
        if digits(&mut rest) == 0 {
            return false;
        }
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        rest = exponent.strip_prefix(b"-").or_else(|| exponent.strip_prefix(b"+")).unwrap_or(exponent);
        if digits(&mut rest) == 0 {
            return false;
        }
    }
    rest.is_empty()
}

/// Checks that the parts of a text are UTF-8 together.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// The beginning of a character whose rest is to come.
    begun: [u8; 4],
    len: usize,
}

impl Utf8 {
    /// A text that has come whole.
    pub(super) fn whole(text: &[u8]) -> Result<(), Failure> {
        str::from_utf8(text).map(drop).map_err(|_| Failure::NotUtf8)
    }

    /// The next part.
    #[inline]
    pub(super) fn check(&mut self, mut part: &[u8]) -> Result<(), Failure> {
        while self.len > 0 {
            let Some((&byte, rest)) = part.split_first() else { return Ok(()) };
            self.begun[self.len] = byte;
            self.len += 1;
            part = rest;
            match str::from_utf8(&self.begun[..self.len]) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_some() => return Err(Failure::NotUtf8),
                Err(_) => {}
            }
        }
        match str::from_utf8(part) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(Failure::NotUtf8),
            Err(error) => {
                let begun = &part[error.valid_up_to()..];
                self.begun[..begun.len()].copy_from_slice(begun);
                self.len = begun.len();
                Ok(())
            }
        }
    }

    /// The text ends.
    #[inline]
    pub(super) fn end(&mut self) -> Result<(), Failure> {
        if std::mem::take(&mut self.len) == 0 { Ok(()) } else { Err(Failure::NotUtf8) }
    }
}
