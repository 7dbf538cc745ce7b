//! The judge: does an answer belong to the request, and the request's rows to the client? It holds no connection, so that
//! it can be shown violations that no proxy has made.

use super::flight::{Batch, Statement};
use super::report::{Kind, Violation};
use crate::raw::Message;

/// The role of every client.
pub const ROLE: &str = "authenticated";

/// Errors that faults explain, whoever caused them: connections and servers that went, and places that were taken.
const FAULTS: [&str; 9] = ["57P01", "57P02", "57P03", "08000", "08001", "08003", "08006", "53300", "58000"];

/// Errors that follow from an earlier one in the same flight.
const CONSEQUENCES: [&str; 5] = ["25P01", "25P02", "26000", "34000", "42P05"];

/// What is known of the client's own setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    /// It is this; nothing if it was never set.
    Exactly(Option<String>),
    /// It is one of the client's own, or nothing: a fault left open which.
    Own,
    /// The statement does not show it.
    Any,
}

/// Whose answers are judged.
#[derive(Clone, Debug)]
pub struct Who {
    /// The subject.
    pub subject: String,
    /// What every value begins with that this connection sets.
    pub prefix: String,
    /// Whether the connection has ever sent a request to cancel.
    pub cancels: bool,
    /// Whether servers are being killed.
    pub faults: bool,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows that were read and found to be right.
    pub rows: u64,
    /// The SQLSTATEs of errors that were not planned.
    pub errors: Vec<String>,
    /// The transaction status at its end; none if the connection was lost.
    pub status: Option<u8>,
    /// The settings that rows showed, in order.
    pub markers: Vec<Option<String>>,
    /// The payloads of notifications.
    pub notifications: Vec<String>,
}

/// Judges the answer to a batch, up to its ReadyForQuery or the end of the connection. Behind an earlier fault in its
/// flight (`shaken`) a statement may fail or do otherwise than planned, but never for somebody else.
pub fn check(who: &Who, batch: &Batch, answer: &[Message], shaken: bool) -> Result<Outcome, Violation> {
    let mut judge = Judge { who, batch, shaken, current: 0, rows: 0, failed: false, outcome: Outcome::default() };
    for message in answer {
        judge.hear(message).map_err(|violation| violation.at(&judge.place(answer)))?;
    }
    Ok(judge.outcome)
}

struct Judge<'a> {
    who: &'a Who,
    batch: &'a Batch,
    shaken: bool,
    /// The statement whose answer comes next.
    current: usize,
    /// Its rows so far.
    rows: usize,
    failed: bool,
    outcome: Outcome,
}

impl Judge<'_> {
    fn hear(&mut self, message: &Message) -> Result<(), Violation> {
        match message.tag {
            b'D' => self.row(&columns(&message.body)),
            b'd' => self.row(&copied(&message.body)),
            b'C' => self.complete(&text(&message.body)),
            b'E' => self.error(message),
            b'Z' => self.ready(message.body.first().copied()),
            b'A' => self.notification(&message.body),
            b'1' | b'2' | b'3' | b'T' | b't' | b'n' | b'G' | b'H' | b'c' | b'N' | b'S' => Ok(()),
            tag => mixed(format!("a message {:?} that nobody asked for", char::from(tag))),
        }
    }

    fn row(&mut self, columns: &[Option<String>]) -> Result<(), Violation> {
        let Some(statement) = self.statement() else { return mixed(format!("a row too many: {columns:?}")) };
        let [nonce, subject, role, marker, label, owner, body] = columns else {
            return mixed(format!("a row of another shape: {columns:?}"));
        };
        let wrong = |kind| Err(Violation::new(kind, format!("{columns:?} for {:?}", statement.nonce)));
        let (nonce, owner, body) = (nonce.as_deref(), owner.as_deref(), body.as_deref());
        if subject.as_ref() != Some(&self.who.subject) {
            return wrong(Kind::WrongSubject);
        }
        if owner != Some(&self.who.subject) || !body.is_some_and(|body| self.is_own(body)) {
            return wrong(Kind::ForeignRow);
        }
        if role.as_deref() != Some(ROLE) {
            return wrong(Kind::WrongRole);
        }
        if nonce != Some(&statement.nonce) || label.as_deref().unwrap_or_default() != statement.label {
            return wrong(Kind::MixedAnswer);
        }
        let marker = marker.clone().filter(|marker| !marker.is_empty());
        if !self.may_be(&statement.marker, marker.as_deref()) {
            return Err(Violation::new(Kind::WrongState, format!("{columns:?}, not {:?}", statement.marker)));
        }
        self.outcome.markers.push(marker);
        self.outcome.rows += 1;
        self.rows += 1;
        Ok(())
    }

    /// Every row's body begins with its owner's name and a mark that ends it.
    fn is_own(&self, body: &str) -> bool {
        body.strip_prefix(&self.who.subject).is_some_and(|rest| rest.starts_with('#'))
    }

    fn may_be(&self, expected: &Marker, seen: Option<&str>) -> bool {
        let own = seen.is_none_or(|seen| seen.starts_with(&self.who.prefix));
        match expected {
            Marker::Exactly(value) if !self.shaken => value.as_deref() == seen,
            _ => own,
        }
    }

    fn complete(&mut self, tag: &str) -> Result<(), Violation> {
        let Some(statement) = self.statement() else { return mixed(format!("{tag:?} too many")) };
        let expected = statement.rows.is_none_or(|rows| rows == self.rows);
        let right = tag.starts_with(statement.tag) && expected && statement.error.is_none();
        if !right && !self.shaken {
            let Statement { sql, rows, error, .. } = statement;
            return mixed(format!("{tag:?} with {} rows for {sql:?}, not {rows:?} ({error:?})", self.rows));
        }
        self.current += 1;
        self.rows = 0;
        Ok(())
    }

    fn error(&mut self, message: &Message) -> Result<(), Violation> {
        let (code, planned) = (message.sqlstate(), self.statement().and_then(|statement| statement.error));
        self.failed = true;
        if planned == Some(&code) {
            return Ok(());
        }
        let explained = match code.as_str() {
            "57014" => self.who.cancels,
            code if FAULTS.contains(&code) => self.who.faults,
            code => self.shaken && CONSEQUENCES.contains(&code),
        };
        if !explained {
            let text = format!("{code}: {:?} {:?}", message.field(b'M'), message.field(b'D'));
            return Err(Violation::new(Kind::UnexpectedError, text));
        }
        self.outcome.errors.push(code);
        self.shaken = true;
        Ok(())
    }

    fn ready(&mut self, status: Option<u8>) -> Result<(), Violation> {
        if self.current < self.batch.statements.len() && !self.failed {
            return mixed("an answer too few".to_owned());
        }
        self.outcome.status = status;
        Ok(())
    }

    fn notification(&mut self, body: &[u8]) -> Result<(), Violation> {
        // Behind the sender's process id: channel and payload.
        let said = text(body.get(4..).unwrap_or_default());
        if !said.contains(&self.who.prefix) {
            return Err(Violation::new(Kind::WrongState, format!("somebody else's notification: {said:?}")));
        }
        self.outcome.notifications.push(said);
        Ok(())
    }

    fn statement(&self) -> Option<&Statement> {
        self.batch.statements.get(self.current).filter(|_| !self.failed)
    }

    /// Where a violation was found.
    fn place(&self, answer: &[Message]) -> String {
        let (tags, shaken) = (Message::tags(answer), if self.shaken { ", behind a fault" } else { "" });
        format!("in the answer {tags} to statement {} of this batch{shaken}:\n  {}", self.current + 1, self.batch)
    }
}

fn mixed(text: String) -> Result<(), Violation> {
    Err(Violation::new(Kind::MixedAnswer, text))
}

/// The columns of a DataRow in text.
fn columns(body: &[u8]) -> Vec<Option<String>> {
    let mut rest = body.get(2..).unwrap_or_default();
    let mut columns = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        let (value, behind) = behind.split_at(length.unwrap_or(0).min(behind.len()));
        columns.push(length.map(|_| String::from_utf8_lossy(value).into_owned()));
        rest = behind;
    }
    columns
}

/// The columns of a line of COPY in text.
fn copied(body: &[u8]) -> Vec<Option<String>> {
    let line = String::from_utf8_lossy(body);
    line.trim_end_matches('\n').split('\t').map(|value| (value != "\\N").then(|| value.to_owned())).collect()
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim_end_matches('\0').to_owned()
}
