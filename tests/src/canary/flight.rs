//! What a client sends in one go, together with what must come back.

use std::fmt;

use super::check::Marker;
use crate::request::{bind, bind_named, copy_data, copy_done, describe, execute, parse, parse_named, query, sync};
use crate::request::{close_named, execute_named};

/// A statement and its answer.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The text; in the extended protocol with a name its nonce is the parameter `$1`.
    pub sql: String,
    /// What comes back in the first column of each row, and in no other answer.
    pub nonce: String,
    /// What comes back in the label's column: a constant of the text, so it tells prepared statements apart.
    pub label: String,
    /// The beginning of the command tag.
    pub tag: &'static str,
    /// How many rows come; `None` for any number.
    pub rows: Option<usize>,
    /// What the client's setting is while it runs.
    pub marker: Marker,
    /// The error that it has to end with.
    pub error: Option<&'static str>,
    /// What is to be copied in.
    pub copy: Option<String>,
}

/// How a batch of statements is sent.
#[derive(Clone, Debug)]
pub enum Way {
    /// One Query.
    Simple,
    /// Unnamed statements up to a Sync.
    Unnamed,
    /// A named statement up to a Sync, prepared again (closed before) or used as it is.
    Named {
        /// Its name.
        name: String,
        /// Whether it is prepared first.
        prepare: bool,
    },
}

/// What one ReadyForQuery answers.
#[derive(Clone, Debug)]
pub struct Batch {
    /// How it is sent.
    pub way: Way,
    /// The statements.
    pub statements: Vec<Statement>,
}

/// What is sent in one write.
#[derive(Clone, Debug, Default)]
pub struct Flight(pub Vec<Batch>);

impl Statement {
    /// One that returns no rows.
    pub fn command(sql: impl Into<String>, tag: &'static str) -> Self {
        Self {
            sql: sql.into(),
            nonce: String::new(),
            label: String::new(),
            tag,
            rows: Some(0),
            marker: Marker::Any,
            error: None,
            copy: None,
        }
    }

    /// The same, but it has to fail.
    #[must_use]
    pub fn fails(mut self, sqlstate: &'static str) -> Self {
        self.error = Some(sqlstate);
        self
    }
}

impl Batch {
    /// Statements in one Query.
    pub fn simple(statements: Vec<Statement>) -> Self {
        Self { way: Way::Simple, statements }
    }

    fn bytes(&self) -> Vec<u8> {
        let copies = self.statements.iter().filter_map(|statement| statement.copy.as_deref());
        let copies: Vec<u8> = copies.flat_map(|rows| [copy_data(rows), copy_done()].concat()).collect();
        match &self.way {
            Way::Simple => {
                let texts: Vec<_> = self.statements.iter().map(|statement| statement.sql.as_str()).collect();
                [query(texts.join("; ")), copies].concat()
            }
            Way::Unnamed => {
                let statements = self.statements.iter().map(|statement| {
                    let rows = statement.copy.as_deref().map(|rows| [copy_data(rows), copy_done()].concat());
                    [parse(&statement.sql), bind(), describe(), execute(), rows.unwrap_or_default()].concat()
                });
                [statements.collect::<Vec<_>>().concat(), sync()].concat()
            }
            Way::Named { name, prepare } => {
                let first = self.statements.first().expect("a batch has a statement");
                // A Close of what is not there succeeds, so this works whatever became of an earlier attempt.
                let prepared = [close_named(b'S', name), parse_named(name, &first.sql)].concat();
                let uses = self
                    .statements
                    .iter()
                    .map(|statement| [bind_named("", name, &[&statement.nonce]), execute_named("", 0)].concat());
                let uses = uses.collect::<Vec<_>>().concat();
                [if *prepare { prepared } else { Vec::new() }, uses, sync()].concat()
            }
        }
    }
}

impl Flight {
    /// A flight of one batch.
    pub fn of(batch: Batch) -> Self {
        Self(vec![batch])
    }

    /// What is written.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(Batch::bytes).collect()
    }

    /// How many statements it has.
    pub fn len(&self) -> usize {
        self.0.iter().map(|batch| batch.statements.len()).sum()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.way)?;
        for Statement { sql, nonce, label, tag, rows, marker, error, copy } in &self.statements {
            write!(f, "\n    {sql}\n      nonce {nonce:?}, label {label:?}, {tag:?}, rows {rows:?}, {marker:?}")?;
            write!(f, ", error {error:?}, copy {copy:?}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|batch| writeln!(f, "  {batch}"))
    }
}
