//! The crate against a key server: what a token must be, and how keys come and go.

#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing has found what it was written to find")]

mod corpus;
mod keys;
mod renewal;
mod rules;
mod support;
