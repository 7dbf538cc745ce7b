//! Secrets: never written into the configuration, which names a file or an environment variable instead. Who reads one
//! here puts it at once into a type that doesn't print it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::section::Section;

/// No secret is longer: a file that is must be another one.
const LONGEST: u64 = 64 * 1024;

/// Reads the secret that `name_file` or `name_env` points to: the key that pointed there, and
/// the text without its line end, which is not empty.
pub(super) fn read(section: &mut Section<'_>, name: &str) -> Option<(String, String)> {
    let [file_key, variable_key] = ["file", "env"].map(|end| format!("{name}_{end}"));
    section.refuse(name, format!("a secret is never given in the open: use {file_key} or {variable_key}"));
    if section.has(&file_key) && section.has(&variable_key) {
        section.error(&variable_key, format!("there is {file_key} too; give one of them"));
    }
    let file = section.path(&file_key);
    let variable = section.text(&variable_key);
    let (key, text) = match (file, variable) {
        (Some(path), _) => {
            warn_of_readers(section, &file_key, &path);
            (file_key, read_file(&path))
        }
        (None, Some(name)) => (variable_key, read_variable(section, &name)),
        (None, None) => return None,
    };
    match text {
        Ok(text) => Some((key, text)),
        Err(message) => {
            section.error(&key, message);
            None
        }
    }
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
