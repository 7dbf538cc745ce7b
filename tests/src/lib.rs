//! The harness of the end-to-end suite: everything real. One Postgres with TLS and the demo's tables and one issuer
//! with a key of every algorithm serve all tests of a process ([`Stage`]); a test starts the proxy's own binary with the
//! settings it is about ([`Proxy`]) and comes as a driver or, where a driver would not do such a thing, with bytes of its
//! own ([`Raw`]).
//!
//! A test should be three sentences:
//!
//! ```no_run
//! # use pgusher_tests::{Proxy, Stage};
//! # async fn a_token_that_has_expired_is_refused() {
//! let stage = Stage::get();
//! let proxy = Proxy::start(stage).await;
//! let error = proxy.refused(&stage.token("alice").expired()).await;
//! assert_eq!(error.code().code(), "28P01");
//! # }
//! ```

pub mod canary;
mod demo;
mod hardening;
mod metrics;
mod proxy;
mod random;
mod raw;
mod raw_http;
pub mod request;
mod session;
mod sql_request;
mod stage;
mod tls;
mod token;
pub mod wait;
mod websocket;

pub use demo::Demo;
pub use hardening::harden;
pub use proxy::{Proxy, ProxyBuilder, binary};
pub use random::Random;
pub use raw::{Message, Raw, message, startup};
pub use raw_http::{RawAnswer, RawHttp, post};
pub use session::WHO;
pub use sql_request::Answer;
pub use stage::{STAND_IN, Stage, sweep_at_exit};
pub use tls::Authority;
pub use token::{AUDIENCE, Token, now};
pub use websocket::{Handshake, WebSocket};
