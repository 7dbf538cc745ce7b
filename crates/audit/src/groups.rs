//! The catalogue: a check for each group of the database, and all rules.

use crate::check::Check;
use crate::rule::Rule;

mod attributes;
mod auth_schema;
mod children;
mod configuration;
mod create;
mod defaults;
mod definers;
mod extensions;
mod functions;
mod grant_options;
mod issuers;
mod memberships;
mod ownership;
mod policies;
mod server;
mod settings;
mod tables;
mod tls;
mod views;

pub use auth_schema::CLAIMS_REFUSED;
pub use configuration::{CLAIMS_FORGEABLE, CONFIG_ERROR, CONFIG_WARNING};
pub use issuers::issuers;
pub use tls::{Encryption, tls};

/// The checks of a database, in the order of the report.
#[rustfmt::skip]
static CHECKS: &[&Check] = &[
    &attributes::CHECK,
    &memberships::CHECK,
    &ownership::CHECK,
    &create::CHECK,
    &tables::CHECK,
    &policies::CHECK,
    &definers::CHECK,
    &views::CHECK,
    &defaults::CHECK,
    &settings::CHECK,
    &settings::PARAMETERS,
    &functions::CHECK,
    &grant_options::CHECK,
    &children::CHECK,
    &extensions::CHECK,
    &server::LOGS,
    &server::HBA,
    &auth_schema::CHECK,
    &auth_schema::OWNER,
];

/// The rules that no check of a database looks for.
#[rustfmt::skip]
static OTHERS: &[&Rule] = &[
    &CLAIMS_FORGEABLE,
    &CONFIG_ERROR,
    &CONFIG_WARNING,
    &issuers::UNREACHABLE,
    &issuers::NO_KEYS,
    &issuers::KEY_SKIPPED,
    &issuers::OTHER_ISSUER,
    &issuers::OTHER_KEYS,
    &issuers::CLOCK,
    &issuers::NO_AUDIENCE,
    &tls::UNREADABLE,
    &tls::EXPIRED,
    &tls::NOT_YET,
    &tls::EXPIRES,
    &tls::NAMELESS,
    &tls::UNVERIFIED,
    &CLAIMS_REFUSED,
];

/// More of them.
static LISTS: &[&[Rule]] = &[crate::server::RULES, crate::forgery::RULES];

/// The checks of a database, in the order of the report.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    CHECKS.iter().copied()
}

/// Every rule.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    OTHERS.iter().copied().chain(LISTS.iter().copied().flatten()).chain(checks().flat_map(|check| check.rules))
}

/// The rule of this id.
#[must_use]
pub fn rule(id: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_in_kebab_case_and_there_once() {
        let ids: Vec<_> = rules().map(|rule| rule.id).collect();
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id), "{id} is there twice");
            let word =
                |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            assert!(id.split('-').all(word), "{id} is not in kebab case");
        }
    }

    #[test]
    fn every_rule_says_what_it_is_about_and_why_in_one_sentence() {
        for rule in rules() {
            assert!(!rule.what.is_empty() && !rule.what.ends_with('.'), "{}", rule.id);
            assert!(rule.why.ends_with('.') && !rule.why.contains(". "), "{}", rule.id);
        }
    }

    #[test]
    fn the_rules_of_a_check_are_of_its_group_and_in_its_query() {
        for check in checks() {
            for rule in check.rules {
                assert_eq!(rule.group, check.group, "{}", rule.id);
                assert!(check.sql.contains(&format!("'{}'", rule.id)), "no row of {:?} is {}", check.group, rule.id);
            }
        }
    }

    #[test]
    fn the_docs_list_every_rule_as_it_is() {
        let docs = include_str!("../../../docs/check.md");
        let row = |rule: &Rule| format!("| `{}` | {} | {} | {} |", rule.id, rule.level, rule.what, rule.why);
        let mut expected: Vec<_> = rules().collect();
        expected.sort_by_key(|rule| rule.group);
        let expected: Vec<_> = expected.into_iter().map(row).collect();
        let written: Vec<_> = docs.lines().filter(|line| is_rule(line)).collect();
        assert_eq!(written, expected, "docs/check.md should have these rows:\n{}", expected.join("\n"));
    }

    /// Rows of other tables have fewer cells.
    fn is_rule(line: &str) -> bool {
        line.starts_with("| `") && line.matches(" | ").count() == 3
    }
}
