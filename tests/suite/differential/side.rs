//! A session of which there are two: through the proxy, and past it. What it answers is made comparable here.

use std::collections::BTreeMap;

use pgusher_tests::{Message, Raw, wait};
use tokio::time::timeout;

use super::trace::{Flight, MARK};

/// What a flight says where each side has to say something of its own.
const PLACEHOLDER: &[u8] = b"SIDE";

/// Codes of errors that name a prepared statement: there is none of that name, or there is one already.
const NAMING: [&str; 3] = ["26000", "42P05", "08P01"];

/// Whether prepared statements have the names that the client gave them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// They do.
    Kept,
    /// In a pool for transactions the server knows them by other names.
    Replaced,
}

/// One of both sessions.
pub(super) struct Side {
    raw: Raw,
    names: Names,
    /// What it says for the placeholder.
    name: [u8; PLACEHOLDER.len()],
    /// Whether a batch has failed that no Sync has ended yet.
    failed: bool,
    /// The transaction has failed and waits for its end.
    aborted: bool,
    /// No transaction is open, nor a batch.
    pub(super) idle: bool,
    /// Each parameter that was reported, as it was last.
    pub(super) parameters: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Side {
    /// One that says `name` for the placeholder, and was greeted with this.
    pub(super) fn new(raw: Raw, names: Names, name: [u8; PLACEHOLDER.len()], greeting: &[Message]) -> Self {
        let mut side =
            Self { raw, names, name, failed: false, aborted: false, idle: true, parameters: BTreeMap::new() };
        greeting.iter().filter(|message| message.tag == b'S').for_each(|message| side.learn(message));
        side
    }

    /// What it answers to a flight, without how it refuses what is asked in a transaction that has failed (the server may
    /// not have the statement, the unnamed one in any pool, and can make none then), with the fields blanked that differ
    /// from session to session, and without ParameterStatus, which counts as it is in the end.
    pub(super) async fn answers(&mut self, flight: &Flight) -> Vec<Message> {
        let bytes: Vec<u8> = flight.steps.iter().flat_map(|step| step.bytes.clone()).collect();
        self.raw.send(&replaced(&bytes, PLACEHOLDER, &self.name)).await;
        let mut answers = Vec::new();
        let (mut ready, mut marking, mut marked) = (0, false, false);
        while ready < flight.ready || flight.cut && !self.failed && !marked {
            let Some(message) = self.next().await else { break };
            match message.tag {
                b'S' => {
                    self.learn(&message);
                    continue;
                }
                b'Z' => {
                    (ready, self.failed) = (ready + 1, false);
                    self.aborted = message.body == b"E";
                    self.idle = message.body == b"I";
                }
                b'E' => self.failed = true,
                b'D' => marking = is_mark(&message),
                b'C' => marked = marking,
                _ => {}
            }
            let refused = self.aborted && message.tag != b'Z';
            answers.extend(Some(message).filter(|_| !refused));
        }
        self.idle &= !flight.cut;
        answers.into_iter().map(|message| self.blanked(message)).collect()
    }

    /// The next message; one that no server sends where none comes in time.
    async fn next(&mut self) -> Option<Message> {
        match timeout(wait::PATIENCE, self.raw.next()).await {
            Ok(message) => message,
            Err(_) => {
                self.failed = true;
                Some(Message { tag: b'Z', body: b"nothing came".to_vec() })
            }
        }
    }

    fn learn(&mut self, status: &Message) {
        let mut parts = status.body.split(|byte| *byte == 0).map(<[u8]>::to_vec);
        if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            self.parameters.insert(name, value);
        }
    }

    /// Blanks
    /// - in errors and notices, the schema of temporary tables, which has the backend's number in its name, and what this
    ///   side says for the placeholder;
    /// - in what is said of a result that changed, where Postgres's source has it;
    /// - in errors that name a prepared statement, the name, where names are replaced;
    /// - in notifications, the sender's process id;
    /// - in descriptions of rows, the number of the table that a column is from: each side has its own.
    fn blanked(&self, mut message: Message) -> Message {
        match message.tag {
            b'E' | b'N' => {
                let fields = message.body.split(|byte| *byte == 0);
                let mut fields: Vec<_> =
                    fields.filter(|field| !field.starts_with(b"spg_temp_")).map(<[u8]>::to_vec).collect();
                if message.field(b'C').as_deref() == Some("0A000") {
                    fields.retain(|field| !matches!(field.first(), Some(b'F' | b'L')));
                }
                let naming = message.field(b'C').is_some_and(|code| NAMING.contains(&code.as_str()));
                if naming && self.names == Names::Replaced {
                    fields.iter_mut().for_each(blank_name);
                }
                message.body = replaced(&fields.join(&0), &self.name, PLACEHOLDER);
            }
            b'A' => message.body[..4].fill(0),
            b'T' => blank_tables(&mut message.body),
            _ => {}
        }
        message
    }
}

fn is_mark(message: &Message) -> bool {
    message.tag == b'D' && message.body.ends_with(MARK.as_bytes())
}

/// Takes what stands in quotes out of a message's text.
fn blank_name(field: &mut Vec<u8>) {
    let mut quotes = field.iter().enumerate().filter(|(_, byte)| **byte == b'"').map(|(at, _)| at);
    if let (Some(b'M'), Some(first), Some(last)) = (field.first(), quotes.next(), quotes.next_back()) {
        field.drain(first + 1..last);
    }
}

/// In a RowDescription each column is its name, the table's number in four bytes, and fourteen more.
fn blank_tables(body: &mut [u8]) {
    let mut rest = &mut body[2..];
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let (column, behind) = rest[end + 1..].split_at_mut(18);
        column[..4].fill(0);
        rest = behind;
    }
}

fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len().saturating_sub(old.len() - 1) {
        if bytes[at..].starts_with(old) {
            bytes[at..at + old.len()].copy_from_slice(new);
        }
    }
    bytes
}
