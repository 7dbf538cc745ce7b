//! Postgres over HTTP.

pub(crate) mod rate;
