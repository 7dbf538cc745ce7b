//! Where Postgres's programs are. Distributions keep `initdb` and `postgres` out of `PATH`, one directory per major
//! version, so finding them is a search with a fixed order.

use std::cmp::Reverse;
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Directories with one subdirectory per installed version, and what lies between them and a version number.
const PLACES: [(&str, &str); 3] =
    [("/usr/lib/postgresql", ""), ("/opt/homebrew/opt", "postgresql@"), ("/usr/local/opt", "postgresql@")];

/// A directory that holds `initdb` and `postgres` of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs(PathBuf);

/// No directory with both programs was found.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// The directory that the user named lacks them.
    #[error("no initdb and postgres in {}", .0.display())]
    InGiven(PathBuf),
    /// None of the usual places has them.
    #[error(
        "no Postgres found: initdb and postgres are neither in PATH nor in {}\n\
         install it (Debian, Ubuntu: apt install postgresql; Fedora: dnf install postgresql-server; \
         macOS: brew install postgresql) or name the directory of its programs with --pg-bin",
        PLACES.map(|(root, prefix)| format!("{root}/{prefix}*/bin")).join(", ")
    )]
    Anywhere,
}

impl Programs {
    /// Finds Postgres's programs: in `given` alone if the user named a directory, else in `PATH`, then where Debian and
    /// Homebrew put them, the newest version first.
    pub fn find(given: Option<&Path>) -> Result<Self, Missing> {
        if let Some(dir) = given {
            return Self::at(dir).ok_or_else(|| Missing::InGiven(dir.into()));
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let places = PLACES.map(|(root, prefix)| (Path::new(root), prefix));
        candidates(&path, &places).iter().find_map(|dir| Self::at(dir)).ok_or(Missing::Anywhere)
    }

    /// The path of one of the programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn at(dir: &Path) -> Option<Self> {
        let complete = dir.join("initdb").is_file() && dir.join("postgres").is_file();
        complete.then(|| Self(dir.into()))
    }
}

/// Every directory to look at, in order: those of `path`, then each place's versions, newest first over all places.
fn candidates(path: &OsStr, places: &[(&Path, &str)]) -> Vec<PathBuf> {
    let mut installed: Vec<_> = places.iter().flat_map(|(root, prefix)| versions(root, prefix)).collect();
    installed.sort_by_key(|(version, _)| Reverse(*version));
    env::split_paths(path).filter(|dir| dir.is_absolute()).chain(installed.into_iter().map(|(_, dir)| dir)).collect()
}

/// The versions under `root`. An unversioned or unreadable entry is none.
fn versions(root: &Path, prefix: &str) -> Vec<(u32, PathBuf)> {
    let Ok(entries) = root.read_dir() else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::home::Scratch;
    use super::*;

    #[test]
    fn path_comes_before_the_installed_versions_and_those_newest_first() {
        let scratch = Scratch::new("programs").unwrap();
        let debian = scratch.path().join("debian");
        let brew = scratch.path().join("brew");
        for dir in ["9/bin", "14/bin", "17/bin", "not-a-version/bin"] {
            fs::create_dir_all(debian.join(dir)).unwrap();
        }
        fs::create_dir_all(brew.join("postgresql@16/bin")).unwrap();
        fs::create_dir_all(brew.join("openssl@3/bin")).unwrap();

        let found = candidates(OsStr::new("/first:relative:/second"), &[(&debian, ""), (&brew, "postgresql@")]);

        let expected = [
            PathBuf::from("/first"),
            "/second".into(),
            debian.join("17/bin"),
            brew.join("postgresql@16/bin"),
            debian.join("14/bin"),
            debian.join("9/bin"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_directory_with_only_one_of_the_programs_is_passed_over() {
        let scratch = Scratch::new("programs").unwrap();
        fs::write(scratch.path().join("postgres"), "").unwrap();
        assert_eq!(Programs::at(scratch.path()), None);

        fs::write(scratch.path().join("initdb"), "").unwrap();
        assert!(Programs::at(scratch.path()).is_some());
    }

    #[test]
    fn a_directory_that_the_user_named_is_the_only_one_tried() {
        let empty = Scratch::new("programs").unwrap();
        let error = Programs::find(Some(empty.path())).unwrap_err();
        assert!(matches!(error, Missing::InGiven(_)), "{error}");
    }

    #[test]
    fn the_error_says_what_to_install() {
        let text = Missing::Anywhere.to_string();
        assert!(text.contains("apt install postgresql"), "{text}");
        assert!(text.contains("/usr/lib/postgresql/*/bin"), "{text}");
        assert!(text.contains("--pg-bin"), "{text}");
    }
}
