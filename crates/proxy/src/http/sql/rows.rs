//! The rows of one statement: what a RowDescription says of them, and each DataRow as it comes, in parts.

use std::ops::Range;

use super::error::Failure;
use super::results::{Layout, Style};
use super::text;
use super::value::{Breaks, Kind, Value};

const TRUNCATED: Failure = Failure::Unexpected("a message is shorter than what it holds");

/// Takes words out of bytes that may end within one.
#[derive(Debug, Default)]
pub(super) struct Words {
    held: [u8; 8],
    len: usize,
}

impl Words {
    /// The next so many bytes; none if they have not all come.
    #[inline]
    pub(super) fn take<const N: usize>(&mut self, bytes: &mut &[u8]) -> Option<[u8; N]> {
        if self.len == 0
            && let Some((word, rest)) = bytes.split_first_chunk()
        {
            *bytes = rest;
            return Some(*word);
        }
        let (part, rest) = bytes.split_at(bytes.len().min(N - self.len));
        self.held[self.len..self.len + part.len()].copy_from_slice(part);
        (self.len, *bytes) = (self.len + part.len(), rest);
        let word = self.held[..self.len].first_chunk().copied()?;
        self.len = 0;
        Some(word)
    }
}

#[derive(Debug)]
struct Column {
    kind: Kind,
    /// In `labels`.
    label: Range<usize>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Before the number of columns.
    Count,
    /// Before the length of a column.
    Length,
    /// In a column of which so many bytes are to come.
    Value(u32),
}

/// The statement's columns, and where its rows are.
#[derive(Debug)]
pub(super) struct Rows {
    layout: Layout,
    style: Style,
    columns: Vec<Column>,
    /// What stands before each column's value: a brace, bracket or comma, and its name.
    labels: Vec<u8>,
    /// Of the rows begun.
    first: bool,
    state: State,
    words: Words,
    /// Bytes of the row's message that are to come.
    left: u32,
    /// The column that is to come, or comes.
    at: usize,
    value: Value,
}

impl Rows {
    pub(super) fn new(layout: Layout, style: Style) -> Self {
        let breaks = if layout == Layout::Lines { Breaks::Blank } else { Breaks::Kept };
        Self {
            layout,
            style,
            columns: Vec::new(),
            labels: Vec::new(),
            first: true,
            state: State::Count,
            words: Words::default(),
            left: 0,
            at: 0,
            value: Value::new(breaks),
        }
    }

    /// A statement begins, whose rows have this style.
    pub(super) fn reset(&mut self, style: Style) {
        (self.style, self.first) = (style, true);
        self.columns.clear();
        self.labels.clear();
    }

    /// Reads a RowDescription and appends the fields of it.
    pub(super) fn describe(&mut self, mut body: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let body = &mut body;
        for number in 0..u16::from_be_bytes(take(body)?) {
            let end = body.iter().position(|byte| *byte == 0).ok_or(TRUNCATED)?;
            let name = &body[..end];
            *body = &body[end + 1..];
            let label = self.labels.len();
            self.labels.push(if number > 0 { b',' } else { self.style.brackets()[0] });
            if !self.style.array_mode {
                text::string(name, &mut self.labels);
                self.labels.push(b':');
            }
            if number > 0 {
                out.push(b',');
            }
            let oid = field(name, body, out)?;
            let kind = if self.style.raw_text { Kind::RAW } else { Kind::of(oid) };
            self.columns.push(Column { kind, label: label..self.labels.len() });
        }
        if body.is_empty() { Ok(()) } else { Err(Failure::Unexpected("a description is longer than it says")) }
    }

    /// A DataRow begins, with so many bytes.
    #[inline]
    pub(super) fn begin(&mut self, size: u32, out: &mut Vec<u8>) {
        (self.state, self.left, self.at) = (State::Count, size, 0);
        match self.layout {
            Layout::Document if !self.first => out.push(b','),
            Layout::Document => {}
            Layout::Lines => out.extend_from_slice(b"{\"row\":"),
        }
        self.first = false;
    }

    /// Reads on in the row; true when it is complete.
    pub(super) fn read(&mut self, bytes: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, Failure> {
        loop {
            match self.state {
                State::Count => {
                    let Some(count) = self.word(bytes)? else { return Ok(false) };
                    if usize::from(u16::from_be_bytes(count)) != self.columns.len() {
                        return Err(Failure::Unexpected("a row has not the columns of its description"));
                    }
                    if self.columns.is_empty() {
                        out.push(self.style.brackets()[0]);
                        return self.end(out);
                    }
                    self.state = State::Length;
                }
                State::Length => {
                    let Some(length) = self.word(bytes)? else { return Ok(false) };
                    if self.column(i32::from_be_bytes(length), out)? {
                        return self.end(out);
                    }
                }
                State::Value(left) => {
                    let (part, rest) = bytes.split_at(bytes.len().min(left as usize));
                    *bytes = rest;
                    self.value.part(part, out)?;
                    let left = left - part.len() as u32;
                    self.state = State::Value(left);
                    if left > 0 {
                        return Ok(false);
                    }
                    self.value.end(out)?;
                    if self.next() {
                        return self.end(out);
                    }
                }
            }
        }
    }

    /// A column of this length begins; true if it was the last, and is NULL.
    fn column(&mut self, length: i32, out: &mut Vec<u8>) -> Result<bool, Failure> {
        let column = &self.columns[self.at];
        out.extend_from_slice(&self.labels[column.label.clone()]);
        match u32::try_from(length) {
            Ok(length) => {
                self.value.begin(column.kind, out);
                self.spend(length)?;
                self.state = State::Value(length);
                Ok(false)
            }
            Err(_) if length == -1 => {
                out.extend_from_slice(b"null");
                Ok(self.next())
            }
            Err(_) => Err(Failure::Unexpected("a column has a negative length")),
        }
    }

    /// True behind the last column.
    fn next(&mut self) -> bool {
        self.at += 1;
        self.state = State::Length;
        self.at == self.columns.len()
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<bool, Failure> {
        if self.left != 0 {
            return Err(Failure::Unexpected("a row is longer than its columns"));
        }
        out.push(self.style.brackets()[1]);
        if self.layout == Layout::Lines {
            out.extend_from_slice(b"}\n");
        }
        Ok(true)
    }

    /// A word of the row, if all of it has come.
    #[inline]
    fn word<const N: usize>(&mut self, bytes: &mut &[u8]) -> Result<Option<[u8; N]>, Failure> {
        let left = self.left.checked_sub(N as u32).ok_or(TRUNCATED)?;
        let word = self.words.take(bytes);
        if word.is_some() {
            self.left = left;
        }
        Ok(word)
    }

    fn spend(&mut self, bytes: u32) -> Result<(), Failure> {
        self.left = self.left.checked_sub(bytes).ok_or(TRUNCATED)?;
        Ok(())
    }
}

/// Appends what a RowDescription says of one column behind its name; its type's OID.
fn field(name: &[u8], body: &mut &[u8], out: &mut Vec<u8>) -> Result<u32, Failure> {
    text::Utf8::whole(name)?;
    let table = u32::from_be_bytes(take(body)?);
    let column = i16::from_be_bytes(take(body)?);
    let oid = u32::from_be_bytes(take(body)?);
    let size = i16::from_be_bytes(take(body)?);
    let modifier = i32::from_be_bytes(take(body)?);
    if u16::from_be_bytes(take(body)?) != 0 {
        return Err(Failure::Unexpected("a column is not in text format"));
    }
    out.extend_from_slice(b"{\"name\":");
    text::string(name, out);
    let numbers: [(&str, i64); 5] = [
        ("dataTypeID", oid.into()),
        ("tableID", table.into()),
        ("columnID", column.into()),
        ("dataTypeSize", size.into()),
        ("dataTypeModifier", modifier.into()),
    ];
    for (key, number) in numbers {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":");
        text::number(number, out);
    }
    out.extend_from_slice(b",\"format\":\"text\"}");
    Ok(oid)
}

fn take<const N: usize>(body: &mut &[u8]) -> Result<[u8; N], Failure> {
    let (word, rest) = body.split_first_chunk().ok_or(TRUNCATED)?;
    *body = rest;
    Ok(*word)
}
