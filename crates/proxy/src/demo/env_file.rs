//! The file of `--env-file`: there when the demo is ready, gone when it has ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::home::write_private;

/// The path of an env file that this demo may write. Dropping it removes the file.
#[derive(Debug)]
pub(super) struct EnvFile(PathBuf);

impl EnvFile {
    /// Takes the path, and an earlier demo's file from it: whoever waits for the file must not find a stale one.
    pub(super) fn claim(path: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(found) if found.is_file() => fs::remove_file(path)?,
            // To replace a device or a link would not do what was meant.
            Ok(_) => return Err(io::Error::other("it is not a regular file")),
        }
        Ok(Self(path.into()))
    }

    /// Puts the whole file in place at once, readable by its owner only.
    pub(super) fn write(&self, text: &str) -> io::Result<()> {
        write_private(&self.0, text)
    }
}

impl Drop for EnvFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::home::Scratch;
    use super::*;

    #[test]
    fn a_stale_file_is_gone_before_the_demo_is_ready_and_the_new_one_after_it() {
        let scratch = Scratch::new("env").unwrap();
        let path = scratch.path().join("env");
        fs::write(&path, "stale").unwrap();

        let file = EnvFile::claim(&path).unwrap();
        assert!(!path.exists());

        file.write("fresh").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "fresh");

        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_device_is_not_replaced() {
        assert!(EnvFile::claim(Path::new("/dev/null")).is_err());
    }
}
