//! The end-to-end suite: one binary, so that one Postgres serves all of it. A module a topic.

mod command_line;
mod demo;
mod init;
mod keys;
mod login;
mod logs;
mod oidc;
mod readme;
mod refusals;
mod resets;
mod startup;
