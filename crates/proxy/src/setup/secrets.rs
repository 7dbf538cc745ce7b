//! The secrets that the proxy and the database share. One that is there is used as it is; one that is missing is made, in
//! a file that only its owner may read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::changes::Change;
use super::logins::{Standing, Standings};
use super::{Error, Way};
use crate::config::{Secret, SecretPlace, SetupConfig, signing_key};
use crate::random::random_hex;

/// Random bytes of a password and of a key.
const PASSWORD_BYTES: usize = 24;
const KEY_BYTES: usize = 32;

/// All secrets of a configuration.
pub(super) struct Secrets {
    key: Option<Entry>,
    /// In the order of the roles.
    passwords: Vec<(String, Option<Entry>)>,
}

struct Entry {
    place: SecretPlace,
    text: Option<String>,
    /// Whether the text was made just now and is in no file yet.
    invented: bool,
    bytes: usize,
}

impl Entry {
    fn new(secret: &Secret, bytes: usize) -> Self {
        Self { place: secret.place.clone(), text: secret.text.clone(), invented: false, bytes }
    }
}

impl Secrets {
    /// Those that the configuration names. A key that this database has no use for is one: with `auto` the proxy reads it
    /// for the sake of others.
    pub(super) fn of(config: &SetupConfig, way: Way) -> Self {
        let key = config.claims.secret.as_ref().filter(|_| way != Way::Plain);
        let password = |role: &crate::config::RoleSetup| {
            (role.login.clone(), role.password.as_ref().map(|secret| Entry::new(secret, PASSWORD_BYTES)))
        };
        Self {
            key: key.map(|secret| Entry::new(secret, KEY_BYTES)),
            passwords: config.roles.iter().map(password).collect(),
        }
    }

    /// The signing key, if it is there.
    pub(super) fn key(&self) -> Option<[u8; 32]> {
        signing_key(self.key.as_ref()?.text.as_ref()?)
    }

    /// The file of the signing key.
    pub(super) fn key_file(&self) -> Option<&Path> {
        match &self.key.as_ref()?.place {
            SecretPlace::File(path) => Some(path),
            SecretPlace::Variable(_) => None,
        }
    }

    /// Where the signing key is, for people.
    pub(super) fn key_place(&self) -> String {
        self.key.as_ref().map_or_else(|| "[claims]".to_owned(), |key| name(&key.place))
    }

    /// The passwords that are there, by login.
    pub(super) fn passwords(&self) -> impl Iterator<Item = (&str, &str)> {
        self.passwords.iter().filter_map(|(login, entry)| Some((login.as_str(), entry.as_ref()?.text.as_deref()?)))
    }

    /// A verifier for each login, in their order, where there is a password and it is wanted.
    pub(super) fn verifiers(&self, wanted: impl Fn(&str) -> bool) -> Vec<Option<String>> {
        let verifier = |(login, entry): &(String, Option<Entry>)| {
            let password = entry.as_ref()?.text.as_ref().filter(|_| wanted(login))?;
            Some(sql::scram_verifier(password))
        };
        self.passwords.iter().map(verifier).collect()
    }

    /// What is yet to be made: the files' names.
    pub(super) fn missing(&self) -> Vec<String> {
        self.entries().filter(|entry| entry.text.is_none()).map(|entry| name(&entry.place)).collect()
    }

    /// Thinks out what is missing, without writing it anywhere.
    pub(super) fn invent(&mut self) {
        for entry in self.entries_mut().filter(|entry| entry.text.is_none()) {
            entry.text = Some(random_hex(entry.bytes));
            entry.invented = true;
        }
    }

    /// The files that [`write`](Self::write) would make.
    pub(super) fn invented(&self) -> Vec<String> {
        self.entries().filter(|entry| entry.invented).map(|entry| name(&entry.place)).collect()
    }

    /// Writes what was thought out.
    pub(super) fn write(&mut self) -> Result<(), Error> {
        for entry in self.entries_mut().filter(|entry| entry.invented) {
            if let (SecretPlace::File(path), Some(text)) = (&entry.place, &entry.text) {
                write_new(path, text).map_err(|source| Error::Secret { file: name(&entry.place), source })?;
                entry.invented = false;
            }
        }
        Ok(())
    }

    /// Makes what is missing: the files that were made.
    pub(super) fn make(&mut self) -> Result<Vec<String>, Error> {
        self.invent();
        let files = self.invented();
        self.write()?;
        Ok(files)
    }

    /// The passwords that stand like one of these, as changes that setup would make.
    pub(super) fn password_changes(&self, standings: &Standings, wanted: &[Standing]) -> Vec<Change> {
        let change = |(login, entry): &(String, Option<Entry>)| {
            let standing = standings.get(login).filter(|standing| wanted.contains(standing))?;
            let (subject, after) =
                (format!("password of role {login}"), format!("that of {}", name(&entry.as_ref()?.place)));
            let changed = |before: &str| Change::Changed {
                subject: subject.clone(),
                before: before.to_owned(),
                after: after.clone(),
            };
            match standing {
                Standing::Right => None,
                Standing::Missing => Some(Change::Made { subject, state: after }),
                Standing::Wrong => Some(changed("another")),
                Standing::Unknown => Some(changed("unknown")),
            }
        };
        self.passwords.iter().filter_map(change).collect()
    }

    /// What is missing, as changes that setup would make.
    pub(super) fn missing_changes(&self) -> impl Iterator<Item = Change> {
        self.missing().into_iter().map(|file| Change::Made { subject: "file".into(), state: file })
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.key.iter().chain(self.passwords.iter().filter_map(|(_, entry)| entry.as_ref()))
    }

    fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.key.iter_mut().chain(self.passwords.iter_mut().filter_map(|(_, entry)| entry.as_mut()))
    }
}

fn name(place: &SecretPlace) -> String {
    match place {
        SecretPlace::File(path) => path.display().to_string(),
        SecretPlace::Variable(name) => format!("${name}"),
    }
}

/// Makes a file, which must not be there: somebody else's secret is never lost.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

/// Puts another text in the place of a file's, at once, for the same people to read: the proxy may run as another account.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let old = fs::metadata(path)?;
    let draft = PathBuf::from(format!("{}.{}", path.display(), random_hex(4)));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = writeln!(file, "{text}")
        .and_then(|()| fchown(&file, Some(old.uid()), Some(old.gid())))
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777)))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // Half a secret is of use to nobody.
        let _ = fs::remove_file(&draft);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::home::Scratch;

    #[test]
    fn a_secret_that_is_there_is_never_written_over() {
        let scratch = Scratch::new("setup").unwrap();
        let path = scratch.path().join("secret");
        write_new(&path, "old").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);

        assert!(write_new(&path, "new").is_err());

        assert_eq!(fs::read_to_string(&path).unwrap(), "old\n");
    }

    #[test]
    fn a_secret_that_is_replaced_keeps_its_readers() {
        let scratch = Scratch::new("setup").unwrap();
        let path = scratch.path().join("secret");
        write_new(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();

        replace(&path, "new").unwrap();

        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(scratch.path().read_dir().unwrap().count(), 1);
    }
}
