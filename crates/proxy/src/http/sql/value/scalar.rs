//! A value that is no array, or an element of one.

use super::{Breaks, Type};
use crate::http::sql::error::Failure;
use crate::http::sql::text::{escape, is_number, on_one_line, string};

/// Longer than any boolean or number of Postgres's that can become one of JSON's.
const SHORT: usize = 32;

/// The state between two parts.
#[derive(Debug)]
pub(super) struct Scalar {
    kind: Type,
    breaks: Breaks,
    /// Whether it has anything yet.
    empty: bool,
    /// A boolean or a number: only its end tells what it is.
    short: [u8; SHORT],
    len: usize,
}

impl Scalar {
    pub(super) fn new(breaks: Breaks) -> Self {
        Self { kind: Type::Text, breaks, empty: true, short: [0; SHORT], len: 0 }
    }

    #[inline]
    pub(super) fn begin(&mut self, kind: Type, out: &mut Vec<u8>) {
        (self.kind, self.empty, self.len) = (kind, true, 0);
        if kind == Type::Text {
            out.push(b'"');
        }
    }

    #[inline]
    pub(super) fn part(&mut self, part: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        self.empty &= part.is_empty();
        match (self.kind, self.breaks) {
            (Type::Text, _) => escape(part, out),
            (Type::Json, Breaks::Kept) => out.extend_from_slice(part),
            (Type::Json, Breaks::Blank) => on_one_line(part, out),
            (Type::Boolean | Type::Number, _) => {
                let room = self.short.get_mut(self.len..self.len + part.len());
                room.ok_or(Failure::Unexpected("a number is too long"))?.copy_from_slice(part);
                self.len += part.len();
            }
        }
        Ok(())
    }

    #[inline]
    pub(super) fn end(&self, out: &mut Vec<u8>) -> Result<(), Failure> {
        let short = &self.short[..self.len];
        match self.kind {
            Type::Text => out.push(b'"'),
            Type::Json if self.empty => return Err(Failure::Unexpected("empty JSON")),
            Type::Json => {}
            Type::Boolean if short == b"t" => out.extend_from_slice(b"true"),
            Type::Boolean if short == b"f" => out.extend_from_slice(b"false"),
            Type::Number if is_number(short) => out.extend_from_slice(short),
            // NaN, Infinity.
            Type::Boolean | Type::Number => string(short, out),
        }
        Ok(())
    }
}
