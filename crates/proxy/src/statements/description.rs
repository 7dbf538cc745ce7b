//! What a server says of a statement when it is asked to describe it.
//!
//! Behind each Parse of a named statement goes a Describe of ours, whose answer the client does not see. What it is told
//! when the client prepares the statement is what holds for the client: where we prepare the statement again, the types
//! of its parameters are given and its columns compared, as Postgres itself does when it plans a statement anew
//! (`RevalidateCachedQuery` in `src/backend/utils/cache/plancache.c`).

use std::iter;

use wire::frame::{Header, Tag, backend};

use super::frames::{length, parameters};
use crate::digest::{Digest, digest};

/// What a server says of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    /// The types of its parameters, as both a ParameterDescription and a Parse have them.
    pub(crate) parameters: Box<[u8]>,
    /// The number of its columns, and their names and types, if it returns rows.
    columns: Option<(u16, Digest)>,
}

impl Description {
    /// Whether a Bind gives as many parameters as there are, as far as can be seen of what it has behind the names.
    pub(super) fn fits(&self, behind_names: &[u8]) -> bool {
        parameters(behind_names).is_none_or(|(count, _)| self.parameters.starts_with(&count.to_be_bytes()))
    }

    /// How many columns it has.
    pub(super) fn count(&self) -> u16 {
        self.columns.map_or(0, |(count, _)| count)
    }

    /// Whether a Bind fails that says a format for each column that was known.
    pub(super) fn refuses_formats_of(&self, known: &Self) -> bool {
        self.columns.is_some() && self.count() != known.count()
    }

    /// The message that tells the types of the parameters.
    pub(super) fn parameter_description(&self) -> Vec<u8> {
        let mut message = vec![backend::PARAMETER_DESCRIPTION.0];
        message.extend(length(self.parameters.len()));
        message.extend(&*self.parameters);
        message
    }
}

/// Reads a description, in frames that may come in parts.
#[derive(Debug, Default)]
pub(super) struct Listener {
    parameters: Vec<u8>,
    columns: Vec<u8>,
    tag: Option<Tag>,
    /// Bytes of the frame that are still to come.
    left: usize,
}

impl Listener {
    /// A frame comes: ParameterDescription, then RowDescription or NoData.
    pub(super) fn begin(&mut self, header: Header, head: &[u8]) {
        (self.tag, self.left) = (Some(header.tag), header.body as usize);
        self.read(head);
    }

    /// The next bytes of its body.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        self.left -= bytes.len();
        match self.tag {
            Some(backend::PARAMETER_DESCRIPTION) => self.parameters.extend(bytes),
            _ => self.columns.extend(bytes),
        }
    }

    /// Whether there is more of the frame to come.
    pub(super) fn is_within(&self) -> bool {
        self.left > 0
    }

    /// Whether all has been heard.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0 && matches!(self.tag, Some(backend::ROW_DESCRIPTION | backend::NO_DATA))
    }

    pub(super) fn finish(self) -> Description {
        let count = self.columns.first_chunk().filter(|_| self.tag == Some(backend::ROW_DESCRIPTION));
        let columns = count.map(|count| (u16::from_be_bytes(*count), digest(columns(&self.columns).flatten())));
        Description { parameters: self.parameters.into(), columns }
    }
}

/// Of each column of a RowDescription the name, and the type's number, size and modifier. It says before those which
/// column of which table it is, and behind them the format: they make no difference to what a client reads.
fn columns(rows: &[u8]) -> impl Iterator<Item = [&[u8]; 2]> {
    let mut rest = rows.get(2..).unwrap_or_default();
    iter::from_fn(move || {
        let name = rest.iter().position(|byte| *byte == 0)?;
        let (column, behind) = rest.split_at_checked(name + 1 + 18)?;
        rest = behind;
        Some([&column[..name], &column[name + 7..name + 17]])
    })
}

#[cfg(test)]
impl Description {
    /// A statement without parameters and with one column of this name, or none.
    pub(crate) fn of(column: Option<&str>) -> Self {
        Self { parameters: [0, 0].into(), columns: column.map(|name| (1, digest([name.as_bytes()]))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A column's name, table and type.
    type Column<'a> = (&'a str, u8, u8);

    fn rows(columns: &[Column<'_>]) -> Vec<u8> {
        let mut body = vec![0, columns.len() as u8];
        for (name, table, kind) in columns {
            body.extend(name.as_bytes());
            body.extend([0, 0, 0, 0, *table, 0, 1, 0, 0, 0, *kind, 0, 4, 255, 255, 255, 255, 0, 0]);
        }
        body
    }

    /// Has a listener hear this, so many bytes at once.
    fn heard(rows: Option<&[u8]>, size: usize) -> Description {
        let mut listener = Listener::default();
        let parameters: &[u8] = &[0, 1, 0, 0, 0, 23];
        let tag = if rows.is_some() { backend::ROW_DESCRIPTION } else { backend::NO_DATA };
        for (tag, body) in [(backend::PARAMETER_DESCRIPTION, parameters), (tag, rows.unwrap_or_default())] {
            assert!(!listener.is_done());
            let head = body.len().min(2);
            listener.begin(Header { tag, body: body.len() as u32 }, &body[..head]);
            body[head..].chunks(size).for_each(|part| listener.read(part));
        }
        assert!(listener.is_done());
        let description = listener.finish();
        assert_eq!(*description.parameters, *parameters);
        description
    }

    #[test]
    fn a_description_is_the_same_in_parts() {
        let rows = rows(&[("a", 1, 23), ("bc", 1, 25)]);
        assert!((1..rows.len()).all(|size| heard(Some(&rows), size) == heard(Some(&rows), rows.len())));
    }

    #[test]
    fn a_bind_fits_if_it_gives_as_many_parameters() {
        let one = heard(None, 7);
        for (behind_names, fits) in [
            (&[0, 0, 0, 1, 0, 0][..], true),
            (&[0, 1, 0, 9, 0, 1], true),
            (&[0, 2, 0, 1, 0, 1, 0, 1], true),
            (&[0, 0, 0, 0], false),
            (&[0, 1, 0, 1, 0, 0], false),
            (&[0, 0, 1, 1], false),
            (&[255, 255, 0, 0], true),
            (&[0, 0, 0], true),
            (&[], true),
        ] {
            assert_eq!(one.fits(behind_names), fits, "{behind_names:?}");
        }
    }

    #[test]
    fn names_and_types_and_their_order_make_a_difference_and_tables_do_not() {
        let of = |columns: &[Column<'_>]| heard(Some(&rows(columns)), 7);
        let all = [
            of(&[]),
            heard(None, 7),
            of(&[("a", 1, 23)]),
            of(&[("a", 1, 25)]),
            of(&[("b", 1, 23)]),
            of(&[("a", 1, 23), ("b", 1, 23)]),
            of(&[("b", 1, 23), ("a", 1, 23)]),
        ];
        assert!((0..all.len()).all(|one| (0..one).all(|other| all[one] != all[other])));
        assert_eq!(of(&[("a", 1, 23)]), of(&[("a", 2, 23)]));
    }
}
