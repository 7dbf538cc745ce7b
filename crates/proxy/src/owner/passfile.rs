//! libpq's password file: <https://www.postgresql.org/docs/current/libpq-pgpass.html>

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Whom a password is for: host, port, database and user, as in a line of the file.
pub(super) type Whom<'a> = [&'a str; 4];

/// The password that `$PGPASSFILE`, or `~/.pgpass`, has for a login. As libpq does, this looks at no file that others may
/// read.
pub(super) fn find(whom: Whom<'_>, variables: &BTreeMap<String, String>) -> Option<String> {
    let named = variables.get("PGPASSFILE").map(PathBuf::from);
    let path = named.or_else(|| Some(PathBuf::from(variables.get("HOME")?).join(".pgpass")))?;
    let metadata = fs::metadata(&path).ok()?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o077 != 0 {
        return None;
    }
    fs::read_to_string(&path).ok()?.lines().find_map(|line| password_in(line, whom))
}

/// The password of a line, if it is for this login.
fn password_in(line: &str, whom: Whom<'_>) -> Option<String> {
    let fields = fields(line)?;
    let (password, pattern) = fields.split_last()?;
    let fits = |(pattern, value): (&String, &str)| pattern == "*" || pattern == value;
    (pattern.len() == whom.len() && pattern.iter().zip(whom).all(fits)).then(|| password.clone())
}

/// A line's fields, between colons that no backslash is in front of; the last keeps its colons.
fn fields(line: &str) -> Option<Vec<String>> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![String::new()];
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        let last = fields.len() == 5;
        match c {
            ':' if !last => fields.push(String::new()),
            '\\' => fields.last_mut()?.extend(rest.next()),
            c => fields.last_mut()?.push(c),
        }
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOM: Whom<'_> = ["db.example.com", "5432", "app", "owner"];

    #[test]
    fn a_line_fits_by_its_words_or_by_stars() {
        let password = |line| password_in(line, WHOM);
        assert_eq!(password("db.example.com:5432:app:owner:secret").as_deref(), Some("secret"));
        assert_eq!(password("*:*:*:owner:secret").as_deref(), Some("secret"));
        for line in ["*:*:*:other:secret", "# *:*:*:owner:secret", "*:*:owner:secret", ""] {
            assert_eq!(password(line), None, "{line}");
        }
    }

    #[test]
    fn a_backslash_takes_the_next_character_as_it_is() {
        assert_eq!(password_in(r"*:*:a\:b:owner:x\\y:z", ["h", "1", "a:b", "owner"]).as_deref(), Some(r"x\y:z"));
    }
}
