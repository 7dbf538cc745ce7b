//! What a script changes: two states of a database, one taken before it and one behind it, side by side.

use std::collections::BTreeMap;
use std::fmt;

/// What there is, each thing with its state.
pub(super) type State = BTreeMap<String, String>;

/// One thing that becomes another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Made { subject: String, state: String },
    Gone { subject: String, state: String },
    Changed { subject: String, before: String, after: String },
}

/// What becomes of each thing that is not the same in both.
pub(super) fn between(before: &State, after: &State) -> Vec<Change> {
    let subjects: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let change = |subject: &String| match (before.get(subject), after.get(subject)) {
        (Some(before), Some(after)) if before == after => None,
        (Some(before), Some(after)) => {
            Some(Change::Changed { subject: subject.clone(), before: before.clone(), after: after.clone() })
        }
        (None, Some(state)) => Some(Change::Made { subject: subject.clone(), state: state.clone() }),
        (Some(state), None) => Some(Change::Gone { subject: subject.clone(), state: state.clone() }),
        (None, None) => None,
    };
    subjects.into_iter().filter_map(change).collect()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made { subject, state } => write!(f, "+ {subject}: {state}"),
            Self::Gone { subject, state } => write!(f, "- {subject}: {state}"),
            Self::Changed { subject, before, after } => write!(f, "~ {subject}: {before} -> {after}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(entries: &[(&str, &str)]) -> State {
        entries.iter().map(|(subject, state)| ((*subject).to_owned(), (*state).to_owned())).collect()
    }

    #[test]
    fn a_change_tells_what_came_what_went_and_what_differs() {
        let before = state(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let after = state(&[("b", "1"), ("c", "2"), ("d", "1")]);
        let changes: Vec<_> = between(&before, &after).iter().map(Change::to_string).collect();
        assert_eq!(changes, ["- a: 1", "~ c: 1 -> 2", "+ d: 1"]);
        assert_eq!(between(&after, &after), []);
    }
}
