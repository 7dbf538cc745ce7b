//! An error as the answer to a request has it: the fields that Neon's driver makes a `NeonDbError` of. The database's
//! own errors have all that it told; what the proxy refuses has a message, a code, and sometimes a detail and a hint.

use serde::Serialize;

/// An error, in the order of its keys. What there is none of is `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SqlError {
    pub(crate) message: String,
    /// The SQLSTATE.
    pub(crate) code: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
    /// In characters of the query, from 1.
    pub(crate) position: Option<String>,
    pub(crate) internal_position: Option<String>,
    pub(crate) internal_query: Option<String>,
    pub(crate) severity: String,
    #[serde(rename = "where")]
    pub(crate) context: Option<String>,
    pub(crate) table: Option<String>,
    pub(crate) column: Option<String>,
    pub(crate) schema: Option<String>,
    pub(crate) data_type: Option<String>,
    pub(crate) constraint: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<String>,
    pub(crate) routine: Option<String>,
}

impl SqlError {
    /// An error of our own.
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { message: message.into(), code: code.to_owned(), severity: "ERROR".to_owned(), ..Self::default() }
    }

    /// Reads the body of an ErrorResponse, which may have been cut: a field without an end ends with the bytes.
    /// <https://www.postgresql.org/docs/current/protocol-error-fields.html>
    pub(super) fn of_response(body: &[u8]) -> Self {
        let mut error = Self::default();
        for field in body.split(|byte| *byte == 0) {
            let Some((&kind, text)) = field.split_first() else { break };
            error.set(kind, String::from_utf8_lossy(text).into_owned());
        }
        error
    }

    fn set(&mut self, kind: u8, text: String) {
        match kind {
            b'M' => self.message = text,
            b'C' => self.code = text,
            b'S' => self.severity = text,
            b'D' => self.detail = Some(text),
            b'H' => self.hint = Some(text),
            b'P' => self.position = Some(text),
            b'p' => self.internal_position = Some(text),
            b'q' => self.internal_query = Some(text),
            b'W' => self.context = Some(text),
            b't' => self.table = Some(text),
            b'c' => self.column = Some(text),
            b's' => self.schema = Some(text),
            b'd' => self.data_type = Some(text),
            b'n' => self.constraint = Some(text),
            b'F' => self.file = Some(text),
            b'L' => self.line = Some(text),
            b'R' => self.routine = Some(text),
            // `V`, and what later versions of Postgres add.
            _ => {}
        }
    }

    /// Appends it as JSON.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("strings are written to memory");
    }
}

/// Why what a server sends cannot become JSON. Nothing more can be read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("COPY from or to the client is not supported over HTTP")]
    Copy,
    #[error("results are not Unicode once client_encoding is not UTF8")]
    ClientEncoding,
    #[error("a result holds bytes that are not UTF-8")]
    NotUtf8,
    #[error("the server's answer was not understood: {0}")]
    Unexpected(&'static str),
    #[error("the connection to the server ended within the answer")]
    Ended,
}

impl From<Failure> for SqlError {
    fn from(failure: Failure) -> Self {
        let (code, hint) = match failure {
            Failure::Copy => ("0A000", Some("Use a Postgres connection.")),
            Failure::ClientEncoding => ("0A000", Some("Leave client_encoding alone.")),
            Failure::NotUtf8 => ("22021", Some("Convert it to bytea.")),
            Failure::Unexpected(_) => ("08P01", None),
            Failure::Ended => ("08006", Some("Whether the statement took effect is not known.")),
        };
        Self { hint: hint.map(str::to_owned), ..Self::new(code, failure.to_string()) }
    }
}
