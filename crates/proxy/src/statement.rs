//! Prepared statements as such: their texts, which many clients share, and their names on the servers, which are ours.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use aws_lc_rs::rand;

use crate::digest::Digest;
use crate::effect::Effects;

/// A statement that a client has prepared.
#[derive(Debug)]
pub(crate) struct Statement {
    /// What it is known by.
    pub(crate) number: u64,
    /// Its name on every server.
    pub(crate) name: Box<str>,
    /// What is known of it once its Parse has come whole; never, if it is too long to keep.
    pub(crate) kept: OnceLock<Kept>,
}

/// What it takes to prepare a statement again.
#[derive(Debug)]
pub(crate) struct Kept {
    /// A Parse's body behind the name: query, and types of the parameters.
    pub(crate) content: Box<[u8]>,
    pub(crate) effects: Effects,
}

/// Gives equal statements of one identity the same number, so that its clients find each other's on a server.
#[derive(Debug)]
pub(crate) struct Registry {
    last: AtomicU64,
    /// What all names begin with, and no client's own.
    prefix: String,
    hasher: RandomState,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By the hash of identity and content.
    statements: HashMap<u64, (Digest, Weak<Statement>)>,
    /// When there are so many, those that nobody has any more are taken out.
    sweep_at: usize,
}

impl Default for Registry {
    fn default() -> Self {
        let mut random = [0; 6];
        rand::fill(&mut random).expect("the system has random bytes");
        let random = random.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Self {
            last: AtomicU64::new(0),
            prefix: format!("pgusher_{random}_"),
            hasher: RandomState::new(),
            known: Mutex::default(),
        }
    }
}

impl Registry {
    /// A number that nothing else has.
    pub(crate) fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The name on the servers of what has this number.
    pub(crate) fn name(&self, number: u64) -> String {
        format!("{}{number}", self.prefix)
    }

    /// A statement whose content is still to come.
    pub(crate) fn unknown(&self) -> Arc<Statement> {
        self.make(OnceLock::new())
    }

    /// A statement that its client names itself, and of which only this is known.
    pub(crate) fn of_client(&self, effects: Effects) -> Arc<Statement> {
        self.make(OnceLock::from(Kept { content: Box::default(), effects }))
    }

    /// The statement of this identity with this content.
    pub(crate) fn intern(&self, identity: &Digest, content: &[u8], effects: Effects) -> Arc<Statement> {
        let kept = || OnceLock::from(Kept { content: content.into(), effects });
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = self.hasher.hash_one((identity, content));
        match known.statements.get(&hash).and_then(|(holder, same)| Some((holder, same.upgrade()?))) {
            Some((holder, same)) if holder == identity && same.has(content) => same,
            // Two with one hash: the first one keeps the place, and the other is nobody else's.
            Some(_) => self.make(kept()),
            None => {
                let statement = self.make(kept());
                known.insert(hash, identity, &statement);
                statement
            }
        }
    }

    /// Keeps servers' plans of this statement from being used by those who prepare it from now on: they get another
    /// number.
    pub(crate) fn retire(&self, identity: &Digest, statement: &Statement) {
        let Some(kept) = statement.kept.get() else { return };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = self.hasher.hash_one((identity, &*kept.content));
        let held = known.statements.get(&hash).and_then(|(_, held)| held.upgrade());
        if held.is_some_and(|held| held.number == statement.number) {
            known.statements.remove(&hash);
        }
    }

    fn make(&self, kept: OnceLock<Kept>) -> Arc<Statement> {
        let number = self.next();
        Arc::new(Statement { number, name: self.name(number).into(), kept })
    }
}

impl Statement {
    fn has(&self, content: &[u8]) -> bool {
        self.kept.get().is_some_and(|kept| *kept.content == *content)
    }
}

impl Known {
    fn insert(&mut self, hash: u64, identity: &Digest, statement: &Arc<Statement>) {
        if self.statements.len() >= self.sweep_at {
            self.statements.retain(|_, (_, statement)| statement.strong_count() > 0);
            self.sweep_at = (self.statements.len() * 2).max(1024);
        }
        self.statements.insert(hash, (*identity, Arc::downgrade(statement)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intern(registry: &Registry, content: &str) -> Arc<Statement> {
        registry.intern(&[7; 32], content.as_bytes(), Effects::default())
    }

    #[test]
    fn equal_contents_have_one_number() {
        let registry = Registry::default();
        let (one, same, other) = (intern(&registry, "a"), intern(&registry, "a"), intern(&registry, "b"));
        assert!(one.number == same.number && one.number != other.number);
        assert_ne!(registry.unknown().number, registry.unknown().number);
        let anothers = registry.intern(&[8; 32], b"a", Effects::default());
        assert!(
            anothers.number != one.number && anothers.name != one.name,
            "what others prepare is not to be found out"
        );
    }

    #[test]
    fn a_retired_statement_is_prepared_under_another_number() {
        let registry = Registry::default();
        let old = intern(&registry, "a");
        registry.retire(&[7; 32], &old);
        let new = intern(&registry, "a");
        registry.retire(&[7; 32], &old);
        assert!(old.number != new.number && intern(&registry, "a").number == new.number);
    }

    #[test]
    fn statements_that_nobody_has_are_forgotten() {
        let registry = Registry::default();
        (0..10_000).for_each(|number| drop(intern(&registry, &number.to_string())));
        assert!(registry.known.lock().unwrap().statements.len() <= 1024);
    }
}
