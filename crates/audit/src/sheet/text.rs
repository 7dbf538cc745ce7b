//! The sheet for people: a block for each group, a paragraph for each finding, and a line that sums it up.

use std::fmt::Write;

use crate::finding::{Finding, Place};
use crate::rule::Level;
use crate::sheet::Sheet;

/// Whether a terminal's colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// They are.
    On,
    /// They are not.
    Off,
}

/// Where the text of a finding starts: behind its level.
const INDENT: usize = 12;

impl Sheet {
    /// The sheet for people.
    #[must_use]
    pub fn text(&self, colour: Colour) -> String {
        let mut text = String::new();
        let mut sorted: Vec<_> = self.findings.iter().collect();
        // Stable: within a group and a level the order is that of the checks.
        sorted.sort_by_key(|finding| (finding.rule.group, std::cmp::Reverse(finding.level)));
        let mut group = None;
        for finding in sorted {
            if group.replace(finding.rule.group) != Some(finding.rule.group) {
                let _ = writeln!(text, "{}\n", colour.paint("1", finding.rule.group.title()));
            }
            paragraph(&mut text, finding, colour);
        }
        for unseen in &self.unseen {
            let _ = writeln!(text, "not looked at: {}: {}", plain(&unseen.what), plain(&unseen.why));
        }
        for finding in &self.allowed {
            let _ = writeln!(text, "allowed by [safety]: {}: {}", finding.rule.id, plain(&finding.subject));
        }
        if !self.unseen.is_empty() || !self.allowed.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "{}", self.summary(colour));
        text
    }

    fn summary(&self, colour: Colour) -> String {
        let count = |level: Level| {
            let count = self.count(level);
            let words = match (level, count) {
                (Level::Warning, 1) => "1 warning".to_owned(),
                (Level::Warning, count) => format!("{count} warnings"),
                (level, count) => format!("{count} {level}"),
            };
            if count == 0 { words } else { colour.paint(code(level), &words) }
        };
        let counts = if self.findings.is_empty() {
            colour.paint("32", "nothing found")
        } else {
            [Level::Critical, Level::High, Level::Warning].map(count).join(", ")
        };
        let seen: Vec<_> = self.seen.iter().map(|what| plain(what)).collect();
        format!("{counts}; looked at {}", if seen.is_empty() { "nothing".to_owned() } else { seen.join(", ") })
    }
}

fn paragraph(text: &mut String, finding: &Finding, colour: Colour) {
    let Finding { rule, level, subject, evidence, mend, place } = finding;
    // Painted after padding: colours have a width of their own.
    let level_word = colour.paint(code(*level), &format!("{level:<width$}", width = INDENT - 2));
    let place = match place {
        None => String::new(),
        Some(Place::Database(name)) => format!(" in database {}", plain(name)),
        Some(Place::File { path, line }) => {
            let line = line.map(|line| format!(":{line}")).unwrap_or_default();
            format!(" in {}{line}", plain(&path.display().to_string()))
        }
    };
    let _ = writeln!(text, "  {level_word}{}{place}", colour.paint("1", &plain(subject)));
    let mut line = |word: &str, words: &str| {
        let _ = writeln!(text, "{:INDENT$}{}{words}", "", colour.paint("2", word));
    };
    line("", &plain(evidence));
    line("why   ", rule.why);
    for (number, statement) in mend.iter().flat_map(|mend| mend.lines()).enumerate() {
        line(if number == 0 { "mend  " } else { "      " }, &plain(statement));
    }
    line("rule  ", rule.id);
    text.push('\n');
}

/// The names in it are others', and the text is meant for a terminal, which would obey their control characters.
fn plain(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// The parameters of the escape sequence in which a level is shown.
fn code(level: Level) -> &'static str {
    match level {
        Level::Critical => "1;31",
        Level::High => "31",
        Level::Warning => "33",
    }
}

impl Colour {
    fn paint(self, code: &str, words: &str) -> String {
        match self {
            Self::On if !words.is_empty() => format!("\u{1b}[{code}m{words}\u{1b}[0m"),
            _ => words.to_owned(),
        }
    }
}
