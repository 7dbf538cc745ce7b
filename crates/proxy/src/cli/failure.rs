//! Why a command failed, and with which exit code.

use std::io;

use crate::config::ConfigErrors;
use crate::demo;
use crate::owner::OwnerError;
use crate::serve::StartError;
use crate::setup::{self, Blame};

/// The codes besides 0 and clap's 2 for wrong usage. 69 and 78 are `EX_UNAVAILABLE` and `EX_CONFIG` of sysexits.h.
const FAILED: u8 = 1;
const USAGE: u8 = 2;
/// Of commands that compare: it differs.
const DIFFERS: u8 = 2;
/// Of the check: there are findings.
const FOUND: u8 = 2;
const UNAVAILABLE: u8 = 69;
const CONFIG: u8 = 78;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The proxy did not start.
    #[error(transparent)]
    Start(Box<StartError>),
    /// The demo failed.
    #[error(transparent)]
    Demo(Box<demo::Error>),
    /// The setup of a database failed.
    #[error(transparent)]
    Setup(Box<setup::Error>),
    /// A check has no way to what it was to look at.
    #[error(transparent)]
    Check(Box<OwnerError>),
    /// The answer was printed, and it is that something is wrong.
    #[error("there are findings")]
    Found,
    /// The answer was printed, and it is that the configuration is wrong.
    #[error("the configuration is wrong")]
    Misconfigured,
    /// The answer was printed, and it has warnings that were to be taken seriously.
    #[error("there are warnings")]
    Warned,
    /// The system refused something.
    #[error("cannot {action}: {source}")]
    Io { action: String, source: io::Error },
    /// The answer was printed, and it is a no.
    #[error("the token is refused")]
    Refused,
    /// The answer was printed, and it is that nobody can say now.
    #[error("the token cannot be judged")]
    Unavailable,
}

impl Failure {
    /// The words for standard error; none where the answer has said it all.
    pub(super) fn words(&self) -> Option<String> {
        match self {
            Self::Refused | Self::Unavailable | Self::Found | Self::Misconfigured | Self::Warned => None,
            // A list that stands for itself.
            Self::Config(errors) => Some(errors.to_string()),
            Self::Setup(error) if matches!(**error, setup::Error::Config(_)) => Some(error.to_string()),
            Self::Setup(error) if matches!(**error, setup::Error::Differs) => None,
            Self::Demo(error) if matches!(**error, demo::Error::Config(_)) => Some(error.to_string()),
            other => Some(format!("error: {other}")),
        }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Misconfigured => CONFIG,
            Self::Check(_) => USAGE,
            Self::Found => FOUND,
            Self::Start(error) => match **error {
                StartError::Unsafe(_) => CONFIG,
                StartError::Issuer { .. } | StartError::Upstream { .. } => UNAVAILABLE,
                StartError::Listen { .. } | StartError::Worker(_) => FAILED,
            },
            Self::Unavailable => UNAVAILABLE,
            Self::Demo(error) => error.exit_code(),
            Self::Setup(error) => match error.blame() {
                Blame::Usage => USAGE,
                Blame::Config => CONFIG,
                Blame::Unavailable => UNAVAILABLE,
                Blame::Differs => DIFFERS,
                Blame::Failed => FAILED,
            },
            Self::Io { .. } | Self::Refused | Self::Warned => FAILED,
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::Start(Box::new(error))
    }
}

impl From<demo::Error> for Failure {
    fn from(error: demo::Error) -> Self {
        Self::Demo(Box::new(error))
    }
}

impl From<setup::Error> for Failure {
    fn from(error: setup::Error) -> Self {
        Self::Setup(Box::new(error))
    }
}

/// Names what could not be done, for `map_err`.
pub(super) fn failed_to(action: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
    let action = action.into();
    move |source| Failure::Io { action, source }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Overrides};

    #[test]
    fn errors_of_the_demos_configuration_are_listed_as_those_of_any() {
        let errors =
            || Config::load(Path::new("/missing"), &Overrides::default()).err().expect("there is no such file");
        let failure = Failure::from(demo::Error::from(errors()));
        assert_eq!(failure.words(), Failure::from(errors()).words());
        assert_eq!(failure.exit_code(), CONFIG);
    }
}
