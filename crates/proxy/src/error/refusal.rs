//! What a client is told of the end.

use std::borrow::Cow;

use wire::message::{self, Report};

/// All that a client sees of an [`Error`](super::Error).
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) message: Cow<'static, str>,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<Cow<'static, str>>,
}

impl Refusal {
    /// The refusal as an ErrorResponse. Every one of them is FATAL: the connection ends with it.
    pub(crate) fn to_message(&self) -> Vec<u8> {
        let mut out = Vec::new();
        message::error_response(
            &mut out,
            &Report {
                severity: "FATAL",
                code: self.code,
                message: &self.message,
                detail: self.detail.as_deref(),
                hint: self.hint.as_deref(),
                routine: None,
            },
        );
        out
    }

    pub(crate) fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), detail: None, hint: None }
    }

    pub(super) fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    pub(super) fn hint(self, hint: impl Into<Cow<'static, str>>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}
