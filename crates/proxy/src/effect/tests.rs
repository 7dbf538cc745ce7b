//! Texts, and what they do to their session.

use super::{Change, Reader, effects};

mod changes;
mod glance;
mod parts;
mod pinning;
mod releases;

/// The causes' names, with commas between them.
fn pins(text: &str) -> String {
    let effects = effects(text.as_bytes());
    let made = effects.names.iter().flat_map(|names| &names.made);
    made.fold(effects.pins, |pins, held| pins.union(held.cause.into())).to_string()
}

/// The changes, each in a few words.
fn changes(text: &str) -> Vec<String> {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let words = |change: &Change| match change {
        Change::Set { name, statement } => format!("set {}: {}", lossy(name), lossy(statement)),
        Change::Call { name, statement } => format!("call {}: {}", lossy(name), lossy(statement)),
        Change::Reset { name } => format!("reset {}", lossy(name)),
        Change::ResetAll => "reset all".into(),
        Change::DiscardAll => "discard all".into(),
        Change::DiscardPart => "discard part".into(),
        Change::Deallocate(Some(name)) => format!("deallocate {}", lossy(name)),
        Change::Deallocate(None) => "deallocate all".into(),
        Change::Nothing => "nothing".into(),
    };
    effects(text.as_bytes()).changes.iter().map(words).collect()
}
