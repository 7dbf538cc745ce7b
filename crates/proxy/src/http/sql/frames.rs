//! The frames that ask for it: one round trip, whatever is asked.
//!
//! Postgres skips all that follows an error up to the Sync, a COMMIT too. So a batch is a transaction that is committed
//! whole or not at all, though nothing waits for an answer within it.

use bytes::{BufMut, BytesMut};
use postgres_protocol::message::frontend;
use wire::frame::frontend as tag;

use super::body::Statement;
use super::parameter::Parameters;

/// A statement, and the name by which the session knows its text; none, if it is too long to be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    pub(crate) statement: &'a Statement,
    pub(crate) name: Option<&'a str>,
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

/// One statement.
pub(crate) fn single(statement: Named<'_>, out: &mut BytesMut) -> Result<(), TooLong> {
    described(statement, out)?;
    frontend::sync(out);
    Ok(())
}

/// Statements in one transaction.
pub(crate) fn batch<'a>(
    transaction: Transaction,
    statements: impl IntoIterator<Item = Named<'a>>,
    out: &mut BytesMut,
) -> Result<(), TooLong> {
    let read_only = if transaction.read_only { " READ ONLY" } else { "" };
    let deferrable = if transaction.deferrable { " DEFERRABLE" } else { "" };
    let isolation = transaction.isolation.map_or("", Isolation::sql);
    run(&format!("BEGIN{isolation}{read_only}{deferrable}"), out)?;
    for statement in statements {
        described(statement, out)?;
    }
    run("COMMIT", out)?;
    frontend::sync(out);
    Ok(())
}

/// Ends a transaction that is left, which a batch that failed does: its COMMIT was skipped.
pub(crate) fn rollback(out: &mut BytesMut) {
    frontend::query("ROLLBACK", out).expect("it has no zero byte");
}

/// Runs a statement of our own.
fn run(sql: &str, out: &mut BytesMut) -> Result<(), TooLong> {
    parse(sql, out)?;
    bind("", &Parameters::default(), out)?;
    execute(out)
}

fn described(Named { statement, name }: Named<'_>, out: &mut BytesMut) -> Result<(), TooLong> {
    if name.is_none() {
        parse(&statement.query, out)?;
    }
    bind(name.unwrap_or_default(), &statement.parameters, out)?;
    frontend::describe(b'P', "", out).map_err(|_| TooLong)?;
    execute(out)
}

fn parse(sql: &str, out: &mut BytesMut) -> Result<(), TooLong> {
    frontend::parse("", sql, [], out).map_err(|_| TooLong)
}

fn execute(out: &mut BytesMut) -> Result<(), TooLong> {
    frontend::execute("", 0, out).map_err(|_| TooLong)
}

/// Binds the unnamed portal; parameters and results are text.
fn bind(name: &str, parameters: &Parameters, out: &mut BytesMut) -> Result<(), TooLong> {
    let values = parameters.encoded();
    let length = 4 + 1 + name.len() + 1 + 2 + 2 + values.len() + 2;
    out.put_u8(tag::BIND.0);
    out.put_i32(i32::try_from(length).map_err(|_| TooLong)?);
    out.put_u8(0);
    out.put_slice(name.as_bytes());
    out.put_u8(0);
    out.put_u16(0);
    out.put_u16(parameters.count());
    out.put_slice(values);
    out.put_u16(0);
    Ok(())
}
