//! The files of a demo: secrets, the issuer's key, the proxy's configuration and, one level down, the database. Either a
//! temporary directory that goes away with the demo, or one that the user keeps.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use crate::random::random_hex;

/// Marks a directory as a demo's, and is locked while that demo runs.
const LOCK: &str = "demo.lock";

/// The directory of a demo. While this value lives no other demo can open the same one.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    _lock: File,
    _scratch: Option<Scratch>,
}

/// Why a directory cannot be a demo's.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Another process has its lock.
    #[error("another demo is using {}", .0.display())]
    InUse(PathBuf),
    /// It holds files of somebody else, which a demo might overwrite.
    #[error("{} is not empty and no demo made it: give --data a new directory", .0.display())]
    Foreign(PathBuf),
    /// It cannot be made or read.
    #[error("cannot use {} for the demo's files: {source}", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Home {
    /// A directory that is removed with everything in it when the value is dropped.
    pub fn temporary() -> Result<Self, HomeError> {
        let scratch = Scratch::new("demo").map_err(|source| HomeError::Io { dir: std::env::temp_dir(), source })?;
        let dir = scratch.path().to_owned();
        Self::locked(dir, Some(scratch))
    }

    /// A directory to keep: a new one, or an earlier demo's.
    pub fn kept(dir: &Path) -> Result<Self, HomeError> {
        let failed = |source| HomeError::Io { dir: dir.into(), source };
        if !dir.exists() {
            fs::create_dir_all(dir).and_then(|()| let_pass(dir)).map_err(failed)?;
        }
        let foreign = !dir.join(LOCK).exists() && dir.read_dir().map_err(failed)?.next().is_some();
        if foreign {
            return Err(HomeError::Foreign(dir.into()));
        }
        // The proxy and `token mint` may run elsewhere: every path that leaves this type is absolute.
        Self::locked(dir.canonicalize().map_err(failed)?, None)
    }

    /// Whether a demo is running in `dir`. False also for a directory that is gone.
    pub fn is_running(dir: &Path) -> bool {
        let lock = File::open(dir.join(LOCK));
        lock.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The path of a file of the demo.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The content of a secret's file, which is made with `bytes` random bytes as hexadecimal digits if it is not there.
    pub fn secret(&self, name: &str, bytes: usize) -> io::Result<String> {
        let path = self.path(name);
        if !path.exists() {
            write_private(&path, &random_hex(bytes))?;
        }
        Ok(fs::read_to_string(path)?.trim().to_owned())
    }

    fn locked(dir: PathBuf, scratch: Option<Scratch>) -> Result<Self, HomeError> {
        let path = dir.join(LOCK);
        let opened = OpenOptions::new().append(true).create(true).open(path);
        let lock = opened.map_err(|source| HomeError::Io { dir: dir.clone(), source })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir, _lock: lock, _scratch: scratch }),
            Err(TryLockError::WouldBlock) => Err(HomeError::InUse(dir)),
            Err(TryLockError::Error(source)) => Err(HomeError::Io { dir, source }),
        }
    }
}

/// A new directory under the system's temporary one, removed with everything in it when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes `pgusher-<purpose>-<random>`, which every account may enter but only its owner list.
    pub fn new(purpose: &str) -> io::Result<Self> {
        let name = format!("pgusher-{purpose}-{}", random_hex(8));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir)?;
        let_pass(&dir)?;
        Ok(Self(dir))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays for the system's own cleaning of its temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Puts a file that only its owner may read in place at once: a reader sees the old content or the new, never a part.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", random_hex(4)));
    let draft = path.with_file_name(name);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

/// Lets every account through a directory, whatever the umask: Postgres may run below it as another one.
fn let_pass(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(0o711))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_readable_by_its_owner_only_and_replaces_the_old_one() {
        let scratch = Scratch::new("home").unwrap();
        let path = scratch.path().join("file");
        write_private(&path, "old").unwrap();

        write_private(&path, "new").unwrap();

        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(scratch.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_secret_is_made_once() {
        let home = Home::temporary().unwrap();
        let secret = home.secret("password", 16).unwrap();
        assert_eq!(secret.len(), 32);
        assert_eq!(home.secret("password", 16).unwrap(), secret);
    }

    #[test]
    fn two_demos_cannot_share_a_directory() {
        let scratch = Scratch::new("home").unwrap();
        let dir = scratch.path().join("of/mine");
        let first = Home::kept(&dir).unwrap();
        assert!(Home::is_running(&dir));
        assert!(matches!(Home::kept(&dir), Err(HomeError::InUse(_))));

        drop(first);

        assert!(!Home::is_running(&dir));
        Home::kept(&dir).unwrap();
    }

    #[test]
    fn a_directory_with_foreign_files_is_refused() {
        let scratch = Scratch::new("home").unwrap();
        fs::write(scratch.path().join("proxy.toml"), "mine").unwrap();
        assert!(matches!(Home::kept(scratch.path()), Err(HomeError::Foreign(_))));
    }

    #[test]
    fn a_temporary_home_is_gone_after_use() {
        let home = Home::temporary().unwrap();
        let dir = home.path("");
        assert!(dir.is_dir());
        drop(home);
        assert!(!dir.exists());
    }
}
