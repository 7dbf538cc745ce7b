//! What is found while the configuration is read: every error and warning with its place. Nothing stops at the first
//! error, so that one run shows all there is to mend.

use std::cell::RefCell;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The file as a whole: for what is missing in it.
    File(Arc<Path>),
    /// A line of the file, counted from 1.
    Line(Arc<Path>, usize),
    /// An environment variable.
    Variable(String),
    /// An argument of `--set`.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(argument) => write!(f, "--set {argument}"),
        }
    }
}

/// One thing that is wrong, or worth a warning. Its text never contains a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it was written, or should have been.
    pub origin: Origin,
    /// The key, as in `pool.default_pool_size` or `provider[0].issuer`; empty when no key is at fault.
    pub key: String,
    /// What is wrong and, where that is known, what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Every error of one reading; there is at least one.
#[derive(Debug)]
pub struct ConfigErrors(Vec<Problem>);

impl ConfigErrors {
    /// The errors in the order of the file's lines, then those of the environment and the command line.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "error: {problem}")?;
        }
        match self.0.len() {
            1 => f.write_str("1 error in the configuration"),
            count => write!(f, "{count} errors in the configuration"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// A key that no reader asked for.
struct Unknown {
    origin: Origin,
    section: String,
    path: String,
    name: String,
}

/// Collects what is found; shared by all readers of one configuration.
#[derive(Default)]
pub(super) struct Report {
    errors: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    unknown: RefCell<Vec<Unknown>>,
    known: RefCell<Vec<(String, String)>>,
}

impl Report {
    pub(super) fn error(&self, origin: &Origin, key: &str, message: impl Into<String>) {
        self.errors.borrow_mut().push(problem(origin, key, message));
    }

    pub(super) fn warning(&self, origin: &Origin, key: &str, message: impl Into<String>) {
        self.warnings.borrow_mut().push(problem(origin, key, message));
    }

    /// Notes that `section` (without indexes, empty for the root) has the key `name`.
    pub(super) fn knows(&self, section: &str, name: &str) {
        let key = (section.to_owned(), name.to_owned());
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
    }

    /// Notes a key that nobody asked for; judged in [`Self::finish`], when all valid keys are known.
    pub(super) fn unknown(&self, origin: Origin, section: &str, path: String, name: String) {
        let section = section.to_owned();
        self.unknown.borrow_mut().push(Unknown { origin, section, path, name });
    }

    /// The key whose variable `name` would be, were its separator `__` instead of `_`.
    pub(super) fn misspelt_variable(&self, name: &str) -> Option<String> {
        let spelt = |(section, key): &(String, String)| format!("{section}_{key}").to_uppercase();
        let known = self.known.borrow();
        let (section, key) = known.iter().find(|key| spelt(key) == name && !key.0.is_empty())?;
        Some(format!("{section}__{key}").to_uppercase())
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.borrow().is_empty()
    }

    /// Adds the unknown keys to the errors; then the warnings, or the errors if there are any.
    pub(super) fn finish(self) -> Result<Vec<Problem>, ConfigErrors> {
        let known = self.known.into_inner();
        let mut errors = self.errors.into_inner();
        for unknown in self.unknown.into_inner() {
            let message = unknown_message(&known, &unknown.section, &unknown.name);
            errors.push(problem(&unknown.origin, &unknown.path, message));
        }
        errors.sort();
        errors.dedup();
        if errors.is_empty() { Ok(self.warnings.into_inner()) } else { Err(ConfigErrors(errors)) }
    }
}

fn problem(origin: &Origin, key: &str, message: impl Into<String>) -> Problem {
    Problem { origin: origin.clone(), key: key.into(), message: message.into() }
}

fn unknown_message(known: &[(String, String)], section: &str, name: &str) -> String {
    let here = known.iter().filter(|key| key.0 == section).map(|key| key.1.as_str());
    if let Some(near) = nearest(name, here) {
        return format!("unknown key; did you mean {near:?}?");
    }
    match known.iter().find(|key| key.1 == name && !key.0.is_empty()) {
        Some((owner, _)) => format!("unknown key here; it belongs into [{owner}]"),
        None => "unknown key".into(),
    }
}

/// The candidate that `word` is most probably a misspelling of.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters wrong, as rustc's limit for its suggestions.
    let limit = (word.chars().count().max(3)) / 3;
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_a_stranger_is_not() {
        let words = ["issuer", "audience", "algorithms"];
        assert_eq!(nearest("isuer", words.into_iter()), Some("issuer"));
        assert_eq!(nearest("algoritm", words.into_iter()), Some("algorithms"));
        assert_eq!(nearest("colour", words.into_iter()), None);
    }

    #[test]
    fn the_list_names_each_place_and_counts() {
        let report = Report::default();
        let path: Arc<Path> = Path::new("proxy.toml").into();
        report.error(&Origin::Line(path.clone(), 7), "pool.x", "wrong");
        report.error(&Origin::Line(path, 3), "", "not TOML");
        let errors = report.finish().expect_err("two errors were reported");
        let expected =
            "error: proxy.toml:3: not TOML\nerror: proxy.toml:7: pool.x: wrong\n2 errors in the configuration";
        assert_eq!(errors.to_string(), expected);
    }
}
