//! What can go wrong in a demo, and the exit code of each.

use std::io;
use std::net::SocketAddr;

use crate::config::ConfigErrors;
use crate::serve::StartError;

use super::home::HomeError;
use super::keys::KeyError;
use super::postgres::{PostgresError, chain};
use super::programs::Missing;
use super::token::MinterError;

/// Why a demo ended, or a token was not minted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Postgres is not installed.
    #[error(transparent)]
    Programs(#[from] Missing),
    /// Postgres does not run.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// Its database could not be set up.
    #[error("cannot set up the database: {}", chain(.0))]
    Database(#[from] tokio_postgres::Error),
    /// The directory cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The proxy's port is taken.
    #[error("cannot listen on {address}: {source}; other ports are chosen with --ports, 0 for a free one")]
    Port {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A file or socket could not be used.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The issuer's key could not be read.
    #[error(transparent)]
    Minter(#[from] MinterError),
    /// Signing failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The environment changes the demo's configuration to one that is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The proxy did not start.
    #[error(transparent)]
    Serve(Box<StartError>),
    /// Nobody signs.
    #[error("no demo is running: start one with `pgusher demo`, or name its proxy.toml with --config")]
    NotRunning,
}

impl Error {
    /// The exit code of `pgusher demo` and `pgusher token mint`: 69 where what the proxy stands on is missing or does not
    /// start, 78 for a wrong configuration.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Programs(_) | Self::Postgres(_) | Self::Database(_) | Self::Serve(_) => 69,
            Self::Config(_) => 78,
            _ => 1,
        }
    }
}

impl From<StartError> for Error {
    fn from(error: StartError) -> Self {
        Self::Serve(Box::new(error))
    }
}

/// What [`Result::map_err`] needs to say what was tried.
pub(super) fn failed_to(action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { action, source }
}
