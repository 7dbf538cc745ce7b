//! The configuration as one tree of values, each with the place it was written: the file first, then what environment
//! variables and `--set` put over it. No key has a meaning here.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::report::{Origin, Report};

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A string of the file.
    String(String),
    /// The text of a variable or flag: its type is the one that its reader wants.
    Raw(String),
    /// Too large a number is kept as the largest one: no key's range reaches that far.
    Integer(i128),
    /// A float, as written.
    Float(String),
    Boolean(bool),
    Datetime,
    Array(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Value {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::String(_) | Self::Raw(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

/// Parses the text of the file. What is no TOML goes into the report, with its line.
pub(super) fn parse(text: &str, path: &Arc<Path>, report: &Report) -> Node {
    let (table, errors) = DeTable::parse_recoverable(text);
    let lines = Lines { text, path };
    for error in errors {
        let offset = error.span().map_or(text.len(), |span| span.start);
        report.error(&lines.origin(offset), "", error.message());
    }
    Node { origin: Origin::File(path.clone()), value: lines.table(table.get_ref()) }
}

struct Lines<'a> {
    text: &'a str,
    path: &'a Arc<Path>,
}

impl Lines<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let before = self.text.as_bytes().iter().take(offset);
        Origin::Line(self.path.clone(), 1 + before.filter(|byte| **byte == b'\n').count())
    }

    fn table(&self, table: &DeTable<'_>) -> Value {
        let entries = table.iter().map(|(key, value)| {
            // A value may begin on a later line than its key; a table begins at its header.
            let offset = if value.get_ref().is_table() { value.span().start } else { key.span().start };
            (key.get_ref().to_string(), self.node(offset, value.get_ref()))
        });
        Value::Table(entries.collect())
    }

    fn node(&self, offset: usize, value: &DeValue<'_>) -> Node {
        let value = match value {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => {
                let number = i128::from_str_radix(number.as_str(), number.radix());
                Value::Integer(number.unwrap_or(i128::MAX))
            }
            DeValue::Float(number) => Value::Float(number.as_str().to_owned()),
            DeValue::Boolean(flag) => Value::Boolean(*flag),
            DeValue::Datetime(_) => Value::Datetime,
            DeValue::Array(items) => {
                Value::Array(items.iter().map(|item| self.node(item.span().start, item.get_ref())).collect())
            }
            DeValue::Table(table) => self.table(table),
        };
        Node { origin: self.origin(offset), value }
    }
}

impl Node {
    /// Puts `text` at `path` (table, key; or array, index, key) over what is there.
    ///
    /// # Errors
    /// What stands in the way, when the path leads through a plain value or past the end of an array.
    pub(super) fn overlay(&mut self, path: &[&str], origin: &Origin, text: &str) -> Result<(), String> {
        let Some((name, rest)) = path.split_first() else {
            *self = Self { origin: origin.clone(), value: Value::Raw(text.to_owned()) };
            return Ok(());
        };
        let next = || Self { origin: origin.clone(), value: Value::empty(rest.first()) };
        let child = match &mut self.value {
            Value::Table(entries) => entries.entry((*name).to_owned()).or_insert_with(next),
            Value::Array(items) => element(items, name, next)?,
            other => return Err(format!("{name:?} cannot be set inside {}", other.kind())),
        };
        child.overlay(rest, origin, text)
    }
}

impl Value {
    /// What a missing node on the way to `next` has to be.
    fn empty(next: Option<&&str>) -> Self {
        match next {
            Some(next) if next.parse::<usize>().is_ok() => Self::Array(Vec::new()),
            _ => Self::Table(BTreeMap::new()),
        }
    }
}

fn element<'a>(items: &'a mut Vec<Node>, index: &str, fresh: impl Fn() -> Node) -> Result<&'a mut Node, String> {
    let length = items.len();
    let index: usize = index.parse().map_err(|_| format!("an index from 0 to {length} is expected, not {index:?}"))?;
    if index == length {
        items.push(fresh());
    }
    items.get_mut(index).ok_or_else(|| format!("index {index} leaves a gap: the next one is {length}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Node, Report) {
        let report = Report::default();
        let node = parse(text, &Path::new("proxy.toml").into(), &report);
        (node, report)
    }

    fn child<'a>(node: &'a Node, name: &str) -> &'a Node {
        match &node.value {
            Value::Table(entries) => &entries[name],
            Value::Array(items) => &items[name.parse::<usize>().expect("an index")],
            other => panic!("{name} is inside {}", other.kind()),
        }
    }

    fn line(node: &Node) -> usize {
        match node.origin {
            Origin::Line(_, line) => line,
            ref other => panic!("{other} has no line"),
        }
    }

    #[test]
    fn every_value_knows_its_line() {
        let (root, _) = parsed("\n[pool]\na =\t1\n\n[[role]]\nname = 'x'\n[[role]]\nname = [\n'y',\n'z']\n");
        assert_eq!(line(child(&root, "pool")), 2);
        assert_eq!(line(child(child(&root, "pool"), "a")), 3);
        assert_eq!(line(child(child(&root, "role"), "1")), 7);
        assert_eq!(line(child(child(child(&root, "role"), "1"), "name")), 8);
        assert_eq!(line(child(child(child(child(&root, "role"), "1"), "name"), "1")), 10);
    }

    #[test]
    fn all_syntax_errors_are_reported() {
        let (_, report) = parsed("a = \nb = 1\nb = 2\n");
        let errors = report.finish().expect_err("a has no value and b has two");
        assert_eq!(errors.problems().len(), 2, "{errors}");
    }

    #[test]
    fn an_overlay_goes_into_tables_and_arrays() {
        let (mut root, _) = parsed("[[role]]\nname = 'x'\n");
        let origin = Origin::Variable("V".into());
        for path in [["role", "0", "name"], ["role", "1", "name"], ["provider", "0", "name"]] {
            root.overlay(&path, &origin, "text").expect("the path is free");
            let node = path.iter().fold(&root, |node, name| child(node, name));
            assert_eq!(node.origin, origin);
        }
    }

    #[test]
    fn an_overlay_neither_leaves_gaps_nor_enters_values() {
        let (mut root, _) = parsed("a = 1\n[[role]]\n");
        let origin = Origin::Variable("V".into());
        assert!(root.overlay(&["role", "2", "name"], &origin, "x").is_err());
        assert!(root.overlay(&["role", "name"], &origin, "x").is_err());
        assert!(root.overlay(&["a", "b"], &origin, "x").is_err());
    }
}
