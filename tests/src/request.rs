//! Requests in bytes, to be sent as they are or one behind the other.

use crate::raw::message;

/// Query: the simple protocol.
pub fn query(sql: impl AsRef<[u8]>) -> Vec<u8> {
    message(b'Q', &zero_terminated(sql.as_ref()))
}

/// Parse of the unnamed statement.
pub fn parse(sql: impl AsRef<[u8]>) -> Vec<u8> {
    message(b'P', &[&[0], &zero_terminated(sql.as_ref())[..], &[0, 0]].concat())
}

/// Bind of the unnamed portal to the unnamed statement, without parameters.
pub fn bind() -> Vec<u8> {
    message(b'B', &[0; 8])
}

/// Describe of the unnamed portal.
pub fn describe() -> Vec<u8> {
    message(b'D', b"P\0")
}

/// Execute of the unnamed portal, to its end.
pub fn execute() -> Vec<u8> {
    message(b'E', &[0; 5])
}

/// A statement in the extended protocol, without its Sync.
pub fn extended(sql: impl AsRef<[u8]>) -> Vec<u8> {
    [parse(sql), bind(), describe(), execute()].concat()
}

/// Sync.
pub fn sync() -> Vec<u8> {
    message(b'S', b"")
}

/// CopyData.
pub fn copy_data(data: impl AsRef<[u8]>) -> Vec<u8> {
    message(b'd', data.as_ref())
}

/// CopyDone.
pub fn copy_done() -> Vec<u8> {
    message(b'c', b"")
}

/// CopyFail.
pub fn copy_fail() -> Vec<u8> {
    message(b'f', b"no more\0")
}

/// Terminate.
pub fn terminate() -> Vec<u8> {
    message(b'X', b"")
}

/// CancelRequest. The body of a BackendKeyData is the process id and the key.
pub fn cancel(backend_key_data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(backend_key_data.len() + 8).expect("a small message");
    [&length.to_be_bytes()[..], &(1234_u32 << 16 | 5678).to_be_bytes(), backend_key_data].concat()
}

/// Parse of a statement by name; the types of its parameters are left to the server.
pub fn parse_named(name: &str, sql: impl AsRef<[u8]>) -> Vec<u8> {
    message(b'P', &[&zero_terminated(name.as_bytes())[..], &zero_terminated(sql.as_ref()), &[0, 0]].concat())
}

/// Bind of a portal to a statement with these parameters, all as text.
pub fn bind_named(portal: &str, statement: &str, parameters: &[&str]) -> Vec<u8> {
    let names = [zero_terminated(portal.as_bytes()), zero_terminated(statement.as_bytes())].concat();
    let count = u16::try_from(parameters.len()).expect("few parameters").to_be_bytes();
    let sized = |text: &&str| [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
    let parameters: Vec<u8> = parameters.iter().flat_map(sized).collect();
    message(b'B', &[&names[..], &[0, 0], &count, &parameters, &[0, 0]].concat())
}

/// Describe of a statement (`b'S'`) or portal (`b'P'`) by name.
pub fn describe_named(kind: u8, name: &str) -> Vec<u8> {
    message(b'D', &[&[kind][..], &zero_terminated(name.as_bytes())].concat())
}

/// Execute of a portal by name, up to so many rows; 0 is all.
pub fn execute_named(portal: &str, rows: u32) -> Vec<u8> {
    message(b'E', &[&zero_terminated(portal.as_bytes())[..], &rows.to_be_bytes()].concat())
}

/// Close of a statement (`b'S'`) or portal (`b'P'`) by name.
pub fn close_named(kind: u8, name: &str) -> Vec<u8> {
    message(b'C', &[&[kind][..], &zero_terminated(name.as_bytes())].concat())
}

/// Flush.
pub fn flush() -> Vec<u8> {
    message(b'H', b"")
}

/// FunctionCall with parameters and result in binary.
pub fn function_call(oid: u32, parameters: &[&[u8]]) -> Vec<u8> {
    let count = u16::try_from(parameters.len()).expect("few parameters").to_be_bytes();
    let sized = |parameter: &&[u8]| [&(parameter.len() as u32).to_be_bytes()[..], parameter].concat();
    let parameters: Vec<u8> = parameters.iter().flat_map(sized).collect();
    message(b'F', &[&oid.to_be_bytes()[..], &[0, 1, 0, 1], &count, &parameters, &[0, 1]].concat())
}

fn zero_terminated(text: &[u8]) -> Vec<u8> {
    [text, &[0]].concat()
}
