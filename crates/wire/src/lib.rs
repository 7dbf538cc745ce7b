//! Bytes of the Postgres protocol, and how they pass through us.
//!
//! A *client* connects to us, a *server* is one connection of ours to Postgres; *up* is towards the server, *down*
//! towards the client. A [`frame`] is a tag, a length and a body. A connection begins with a [`startup`] packet,
//! perhaps inside TLS ([`stream`]). After that each direction is a [`lane`], which looks at headers and moves bytes,
//! and [`owed`] keeps the account of what was asked of the server and not yet answered. [`message`] writes what we
//! have to say ourselves.
//!
//! This crate knows no configuration, no pool, no token, and logs nothing.

pub mod frame;
pub mod lane;
pub mod message;
pub mod owed;
pub mod startup;
pub mod stream;
