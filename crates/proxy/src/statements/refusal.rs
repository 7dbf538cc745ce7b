//! What a client is told in the place of an error that a server was made to raise.
//!
//! Where a request must not be run, one for what does not exist goes in its place. And where one goes in the flight that
//! makes its statement again, it may turn out that the statement has other columns than the client knows: so that
//! Postgres does not run it then, a Bind says a format for each column, where the client has said none or one for all.
//! Of columns that are as many as before Postgres takes whichever come, and of one as well, whose format would be that of
//! all; then there is nothing to be done but to end the session.

use wire::frame::frontend;
use wire::lane::Verdict;
use wire::owed::Answer;

use super::frames::{about, parameters};
use super::{Statements, Way};

/// The SQLSTATE of "prepared statement … does not exist".
const NO_SUCH_STATEMENT: &[u8] = b"26000";

/// The SQLSTATE of "bind message has … result formats but query has … columns", and the routine that says so.
const BAD_FORMATS: (&[u8], &[u8]) = (b"08P01", b"PortalSetResultFormat");

/// What stands in an error's place.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The turn in which the server raises it, if nothing else fails before.
    turn: u64,
    raised: Raised,
    told: Vec<u8>,
}

/// An error that a server can be made to raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Raised {
    /// There is no statement of a name that none has.
    NoSuchStatement,
    /// A Bind has another number of result formats than its statement has columns.
    ResultFormats,
}

impl Raised {
    /// Which of them is an error of this SQLSTATE and routine that answers such a request.
    pub(crate) fn by(answer: Answer, code: Option<&[u8]>, routine: Option<&[u8]>) -> Option<Self> {
        match answer {
            Answer::Refuse => (code == Some(NO_SUCH_STATEMENT)).then_some(Self::NoSuchStatement),
            Answer::Forward => (code.zip(routine) == Some(BAD_FORMATS)).then_some(Self::ResultFormats),
            Answer::Swallow | Answer::SwallowSuccess => None,
        }
    }
}

impl Statements {
    /// Has the server fail in the place of the client's request: it skips that, and what is behind it. The client is told
    /// this, if nothing before it fails.
    pub(super) fn refuse(&mut self, told: Vec<u8>, way: &mut Way<'_>) -> Verdict {
        let (turn, raised) = (way.owed.next_turn(), Raised::NoSuchStatement);
        self.refusal.get_or_insert_with(|| Box::new(Refusal { turn, raised, told }));
        about(frontend::DESCRIBE, &self.registry.name(self.registry.next()), way.patch);
        way.owed.sent(frontend::DESCRIBE, Answer::Refuse);
        Verdict::Patch(0)
    }

    /// The server will fail in this turn with what comes next, and the client is told this.
    pub(super) fn expect(&mut self, turn: u64, told: Vec<u8>) {
        self.refusal = Some(Box::new(Refusal { turn, raised: Raised::ResultFormats, told }));
    }

    /// The server has raised an error in this turn, one that it can be made to or another. What the client is told in the
    /// place of that.
    pub(crate) fn take_refusal(&mut self, turn: u64, error: Option<Raised>) -> Option<Vec<u8>> {
        let Refusal { raised, told, .. } = *self.refusal.take_if(|refusal| refusal.turn <= turn)?;
        Some(told).filter(|_| error == Some(raised))
    }

    /// Whether the server was made to raise an error that it has not raised yet.
    pub(crate) fn is_refusing(&self) -> bool {
        self.refusal.is_some()
    }

    /// Whether a server that binds now does what it was made not to.
    pub(crate) fn must_not_bind(&self) -> bool {
        self.refusal.as_ref().is_some_and(|refusal| refusal.raised == Raised::ResultFormats)
    }
}

/// What a Bind has behind its names, with a format for each of so many columns. None if Postgres would take it for
/// another number of them, or refuse it in any case.
pub(super) fn with_formats(behind_names: &[u8], columns: u16) -> Option<Vec<u8>> {
    let (before, formats) = behind_names.split_at(result_formats(behind_names)?);
    let format = match formats {
        _ if columns < 2 => return None,
        [0, 0] => [0, 0],
        [0, 1, high, low] => [*high, *low],
        _ if formats.strip_prefix(&columns.to_be_bytes())?.len() == 2 * usize::from(columns) => {
            return Some(behind_names.to_vec());
        }
        _ => return None,
    };
    Some([before, &columns.to_be_bytes(), &format.repeat(columns.into())].concat())
}

/// Where the formats of the result begin in what a Bind has behind its names.
fn result_formats(behind_names: &[u8]) -> Option<usize> {
    let (count, mut rest) = parameters(behind_names)?;
    for _ in 0..count {
        let (size, value) = rest.split_first_chunk()?;
        let size = match i32::from_be_bytes(*size) {
            -1 => 0,
            size => usize::try_from(size).ok()?,
        };
        rest = value.get(size..)?;
    }
    Some(behind_names.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A format of a parameter, a value, and NULL.
    const PARAMETERS: &[u8] = &[0, 1, 0, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 255, 255, 255, 255];

    #[test]
    fn each_column_gets_the_format_that_it_had() {
        for (formats, columns, expected) in [
            (&[0, 0][..], 2, Some(&[0, 2, 0, 0, 0, 0][..])),
            (&[0, 1, 0, 1], 3, Some(&[0, 3, 0, 1, 0, 1, 0, 1])),
            (&[0, 2, 0, 1, 0, 0], 2, Some(&[0, 2, 0, 1, 0, 0])),
            // Refused whatever the columns are, or taken whatever they are.
            (&[0, 2, 0, 1, 0, 0], 3, None),
            (&[0, 1, 0, 1], 1, None),
            (&[0, 0], 0, None),
            (&[0, 2, 0, 1, 0], 2, None),
            (&[0, 0, 0], 2, None),
            (&[0], 2, None),
        ] {
            let whole = [PARAMETERS, formats].concat();
            let expected = expected.map(|formats| [PARAMETERS, formats].concat());
            assert_eq!(with_formats(&whole, columns), expected, "{formats:?} of {columns}");
        }
    }

    #[test]
    fn what_is_no_bind_stays_as_it_is() {
        for end in 0..PARAMETERS.len() {
            assert_eq!(with_formats(&PARAMETERS[..end], 2), None, "{end}");
        }
        let negative = [&[0, 0, 0, 1, 255, 255, 255, 254][..], &[0; 300]].concat();
        assert_eq!(with_formats(&negative, 2), None);
    }
}
