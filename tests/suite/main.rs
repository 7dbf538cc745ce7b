//! The end-to-end suite: one binary, so that one Postgres serves all of it. A module a topic.

mod claims;
mod command_line;
mod demo;
mod drivers;
mod expiry;
mod init;
mod keys;
mod login;
mod logs;
mod oidc;
mod readme;
mod refusals;
mod resets;
mod roles;
mod startup;
