//! Prepared statements as such: their texts, which many clients share, and their names on the servers, which are ours.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use aws_lc_rs::rand;
use tokio::time::Instant;

use crate::digest::Digest;
use crate::effect::Effects;
use crate::statements::Description;

/// For so long a server's statement serves clients that are not told the types of its parameters.
const LONGEST_UNTOLD: Duration = Duration::from_secs(60);

/// A statement that a client has prepared.
#[derive(Debug)]
pub(crate) struct Statement {
    /// What it is known by.
    pub(crate) number: u64,
    /// Its name on every server.
    pub(crate) name: Box<str>,
    /// What is known of it once its Parse has come whole; never, if it is too long to keep.
    pub(crate) kept: OnceLock<Kept>,
    /// What its clients know of it: on every server it is this, or it is refused. Never, if nobody has asked.
    pub(crate) description: OnceLock<Description>,
    /// How many doubts there were when a server was asked that agreed.
    sure: AtomicU64,
    since: Instant,
}

/// What it takes to prepare a statement again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// A Parse's body behind the name: query, and types of the parameters.
    pub(crate) content: Box<[u8]>,
    pub(crate) effects: Effects,
}

impl Kept {
    /// The query with its end.
    pub(crate) fn query(&self) -> &[u8] {
        query_of(&self.content)
    }
}

/// The query with its end, of what is behind the name in a Parse.
pub(crate) fn query_of(content: &[u8]) -> &[u8] {
    content.split_inclusive(|byte| *byte == 0).next().unwrap_or_default()
}

/// Gives equal statements of one identity the same number, so that its clients find each other's on a server. Two of one
/// text are not equal if they were described otherwise, because something was altered between them.
#[derive(Debug)]
pub(crate) struct Registry {
    last: AtomicU64,
    /// How often something turned out to have been altered, in whichever database and whoever came upon it.
    doubts: AtomicU64,
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
            doubts: AtomicU64::new(0),
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

    /// One with the content of this one that is nobody else's.
    pub(crate) fn another(&self, like: &Statement) -> Arc<Statement> {
        self.make(like.kept.clone())
    }

    /// The same for a client that is told nothing of it and gives the server text. When a column is altered the parameters
    /// keep the types that they had, and a time is read as a date without anybody noticing: after a while it is prepared
    /// anew.
    pub(crate) fn intern_untold(&self, identity: &Digest, content: &[u8], effects: Effects) -> Arc<Statement> {
        let statement = self.intern(identity, content, effects.clone());
        if statement.since.elapsed() < LONGEST_UNTOLD {
            return statement;
        }
        self.retire(identity, &statement);
        self.intern(identity, content, effects)
    }

    /// The statement with the content of this one, which has turned out to be described otherwise.
    pub(crate) fn renew(&self, identity: &Digest, old: &Statement, description: Description) -> Arc<Statement> {
        self.retire(identity, old);
        let Kept { content, effects } = old.kept.get().cloned().unwrap_or_default();
        let new = self.intern(identity, &content, effects);
        if *new.description.get_or_init(|| description.clone()) == description {
            return new;
        }
        // Somebody else was faster, and was told something else.
        let own = self.another(old);
        let _ = own.description.set(description);
        own
    }

    /// Notes that something was altered. Until a server has agreed once more to what is known of a statement, nothing is
    /// asked of it in advance.
    pub(crate) fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn doubts(&self) -> u64 {
        self.doubts.load(Ordering::Relaxed)
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
        let (name, sure) = (self.name(number).into(), AtomicU64::new(self.doubts()));
        Arc::new(Statement { number, name, kept, description: OnceLock::new(), sure, since: Instant::now() })
    }
}

impl Statement {
    /// A server that was asked when there were so many doubts agrees to what is known of this statement.
    pub(crate) fn agreed(&self, doubts: u64) {
        self.sure.fetch_max(doubts, Ordering::Relaxed);
    }

    /// Whether something was altered since a server agreed.
    pub(crate) fn is_in_doubt(&self, registry: &Registry) -> bool {
        self.sure.load(Ordering::Relaxed) < registry.doubts()
    }

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
    fn what_is_described_otherwise_is_another_statement() {
        let registry = Registry::default();
        let old = intern(&registry, "a");
        old.description.set(Description::of(Some("n"))).unwrap();

        let new = registry.renew(&[7; 32], &old, Description::of(Some("m")));

        assert!(new.number != old.number && new.has(b"a"));
        assert_eq!(new.description.get(), Some(&Description::of(Some("m"))));
        assert_eq!(intern(&registry, "a").number, new.number, "it takes the old one's place");
        let same = registry.renew(&[7; 32], &old, Description::of(Some("m")));
        assert_eq!(same.number, new.number, "two who were told the same share it");
        let other = registry.renew(&[7; 32], &old, Description::of(None));
        assert!(other.number != new.number && other.description.get() == Some(&Description::of(None)));
        assert_eq!(intern(&registry, "a").number, new.number);
    }

    #[test]
    fn a_doubt_is_about_all_until_a_server_has_agreed_that_was_asked_later() {
        let registry = Registry::default();
        let (one, other) = (intern(&registry, "a"), intern(&registry, "b"));
        assert!(!one.is_in_doubt(&registry));
        let before = registry.doubts();
        registry.doubt();
        one.agreed(before);
        other.agreed(registry.doubts());
        assert!(one.is_in_doubt(&registry) && !other.is_in_doubt(&registry));
        assert!(!intern(&registry, "c").is_in_doubt(&registry));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_is_told_of_is_another_statement_after_a_while() {
        let registry = Registry::default();
        let untold = || registry.intern_untold(&[7; 32], b"a", Effects::default());
        let old = untold();
        tokio::time::advance(LONGEST_UNTOLD - Duration::from_secs(1)).await;
        assert_eq!(untold().number, old.number);
        tokio::time::advance(Duration::from_secs(1)).await;
        let new = untold();
        assert!(new.number != old.number && untold().number == new.number);
    }

    #[test]
    fn statements_that_nobody_has_are_forgotten() {
        let registry = Registry::default();
        (0..10_000).for_each(|number| drop(intern(&registry, &number.to_string())));
        assert!(registry.known.lock().unwrap().statements.len() <= 1024);
    }
}
