//! SQL that deallocates statements. It says the name that the client gave, and is to mean the one that the server knows.

use std::ffi::CStr;

use upstream::Prepared;

use super::frames::key;
use super::{Statements, Way, kept_bytes};
use crate::effect::{Change, Effects, deallocated};
use crate::statement::Statement;

/// Behind the name of a statement that is empty: it can be made whatever has become of the transaction.
pub(super) const EMPTY: [&[u8]; 2] = [b"\0\0\0", b""];

/// The name in a query that deallocates one statement and does nothing else.
pub(crate) fn sole_deallocation(query: &[u8], effects: &Effects) -> Option<Vec<u8>> {
    let [Change::Deallocate(Some(name))] = &effects.changes[..] else { return None };
    let text = query.strip_suffix(b"\0")?.trim_ascii();
    let text = text.strip_suffix(b";").unwrap_or(text).trim_ascii_end();
    // Letters, digits and blanks alone: then there is one statement and no comment.
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b"_\"".contains(byte);
    text.iter().all(plain).then(|| name.to_vec())
}

impl Statements {
    /// The statement of this name is about to be deallocated by SQL: what to say of it on the server.
    pub(crate) fn deallocate(&mut self, name: &[u8], way: &mut Way<'_>) -> Option<String> {
        self.name_to_deallocate(name, way).map(|name| format!("DEALLOCATE {name}"))
    }

    /// The same in the midst of a text with other statements: the text with the names that the server knows, if there are
    /// any. `of_sql` tells which names mean other statements.
    pub(crate) fn deallocate_within(
        &mut self,
        query: &[u8],
        of_sql: impl Fn(&[u8]) -> bool,
        way: &mut Way<'_>,
    ) -> Option<String> {
        let text = CStr::from_bytes_with_nul(query).ok()?.to_str().ok()?;
        let (mut renamed, mut behind) = (String::new(), 0);
        let mut found = Vec::new();
        for (place, name) in deallocated(query) {
            // The second time it is not there any more.
            if of_sql(&name) || found.contains(&name) {
                continue;
            }
            if let Some(ours) = self.name_to_deallocate(&name, way) {
                renamed.push_str(&text[behind..place.start]);
                renamed.push_str(&ours);
                behind = place.end;
                found.push(name);
            }
        }
        renamed.push_str(&text[behind..]);
        (!found.is_empty()).then_some(renamed)
    }

    /// What the server calls it. Where it is not there another is made in its place: behind an error a Query would not be
    /// answered.
    fn name_to_deallocate(&mut self, name: &[u8], way: &mut Way<'_>) -> Option<String> {
        let statement = self.named.get(key(name)).filter(|_| self.renames)?.clone();
        let there = way.server.uses(statement.number);
        let other = (!there).then(|| self.make_other(EMPTY, way));
        Some(other.unwrap_or_else(|| statement.name.to_string()))
    }

    /// The client binds this statement. If that deallocates another, which one was not known before: it is the one that has
    /// the name by now. A statement is made that says what it is called on the server, and its name is returned.
    pub(super) fn make_deallocation(&mut self, statement: &Statement, way: &mut Way<'_>) -> Option<String> {
        let kept = statement.kept.get()?;
        let deallocated = sole_deallocation(kept.query(), &kept.effects)?;
        self.named.get(key(&deallocated))?;
        let number = self.registry.next();
        // First, because it may be the other one that makes room.
        self.make_room(number, way);
        let (query, name) = (self.deallocate(&deallocated, way)?, self.registry.name(number));
        self.send_parse(&name, [query.as_bytes(), b"\0\0\0"], number, None, way);
        Some(name)
    }

    /// The statement of this name was deallocated by SQL.
    pub(crate) fn deallocated(&mut self, name: &[u8], server: &mut Prepared) {
        if let Some(statement) = self.named.remove(key(name)) {
            self.bytes -= kept_bytes(&statement);
            server.closed(statement.number);
        }
    }

    /// All statements were deallocated, or discarded with all else.
    pub(crate) fn deallocated_all(&mut self, server: &mut Prepared) {
        self.named.clear();
        self.unkept = false;
        self.bytes = self.bytes_but_named();
        server.clear();
    }
}
