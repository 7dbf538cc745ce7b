//! Each way in which a configuration can be wrong, and what its author is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

mod example;
mod files;
mod http;
mod identity;
mod sockets;

/// The least that works: every test adds its line.
const LEAST: &str = r#"
[upstream]
host = "127.0.0.1"
[claims]
secret_file = "claims.secret"
[[role]]
name = "authenticated"
login = "login"
[[provider]]
name = "auth0"
issuer = "https://tenant.auth0.com/"
roles = ["authenticated"]
audience = ["https://api.example.com"]
"#;

/// A directory with the secrets of [`LEAST`] and of the example, gone with the value.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pgusher-config-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(&directory.0).unwrap();
        directory.write("claims.secret", &"0a".repeat(32));
        directory.write("authenticated.password", "secret\n");
        directory.write("anonymous.password", "secret\n");
        directory
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn load(&self, text: &str, overrides: &Overrides) -> Result<(Config, Vec<Problem>), String> {
        let path = self.write("proxy.toml", text);
        Config::load(&path, overrides).map_err(|errors| {
            let directory = format!("{}/", self.0.display());
            errors.to_string().replace(&directory, "")
        })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn load(text: &str) -> Config {
    match Directory::new().load(text, &Overrides::default()) {
        Ok((config, _)) => config,
        Err(errors) => panic!("{errors}"),
    }
}

fn warnings(text: &str) -> Vec<String> {
    let (_, warnings) = Directory::new().load(text, &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
    warnings.into_iter().map(|warning| format!("{}: {}", warning.key, warning.message)).collect()
}

/// The errors, without the count at the end.
fn errors(text: &str) -> Vec<String> {
    errors_with(text, &Overrides::default())
}

fn errors_with(text: &str, overrides: &Overrides) -> Vec<String> {
    let errors = Directory::new().load(text, overrides).err().unwrap_or_default();
    errors.lines().filter_map(|line| line.strip_prefix("error: ")).map(str::to_owned).collect()
}

fn variables(pairs: &[(&str, &str)]) -> Overrides {
    Overrides::new(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())), Vec::new())
}

fn settings(settings: &[&str]) -> Overrides {
    Overrides::new([], settings.iter().map(|setting| (*setting).into()).collect())
}

/// Asserts that there is one error, and that it has all of `parts` in it.
#[track_caller]
fn assert_error(errors: &[String], parts: &[&str]) {
    assert_eq!(errors.len(), 1, "{errors:#?}");
    for part in parts {
        assert!(errors[0].contains(part), "{part:?} is not in {:?}", errors[0]);
    }
}

/// `LEAST` with `lines` put under `[table]`, which may be one of its own.
fn least_with(table: &str, lines: &str) -> String {
    let header = format!("{table}\n");
    if LEAST.contains(&header) {
        LEAST.replacen(&header, &format!("{header}{lines}\n"), 1)
    } else {
        format!("{LEAST}{header}{lines}\n")
    }
}
