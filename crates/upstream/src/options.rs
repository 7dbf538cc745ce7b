//! The `options` string of a startup packet, split as Postgres splits it (`pg_split_opts` in
//! `src/backend/utils/init/postinit.c`, then `getopt` in `tcop/postgres.c`), but of a backend's switches only those
//! that set a parameter are known.

use crate::parameters::ParameterError;

/// Reads `-c name=value`, `-cname=value` and `--name=value`. Dashes in names become underscores.
pub(crate) fn parse_options(options: &str) -> Result<Vec<(String, String)>, ParameterError> {
    let mut settings = Vec::new();
    let mut words = split(options).into_iter();
    while let Some(word) = words.next() {
        let setting = match word.as_str() {
            "-c" => words.next(),
            _ => word.strip_prefix("--").or_else(|| word.strip_prefix("-c")).map(str::to_owned),
        };
        let setting = setting.as_deref().and_then(|setting| setting.split_once('='));
        match setting {
            Some((name, value)) if !name.is_empty() => settings.push((name.replace('-', "_"), value.to_owned())),
            _ => return Err(ParameterError::Option(shown(&word))),
        }
    }
    Ok(settings)
}

/// Splits at white space, of which a backslash takes the meaning, as of itself. One at the very end vanishes.
fn split(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut characters = options.chars().peekable();
    loop {
        while characters.next_if(|c| is_space(*c)).is_some() {}
        if characters.peek().is_none() {
            return words;
        }
        let mut word = String::new();
        while let Some(character) = characters.next_if(|c| !is_space(*c)) {
            match character {
                '\\' => word.extend(characters.next()),
                _ => word.push(character),
            }
        }
        words.push(word);
    }
}

/// As much of a word as a switch may have: what is longer may be a secret in the wrong place.
fn shown(word: &str) -> String {
    const LONGEST: usize = 16;
    match word.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.to_owned(),
    }
}

/// C's `isspace`, which knows the vertical tab.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t'..='\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(options: &str) -> Vec<(String, String)> {
        parse_options(options).expect("options")
    }

    fn setting(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn the_three_spellings_of_a_setting_are_one() {
        for options in ["-c work_mem=1MB", "-cwork_mem=1MB", "--work_mem=1MB", " \t--work-mem=1MB\x0b\n"] {
            assert_eq!(parsed(options), [setting("work_mem", "1MB")], "{options:?}");
        }
    }

    #[test]
    fn a_backslash_keeps_the_character_behind_it() {
        assert_eq!(parsed(r"-c search_path=a,\ b\\c"), [setting("search_path", r"a, b\c")]);
        assert_eq!(parsed(r"-c\ x=1"), [setting(" x", "1")]);
        assert_eq!(parsed("-cx=1\\"), [setting("x", "1")]);
    }

    #[test]
    fn only_the_first_equals_sign_divides() {
        assert_eq!(parsed("-c a.b=x=y --c="), [setting("a.b", "x=y"), setting("c", "")]);
        assert!(parsed(" \t ").is_empty());
    }

    #[test]
    fn every_other_switch_is_refused_with_its_name() {
        for options in ["-d 5", "-e", "-c", "-c x", "--x", "--", "-- x=1", "--=1", "-c =1", "x=1", "-", "\\", "-ec x=1"]
        {
            assert!(matches!(parse_options(options), Err(ParameterError::Option(_))), "{options:?}");
        }
    }

    #[test]
    fn a_long_word_is_not_repeated_in_full() {
        let refused = parse_options("token=eyJhbGciOiJFUzI1NiJ9");
        assert_eq!(refused, Err(ParameterError::Option("token=eyJhbGciOi…".to_owned())));
    }
}
