//! The messages that we write ourselves: to a client those of the handshake, and those with which we refuse; to a server
//! what goes in the place of a client's.
//!
//! Everything else is a peer's, and passes as it was sent.

use crate::frame::{Tag, backend, frontend};
use crate::owed::TxStatus;
use crate::startup::Version;

/// Fields of an ErrorResponse or NoticeResponse.
/// <https://www.postgresql.org/docs/current/protocol-error-fields.html>
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// `FATAL`, `ERROR`, `WARNING`, `NOTICE`, ….
    pub severity: &'a str,
    /// The SQLSTATE.
    pub code: &'a str,
    /// What happened, in one line.
    pub message: &'a str,
    /// The particulars.
    pub detail: Option<&'a str>,
    /// What to do.
    pub hint: Option<&'a str>,
    /// The function of Postgres that says so, by which drivers know some errors.
    pub routine: Option<&'a str>,
}

/// AuthenticationCleartextPassword.
pub fn ask_for_password(out: &mut Vec<u8>) {
    frame(out, backend::AUTHENTICATION, |out| out.extend(3_u32.to_be_bytes()));
}

/// AuthenticationOk.
pub fn authentication_ok(out: &mut Vec<u8>) {
    frame(out, backend::AUTHENTICATION, |out| out.extend(0_u32.to_be_bytes()));
}

/// BackendKeyData: with what a client may cancel.
pub fn backend_key_data(out: &mut Vec<u8>, process_id: u32, key: &[u8]) {
    frame(out, backend::BACKEND_KEY_DATA, |out| {
        out.extend(process_id.to_be_bytes());
        out.extend(key);
    });
}

/// NegotiateProtocolVersion: the newest version we speak, and the protocol options that we do not know.
pub fn negotiate_protocol_version(out: &mut Vec<u8>, newest: Version, unknown: &[&str]) {
    frame(out, backend::NEGOTIATE_PROTOCOL_VERSION, |out| {
        out.extend((u32::from(newest.major) << 16 | u32::from(newest.minor)).to_be_bytes());
        out.extend((unknown.len() as u32).to_be_bytes());
        unknown.iter().for_each(|name| c_string(out, name));
    });
}

/// ParameterStatus.
pub fn parameter_status(out: &mut Vec<u8>, name: &str, value: &str) {
    frame(out, backend::PARAMETER_STATUS, |out| {
        c_string(out, name);
        c_string(out, value);
    });
}

/// ReadyForQuery.
pub fn ready_for_query(out: &mut Vec<u8>, status: TxStatus) {
    let status = match status {
        TxStatus::Idle => b'I',
        TxStatus::Open => b'T',
        TxStatus::Failed => b'E',
    };
    frame(out, backend::READY_FOR_QUERY, |out| out.push(status));
}

/// ErrorResponse.
pub fn error_response(out: &mut Vec<u8>, report: &Report<'_>) {
    frame(out, backend::ERROR_RESPONSE, |out| fields(out, report));
}

/// NoticeResponse.
pub fn notice_response(out: &mut Vec<u8>, report: &Report<'_>) {
    frame(out, backend::NOTICE_RESPONSE, |out| fields(out, report));
}

/// Parse, of a statement without parameters.
pub fn parse(out: &mut Vec<u8>, name: &str, sql: &str) {
    frame(out, frontend::PARSE, |out| {
        c_string(out, name);
        c_string(out, sql);
        out.extend([0; 2]);
    });
}

/// Query.
pub fn query(out: &mut Vec<u8>, sql: &str) {
    frame(out, frontend::QUERY, |out| c_string(out, sql));
}

/// Flush.
pub fn flush(out: &mut Vec<u8>) {
    frame(out, frontend::FLUSH, |_| {});
}

fn fields(out: &mut Vec<u8>, report: &Report<'_>) {
    // `V` is the severity that is never translated.
    let fields = [
        (b'S', Some(report.severity)),
        (b'V', Some(report.severity)),
        (b'C', Some(report.code)),
        (b'M', Some(report.message)),
        (b'D', report.detail),
        (b'H', report.hint),
        (b'R', report.routine),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            out.push(name);
            c_string(out, value);
        }
    }
    out.push(0);
}

/// Writes a frame; its length is filled in when the body is known.
fn frame(out: &mut Vec<u8>, tag: Tag, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag.0);
    let start = out.len();
    out.extend([0; 4]);
    body(out);
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// A zero byte inside would end the string early and shift all that follows: it is left out.
fn c_string(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|byte| *byte != 0));
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_each_field_and_ends_with_a_zero() {
        let mut out = Vec::new();
        let report = Report {
            severity: "FATAL",
            code: "28P01",
            message: "no\0",
            detail: None,
            hint: Some("try"),
            routine: Some("f"),
        };
        error_response(&mut out, &report);
        assert_eq!(out, b"E\0\0\0\x26SFATAL\0VFATAL\0C28P01\0Mno\0Htry\0Rf\0\0");
    }

    #[test]
    fn a_negotiation_names_the_options_it_refuses() {
        let mut out = Vec::new();
        negotiate_protocol_version(&mut out, Version::V3_2, &["_pq_.a"]);
        assert_eq!(out, b"v\0\0\0\x13\0\x03\0\x02\0\0\0\x01_pq_.a\0");
    }
}
