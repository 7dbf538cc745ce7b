//! What a session is asked, and who reads what it answers. Of a body nothing else is kept.

use std::collections::VecDeque;
use std::ffi::CString;
use std::sync::Arc;

use axum::http::StatusCode;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::body::{self, BodyError, Statement, Work};
use super::frames::{Frames, TooLong};
use super::results::{Layout, Results, Style};
use crate::http::answer::Failure;
use crate::http::asking::Form;
use crate::http::sql::Transaction;
use crate::statements::LONGEST_SHARED;

/// Bytes of a body beyond which it is read on a thread apart. One of 10 MiB may take a tenth of a second.
const LARGE: usize = 256 * 1024;

/// A question. It can be asked more than once, and its copies share what is large.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) frames: VecDeque<Bytes>,
    /// The statements that the session is to know: names and texts.
    pub(super) known: Arc<[(String, CString)]>,
    layout: Layout,
    styles: Styles,
}

/// How the rows of the statements are written.
#[derive(Clone, Debug)]
enum Styles {
    Single(Style),
    Batch(Vec<Style>),
}

/// Whether servers keep a statement for whoever asks it next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// If it is not too long.
    Short,
    /// Nobody else finds anything on the server.
    Nothing,
}

/// In which way a body is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) form: Form,
    pub(super) transaction: Transaction,
    pub(super) keep: Keep,
}

/// Reads a body. A large one takes one of these turns and a thread of its own, or whatever else is on this one would wait
/// for it.
pub(super) async fn read(body: Vec<u8>, manner: Manner, turns: &Arc<Semaphore>) -> Result<Question, Failure> {
    if body.len() <= LARGE {
        return Question::read(body, manner);
    }
    let turn = turns.clone().acquire_owned().await.expect("the semaphore is never closed");
    let reading = spawn_blocking(move || {
        // Held here, because the reading goes on if the client goes away.
        let _turn = turn;
        Question::read(body, manner)
    });
    reading.await.expect("to read a body does not panic")
}

impl Question {
    fn read(body: Vec<u8>, manner: Manner) -> Result<Self, Failure> {
        let work = body::parse(&body)?;
        // The frames take as much room, or more.
        drop(body);
        Ok(Self::of(work, manner)?)
    }

    fn of(work: Work, Manner { form, transaction, keep }: Manner) -> Result<Self, TooLong> {
        let Form { raw_text, array_mode, lines } = form;
        let style = |statement: &Statement| Style { raw_text, array_mode: statement.array_mode.unwrap_or(array_mode) };
        let (mut frames, statements, styles) = match work {
            Work::Single(statement) => {
                let styles = Styles::Single(style(&statement));
                (Frames::single(), vec![statement], styles)
            }
            Work::Batch(statements) => {
                let styles = Styles::Batch(statements.iter().map(style).collect());
                (Frames::batch(transaction)?, statements, styles)
            }
        };
        let mut known = Vec::new();
        for (number, Statement { query, parameters, .. }) in statements.into_iter().enumerate() {
            if keep == Keep::Short && query.len() <= LONGEST_SHARED {
                let name = number.to_string();
                frames.named(&name, parameters)?;
                known.push((name, CString::new(query).expect("a query that was read has no zero byte")));
            } else {
                frames.unnamed(&query, parameters)?;
            }
        }
        let layout = if lines { Layout::Lines } else { Layout::Document };
        Ok(Self { frames: frames.finish()?, known: known.into(), layout, styles })
    }

    /// Who reads the answer.
    pub(super) fn results(&self) -> Results {
        match &self.styles {
            Styles::Single(style) => Results::single(*style, self.layout),
            Styles::Batch(styles) => Results::batch(styles.clone(), self.layout),
        }
    }

    /// Whether it has several statements, in one transaction.
    pub(super) fn is_batch(&self) -> bool {
        matches!(self.styles, Styles::Batch(_))
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        let failure = Self::request(StatusCode::BAD_REQUEST, error.code(), error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<TooLong> for Failure {
    fn from(error: TooLong) -> Self {
        Self::request(StatusCode::PAYLOAD_TOO_LARGE, "54000", error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use futures_util::poll;

    use super::*;

    const MANNER: Manner = Manner {
        form: Form { raw_text: false, array_mode: false, lines: false },
        transaction: Transaction { isolation: None, read_only: false, deferrable: false },
        keep: Keep::Short,
    };

    fn body(length: usize) -> Vec<u8> {
        format!(r#"{{"query":"select $1","params":["{}"]}}"#, "x".repeat(length)).into()
    }

    #[tokio::test]
    async fn a_large_body_keeps_nobody_waiting_on_its_thread() {
        let turns = Arc::new(Semaphore::new(1));
        assert!(matches!(poll!(pin!(read(body(1), MANNER, &turns))), Poll::Ready(Ok(_))));
        let mut first = pin!(read(body(LARGE), MANNER, &turns));
        let mut second = pin!(read(body(LARGE), MANNER, &turns));
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        for question in [first.await, second.await] {
            assert_eq!(question.unwrap().known.len(), 1);
        }
    }

    #[tokio::test]
    async fn a_large_body_that_is_wrong_is_told_so() {
        let wrong = [body(LARGE), b"}".to_vec()].concat();
        let refused = read(wrong, MANNER, &Arc::new(Semaphore::new(1))).await;
        assert!(matches!(refused, Err(Failure::Request(StatusCode::BAD_REQUEST, _))));
    }
}
