//! The body of a request, as Neon's proxy and its driver have it: `{"query", "params"?, "arrayMode"?}`, or
//! `{"queries": […]}` of those. Keys that are not known are ignored.
//!
//! A body may be hostile at every byte, and large. Whatever it holds, it is read in time that grows with its length
//! and without recursion, and nothing is reserved for what is refused.

use std::str;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::parameter::{self, Elements, MAX_PARAMETERS, Parameters};

/// How many queries one request may hold. All of them and all that they return are one transaction.
pub(crate) const MAX_QUERIES: usize = 1000;

/// How much of a message that quotes the body is kept.
const MAX_QUOTED: usize = 160;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// One statement, in a transaction of its own.
    Single(Statement),
    /// All of them in one transaction.
    Batch(Vec<Statement>),
}

/// A statement to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    /// Its text, which holds no zero byte.
    pub(crate) query: String,
    pub(crate) parameters: Parameters,
    /// Whether a row is a list instead of an object, if the statement says so itself.
    pub(crate) array_mode: Option<bool>,
}

/// Why a body is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the request is not UTF-8: byte {0} is invalid")]
    Encoding(usize),
    #[error("the request is not the JSON expected: {0}")]
    Json(String),
    #[error("query {number} of the batch is not the JSON expected: {message}")]
    Query { number: usize, message: String },
    #[error("the request has both \"query\" and \"queries\"")]
    Both,
    #[error("the request has neither \"query\" nor \"queries\"")]
    Neither,
    #[error("\"{0}\" is not a list")]
    NoList(&'static str),
    #[error("a batch may have at most {MAX_QUERIES} queries")]
    TooManyQueries,
    #[error("a query may have at most {MAX_PARAMETERS} parameters")]
    TooManyParameters,
    #[error("a parameter may have at most {} lists within each other", parameter::MAX_DEPTH)]
    TooDeep,
    #[error("a parameter is too long for Postgres")]
    TooLong,
    #[error("{0} holds a zero byte, which Postgres cannot store")]
    ZeroByte(&'static str),
}

impl BodyError {
    /// The SQLSTATE.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Encoding(_) | Self::ZeroByte(_) => "22021",
            Self::Json(_) | Self::Query { .. } => "22032",
            Self::Both | Self::Neither | Self::NoList(_) => "08P01",
            Self::TooManyQueries | Self::TooLong => "54000",
            Self::TooManyParameters => "54023",
            Self::TooDeep => "54001",
        }
    }

    /// What to do, where the message alone does not tell.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Encoding(_) | Self::Json(_) | Self::Query { .. } | Self::Both | Self::Neither | Self::NoList(_) => {
                Some("Send {\"query\": \"…\", \"params\": […]}, or {\"queries\": […]} with a list of those.")
            }
            Self::TooManyQueries => Some("Send them in several requests."),
            Self::TooManyParameters => Some("Pass a list as one parameter, and unnest() it."),
            Self::TooDeep => Some("Pass JSON as a string."),
            Self::TooLong | Self::ZeroByte(_) => None,
        }
    }
}

/// The request, or a query of a batch. What needs limits of its own stays text until they are checked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    query: Option<String>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    array_mode: Option<bool>,
    #[serde(borrow)]
    queries: Option<&'a RawValue>,
}

/// Reads a request.
pub(crate) fn parse(body: &[u8]) -> Result<Work, BodyError> {
    let text = str::from_utf8(body).map_err(|error| BodyError::Encoding(error.valid_up_to()))?;
    let object = object(text).map_err(BodyError::Json)?;
    match object.queries {
        Some(_) if object.query.is_some() => Err(BodyError::Both),
        Some(queries) => batch(queries.get()).map(Work::Batch),
        None => statement(object).map(Work::Single),
    }
}

fn object(text: &str) -> Result<Object<'_>, String> {
    // A list would do for serde, as the fields in their order.
    if text.trim_start().starts_with('[') {
        return Err("a list where an object belongs".to_owned());
    }
    serde_json::from_str(text).map_err(|error| shortened(error.to_string()))
}

fn batch(queries: &str) -> Result<Vec<Statement>, BodyError> {
    let mut statements = Vec::new();
    for query in Elements::of(queries).ok_or(BodyError::NoList("queries"))? {
        if statements.len() == MAX_QUERIES {
            return Err(BodyError::TooManyQueries);
        }
        let failed = |message| BodyError::Query { number: statements.len() + 1, message };
        let object = object(query).map_err(failed)?;
        if object.query.is_none() {
            return Err(failed("it has no \"query\"".to_owned()));
        }
        statements.push(statement(object)?);
    }
    Ok(statements)
}

fn statement(object: Object<'_>) -> Result<Statement, BodyError> {
    let query = object.query.ok_or(BodyError::Neither)?;
    if query.as_bytes().contains(&0) {
        return Err(BodyError::ZeroByte("the query"));
    }
    let parameters = object.params.map_or_else(|| Ok(Parameters::default()), |params| parameters(params.get()))?;
    Ok(Statement { query, parameters, array_mode: object.array_mode })
}

fn parameters(params: &str) -> Result<Parameters, BodyError> {
    let mut parameters = Parameters::default();
    for value in Elements::of(params).ok_or(BodyError::NoList("params"))? {
        parameters.push(parameter::text(value)?.as_deref())?;
    }
    Ok(parameters.complete())
}

/// A string that is not expected is quoted by serde in its full length.
pub(super) fn shortened(mut message: String) -> String {
    if message.len() > MAX_QUOTED {
        message.truncate(message.floor_char_boundary(MAX_QUOTED));
        message.push('…');
    }
    message
}
