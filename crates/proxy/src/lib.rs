//! pgusher: a Postgres proxy that lets any driver log in with a JWT as its password.
//!
//! The way of a connection: [`listener`] accepts it and a worker serves it; `session` is its life from top to bottom:
//! `handshake` (TLS, startup packet), `authenticate` (token to identity), and for each transaction a server from the
//! pool and the `relay` until it is idle. What a client makes of its session goes with it from server to server:
//! `effect` reads it from the SQL, `remembered` and `statements` keep it, `upkeep` sets it. [`serve`] is the program
//! around it.

pub mod cli;
pub mod config;
pub mod demo;
pub mod listener;
pub mod owner;
pub mod serve;
pub mod setup;

mod admin;
mod admission;
mod alarm;
mod authenticate;
mod cancel;
mod certificate;
mod check;
mod client;
mod clock;
mod deadlines;
mod descriptors;
mod digest;
mod effect;
mod error;
mod greeting;
mod guard;
mod handshake;
mod http;
mod passthrough;
mod proxy;
mod random;
mod relay;
mod remembered;
mod session;
mod statement;
mod statements;
mod tenancy;
mod upkeep;
mod workers;

pub use effect::fuzz_effects;
pub use http::sql::{fuzz_body, fuzz_results};
pub use proxy::Stop;
