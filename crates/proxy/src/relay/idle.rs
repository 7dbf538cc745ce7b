//! What becomes of a client's frames while there is no server.

use wire::frame::{Header, Tag, frontend};
use wire::lane::{Judge, Verdict};
use wire::message;
use wire::owed::TxStatus;

use super::up::{is_request, peek, terminate};
use super::{Broken, Session};
use crate::error::canceled;

/// What was cancelled before there was a server for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Cancelled {
    #[default]
    Nothing,
    /// The next request.
    Next,
    /// What is left of it, up to its Sync.
    Rest,
}

pub(super) struct Idle<'a> {
    pub(super) session: &'a mut Session,
    /// There is a request that wants a server.
    pub(super) wanting: bool,
    /// What the client is told.
    pub(super) told: Vec<u8>,
}

impl Judge for Idle<'_> {
    type Error = Broken;

    // As much as it takes to be judged when there is a server, so that none is asked for too early.
    fn peek(&self, tag: Tag) -> usize {
        peek(tag)
    }

    fn judge(&mut self, header: Header, _: &[u8], _: &mut Vec<u8>) -> Result<Verdict, Broken> {
        match header.tag {
            _ if self.session.terminated => Ok(Verdict::Hold),
            frontend::TERMINATE => Ok(terminate(self.session)),
            tag if !is_request(header) => Err(Broken::Tag(tag)),
            // A server that waits for a request ignores these.
            frontend::COPY_DATA | frontend::COPY_DONE | frontend::COPY_FAIL | frontend::FLUSH => {
                self.session.copy_waits = false;
                Ok(Verdict::Swallow)
            }
            tag if self.session.cancelled != Cancelled::Nothing => {
                self.cancel(tag);
                Ok(Verdict::Swallow)
            }
            _ => {
                self.wanting = true;
                Ok(Verdict::Hold)
            }
        }
    }
}

impl Idle<'_> {
    /// Answers a request that is cancelled as a server would that was just about to begin with it.
    fn cancel(&mut self, tag: Tag) {
        let begins = self.session.cancelled == Cancelled::Next;
        if begins && tag != frontend::SYNC {
            self.told.extend(canceled());
        }
        let ends = tag == frontend::SYNC || begins && matches!(tag, frontend::QUERY | frontend::FUNCTION_CALL);
        if ends {
            message::ready_for_query(&mut self.told, TxStatus::Idle);
        }
        self.session.cancelled = if ends { Cancelled::Nothing } else { Cancelled::Rest };
    }
}
