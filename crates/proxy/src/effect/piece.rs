//! The tokens of a short text, all at once.

use super::lexer::{Lexer, MOST_NAME, Token};

/// As many tokens as any form needs to be told; a list of values may go on.
pub(super) const MOST: usize = 24;

/// A token of a short statement.
#[derive(Debug)]
pub(super) enum Piece {
    /// In lower case.
    Word(Vec<u8>),
    Name(Vec<u8>),
    /// Its beginning.
    Text(Vec<u8>),
    Mark(u8),
    /// A character that is written as its number, which is in a string. It is nothing that is looked for.
    Numbered,
}

impl Piece {
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own == word.as_bytes())
    }

    pub(super) fn is_mark(&self, byte: u8) -> bool {
        matches!(self, Self::Mark(own) if *own == byte)
    }

    /// As a name, in the case that names have: unless quoted the lower.
    pub(super) fn name(&self) -> Option<&[u8]> {
        match self {
            Self::Word(name) | Self::Name(name) if name.len() < MOST_NAME => Some(name),
            _ => None,
        }
    }
}

/// What a SELECT has behind it, without the schema of a function of Postgres's own.
pub(super) fn selected(statement: &[Piece]) -> Option<&[Piece]> {
    match statement {
        [select, schema, dot, call @ ..] if select.is("select") && schema.is("pg_catalog") && dot.is_mark(b'.') => {
            Some(call)
        }
        [select, call @ ..] if select.is("select") => Some(call),
        _ => None,
    }
}

/// What a DEALLOCATE gives up.
pub(super) enum Deallocated<'a> {
    All,
    /// The statement of this name.
    One(&'a Piece),
}

/// What a statement gives up that is a DEALLOCATE.
pub(super) fn deallocated(statement: &[Piece]) -> Option<Deallocated<'_>> {
    let what = match statement {
        [verb, what] if verb.is("deallocate") => what,
        [verb, prepare, what] if verb.is("deallocate") && prepare.is("prepare") => what,
        _ => return None,
    };
    Some(if what.is("all") { Deallocated::All } else { Deallocated::One(what) })
}

/// The first of a text, and at most so many.
pub(super) fn pieces(text: &[u8], most: usize) -> Vec<Piece> {
    let mut lexer = Lexer::default();
    let mut pieces = Vec::with_capacity(8);
    let mut at = 0;
    while pieces.len() < most {
        let Some(token) = lexer.next(text, &mut at).or_else(|| lexer.last()) else { break };
        match token {
            Token::Word(span) => pieces.push(Piece::Word(lexer.bytes(span, text).to_ascii_lowercase())),
            Token::Name(span) => pieces.push(Piece::Name(lexer.bytes(span, text).to_vec())),
            Token::TextBegins(_) => pieces.push(Piece::Text(Vec::new())),
            Token::Text(span) => {
                if let Some(Piece::Text(content)) = pieces.last_mut() {
                    content.extend(lexer.bytes(span, text));
                }
            }
            Token::Numbered => pieces.push(Piece::Numbered),
            Token::TextEnds => {}
            Token::Mark(byte) => pieces.push(Piece::Mark(byte)),
        }
    }
    pieces
}
