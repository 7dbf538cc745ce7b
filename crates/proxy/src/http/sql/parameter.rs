//! Parameters: from JSON to the text that Postgres reads, as Neon's proxy does it, but to the letter: a number or an
//! object is never parsed, so that none is rounded and no key moves.
//!
//! All JSON that comes here has been found valid by serde; what is left is to see where a value ends. Nothing recurses,
//! and every byte is looked at once.

use std::borrow::Cow;

use super::body::{BodyError, shortened};

/// How deep lists may be within each other. Postgres itself takes six dimensions; deeper is no array, but may be meant
/// for a text.
pub(crate) const MAX_DEPTH: usize = 64;

/// How many parameters a Bind can carry: it counts them in 16 bits.
pub(crate) const MAX_PARAMETERS: u16 = u16::MAX;

const BLANK: [char; 4] = [' ', '\t', '\n', '\r'];

/// The parameters of a statement in Postgres's text form, none of which has a zero byte. They are kept as a Bind has
/// them, so that many small ones take little room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameters {
    count: u16,
    /// Each one's length, which is -1 for NULL, and the bytes of it.
    encoded: Vec<u8>,
}

impl Parameters {
    /// Adds one; none is NULL.
    pub(super) fn push(&mut self, value: Option<&[u8]>) -> Result<(), BodyError> {
        self.count = self.count.checked_add(1).ok_or(BodyError::TooManyParameters)?;
        let length = value.map_or(Ok(-1), |value| i32::try_from(value.len()));
        self.encoded.extend(length.map_err(|_| BodyError::TooLong)?.to_be_bytes());
        self.encoded.extend(value.unwrap_or_default());
        Ok(())
    }

    /// There are no more: what was taken for them in advance is free.
    pub(super) fn complete(mut self) -> Self {
        self.encoded.shrink_to_fit();
        self
    }

    /// Their number, and what a Bind has behind it.
    pub(super) fn into_encoded(self) -> (u16, Vec<u8>) {
        (self.count, self.encoded)
    }
}

/// The elements of a list, each as it is written.
pub(super) struct Elements<'a>(&'a str);

impl<'a> Elements<'a> {
    /// None if it is no list.
    pub(super) fn of(json: &'a str) -> Option<Self> {
        json.strip_prefix('[').map(Self)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start_matches([' ', '\t', '\n', '\r', ',']);
        let (value, rest) = rest.split_at(end_of_value(rest.as_bytes()));
        self.0 = rest;
        (!value.is_empty()).then_some(value)
    }
}

/// The text of a parameter; none for NULL.
pub(super) fn text(json: &str) -> Result<Option<Cow<'_, [u8]>>, BodyError> {
    let text = match json.as_bytes().first() {
        Some(b'n') => return Ok(None),
        Some(b'"') => match string(json)? {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        },
        Some(b'[') => Cow::Owned(array(json)?),
        _ => Cow::Borrowed(json.as_bytes()),
    };
    if text.contains(&0) {
        return Err(BodyError::ZeroByte("a parameter"));
    }
    Ok(Some(text))
}

/// An array literal of Postgres. Elements are quoted wherever a plain one could mean something else; whether they are
/// of one type is for Postgres to say.
fn array(json: &str) -> Result<Vec<u8>, BodyError> {
    let mut out = Vec::with_capacity(json.len());
    let (mut rest, mut depth) = (json, 0);
    while let Some(&byte) = rest.as_bytes().first() {
        let end = match byte {
            b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(BodyError::TooDeep);
                }
                out.push(b'{');
                1
            }
            b']' => {
                out.push(b'}');
                1
            }
            b',' => {
                out.push(b',');
                1
            }
            b' ' | b'\t' | b'\n' | b'\r' => 1,
            _ => end_of_value(rest.as_bytes()),
        };
        let (value, behind) = rest.split_at(end);
        match byte {
            b']' => depth -= 1,
            b'"' => quote(&string(value)?, &mut out),
            b'{' => quote(value, &mut out),
            b'n' => out.extend(b"NULL"),
            b't' | b'f' | b'-' | b'0'..=b'9' => out.extend(value.as_bytes()),
            _ => {}
        }
        rest = behind;
    }
    Ok(out)
}

fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// What a JSON string holds.
fn string(json: &str) -> Result<Cow<'_, str>, BodyError> {
    match json.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(text) if !text.as_bytes().contains(&b'\\') => Ok(Cow::Borrowed(text)),
        // Until here half of a surrogate pair has passed for a character.
        _ => match serde_json::from_str(json) {
            Ok(text) => Ok(Cow::Owned(text)),
            Err(error) => Err(BodyError::Json(shortened(error.to_string()))),
        },
    }
}

/// Where the value ends with which these bytes begin: 0, if they begin with none.
fn end_of_value(bytes: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at += end_of_string(&bytes[at..]),
            b'[' | b'{' => {
                depth += 1;
                at += 1;
            }
            b']' | b'}' if depth > 0 => {
                depth -= 1;
                at += 1;
            }
            b']' | b'}' | b',' if depth == 0 => return at,
            byte if depth == 0 && BLANK.contains(&char::from(*byte)) => return at,
            _ => at += 1,
        }
        if depth == 0 && matches!(byte, b'"' | b']' | b'}') {
            return at;
        }
    }
    at
}

/// Where the string ends with which these bytes begin.
fn end_of_string(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}
