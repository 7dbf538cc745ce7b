//! Secrets: never written into the configuration, which names a file or an environment variable instead. Who reads one
//! here puts it at once into a type that doesn't print it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::section::Section;

/// No secret is longer: a file that is must be another one.
const LONGEST: u64 = 64 * 1024;

/// Said of a secret that is no [`signing_key`].
pub(super) const NO_SIGNING_KEY: &str = "the secret has 64 hexadecimal digits (openssl rand -hex 32)";

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    /// In a file.
    File(PathBuf),
    /// In an environment variable.
    Variable(String),
}

/// A secret that may not be there yet. No `Debug`: it would be printed.
#[derive(Clone)]
pub struct Secret {
    /// Where it is, or is to be.
    pub place: SecretPlace,
    /// The text without its line end, which is not empty; none if there is no such file yet.
    pub text: Option<String>,
}

/// Reads the secret that `name_file` or `name_env` points to: the key that pointed there, and
/// the text without its line end, which is not empty.
pub(super) fn read(section: &mut Section<'_>, name: &str) -> Option<(String, String)> {
    let (key, place) = locate(section, name)?;
    let text = read_place(section, &key, &place)?;
    Some((key, text))
}

/// Like [`read`], of one that `pgusher setup` makes: whose file is not there is told so.
pub(super) fn read_made(section: &mut Section<'_>, name: &str) -> Option<(String, String)> {
    let (key, Secret { place, text }) = find(section, name)?;
    if let (None, SecretPlace::File(path)) = (&text, &place) {
        section.error(&key, format!("there is no {}; `pgusher setup --apply` makes it", path.display()));
    }
    Some((key, text?))
}

/// Like [`read`], but a file that is not there yet is no error.
pub(super) fn find(section: &mut Section<'_>, name: &str) -> Option<(String, Secret)> {
    let (key, place) = locate(section, name)?;
    let missing = matches!(&place, SecretPlace::File(path) if matches!(path.try_exists(), Ok(false)));
    let text = if missing { None } else { Some(read_place(section, &key, &place)?) };
    Some((key, Secret { place, text }))
}

fn locate(section: &mut Section<'_>, name: &str) -> Option<(String, SecretPlace)> {
    let [file_key, variable_key] = ["file", "env"].map(|end| format!("{name}_{end}"));
    section.refuse(name, format!("a secret is never given in the open: use {file_key} or {variable_key}"));
    if section.has(&file_key) && section.has(&variable_key) {
        section.error(&variable_key, format!("there is {file_key} too; give one of them"));
    }
    let file = section.path(&file_key);
    let variable = section.text(&variable_key);
    match (file, variable) {
        (Some(path), _) => Some((file_key, SecretPlace::File(path))),
        (None, Some(name)) => Some((variable_key, SecretPlace::Variable(name))),
        (None, None) => None,
    }
}

fn read_place(section: &Section<'_>, key: &str, place: &SecretPlace) -> Option<String> {
    let text = match place {
        SecretPlace::File(path) => {
            warn_of_readers(section, key, path);
            read_file(path)
        }
        SecretPlace::Variable(name) => read_variable(section, name),
    };
    text.map_err(|message| section.error(key, message)).ok()
}

/// The key that 64 hexadecimal digits stand for. Blanks behind them are nobody's.
pub(crate) fn signing_key(digits: &str) -> Option<[u8; 32]> {
    let byte = |pair: &[u8]| {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let [high, low] = pair else { return None };
        u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
    };
    let bytes: Option<Vec<_>> = digits.trim_end().as_bytes().chunks(2).map(byte).collect();
    bytes?.try_into().ok()
}

/// Whether `name_file` or `name_env` is there and not read yet.
pub(super) fn is_given(section: &Section<'_>, name: &str) -> bool {
    ["file", "env"].iter().any(|end| section.has(&format!("{name}_{end}")))
}

/// Warns if everybody on this machine may read the secret file.
pub(super) fn warn_of_readers(section: &Section<'_>, key: &str, path: &Path) {
    let mode = std::fs::metadata(path).map(|metadata| metadata.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o004 != 0) {
        section.warn(key, format!("every user of this machine can read {}; chmod 600 it", path.display()));
    }
}

fn read_variable(section: &Section<'_>, name: &str) -> Result<String, String> {
    match section.reading.variables.get(name) {
        Some(text) if !text.is_empty() => Ok(text.clone()),
        _ => Err(format!("the environment variable {name:?} is not set")),
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text))
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if text.len() as u64 > LONGEST {
        return Err(format!("{} is longer than {LONGEST} bytes", path.display()));
    }
    // Editors and `echo` end a file with a newline that belongs to no password.
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(format!("{} is empty", path.display()));
    }
    Ok(secret.to_owned())
}
