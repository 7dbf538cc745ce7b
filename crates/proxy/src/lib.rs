//! pgusher: a Postgres proxy that lets any driver log in with a JWT as its password.

pub mod cli;
