//! How `pgusher token` finds the demo that is running: a file of the user's that names the demo's configuration. It is a
//! convenience; with `--config` nothing here is needed.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::home::{Home, write_private};

/// The announcement of a running demo, taken back when dropped.
#[derive(Debug)]
pub(super) struct Announcement {
    file: PathBuf,
    config: PathBuf,
}

impl Announcement {
    /// Says that a demo runs with `config`, an absolute path. The latest demo to say so is the one that is found.
    pub(super) fn publish(config: &Path) -> io::Result<Self> {
        Self::publish_in(default_file()?, config)
    }

    fn publish_in(file: PathBuf, config: &Path) -> io::Result<Self> {
        if let Some(dir) = file.parent() {
            fs::create_dir_all(dir)?;
        }
        write_private(&file, &format!("{}\n", config.display()))?;
        let config = config.into();
        Ok(Self { file, config })
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // Another demo may have announced itself since.
        if read(&self.file).is_some_and(|config| config == self.config) {
            let _ = fs::remove_file(&self.file);
        }
    }
}

/// The configuration of the running demo, or `None` if none is running, or none said so.
pub(crate) fn running() -> Option<PathBuf> {
    running_in(&default_file().ok()?)
}

/// An announcement whose demo was killed is still there: the lock tells.
fn running_in(file: &Path) -> Option<PathBuf> {
    read(file).filter(|config| config.parent().is_some_and(Home::is_running))
}

fn read(file: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(file).ok()?;
    Some(text.trim_end_matches('\n').into())
}

/// The file under the XDG base directory for state.
fn default_file() -> io::Result<PathBuf> {
    let given = env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    // The specification has relative paths ignored.
    given
        .filter(|dir| dir.is_absolute())
        .or_else(|| Some(env::home_dir()?.join(".local/state")))
        .map(|dir| dir.join("pgusher/demo"))
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no home directory"))
}

#[cfg(test)]
mod tests {
    use super::super::home::Scratch;
    use super::*;

    #[test]
    fn a_demo_is_found_while_it_runs() {
        let scratch = Scratch::new("state").unwrap();
        let file = scratch.path().join("state/demo");
        let home = Home::temporary().unwrap();
        let config = home.path("proxy.toml");

        let announcement = Announcement::publish_in(file.clone(), &config).unwrap();
        assert_eq!(running_in(&file), Some(config));

        drop(announcement);
        assert!(!file.exists());
    }

    #[test]
    fn the_announcement_of_a_demo_that_was_killed_is_not_believed() {
        let scratch = Scratch::new("state").unwrap();
        let file = scratch.path().join("demo");
        let home = Home::temporary().unwrap();
        let _announcement = Announcement::publish_in(file.clone(), &home.path("proxy.toml")).unwrap();

        drop(home);

        assert_eq!(running_in(&file), None);
    }

    #[test]
    fn the_end_of_an_earlier_demo_leaves_the_later_ones_announcement() {
        let scratch = Scratch::new("state").unwrap();
        let file = scratch.path().join("demo");
        let first = Announcement::publish_in(file.clone(), Path::new("/first")).unwrap();
        let _second = Announcement::publish_in(file.clone(), Path::new("/second")).unwrap();

        drop(first);

        assert_eq!(read(&file), Some("/second".into()));
    }
}
