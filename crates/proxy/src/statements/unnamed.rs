//! The unnamed statement, of which a client has one at a time.

use upstream::Prepared;

use super::pending::Pending;
use super::{MOST_BYTES, Statements, kept_bytes};
use crate::effect::Effects;

/// The largest buffer that waits for the next statement.
const LARGEST_SPARE: usize = 4096;

/// The unnamed statement. Its content is absent if it is too long to keep.
#[derive(Debug)]
pub(super) struct Unnamed {
    pub(super) number: u64,
    pub(super) content: Option<Vec<u8>>,
    pub(super) effects: Effects,
}

impl Unnamed {
    fn bytes(&self) -> usize {
        self.content.as_ref().map_or(0, Vec::len)
    }
}

impl Statements {
    /// A Parse of it. The one before is there until this one is parsed, or fails: an error before may have the server
    /// skip it.
    pub(super) fn parse_unnamed(&mut self, content: &[u8], effects: Option<Effects>) -> u64 {
        let number = self.registry.next();
        // What comes in parts is kept when all of it has come.
        let content = effects.is_some().then(|| {
            let mut kept = std::mem::take(&mut self.spare);
            kept.clear();
            kept.extend(content);
            kept
        });
        let unnamed = Unnamed { number, content, effects: effects.unwrap_or_default() };
        self.bytes += unnamed.bytes();
        let before = self.unnamed.replace(unnamed);
        let (before, too_much) = if self.bytes <= MOST_BYTES { (before, None) } else { (None, before) };
        self.dropped_unnamed(too_much.as_ref());
        self.pending.push_back(Pending::Unnamed(number, before));
        number
    }

    /// It was parsed, and the one before is gone.
    pub(super) fn unnamed_parsed(&mut self, before: Option<Unnamed>) {
        self.dropped_unnamed(before.as_ref());
        if let Some(content) = before.and_then(|before| before.content)
            && content.capacity() <= LARGEST_SPARE
        {
            self.spare = content;
        }
    }

    /// It was not parsed, because it `failed` or was skipped. Only in the latter case the one before is still there, if
    /// it was: which one the server has is not known any more.
    pub(super) fn unnamed_undone(&mut self, number: u64, before: Option<Unnamed>, failed: bool, server: &mut Prepared) {
        if server.unnamed == Some(number) {
            server.unnamed = Some(self.registry.next());
        }
        let is_last = self.unnamed.as_ref().is_some_and(|unnamed| unnamed.number == number);
        let (left, gone) = if is_last && !failed { (before, None) } else { (None, before) };
        self.dropped_unnamed(gone.as_ref());
        if is_last {
            let undone = std::mem::replace(&mut self.unnamed, left);
            self.dropped_unnamed(undone.as_ref());
        }
    }

    /// A Query goes to the server, which drops the unnamed statement, or a Close of it.
    pub(crate) fn forget_unnamed(&mut self, server: &mut Prepared) {
        let forgotten = self.unnamed.take();
        self.dropped_unnamed(forgotten.as_ref());
        server.unnamed = None;
    }

    /// How many bytes are kept of it, and of what is being replaced or closed.
    pub(super) fn bytes_but_named(&self) -> usize {
        let before = self.pending.iter().map(|pending| match pending {
            Pending::Unnamed(_, Some(before)) => before.bytes(),
            Pending::Forgotten { statement, .. } => kept_bytes(statement),
            _ => 0,
        });
        self.unnamed.as_ref().map_or(0, Unnamed::bytes) + before.sum::<usize>()
    }

    /// What is kept of this one is kept no more.
    fn dropped_unnamed(&mut self, unnamed: Option<&Unnamed>) {
        self.bytes -= unnamed.map_or(0, Unnamed::bytes);
    }
}
