//! The prepared statements that a server holds for us, by the numbers that we gave them.
//!
//! They never outlive the identity that made them: a reset of the session does away with all. Until then any client of
//! that identity may use them.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What a server has prepared.
#[derive(Debug)]
pub struct Prepared {
    named: HashMap<u64, Entry>,
    /// Those of them that are there, but are not known to be what their number stands for.
    spoiled: HashSet<u64>,
    /// How many of them stay, whatever comes.
    staying: usize,
    clock: u64,
    most: usize,
    /// The unnamed statement: it may be any client's, and each makes its own.
    pub unnamed: Option<u64>,
}

/// A statement that is there.
#[derive(Debug)]
struct Entry {
    /// When it was used last, as the clock counts.
    used: u64,
    /// What is kept with it.
    kept: Option<Arc<dyn Any + Send + Sync>>,
    /// It cannot be made again, and takes nobody's place.
    stays: bool,
}

impl Prepared {
    /// A server that has none, and may have so many, not counting those that stay.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { named: HashMap::new(), spoiled: HashSet::new(), staying: 0, clock: 0, most: most.max(1), unnamed: None }
    }

    /// Whether it has this one, which is about to be used.
    pub fn uses(&mut self, number: u64) -> bool {
        self.clock += 1;
        let clock = self.clock;
        self.named.get_mut(&number).map(|entry| entry.used = clock).is_some()
    }

    /// Keeps this for as long as the statement is there: what it takes to ask for it once more.
    pub fn keep(&mut self, number: u64, what: Arc<dyn Any + Send + Sync>) {
        if let Some(entry) = self.named.get_mut(&number) {
            entry.kept = Some(what);
        }
    }

    /// Notes that this one is not what its number stands for: before it is used it has to be made anew.
    pub fn spoil(&mut self, number: u64) {
        if self.named.contains_key(&number) {
            self.spoiled.insert(number);
        }
    }

    /// Whether this one has to be made anew.
    #[must_use]
    pub fn is_spoiled(&self, number: u64) -> bool {
        self.spoiled.contains(&number)
    }

    /// Notes one that is being made. If there are too many, the one that was not used for longest is forgotten and
    /// returned: it is to be closed.
    pub fn made(&mut self, number: u64) -> Option<u64> {
        self.clock += 1;
        self.spoiled.remove(&number);
        let known = self.insert(number).is_some();
        if known || self.named.len() - self.staying <= self.most {
            return None;
        }
        let others = self.named.iter().filter(|(_, entry)| !entry.stays);
        let oldest = others.min_by_key(|(_, entry)| entry.used).map(|(oldest, _)| *oldest)?;
        self.closed(oldest);
        Some(oldest)
    }

    /// Notes one that is there, or is being made, and cannot be made again: it stays until it is closed.
    pub fn stays(&mut self, number: u64) {
        self.closed(number);
        self.clock += 1;
        self.named.insert(number, Entry { used: self.clock, kept: None, stays: true });
        self.staying += 1;
    }

    /// Notes that it can be made again.
    pub fn yields(&mut self, number: u64) {
        if let Some(entry) = self.named.get_mut(&number) {
            self.staying -= usize::from(std::mem::take(&mut entry.stays));
        }
    }

    /// Notes one that is being closed, or was not made after all. Whether it was there.
    pub fn closed(&mut self, number: u64) -> bool {
        self.spoiled.remove(&number);
        let closed = self.named.remove(&number);
        self.staying -= usize::from(closed.as_ref().is_some_and(|entry| entry.stays));
        closed.is_some()
    }

    /// Notes one that is there after all, because it was not closed. What it is like has been forgotten.
    pub fn restored(&mut self, number: u64) {
        self.insert(number);
        self.spoil(number);
    }

    /// Notes that all are gone.
    pub fn clear(&mut self) {
        self.named.clear();
        self.spoiled.clear();
        self.staying = 0;
        self.unnamed = None;
    }

    fn insert(&mut self, number: u64) -> Option<Entry> {
        self.yields(number);
        self.named.insert(number, Entry { used: self.clock, kept: None, stays: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_too_many_takes_the_place_of_the_one_used_longest_ago() {
        let mut prepared = Prepared::new(3);
        assert_eq!([1, 2, 3].map(|number| prepared.made(number)), [None; 3]);
        assert!(prepared.uses(1));
        assert_eq!(prepared.made(3), None);
        assert_eq!(prepared.made(4), Some(2));
        assert!(!prepared.uses(2) && prepared.uses(1) && prepared.uses(3) && prepared.uses(4));
        assert_eq!(prepared.made(5), Some(1));
    }

    #[test]
    fn what_cannot_be_made_again_stays_until_it_is_closed() {
        let mut prepared = Prepared::new(1);
        prepared.stays(1);
        prepared.stays(2);
        assert_eq!([3, 4].map(|number| prepared.made(number)), [None, Some(3)]);
        assert!(prepared.uses(1) && prepared.closed(1) && !prepared.uses(1));
        prepared.yields(2);
        assert_eq!([5, 6].map(|number| prepared.made(number)), [Some(2), Some(4)], "one a time is closed");
        prepared.stays(7);
        prepared.clear();
        assert_eq!([8, 9].map(|number| prepared.made(number)), [None, Some(8)]);
    }

    #[test]
    fn what_is_closed_is_gone() {
        let mut prepared = Prepared::new(3);
        prepared.made(1);
        prepared.unnamed = Some(2);
        assert!(prepared.closed(1) && !prepared.closed(1) && !prepared.uses(1));
        prepared.made(3);
        prepared.spoil(3);
        prepared.clear();
        assert!(!prepared.uses(3) && !prepared.is_spoiled(3) && prepared.unnamed.is_none());
    }

    #[test]
    fn what_is_kept_with_a_statement_goes_when_it_does() {
        let mut prepared = Prepared::new(1);
        let what = Arc::new(());
        prepared.keep(1, what.clone());
        assert_eq!(Arc::strong_count(&what), 1, "it is not there");
        let ways: [fn(&mut Prepared); 3] =
            [|all| assert!(all.closed(1)), |all| assert!(all.made(2).is_some()), Prepared::clear];
        for goes in ways {
            prepared.made(1);
            prepared.keep(1, what.clone());
            assert_eq!(Arc::strong_count(&what), 2);
            goes(&mut prepared);
            assert_eq!(Arc::strong_count(&what), 1);
            prepared.clear();
        }
    }

    #[test]
    fn what_is_spoiled_is_there_until_it_is_made_anew() {
        let mut prepared = Prepared::new(3);
        prepared.spoil(1);
        assert!(!prepared.is_spoiled(1), "it is not there");
        prepared.made(1);
        prepared.spoil(1);
        assert!(prepared.uses(1) && prepared.is_spoiled(1));
        prepared.closed(1);
        prepared.made(1);
        assert!(!prepared.is_spoiled(1));
        prepared.closed(1);
        prepared.restored(1);
        assert!(prepared.is_spoiled(1), "nobody knows");
    }
}
