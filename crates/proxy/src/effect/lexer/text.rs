//! String constants: where they end, and what they hold.

use super::{CLASS, Class, HELD, Lexer, MOST_NAME, Quote, Span, State, Token};

impl Lexer {
    pub(super) fn begin(&mut self, quote: Quote) -> Token {
        self.state = State::Text(quote);
        self.behind_escape = false;
        self.high = false;
        self.doubtful = false;
        Token::TextBegins(quote)
    }

    /// Goes on within a string that is no dollar-quoted one.
    pub(super) fn text(&mut self, quote: Quote, part: &[u8], at: &mut usize) -> Option<Token> {
        let from = *at;
        let escapes = quote == Quote::Escape;
        let ends = |&byte: &u8| byte == b'\'' || (escapes && byte == b'\\');
        let end = part[from..].iter().position(ends).map_or(part.len(), |end| from + end);
        if end > from {
            *at = end;
            self.high = part[end - 1] >= 0x80;
            self.doubtful = false;
            return Some(Token::Text(Span::Part(from, end)));
        }
        *at += 1;
        if part[from] == b'\'' {
            self.unclear |= self.doubtful;
            self.state = State::TextQuote(quote);
        } else {
            self.doubtful |= self.high;
            self.state = State::TextEscape;
        }
        None
    }

    /// Goes on in the states that this file knows.
    pub(super) fn resume_text(&mut self, part: &[u8], at: &mut usize) -> Option<Token> {
        match self.state {
            State::TextQuote(quote) if part[*at] == b'\'' => {
                *at += 1;
                self.high = false;
                self.doubtful = false;
                self.state = State::Text(quote);
                Some(Token::Text(Span::Part(*at - 1, *at)))
            }
            State::TextQuote(quote) => {
                self.behind_escape = quote == Quote::Escape;
                self.state = State::Plain;
                Some(Token::TextEnds)
            }
            State::TextEscape => Some(self.escape(part[*at], at)),
            State::Dollar => self.dollar(part[*at], at),
            State::DollarText => self.dollar_text(part, at),
            State::DollarClose(matched) => self.dollar_close(matched, part, at),
            _ => None,
        }
    }

    /// The byte behind a backslash.
    fn escape(&mut self, byte: u8, at: &mut usize) -> Token {
        *at += 1;
        self.state = State::Text(Quote::Escape);
        self.unclear |= self.doubtful && byte == b'\'';
        self.doubtful &= byte == b'\\';
        self.high = byte >= 0x80;
        let meant = match byte {
            b'0'..=b'7' | b'x' | b'u' | b'U' => return Token::Numbered,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' | b'b' | b'f' => b' ',
            _ => byte,
        };
        self.hold_anew(&[meant]);
        Token::Text(Span::Held(1))
    }

    /// A byte behind a dollar and perhaps some of a tag.
    fn dollar(&mut self, byte: u8, at: &mut usize) -> Option<Token> {
        let is_tag = match CLASS[usize::from(byte)] {
            Class::Word => true,
            Class::Digit if self.held_len == 0 => {
                self.state = State::Number;
                return None;
            }
            Class::Digit => true,
            Class::Dollar => {
                *at += 1;
                return Some(self.begin_dollar());
            }
            _ => false,
        };
        if !is_tag {
            return Some(self.mark(b'$'));
        }
        *at += 1;
        if self.held_len == MOST_NAME {
            self.unclear = true;
            self.state = State::Lost;
        } else {
            self.hold(&[byte]);
        }
        None
    }

    /// Makes the held tag a delimiter.
    fn begin_dollar(&mut self) -> Token {
        let mut delimiter = [b'$'; HELD];
        delimiter[1..][..self.held_len].copy_from_slice(&self.held[..self.held_len]);
        self.held = delimiter;
        self.held_len += 2;
        self.state = State::DollarText;
        Token::TextBegins(Quote::Dollar)
    }

    fn dollar_text(&mut self, part: &[u8], at: &mut usize) -> Option<Token> {
        let from = *at;
        let end = part[from..].iter().position(|&byte| byte == b'$').map_or(part.len(), |end| from + end);
        *at = end;
        if end == from {
            *at += 1;
            self.state = State::DollarClose(1);
            return None;
        }
        Some(Token::Text(Span::Part(from, end)))
    }

    fn dollar_close(&mut self, matched: usize, part: &[u8], at: &mut usize) -> Option<Token> {
        if self.held[matched] != part[*at] {
            // Only the ends of a delimiter are dollars, so that no other can have begun within what matched.
            self.state = State::DollarText;
            return Some(Token::Text(Span::Held(matched)));
        }
        *at += 1;
        if matched + 1 == self.held_len {
            self.state = State::Plain;
            return Some(Token::TextEnds);
        }
        self.state = State::DollarClose(matched + 1);
        None
    }
}
