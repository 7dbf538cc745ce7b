//! What a session may do to its own identity, tried against a real PostgreSQL: every user here sends free SQL.
//!
//! The newest server of `/usr/lib/postgresql` is used; `PGUSHER_TEST_PG_BIN` names another one's `bin` directory.

#![allow(clippy::unwrap_used, reason = "a helper of a test that unwraps fails that test")]

mod binding;
mod forgery;
mod hostile;
mod install;
mod postgres;
mod readers;
mod secrets;
mod session;
mod signer;
mod standby;
