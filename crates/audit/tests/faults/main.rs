//! Every rule, tried on a real PostgreSQL: a database that is as it should be has no finding, one with a fault has that
//! one, and the SQL that the finding offers mends it.
//!
//! The newest server of `/usr/lib/postgresql` is used; `PGUSHER_TEST_PG_BIN` names another one's `bin` directory.

#![allow(clippy::unwrap_used, reason = "a helper of a test that unwraps fails that test")]

mod attributes;
mod auth_schema;
mod children;
mod clean;
mod create;
mod defaults;
mod definers;
mod extensions;
mod fault;
mod fixture;
mod forgery;
mod functions;
mod grant_options;
mod issuers;
mod memberships;
mod ownership;
mod policies;
mod server;
mod settings;
mod tables;
mod tls;
mod views;
