//! `POST /sql`, as plain clients have it.

mod answers;
mod identity;
mod limits;
mod passwords;
mod transport;
