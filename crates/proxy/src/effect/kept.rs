//! The text of a statement that is read when it is complete.

use super::{Change, MOST_KEPT as MOST, Pins, change};

/// The statement so far.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Its beginning.
    text: Vec<u8>,
    /// How long it was where the part began that is being read, or `from` if it began later.
    len: usize,
    /// Where the part goes on with it.
    from: usize,
    /// How long it is without what follows its last token.
    end: usize,
}

impl Kept {
    /// A statement begins with this word, which ends at `at`.
    pub(super) fn begin(&mut self, word: &[u8], at: usize) {
        self.text.clear();
        self.text.extend(word);
        self.len = word.len();
        self.from = at;
        self.end = self.len;
    }

    pub(super) fn begin_part(&mut self) {
        self.from = 0;
    }

    pub(super) fn end_token(&mut self, at: usize) {
        self.end = self.len.saturating_add(at - self.from);
    }

    /// Takes over what the part holds of it, which is up to `to`.
    pub(super) fn add(&mut self, part: &[u8], to: usize) {
        let more = &part[self.from..to];
        self.text.extend(&more[..more.len().min(MOST - self.text.len())]);
        self.len = self.len.saturating_add(more.len());
        self.from = to;
    }

    pub(super) fn read(&mut self) -> (Change, Pins) {
        self.text.truncate(self.end);
        change::read(&self.text, self.end <= MOST)
    }
}
