//! `[safety]`: the audit that `serve` makes of what it is in front of, and what of it the operator accepts.

use std::collections::BTreeSet;
use std::time::Duration;

use super::report::nearest;
use super::section::{Placed, Section};

/// `[safety]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Safety {
    /// The ids of rules whose findings are accepted.
    pub allow: BTreeSet<&'static str>,
    /// The time from one audit to the next.
    pub interval: Duration,
}

const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn read(mut section: Section<'_>) -> Safety {
    let interval = section.duration("interval", HOUR, Duration::from_secs(1)..=24 * HOUR);
    let allow = section.list("allow").unwrap_or_default();
    let allow = allow.iter().filter_map(|written| known(&section, written)).collect();
    section.finish();
    Safety { allow, interval }
}

/// The id as the catalogue has it. One that it does not have would accept nothing, and its author would not know.
fn known(section: &Section<'_>, written: &Placed<String>) -> Option<&'static str> {
    let rule = audit::rule(&written.value);
    if rule.is_none() {
        let near = nearest(&written.value, audit::rules().map(|rule| rule.id));
        let near = near.map(|id| format!("; did you mean {id:?}?")).unwrap_or_default();
        written.error(section.reading.report, format!("no rule has the id {:?}{near}", written.value));
    }
    rule.map(|rule| rule.id)
}
