//! Reads one table of the tree, key by key, into typed values. A bad value is reported and its default handed on, so
//! that the reader goes on to the next key; a key that nobody asked for is reported at the end.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::File;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::report::{Origin, Report, nearest};
use super::tree::{Node, Value};

/// What all readers of one configuration share.
pub(super) struct Reading<'a> {
    pub(super) report: &'a Report,
    /// The directory of the file: relative paths in it start here.
    pub(super) directory: &'a Path,
    /// The environment, for the keys that end in `_env`.
    pub(super) variables: &'a BTreeMap<String, String>,
}

/// A value with its place, for checks that come after reading.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
    pub(super) key: String,
}

/// A table whose keys are being read.
pub(super) struct Section<'a> {
    pub(super) reading: &'a Reading<'a>,
    origin: Origin,
    /// As people write it: `provider[0]`.
    path: String,
    /// Without indexes: `provider`.
    kind: String,
    entries: BTreeMap<String, Node>,
    /// Where the keys that were read stood.
    places: BTreeMap<String, Origin>,
}

impl<'a> Section<'a> {
    /// The whole configuration.
    pub(super) fn root(reading: &'a Reading<'a>, root: Node) -> Self {
        Self::new(reading, String::new(), String::new(), root)
    }

    fn new(reading: &'a Reading<'a>, path: String, kind: String, node: Node) -> Self {
        let entries = match node.value {
            Value::Table(entries) => entries,
            other => {
                let message = format!("a table is expected, not {}", other.kind());
                reading.report.error(&node.origin, &path, message);
                BTreeMap::new()
            }
        };
        Self { reading, origin: node.origin, path, kind, entries, places: BTreeMap::new() }
    }

    /// Whether the key is there and not read yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Whether the key was there and has been read.
    pub(super) fn was_read(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// Whether the key is there with this very text, and not read yet.
    pub(super) fn has_word(&self, key: &str, word: &str) -> bool {
        let value = self.entries.get(key).map(|node| &node.value);
        matches!(value, Some(Value::String(text) | Value::Raw(text)) if text == word)
    }

    /// The table `[name]`, empty if it is absent.
    pub(super) fn section(&mut self, name: &str) -> Self {
        let empty = Node { origin: self.origin.clone(), value: Value::Table(BTreeMap::new()) };
        let node = self.take(name).unwrap_or(empty);
        Section::new(self.reading, self.key(name), join(&self.kind, name), node)
    }

    /// The tables `[[name]]`.
    pub(super) fn sections(&mut self, name: &str) -> Vec<Self> {
        let Some(node) = self.take(name) else { return Vec::new() };
        let Value::Array(items) = node.value else {
            self.error(name, format!("every one of these is a table of its own: write [[{name}]]"));
            return Vec::new();
        };
        let (path, kind) = (self.key(name), join(&self.kind, name));
        let section = |(index, item)| Section::new(self.reading, format!("{path}[{index}]"), kind.clone(), item);
        items.into_iter().enumerate().map(section).collect()
    }

    /// A string.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let node = self.take(key)?;
        self.string(node, key).map(|placed| placed.value)
    }

    /// A string that must be there.
    pub(super) fn required_text(&mut self, key: &str) -> Option<String> {
        if !self.has(key) {
            self.error(key, "missing");
        }
        self.text(key)
    }

    /// A path, taken from the file's directory if it is relative.
    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        let text = self.text(key)?;
        if text.is_empty() || text.contains('\0') {
            self.error(key, "this is not a path");
            return None;
        }
        Some(self.reading.directory.join(text))
    }

    /// A path to a file that can be opened.
    pub(super) fn existing_file(&mut self, key: &str) -> Option<PathBuf> {
        let path = self.path(key)?;
        match File::open(&path) {
            Ok(_) => Some(path),
            Err(error) => {
                self.error(key, format!("cannot read {}: {error}", path.display()));
                None
            }
        }
    }

    /// Strings; one alone needs no brackets, and a variable separates them by commas.
    pub(super) fn list(&mut self, key: &str) -> Option<Vec<Placed<String>>> {
        let node = self.take(key)?;
        let items = match node.value {
            Value::Raw(text) => text.split(',').map(|item| self.placed(key, item.trim().to_owned())).collect(),
            Value::Array(items) => items.into_iter().filter_map(|item| self.string(item, key)).collect(),
            value => self.string(Node { value, ..node }, key).into_iter().collect(),
        };
        Some(items)
    }

    /// A whole number.
    pub(super) fn number<T>(&mut self, key: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: Copy + Display + PartialOrd + TryFrom<i128>,
    {
        let Some(node) = self.take(key) else { return default };
        let number = match node.value {
            Value::Integer(number) => Some(number),
            Value::Raw(text) => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.and_then(|number| T::try_from(number).ok());
        number.filter(|number| range.contains(number)).unwrap_or_else(|| {
            self.error(key, format!("an integer from {} to {} is expected", range.start(), range.end()));
            default
        })
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &str, default: bool) -> bool {
        let Some(node) = self.take(key) else { return default };
        let flag = match node.value {
            Value::Boolean(flag) => Some(flag),
            Value::Raw(text) => text.trim().parse().ok(),
            _ => None,
        };
        flag.unwrap_or_else(|| {
            self.error(key, "true or false is expected");
            default
        })
    }

    /// A duration with its unit, such as `"30s"`.
    pub(super) fn duration(&mut self, key: &str, default: Duration, range: RangeInclusive<Duration>) -> Duration {
        let Some(node) = self.take(key) else { return default };
        let (Value::String(text) | Value::Raw(text)) = node.value else {
            self.error(key, "a duration with its unit is expected, such as \"30s\" or \"5min\"");
            return default;
        };
        match humantime::parse_duration(text.trim()) {
            Ok(duration) if range.contains(&duration) => return duration,
            Ok(_) => {
                let [from, to] = [range.start(), range.end()].map(|end| humantime::format_duration(*end));
                self.error(key, format!("a duration from {from} to {to} is expected"));
            }
            Err(error) => self.error(key, format!("a duration such as \"30s\" or \"5min\" is expected: {error}")),
        }
        default
    }

    /// A number of bytes with its unit, such as `"10MiB"`.
    pub(super) fn size(&mut self, key: &str, default: usize, range: RangeInclusive<usize>) -> usize {
        let Some(node) = self.take(key) else { return default };
        let size = match node.value {
            Value::String(text) | Value::Raw(text) => parse_size(&text),
            _ => None,
        };
        size.filter(|size| range.contains(size)).unwrap_or_else(|| {
            let [from, to] = [range.start(), range.end()].map(|end| written_size(*end));
            self.error(key, format!("a size from {from} to {to} is expected, such as \"64KiB\" or \"10MiB\""));
            default
        })
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let near = nearest(&text, all.iter().copied());
            let near = near.map(|word| format!("; did you mean {word:?}?")).unwrap_or_default();
            self.error(key, format!("{text:?} is none of {}{near}", all.join(", ")));
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// Every key of this table with its value as text: for tables whose keys are the user's own.
    pub(super) fn settings(&mut self) -> Vec<(String, String)> {
        let names: Vec<_> = self.entries.keys().cloned().collect();
        let mut settings = Vec::new();
        for name in names {
            match self.take(&name).map(|node| node.value) {
                Some(Value::String(text) | Value::Raw(text) | Value::Float(text)) => settings.push((name, text)),
                Some(Value::Integer(number)) => settings.push((name, number.to_string())),
                Some(Value::Boolean(flag)) => settings.push((name, flag.to_string())),
                Some(other) => {
                    let message = "a value is expected, not";
                    self.error(&name, format!("{message} {}; a name with a dot needs quotes", other.kind()));
                }
                None => {}
            }
        }
        settings
    }

    /// Removes a key that must not be there, and says whether it was.
    pub(super) fn refuse(&mut self, key: &str, message: impl Into<String>) -> bool {
        let Some(node) = self.entries.remove(key) else { return false };
        self.reading.report.error(&node.origin, &self.key(key), message);
        true
    }

    /// Reports an error about a key of this table, whether it is there or missing.
    pub(super) fn error(&self, key: &str, message: impl Into<String>) {
        self.reading.report.error(self.place(key), &self.key(key), message);
    }

    /// Warns about a key of this table.
    pub(super) fn warn(&self, key: &str, message: impl Into<String>) {
        self.reading.report.warning(self.place(key), &self.key(key), message);
    }

    /// A value with the place of its key.
    pub(super) fn placed<T>(&self, key: &str, value: T) -> Placed<T> {
        Placed { value, origin: self.place(key).clone(), key: self.key(key) }
    }

    /// Reports every key that nobody asked for. The section stays for checks across keys.
    pub(super) fn finish(&mut self) {
        for (name, node) in std::mem::take(&mut self.entries) {
            let path = self.key(&name);
            self.reading.report.unknown(node.origin, &self.kind, path, name);
        }
    }

    fn place(&self, key: &str) -> &Origin {
        let unread = || self.entries.get(key).map(|node| &node.origin);
        self.places.get(key).or_else(unread).unwrap_or(&self.origin)
    }

    fn key(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// The node of a key, which is thereby known.
    fn take(&mut self, key: &str) -> Option<Node> {
        self.reading.report.knows(&self.kind, key);
        let node = self.entries.remove(key)?;
        self.places.insert(key.to_owned(), node.origin.clone());
        Some(node)
    }

    fn string(&self, node: Node, key: &str) -> Option<Placed<String>> {
        match node.value {
            Value::String(value) | Value::Raw(value) => Some(Placed { value, origin: node.origin, key: self.key(key) }),
            other => {
                let message = format!("a string is expected, not {}", other.kind());
                self.reading.report.error(&node.origin, &self.key(key), message);
                None
            }
        }
    }
}

impl Placed<String> {
    /// Reports an error about this value.
    pub(super) fn error(&self, report: &Report, message: impl Into<String>) {
        report.error(&self.origin, &self.key, message);
    }
}

/// Units of sizes, the larger ones first.
const UNITS: [(&str, usize); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

fn parse_size(text: &str) -> Option<usize> {
    let text = text.trim();
    let (number, unit) = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
    number.trim_end().parse::<usize>().ok()?.checked_mul(unit)
}

fn written_size(size: usize) -> String {
    let (name, unit) = UNITS.iter().find(|(_, unit)| size >= *unit && size.is_multiple_of(*unit)).unwrap_or(&("B", 1));
    format!("{}{name}", size / unit)
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
