//! The end-to-end suite: one binary, so that one Postgres serves all of it. A module a topic.

mod abandoned;
mod cancel;
mod claims;
mod command_line;
mod copy;
mod demo;
mod differential;
mod drivers;
mod expiry;
mod held_back;
mod hostile;
mod hostile_session;
mod init;
mod keys;
mod login;
mod logs;
mod oidc;
mod random;
mod readme;
mod refusals;
mod relay;
mod resets;
mod roles;
mod sslmode;
mod startup;
mod tls;
