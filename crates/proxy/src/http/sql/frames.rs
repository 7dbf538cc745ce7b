//! The frames that ask for it: one round trip, whatever is asked.
//!
//! Postgres skips all that follows an error up to the Sync, a COMMIT too. So a batch is a transaction that is committed
//! whole or not at all, though nothing waits for an answer within it.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use postgres_protocol::message::frontend;
use wire::frame::frontend as tag;

use super::parameter::Parameters;

/// Bytes of parameters from which on they are not copied.
const LARGE: usize = 16 * 1024;

/// Frames that are being made. Large parameters stay where they were read: they are pieces of their own.
#[derive(Debug)]
pub(crate) struct Frames {
    pieces: VecDeque<Bytes>,
    last: BytesMut,
    /// What the statements' transaction ends with, if it is one of ours.
    end: Option<&'static str>,
}

/// What a batch's transaction is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transaction {
    /// The session's default, if none.
    pub(crate) isolation: Option<Isolation>,
    pub(crate) read_only: bool,
    pub(crate) deferrable: bool,
}

/// An isolation level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

/// A query or its parameters are longer than a message can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a query or its parameters do not fit into a message of Postgres's")]
pub(crate) struct TooLong;

impl Isolation {
    const ALL: [Self; 4] = [Self::ReadUncommitted, Self::ReadCommitted, Self::RepeatableRead, Self::Serializable];

    /// By the name that `Neon-Batch-Isolation-Level` has for it.
    pub(crate) fn of(header: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.header() == header)
    }

    /// Its name in `Neon-Batch-Isolation-Level`.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "ReadUncommitted",
            Self::ReadCommitted => "ReadCommitted",
            Self::RepeatableRead => "RepeatableRead",
            Self::Serializable => "Serializable",
        }
    }

    fn sql(self) -> &'static str {
        match self {
            Self::ReadUncommitted => " ISOLATION LEVEL READ UNCOMMITTED",
            Self::ReadCommitted => " ISOLATION LEVEL READ COMMITTED",
            Self::RepeatableRead => " ISOLATION LEVEL REPEATABLE READ",
            Self::Serializable => " ISOLATION LEVEL SERIALIZABLE",
        }
    }
}

impl Frames {
    /// For one statement.
    pub(crate) fn single() -> Self {
        Self { pieces: VecDeque::new(), last: BytesMut::new(), end: None }
    }

    /// For statements in one transaction.
    pub(crate) fn batch(transaction: Transaction) -> Result<Self, TooLong> {
        let read_only = if transaction.read_only { " READ ONLY" } else { "" };
        let deferrable = if transaction.deferrable { " DEFERRABLE" } else { "" };
        let isolation = transaction.isolation.map_or("", Isolation::sql);
        let mut frames = Self { end: Some("COMMIT"), ..Self::single() };
        frames.run(&format!("BEGIN{isolation}{read_only}{deferrable}"))?;
        Ok(frames)
    }

    /// A statement that the session knows by this name.
    pub(crate) fn named(&mut self, name: &str, parameters: Parameters) -> Result<(), TooLong> {
        self.bind(name, parameters)?;
        frontend::describe(b'P', "", &mut self.last).map_err(|_| TooLong)?;
        self.execute()
    }

    /// A statement that is too long to be kept, or is nobody's to find.
    pub(crate) fn unnamed(&mut self, query: &str, parameters: Parameters) -> Result<(), TooLong> {
        self.parse(query)?;
        self.named("", parameters)
    }

    /// All of them.
    pub(crate) fn finish(mut self) -> Result<VecDeque<Bytes>, TooLong> {
        if let Some(end) = self.end {
            self.run(end)?;
        }
        frontend::sync(&mut self.last);
        self.pieces.push_back(self.last.freeze());
        Ok(self.pieces)
    }

    /// Runs a statement of our own.
    fn run(&mut self, sql: &str) -> Result<(), TooLong> {
        self.parse(sql)?;
        self.bind("", Parameters::default())?;
        self.execute()
    }

    fn parse(&mut self, sql: &str) -> Result<(), TooLong> {
        frontend::parse("", sql, [], &mut self.last).map_err(|_| TooLong)
    }

    fn execute(&mut self) -> Result<(), TooLong> {
        frontend::execute("", 0, &mut self.last).map_err(|_| TooLong)
    }

    /// Binds the unnamed portal; parameters and results are text.
    fn bind(&mut self, name: &str, parameters: Parameters) -> Result<(), TooLong> {
        let (count, values) = parameters.into_encoded();
        let length = 4 + 1 + name.len() + 1 + 2 + 2 + values.len() + 2;
        let out = &mut self.last;
        out.put_u8(tag::BIND.0);
        out.put_i32(i32::try_from(length).map_err(|_| TooLong)?);
        out.put_u8(0);
        out.put_slice(name.as_bytes());
        out.put_u8(0);
        out.put_u16(0);
        out.put_u16(count);
        if values.len() < LARGE {
            out.put_slice(&values);
        } else {
            self.pieces.extend([out.split().freeze(), values.into()]);
        }
        self.last.put_u16(0);
        Ok(())
    }
}

/// Ends a transaction that is left, which a batch that failed does: its COMMIT was skipped.
pub(crate) fn rollback(out: &mut BytesMut) {
    frontend::query("ROLLBACK", out).expect("it has no zero byte");
}
