//! What follows from a step in the books, to be carried out when their lock is free.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::role::Use;
use super::{Happened, Holder, Lease};
use crate::error::Error;
use crate::login::Login;
use crate::parting::Parting;
use crate::server::Server;

/// What somebody in the line gets.
pub(super) type Answer = Result<Lease, Arc<Error>>;

/// Who has to go first.
pub(super) struct Instead {
    pub(super) parting: Box<Parting>,
    /// The pool in which it has a place until then. None: it left the place to the one to come.
    pub(super) of: Option<Arc<str>>,
}

pub(super) enum Effect {
    /// A server goes to somebody who waits.
    Lend { to: oneshot::Sender<Answer>, role: Arc<str>, holder: Option<Holder>, server: Box<Server> },
    /// Somebody waits in vain.
    Refuse { to: oneshot::Sender<Answer>, error: Arc<Error> },
    /// A place was taken for a server that is yet to be opened, when another is gone.
    Open { role: Arc<str>, login: Login, instead_of: Option<Instead> },
    /// A server is to be closed. It has its place until it is gone.
    Close { role: Arc<str>, parting: Box<Parting>, of: Use },
    /// Something for the log.
    Report { role: Arc<str>, what: Happened<'static> },
}
