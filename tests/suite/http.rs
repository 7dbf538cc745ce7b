//! `POST /sql`, as plain clients have it, and WebSockets.

mod answers;
mod hostile;
mod http2;
mod identity;
mod limits;
mod passwords;
mod transport;
mod websocket;
