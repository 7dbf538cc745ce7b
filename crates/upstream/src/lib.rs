//! Postgres as a server: how pgusher reaches it, logs in, and tells it whose session it is.
//!
//! [`Server::open`] is the way in. It connects to an [`Address`] with [`Tls`] as libpq's `sslmode` has it, sends a
//! startup packet that is built here ([`Startup`], with the client's allowed [`Parameters`]), authenticates as a
//! [`Login`], and runs the [`SessionInit`] that sets the [`Claims`]. Who holds a [`Server`] holds a connection with its
//! identity set. A [`CancelTarget`] interrupts what runs on it. [`Pools`] keep servers open and lend them to one after the
//! other.
//! A [`Direct`] connection is for a role that logs in with a password of its own, and outside of all that.
//!
//! This crate knows no clients and no tokens, and logs nothing: every [`Error`] goes back with its cause.

mod address;
mod answer;
mod cancel;
mod channel_binding;
mod claims;
mod connect;
mod direct;
mod error;
mod init;
mod login;
mod means;
mod options;
mod parameters;
mod parting;
mod pool;
mod prepared;
mod server;
mod session_jwt;
mod startup;
mod tls;
mod verifier;

pub use address::Address;
pub use cancel::{CancelTarget, CancelTicket};
pub use channel_binding::{Binding, UnknownBinding};
pub use claims::{Claims, ClaimsMode, Epoch, Signer};
pub use direct::{Demand, Dialogue, Direct, DirectStartup};
pub use error::{DatabaseError, Error, KeyError, MeansError, MethodError, Step, TlsError};
pub use init::{Backend, DefaultAccess, Flight, Part, SessionInit, switch};
pub use login::{Login, Password};
pub use means::Means;
pub use parameters::{ParameterError, Parameters, fuzz_options};
pub use pool::{Counts, Event, Happened, Holder, Holds, Lease, Limit, PoolConfig, Pools, Reuse, Tenant, Want};
pub use prepared::Prepared;
pub use server::{ConnectConfig, Server, default_access};
pub use session_jwt::SessionKey;
pub use startup::{Settings, Startup};
pub use tls::{ClientCertificate, RootCertificates, SslMode, Tls, TlsSetupError, UnknownSslMode};
