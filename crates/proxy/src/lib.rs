//! pgusher: a Postgres proxy that lets any driver log in with a JWT as its password.
//!
//! The way of a connection: [`listener`] accepts it and a worker serves it; `session` is its life from top to bottom:
//! `handshake` (TLS, startup packet), `authenticate` (token to identity), a server that knows who this is, `relay`
//! until the end. [`serve`] is the program around it.

pub mod cli;
pub mod config;
pub mod demo;
pub mod listener;
pub mod serve;

mod admission;
mod alarm;
mod authenticate;
mod cancel;
mod client;
mod clock;
mod error;
mod handshake;
mod proxy;
mod relay;
mod session;
mod upkeep;
mod workers;

pub use proxy::Stop;
