//! What clients are told whose sessions go on.

use std::time::Duration;

use wire::message::{self, Report};

use super::seconds;

/// The SQLSTATE and the words with which Postgres refuses a prepared statement whose result has changed.
pub(super) const RESULT_CHANGED: (&str, &str) = ("0A000", "cached plan must not change result type");

/// The routine of Postgres's that does so, which no statement can name in an error of its own.
const REVALIDATING: &str = "RevalidateCachedQuery";

/// An error that ends no session.
const ERROR: Report<'_> = Report { severity: "ERROR", code: "", message: "", detail: None, hint: None, routine: None };

/// Whether an error of this SQLSTATE and routine is that refusal.
pub(crate) fn is_result_changed(code: Option<&[u8]>, routine: Option<&[u8]>) -> bool {
    (code, routine) == (Some(RESULT_CHANGED.0.as_bytes()), Some(REVALIDATING.as_bytes()))
}

/// Postgres's own refusal of such a statement.
pub(crate) fn result_changed() -> Vec<u8> {
    let (code, message) = RESULT_CHANGED;
    error(&Report { code, message, routine: Some(REVALIDATING), ..ERROR })
}

/// Refuses one prepared statement more than a session may have.
pub(crate) fn too_many_statements(most: usize) -> Vec<u8> {
    error(&Report {
        code: "54000",
        message: "too many prepared statements",
        detail: Some(&format!("A session may have {most}.")),
        hint: Some("Close those that are no longer needed, or use the unnamed one."),
        ..ERROR
    })
}

/// Postgres's own answer to a request that was cancelled.
pub(crate) fn canceled() -> Vec<u8> {
    let message = "canceling statement due to user request";
    error(&Report { code: "57014", message, routine: Some("ProcessInterrupts"), ..ERROR })
}

fn error(report: &Report<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message::error_response(&mut out, report);
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
