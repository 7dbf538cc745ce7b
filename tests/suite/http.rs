//! `POST /sql`, as plain clients have it, and WebSockets.

mod answers;
mod hostile;
mod identity;
mod limits;
mod transport;
mod websocket;
