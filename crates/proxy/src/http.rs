//! Postgres over HTTP.

pub(crate) mod sql;
