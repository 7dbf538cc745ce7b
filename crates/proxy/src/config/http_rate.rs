//! What `[http]` says about how fast requests may come.

use super::section::Section;

/// How fast requests over HTTP may come, handshakes of WebSockets among them. 0 is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second of one identity, which is provider and subject.
    pub identity_rate: u32,
    /// Requests a second from one address, which in IPv6 is a /64.
    pub address_rate: u32,
    /// Tokens and passwords of one address that may be refused in a minute before its requests are turned away unread.
    pub address_failures: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { identity_rate: 0, address_rate: 0, address_failures: 300 }
    }
}

/// Reads these keys of `[http]`.
pub(super) fn read(section: &mut Section<'_>) -> Rate {
    let Rate { identity_rate, address_rate, address_failures } = Rate::default();
    let range = 0..=1_000_000;
    Rate {
        identity_rate: section.number("identity_rate", identity_rate, range.clone()),
        address_rate: section.number("address_rate", address_rate, range.clone()),
        address_failures: section.number("address_failures", address_failures, range),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::super::report::Report;
    use super::super::section::Reading;
    use super::super::tree;
    use super::*;

    /// What is read, and the keys that are wrong.
    fn read_text(text: &str) -> (Rate, Vec<String>) {
        let (report, variables) = (Report::default(), BTreeMap::new());
        let root = tree::parse(text, &Path::new("proxy.toml").into(), &report);
        let reading = Reading { report: &report, directory: Path::new(""), variables: &variables };
        let mut section = Section::root(&reading, root);
        let rate = read(&mut section);
        section.finish();
        let errors = report.finish().err();
        let problems = errors.iter().flat_map(|errors| errors.problems());
        (rate, problems.map(|problem| problem.key.clone()).collect())
    }

    #[test]
    fn failures_are_limited_unless_that_is_turned_off() {
        let defaults = Rate { identity_rate: 0, address_rate: 0, address_failures: 300 };
        assert_eq!(read_text(""), (defaults.clone(), Vec::new()));
        assert_eq!(read_text("address_failures = 0").0, Rate { address_failures: 0, ..defaults });
    }

    #[test]
    fn a_rate_is_a_number_of_requests_a_second() {
        let (rate, wrong) = read_text("identity_rate = 50\naddress_rate = 1_000_000");
        assert_eq!((rate.identity_rate, rate.address_rate, wrong), (50, 1_000_000, Vec::new()));
        for bad in ["-1", "1_000_001", "0.5", "'10/s'"] {
            assert_eq!(read_text(&format!("address_rate = {bad}")).1, ["address_rate"], "{bad}");
        }
    }
}
