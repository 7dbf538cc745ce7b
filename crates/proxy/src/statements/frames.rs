//! The frames that name a statement: where their names are, and how they are written.

use upstream::Prepared;
use wire::frame::{Header, Tag};
use wire::lane::Verdict;
use wire::owed::Owed;

/// Postgres cuts the names of statements here (`NAMEDATALEN`, less its terminator).
const NAME: usize = 63;

/// Where a frame that names a statement goes: the server's account, the answers owed, and what is written in its place.
pub(crate) struct Way<'a> {
    pub(crate) server: &'a mut Prepared,
    pub(crate) owed: &'a mut Owed,
    pub(crate) patch: &'a mut Vec<u8>,
}

/// A frame whose names do not end where they have to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadName;

/// A name as Postgres looks it up.
pub(super) fn key(name: &[u8]) -> &[u8] {
    &name[..name.len().min(NAME)]
}

/// Replaces a statement's name in the head of a frame, where `before` stands before it in the body.
pub(super) fn rename(header: Header, before: &[u8], name: &[u8], ours: &str, patch: &mut Vec<u8>) -> Verdict {
    // At once: this is every Bind's, and a buffer that grows bit by bit costs more than all the rest of it.
    patch.reserve(Header::SIZE + before.len() + ours.len() + 1);
    patch.push(header.tag.0);
    patch.extend(length(header.body as usize - name.len() + ours.len()));
    patch.extend(before);
    patch.extend(ours.as_bytes());
    patch.push(0);
    Verdict::Patch(Header::SIZE + before.len() + name.len() + 1)
}

/// A Close or a Describe of a statement.
pub(super) fn about(tag: Tag, name: &str, out: &mut Vec<u8>) {
    out.push(tag.0);
    out.extend(length(1 + name.len() + 1));
    out.push(b'S');
    out.extend(name.as_bytes());
    out.push(0);
}

/// The length word of a frame with so many bytes of body.
pub(super) fn length(body: usize) -> [u8; 4] {
    u32::try_from(body + 4).expect("a frame that was a little shorter before came with such a length").to_be_bytes()
}

/// How many parameters a Bind gives, and what it has from the first of them on.
pub(super) fn parameters(behind_names: &[u8]) -> Option<(u16, &[u8])> {
    let (formats, rest) = behind_names.split_first_chunk()?;
    let (count, rest) = rest.get(2 * usize::from(u16::from_be_bytes(*formats))..)?.split_first_chunk()?;
    Some((u16::from_be_bytes(*count), rest))
}

/// Splits a zero-terminated string off.
pub(super) fn c_string(bytes: &[u8]) -> Result<(&[u8], &[u8]), BadName> {
    let end = bytes.iter().position(|byte| *byte == 0).ok_or(BadName)?;
    Ok((&bytes[..end], &bytes[end + 1..]))
}
