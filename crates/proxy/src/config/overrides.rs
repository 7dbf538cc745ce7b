//! What goes over the file: `PGUSHER_TABLE__KEY=value` in the environment and `--set table.key=value`.

use std::collections::BTreeMap;

use super::report::{Origin, Report};
use super::tree::Node;

const PREFIX: &str = "PGUSHER_";
const SEPARATOR: &str = "__";

/// No key lies deeper: `provider`, index, key. More would only serve to exhaust the stack.
const DEEPEST: usize = 3;

/// The table whose keys are names of Postgres's, with dots in them or not.
const SETTINGS: [&str; 2] = ["upstream", "settings"];

/// The environment and the `--set` arguments. No `Debug`: there are secrets in an environment.
#[derive(Default)]
pub struct Overrides {
    variables: BTreeMap<String, String>,
    settings: Vec<String>,
}

impl Overrides {
    /// This process's environment, and `settings` of the form `table.key=value` over it.
    #[must_use]
    pub fn of_process(settings: &[String]) -> Self {
        // What is not UTF-8 can be neither the name of a key nor a secret that Postgres takes.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::new(std::env::vars_os().filter_map(text), settings.to_vec())
    }

    /// These variables, and `settings` of the form `table.key=value` over them.
    #[must_use]
    pub fn new(variables: impl IntoIterator<Item = (String, String)>, settings: Vec<String>) -> Self {
        Self { variables: variables.into_iter().collect(), settings }
    }

    /// The environment.
    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    pub(super) fn lay_over(&self, root: &mut Node, report: &Report) {
        let mut keys: Vec<_> =
            self.variables.iter().filter_map(|(name, text)| Some((key_of(name)?, name, text))).collect();
        // Elements are added in the order of their indexes: 10 comes after 9.
        keys.sort_by_key(|(key, ..)| {
            key.iter().map(|word| (word.parse::<usize>().ok(), word.clone())).collect::<Vec<_>>()
        });
        for (key, name, text) in keys {
            lay(root, &key, &Origin::Variable(name.clone()), text, report);
        }
        for setting in &self.settings {
            let (key, text) = setting.split_once('=').unwrap_or((setting, ""));
            let origin = Origin::Flag(key.to_owned());
            if !setting.contains('=') {
                report.error(&origin, "", "TABLE.KEY=VALUE is expected");
                continue;
            }
            let key: Vec<_> = key.trim().split('.').map(str::to_owned).collect();
            lay(root, &key, &origin, text, report);
        }
    }

    /// Reports variables that would be keys if they had two underscores in the right place. Others are left alone:
    /// `PGUSHER_…` may well be the name of a secret.
    pub(super) fn report_misspelt(&self, report: &Report) {
        for name in self.variables.keys().filter(|name| !name.contains(SEPARATOR)) {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            if let Some(right) = report.misspelt_variable(rest) {
                let message = format!("table and key are separated by two underscores: {PREFIX}{right}");
                report.error(&Origin::Variable(name.clone()), "", message);
            }
        }
    }
}

fn key_of(variable: &str) -> Option<Vec<String>> {
    let key = variable.strip_prefix(PREFIX).filter(|key| key.contains(SEPARATOR))?;
    Some(key.split(SEPARATOR).map(str::to_lowercase).collect())
}

/// The way through the tables to a key. In the last word of a setting are all of its dots, and not the quotes that a file
/// wants around them.
fn way(key: &[String]) -> Vec<String> {
    match key {
        [upstream, settings, name @ ..] if [upstream, settings] == SETTINGS && !name.is_empty() => {
            let name = name.join(".");
            let bare = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(&name).to_owned();
            vec![upstream.clone(), settings.clone(), bare]
        }
        _ => key.to_vec(),
    }
}

fn lay(root: &mut Node, key: &[String], origin: &Origin, text: &str, report: &Report) {
    let path = way(key);
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    let laid =
        if path.len() > DEEPEST { Err("no key is that deep".to_owned()) } else { root.overlay(&path, origin, text) };
    if let Err(message) = laid {
        report.error(origin, &key.join("."), message);
    }
}
