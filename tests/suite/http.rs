//! `POST /sql`, as plain clients have it, and WebSockets.

mod answers;
mod identity;
mod limits;
mod passwords;
mod transport;
mod websocket;
