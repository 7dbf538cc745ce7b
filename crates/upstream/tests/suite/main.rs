//! How pgusher meets a Postgres: a real one for what a real one does, a scripted one for what it would never do.

#![allow(clippy::unwrap_used, reason = "a test that unwraps a None has found what it was written to find")]

mod cancel;
mod corpus;
mod direct;
mod harness;
mod hostile;
mod login;
mod pool;
mod postgres;
mod scripted;
mod session;
mod session_jwt;
mod tls;
