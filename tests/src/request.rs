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

fn zero_terminated(text: &[u8]) -> Vec<u8> {
    [text, &[0]].concat()
}
