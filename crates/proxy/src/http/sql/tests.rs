//! The parts of `/sql` without a server: what a real one sends is written by hand.

mod body;
mod endings;
mod frames;
mod results;
mod streams;
mod values;

use super::results::Style;

const OBJECTS: Style = Style { raw_text: false, array_mode: false };
const LISTS: Style = Style { raw_text: false, array_mode: true };
const RAW: Style = Style { raw_text: true, array_mode: true };

/// A message of the server.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag], &length[..], body].concat()
}

/// A RowDescription of columns with these names and types.
fn description(columns: &[(&str, u32)]) -> Vec<u8> {
    let mut body = u16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
    for (name, oid) in columns {
        body.extend(name.as_bytes());
        body.push(0);
        body.extend([0, 0, 0x40, 1, 0, 2]);
        body.extend(oid.to_be_bytes());
        body.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
    }
    message(b'T', &body)
}

/// A DataRow.
fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
        body.extend(length.to_be_bytes());
        body.extend(value.unwrap_or_default());
    }
    message(b'D', &body)
}

fn complete(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

/// A statement that returns these rows, from its BindComplete to its CommandComplete.
fn statement(columns: &[(&str, u32)], rows: &[&[Option<&[u8]>]], tag: &str) -> Vec<u8> {
    let rows: Vec<u8> = rows.iter().flat_map(|values| row(values)).collect();
    [message(b'2', b""), description(columns), rows, complete(tag)].concat()
}
