//! Where in a text prepared statements are deallocated by their names.

use std::ops::Range;

use super::lexer::{Lexer, MOST_NAME, Quote, Span, Token};

/// How far a statement has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Read {
    Nothing,
    Deallocate,
    /// Which is a name if none comes behind it.
    Prepare(Range<usize>),
    Other,
}

/// The places of the names, quotes included, and the names: of each statement that is `DEALLOCATE [PREPARE] name`. The text
/// has its zero byte behind it. Of one that is read otherwise under some settings, or has a name that Postgres cuts, none is
/// told.
pub(crate) fn deallocated(text: &[u8]) -> Vec<(Range<usize>, Vec<u8>)> {
    let (mut lexer, mut at, mut read, mut found) = (Lexer::default(), 0, Read::Nothing, Vec::new());
    let name = |place: Range<usize>| (place.clone(), text[place].to_ascii_lowercase());
    let mut doubtful = false;
    while let Some(token) = lexer.next(text, &mut at).or_else(|| lexer.last()) {
        doubtful |= match token {
            Token::TextBegins(quote) => quote != Quote::Dollar && quote != Quote::Single,
            Token::Text(span) => lexer.bytes(span, text).contains(&b'\\'),
            Token::Word(Span::Part(from, to)) | Token::Name(Span::Part(from, to)) => to - from >= MOST_NAME,
            _ => false,
        };
        read = match (read, token) {
            (Read::Prepare(prepare), Token::Mark(b';')) => {
                found.push(name(prepare));
                Read::Nothing
            }
            (_, Token::Mark(b';')) => Read::Nothing,
            (Read::Nothing, Token::Word(span)) if is(span, text, b"deallocate") => Read::Deallocate,
            (Read::Deallocate, Token::Word(Span::Part(from, to)))
                if text[from..to].eq_ignore_ascii_case(b"prepare") =>
            {
                Read::Prepare(from..to)
            }
            (Read::Deallocate | Read::Prepare(_), Token::Word(span)) if is(span, text, b"all") => Read::Other,
            (Read::Deallocate | Read::Prepare(_), Token::Word(Span::Part(from, to))) => {
                found.push(name(from..to));
                Read::Other
            }
            (Read::Deallocate | Read::Prepare(_), Token::Name(Span::Part(from, to))) => {
                found.push((from - 1..to + 1, text[from..to].to_vec()));
                Read::Other
            }
            _ => Read::Other,
        };
    }
    if let Read::Prepare(prepare) = read {
        found.push(name(prepare));
    }
    if doubtful || lexer.is_unclear() { Vec::new() } else { found }
}

fn is(span: Span, text: &[u8], word: &[u8]) -> bool {
    matches!(span, Span::Part(from, to) if text[from..to].eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::{Change, effects};

    #[test]
    fn names_are_found_where_they_stand() {
        for (text, expected) in [
            ("DEALLOCATE s", &["s"][..]),
            ("deallocate prepare \"S b\";", &["\"S b\""]),
            ("SAVEPOINT a;DEALLOCATE \"_PLAN0x1\";RELEASE a", &["\"_PLAN0x1\""]),
            ("DEALLOCATE prepare; DEALLOCATE /* x */ PREPARE prepare; deallocate prepare", &["prepare"; 3]),
            ("DEALLOCATE ALL; DEALLOCATE PREPARE ALL; SELECT deallocate s; DO 'DEALLOCATE s'", &[]),
            ("DEALLOCATE \"a\"\"b\"", &[]),
            ("", &[]),
            // Under standard_conforming_strings = off this is one string.
            (r"SELECT 'it\'s; DEALLOCATE s; --'", &[]),
            (&format!("DEALLOCATE s; DEALLOCATE \"{}\"", "n".repeat(64)), &[]),
        ] {
            let found = deallocated(format!("{text}\0").as_bytes());
            let places: Vec<_> = found.iter().map(|(place, _)| &text[place.clone()]).collect();
            assert_eq!(places, expected, "{text}");
            // The same are told to be gone once the text has run.
            let told = effects(text.as_bytes()).changes;
            let told = told.iter().filter_map(|change| match change {
                Change::Deallocate(name) => name.as_deref(),
                _ => None,
            });
            let names = found.iter().map(|(_, name)| &name[..]);
            assert!(found.is_empty() || names.eq(told), "{text}");
        }
        // Postgres refuses it anyhow.
        assert_eq!(deallocated(b"SELECT (1; DEALLOCATE x\0").len(), 1);
        assert_eq!(deallocated(b"DEALLOCATE Some\0")[0].1, b"some");
        assert_eq!(deallocated(b"DEALLOCATE \"Some\"\0")[0].1, b"Some");
    }
}
