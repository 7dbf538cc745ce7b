//! The Parses and Closes that are not answered yet, and what an error takes back of them.

use std::sync::Arc;

use upstream::Prepared;
use wire::frame::{Tag, frontend};

use super::making::Question;
use super::unnamed::Unnamed;
use super::{Statements, kept_bytes};
use crate::statement::Statement;

/// A Parse or a Close that is not answered yet: what was noted in advance.
#[derive(Debug)]
pub(super) enum Pending {
    /// Nothing.
    Nothing,
    /// The server makes this one, which the client has already.
    Made { number: u64, batch: u64, question: Option<Question> },
    /// The server closes this one, and the client keeps it.
    Closed(u64),
    /// The client prepares a statement.
    Named { name: Box<[u8]>, number: u64, batch: u64, question: Option<Question> },
    /// The client prepares the unnamed statement, which takes the place of this one.
    Unnamed(u64, Option<Unnamed>),
    /// The client closes a statement, which may have been `there` on the server.
    Forgotten { name: Box<[u8]>, statement: Arc<Statement>, there: bool, batch: u64 },
    /// The client closes the unnamed statement.
    UnnamedForgotten,
}

impl Statements {
    /// A flight of ours is sent, in which there are so many Parses and Closes.
    pub(crate) fn flight(&mut self, requests: &[Tag]) {
        let counted = requests.iter().filter(|tag| [frontend::PARSE, frontend::CLOSE].contains(tag));
        self.pending.extend(counted.map(|_| Pending::Nothing));
    }

    /// A Sync goes to the server.
    pub(crate) fn synced(&mut self) {
        self.batch += 1;
    }

    /// A Parse or Close was answered.
    pub(crate) fn answered(&mut self) {
        let answered = self.pending.pop_front();
        self.making -= usize::from(matches!(answered, Some(Pending::Made { .. })));
        match answered {
            Some(Pending::Made { question, .. } | Pending::Named { question, .. }) => self.listen(question),
            Some(Pending::Unnamed(_, before)) => self.unnamed_parsed(before),
            Some(Pending::Forgotten { statement, .. }) => self.bytes -= kept_bytes(&statement),
            _ => {}
        }
        self.awaits_name = false;
    }

    /// An error left so many Parses and Closes undone, of which the first has failed itself or was skipped like the others.
    pub(crate) fn dropped(&mut self, count: usize, first_failed: bool, server: &mut Prepared) {
        self.unanswered(server);
        self.awaits_name = false;
        let undone: Vec<_> = self.pending.drain(..count.min(self.pending.len())).collect();
        for (place, undone) in undone.into_iter().enumerate().rev() {
            self.undo(undone, first_failed && place == 0, server);
        }
    }

    fn undo(&mut self, pending: Pending, failed: bool, server: &mut Prepared) {
        match pending {
            Pending::Nothing => {}
            Pending::Made { number, question, .. } => {
                self.making -= 1;
                if let Some(question) = question {
                    self.unasked(&question);
                }
                // Unless it is being made once more, in a later batch.
                if !self.is_making(number) {
                    server.closed(number);
                    server.unnamed.take_if(|unnamed| *unnamed == number);
                }
            }
            Pending::Closed(number) => server.restored(number),
            Pending::Named { name, number, .. } => {
                server.closed(number);
                if self.named.get(&name).is_some_and(|statement| statement.number == number) {
                    let statement = self.named.remove(&name);
                    self.bytes -= statement.map_or(0, |statement| kept_bytes(&statement));
                }
            }
            Pending::Unnamed(number, before) => self.unnamed_undone(number, before, failed, server),
            Pending::Forgotten { name, statement, there, .. } => {
                match there {
                    true if statement.kept.get().is_some() => server.restored(statement.number),
                    true => server.stays(statement.number),
                    false => {}
                }
                self.named.insert(name, statement);
            }
            // It is still there, and nobody's.
            Pending::UnnamedForgotten => server.unnamed = Some(self.registry.next()),
        }
    }

    /// Whether the server is asked to close this one, which an error may have it skip.
    pub(super) fn is_closing(&self, wanted: u64) -> bool {
        self.pending.iter().any(|pending| match pending {
            Pending::Closed(number) => *number == wanted,
            Pending::Forgotten { statement, there, .. } => *there && statement.number == wanted,
            _ => false,
        })
    }

    /// Whether the client has prepared or closed a statement of this name in an earlier batch, of which an error may have
    /// left that undone.
    pub(super) fn is_name_uncertain(&self, name: &[u8]) -> bool {
        self.pending.iter().any(|pending| match pending {
            Pending::Named { name: own, batch, .. } | Pending::Forgotten { name: own, batch, .. } => {
                **own == *name && *batch < self.batch
            }
            _ => false,
        })
    }

    /// Whether the server is making this one for us.
    fn is_making(&self, wanted: u64) -> bool {
        self.made_in(wanted).next().is_some()
    }

    /// Whether this one may not be made after all, or not as it should be, because of what comes in an earlier batch.
    pub(super) fn is_uncertain(&self, wanted: u64) -> bool {
        let may_fail = self.hears_of(wanted) || self.made_in(wanted).any(|batch| batch < self.batch);
        may_fail && self.made_in(wanted).all(|batch| batch != self.batch)
    }

    /// The batches in which the server is making this one for us.
    fn made_in(&self, wanted: u64) -> impl Iterator<Item = u64> {
        // Most often there is nothing.
        let pending = (self.making > 0).then(|| self.pending.iter()).into_iter().flatten();
        pending.filter_map(move |pending| match pending {
            Pending::Made { number, batch, .. } if *number == wanted => Some(*batch),
            _ => None,
        })
    }
}
