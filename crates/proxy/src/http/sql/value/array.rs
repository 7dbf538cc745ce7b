//! An array literal: `[0:1]={{a,"b c"},{NULL,"\"d\\"}}` becomes lists. Its bounds are lost: JSON has none.
//! <https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO>

use super::Type;
use super::scalar::Scalar;
use crate::http::sql::error::Failure;

const MALFORMED: Failure = Failure::Unexpected("an array is malformed");

/// The state between two parts.
#[derive(Debug)]
pub(super) struct Array {
    element: Type,
    delimiter: u8,
    state: State,
    depth: u32,
    /// The first bytes of an element without quotes, as long as it may be NULL.
    head: [u8; 4],
    head_len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before everything.
    Start,
    /// In the bounds, which end with an equals sign.
    Bounds,
    /// Behind the bounds.
    Open,
    /// Behind a brace: an element, a list, or the end of an empty one.
    First,
    /// Behind a delimiter.
    Next,
    /// In an element without quotes that may still be NULL.
    Head,
    /// In one that is not.
    Plain,
    Quoted,
    /// Behind a backslash.
    Escape,
    /// Behind an element or a list.
    Behind,
    /// Behind the last brace.
    End,
}

impl Array {
    pub(super) fn new(element: Type, delimiter: u8) -> Self {
        Self { element, delimiter, state: State::Start, depth: 0, head: [0; 4], head_len: 0 }
    }

    /// Appends what these bytes become.
    pub(super) fn part(&mut self, mut part: &[u8], scalar: &mut Scalar, out: &mut Vec<u8>) -> Result<(), Failure> {
        while let Some((&byte, rest)) = part.split_first() {
            let taken = match self.state {
                State::Head => self.head(part, scalar, out)?,
                State::Plain => self.plain(part, scalar, out)?,
                State::Quoted => self.quoted(part, scalar, out)?,
                State::Escape => {
                    scalar.part(&[byte], out)?;
                    self.state = State::Quoted;
                    1
                }
                State::Bounds => {
                    if byte == b'=' {
                        self.state = State::Open;
                    }
                    1
                }
                _ if byte.is_ascii_whitespace() => 1,
                State::Start if byte == b'[' => {
                    self.state = State::Bounds;
                    1
                }
                State::Start | State::Open if byte == b'{' => {
                    self.open(out);
                    1
                }
                State::First | State::Next => self.element(part, scalar, out)?,
                State::Behind => {
                    self.behind(byte, out)?;
                    1
                }
                State::Start | State::Open | State::End => return Err(MALFORMED),
            };
            part = if taken == 1 { rest } else { &part[taken..] };
        }
        Ok(())
    }

    /// The literal ends.
    pub(super) fn end(&self) -> Result<(), Failure> {
        if self.state == State::End { Ok(()) } else { Err(MALFORMED) }
    }

    fn open(&mut self, out: &mut Vec<u8>) {
        out.push(b'[');
        self.depth += 1;
        self.state = State::First;
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        out.push(b']');
        self.depth -= 1;
        self.state = if self.depth == 0 { State::End } else { State::Behind };
    }

    /// What begins here, and how much of it is done with.
    fn element(&mut self, part: &[u8], scalar: &mut Scalar, out: &mut Vec<u8>) -> Result<usize, Failure> {
        match part[0] {
            b'{' => self.open(out),
            b'}' if self.state == State::First => self.close(out),
            b'}' => return Err(MALFORMED),
            b'"' => {
                scalar.begin(self.element, out);
                self.state = State::Quoted;
            }
            byte if byte == self.delimiter => return Err(MALFORMED),
            _ => match self.end_of_plain(part) {
                Some(end) => {
                    self.short(&part[..end], scalar, out)?;
                    return Ok(end);
                }
                None => {
                    self.head_len = 0;
                    self.state = State::Head;
                    return Ok(0);
                }
            },
        }
        Ok(1)
    }

    fn end_of_plain(&self, part: &[u8]) -> Option<usize> {
        part.iter().position(|byte| *byte == b'}' || *byte == self.delimiter)
    }

    /// The whole of an element without quotes.
    fn short(&mut self, element: &[u8], scalar: &mut Scalar, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.state = State::Behind;
        if element == b"NULL" {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        scalar.begin(self.element, out);
        scalar.part(element, out)?;
        scalar.end(out)
    }

    fn behind(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Failure> {
        match byte {
            b'}' => self.close(out),
            _ if byte == self.delimiter => {
                out.push(b',');
                self.state = State::Next;
            }
            _ => return Err(MALFORMED),
        }
        Ok(())
    }

    fn head(&mut self, part: &[u8], scalar: &mut Scalar, out: &mut Vec<u8>) -> Result<usize, Failure> {
        let (byte, head) = (part[0], self.head);
        let head = &head[..self.head_len];
        if byte == b'}' || byte == self.delimiter {
            self.short(head, scalar, out)?;
            return Ok(0);
        }
        if let Some(place) = self.head.get_mut(self.head_len) {
            *place = byte;
            self.head_len += 1;
            return Ok(1);
        }
        scalar.begin(self.element, out);
        scalar.part(head, out)?;
        self.state = State::Plain;
        Ok(0)
    }

    fn plain(&mut self, part: &[u8], scalar: &mut Scalar, out: &mut Vec<u8>) -> Result<usize, Failure> {
        let end = self.end_of_plain(part);
        let taken = end.unwrap_or(part.len());
        scalar.part(&part[..taken], out)?;
        if end.is_some() {
            scalar.end(out)?;
            self.state = State::Behind;
        }
        Ok(taken)
    }

    fn quoted(&mut self, part: &[u8], scalar: &mut Scalar, out: &mut Vec<u8>) -> Result<usize, Failure> {
        let Some(end) = part.iter().position(|byte| matches!(byte, b'"' | b'\\')) else {
            scalar.part(part, out)?;
            return Ok(part.len());
        };
        scalar.part(&part[..end], out)?;
        if part[end] == b'"' {
            scalar.end(out)?;
            self.state = State::Behind;
        } else {
            self.state = State::Escape;
        }
        Ok(end + 1)
    }
}
