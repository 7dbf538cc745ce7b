//! What clients are told whose sessions go on.

use std::time::Duration;

use wire::message::{self, Report};

use super::seconds;

/// The SQLSTATE and the words with which Postgres refuses a prepared statement whose result has changed.
pub(super) const RESULT_CHANGED: (&str, &str) = ("0A000", "cached plan must not change result type");

/// Postgres's own refusal of such a statement.
pub(crate) fn result_changed() -> Vec<u8> {
    let mut out = Vec::new();
    message::error_response(
        &mut out,
        &Report {
            severity: "ERROR",
            code: RESULT_CHANGED.0,
            message: RESULT_CHANGED.1,
            detail: None,
            hint: None,
            routine: Some("RevalidateCachedQuery"),
        },
    );
    out
}

/// Refuses one prepared statement more than a session may have.
pub(crate) fn too_many_statements(most: usize) -> Vec<u8> {
    let mut out = Vec::new();
    message::error_response(
        &mut out,
        &Report {
            severity: "ERROR",
            code: "54000",
            message: "too many prepared statements",
            detail: Some(&format!("A session may have {most}.")),
            hint: Some("Close those that are no longer needed, or use the unnamed one."),
            routine: None,
        },
    );
    out
}

/// Postgres's own answer to a request that was cancelled.
pub(crate) fn canceled() -> Vec<u8> {
    let mut out = Vec::new();
    message::error_response(
        &mut out,
        &Report {
            severity: "ERROR",
            code: "57014",
            message: "canceling statement due to user request",
            detail: None,
            hint: None,
            routine: Some("ProcessInterrupts"),
        },
    );
    out
}

/// Tells a client that it waits for a server.
pub(crate) fn notice_of_waiting(waited: Duration) -> Vec<u8> {
    let mut out = Vec::new();
    message::notice_response(
        &mut out,
        &Report {
            severity: "NOTICE",
            code: "00000",
            message: "no server connection available yet, still waiting in line",
            detail: Some(&format!("Waited for {}.", seconds(waited))),
            hint: None,
            routine: None,
        },
    );
    out
}
