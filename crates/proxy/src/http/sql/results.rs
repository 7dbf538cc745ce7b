//! From what the server answers to JSON, as it comes: bytes in parts of any size go in, JSON goes out, and nothing is
//! held that grows with a row.
//!
//! A [`Layout::Document`] is what Neon's proxy answers: `{"fields":[…],"rows":[…],"command":"SELECT","rowCount":2,
//! "rowAsArray":false}`, or `{"results":[…]}` with one of those for each query of a batch.
//!
//! [`Layout::Lines`] has the same in lines, for rows without end: `{"fields":[…],"rowAsArray":false}` where a
//! statement begins, `{"row":…}` for each row, `{"command":"SELECT","rowCount":2}` where it ends. The last statement's
//! end is held back until everything is committed, so that the last line is either that or `{"error":{…}}`, and who has
//! neither has not got everything. A row that cannot be finished is a broken line, before the error's.

use wire::frame::{Header, Tag, backend};
use wire::owed::TxStatus;

use super::error::{Failure, SqlError};
use super::rows::{Rows, Words};
use super::text;

/// The most columns that Postgres has, with names four times as long as it is usually compiled for.
const MAX_DESCRIPTION: u32 = 1664 * (4 * 64 + 18);

const OUT_OF_PLACE: Failure = Failure::Unexpected("a message is out of place");

/// How much is kept of any other message, an error above all.
const MAX_KEPT: u32 = 64 << 10;

/// How results are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One JSON document.
    Document,
    /// A JSON document in each line: `application/x-ndjson`.
    Lines,
}

/// How a statement's rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// Every value is a string, as Postgres writes it, instead of what JSON has for it.
    pub(crate) raw_text: bool,
    /// Rows are lists instead of objects. Of an object's keys, columns may have the same.
    pub(crate) array_mode: bool,
}

impl Style {
    /// Around a row.
    pub(super) fn brackets(self) -> [u8; 2] {
        if self.array_mode { *b"[]" } else { *b"{}" }
    }
}

/// How far the answer is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More is to come.
    More,
    /// It is complete, and what was asked for is done. A client that begins a transaction leaves it open.
    Done(TxStatus),
    /// It is complete, and the database has refused. A document that was begun is to be dropped; lines end with the
    /// error. Of a batch that failed, a transaction is left to roll back: see [`super::frames::rollback`].
    Failed(TxStatus, Box<SqlError>),
}

/// Reads the answer to one request.
#[derive(Debug)]
pub(crate) struct Results {
    layout: Layout,
    batch: bool,
    styles: Vec<Style>,
    /// The statement that is answered, or will be next.
    at: usize,
    expect: Expect,
    place: Place,
    words: Words,
    /// What has come of a message that is needed whole.
    body: Vec<u8>,
    rows: Rows,
    /// Behind a statement's rows. It is written when something comes that shows that it counts.
    ending: Vec<u8>,
    error: Option<Box<SqlError>>,
    committed: bool,
}

/// What the server is to answer next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// To our own BEGIN.
    Begin,
    Description,
    Rows,
    /// To our own COMMIT.
    Commit,
    Ready,
}

/// Where in the messages we are.
#[derive(Clone, Copy, Debug)]
enum Place {
    Header,
    /// In a message of which so much is to be kept and so much skipped.
    Body(Tag, u32, u32),
    Skip(u32),
    Row,
}

impl Results {
    /// For one statement, and a Sync: see [`Frames::single`](super::frames::Frames::single).
    pub(crate) fn single(style: Style, layout: Layout) -> Self {
        Self::new(vec![style], layout, false)
    }

    /// For these statements between BEGIN and COMMIT, and a Sync: see [`Frames::batch`](super::frames::Frames::batch).
    pub(crate) fn batch(styles: Vec<Style>, layout: Layout) -> Self {
        Self::new(styles, layout, true)
    }

    fn new(styles: Vec<Style>, layout: Layout, batch: bool) -> Self {
        let first = styles.first().copied().unwrap_or(Style { raw_text: false, array_mode: false });
        Self {
            layout,
            batch,
            styles,
            at: 0,
            expect: if batch { Expect::Begin } else { Expect::Description },
            place: Place::Header,
            words: Words::default(),
            body: Vec::new(),
            rows: Rows::new(layout, first),
            ending: Vec::new(),
            error: None,
            committed: false,
        }
    }

    /// Reads what has come, all of it, and appends what it becomes. Nothing may be read behind the end.
    ///
    /// # Errors
    /// [`Failure`], if it cannot become JSON: the server is in the midst of something, and a document that was begun
    /// is to be dropped. Lines end with the error.
    pub(crate) fn read(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<Progress, Failure> {
        loop {
            match self.step(&mut bytes, out) {
                Ok(None) => {}
                Ok(Some(progress)) => return Ok(progress),
                Err(failure) => {
                    let error = self.error.take().unwrap_or_else(|| Box::new(failure.into()));
                    self.fail(&error, out);
                    return Err(failure);
                }
            }
        }
    }

    /// Whether a statement has committed what was done before it.
    pub(crate) fn has_committed(&self) -> bool {
        self.committed
    }

    /// The error to tell if the server ended before the answer did: the one with which it took leave, if it did.
    pub(crate) fn broken_off(&mut self, out: &mut Vec<u8>) -> Box<SqlError> {
        let error = self.error.take().unwrap_or_else(|| Box::new(Failure::Ended.into()));
        self.fail(&error, out);
        error
    }

    /// Ends lines with an error, whose cause is somewhere else. A document is to be dropped instead.
    fn fail(&mut self, error: &SqlError, out: &mut Vec<u8>) {
        if self.layout == Layout::Document {
            return;
        }
        if matches!(self.place, Place::Row) || out.last().is_some_and(|byte| *byte != b'\n') {
            out.push(b'\n');
        }
        out.extend_from_slice(b"{\"error\":");
        error.write(out);
        out.extend_from_slice(b"}\n");
    }

    fn step(&mut self, bytes: &mut &[u8], out: &mut Vec<u8>) -> Result<Option<Progress>, Failure> {
        match self.place {
            Place::Header => {
                let Some(header) = self.words.take(bytes) else { return Ok(Some(Progress::More)) };
                let header = Header::parse(header).map_err(|_| Failure::Unexpected("a message has a bad length"))?;
                self.place = self.enter(header, out)?;
            }
            Place::Body(tag, keep, skip) => {
                let missing = keep as usize - self.body.len();
                if bytes.len() < missing {
                    self.body.extend_from_slice(bytes);
                    return Ok(Some(Progress::More));
                }
                let (part, rest) = bytes.split_at(missing);
                *bytes = rest;
                self.place = if skip > 0 { Place::Skip(skip) } else { Place::Header };
                if self.body.is_empty() {
                    return self.message(tag, part, out);
                }
                let mut body = std::mem::take(&mut self.body);
                body.extend_from_slice(part);
                return self.message(tag, &body, out);
            }
            Place::Skip(left) => {
                let (part, rest) = bytes.split_at(bytes.len().min(left as usize));
                *bytes = rest;
                let left = left - part.len() as u32;
                self.place = if left > 0 { Place::Skip(left) } else { Place::Header };
                return Ok((left > 0).then_some(Progress::More));
            }
            Place::Row => {
                if !self.rows.read(bytes, out)? {
                    return Ok(Some(Progress::More));
                }
                self.place = Place::Header;
            }
        }
        Ok(None)
    }

    /// A message begins.
    fn enter(&mut self, Header { tag, body: size }: Header, out: &mut Vec<u8>) -> Result<Place, Failure> {
        match tag {
            backend::DATA_ROW if self.expect == Expect::Rows && self.error.is_none() => {
                self.rows.begin(size, out);
                Ok(Place::Row)
            }
            backend::NOTICE_RESPONSE | backend::NOTIFICATION_RESPONSE => Ok(Place::Skip(size)),
            backend::COPY_IN_RESPONSE | backend::COPY_OUT_RESPONSE | backend::COPY_BOTH_RESPONSE => Err(Failure::Copy),
            backend::ROW_DESCRIPTION if size > MAX_DESCRIPTION => Err(Failure::Unexpected("a description is too long")),
            backend::ROW_DESCRIPTION => Ok(Place::Body(tag, size, 0)),
            _ => Ok(Place::Body(tag, size.min(MAX_KEPT), size.saturating_sub(MAX_KEPT))),
        }
    }

    /// A message has come whole.
    fn message(&mut self, tag: Tag, body: &[u8], out: &mut Vec<u8>) -> Result<Option<Progress>, Failure> {
        match (tag, self.expect) {
            (backend::READY_FOR_QUERY, _) => return self.ready(body, out).map(Some),
            (backend::PARAMETER_STATUS, _) => parameter(body)?,
            (backend::ERROR_RESPONSE, _) => {
                self.error = Some(Box::new(SqlError::of_response(body)));
            }
            _ if self.error.is_some() => return Err(Failure::Unexpected("an error has something behind it")),
            (backend::PARSE_COMPLETE | backend::BIND_COMPLETE, _) => {}
            (backend::ROW_DESCRIPTION, Expect::Description) => self.describe(Some(body), out)?,
            (backend::NO_DATA, Expect::Description) => self.describe(None, out)?,
            (backend::COMMAND_COMPLETE, Expect::Begin) => self.expect_statement(),
            (backend::COMMAND_COMPLETE, Expect::Rows) => self.complete(body.strip_suffix(&[0]).unwrap_or(body))?,
            (backend::EMPTY_QUERY_RESPONSE, Expect::Rows) => self.complete(b"")?,
            (backend::COMMAND_COMPLETE, Expect::Commit) => self.expect = Expect::Ready,
            _ => return Err(OUT_OF_PLACE),
        }
        Ok(None)
    }

    fn ready(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<Progress, Failure> {
        let [status] = *body else { return Err(OUT_OF_PLACE) };
        let status = TxStatus::parse(status).ok_or(OUT_OF_PLACE)?;
        match self.error.take() {
            // Not before: until here whoever asks may still ask once more.
            Some(error) => {
                self.fail(&error, out);
                Ok(Progress::Failed(status, error))
            }
            None if self.expect == Expect::Ready => {
                self.finish(out);
                Ok(Progress::Done(status))
            }
            None => Err(OUT_OF_PLACE),
        }
    }

    fn expect_statement(&mut self) {
        self.expect = match self.styles.get(self.at) {
            Some(_) => Expect::Description,
            None if self.batch => Expect::Commit,
            None => Expect::Ready,
        };
    }

    /// A statement begins, and has these columns.
    fn describe(&mut self, columns: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Failure> {
        out.append(&mut self.ending);
        if self.batch && self.layout == Layout::Document {
            out.extend_from_slice(if self.at == 0 { b"{\"results\":[" } else { b"," });
        }
        let style = self.styles[self.at];
        self.rows.reset(style);
        out.extend_from_slice(b"{\"fields\":[");
        if let Some(columns) = columns {
            self.rows.describe(columns, out)?;
        }
        match self.layout {
            Layout::Document => out.extend_from_slice(b"],\"rows\":["),
            Layout::Lines => {
                out.push(b']');
                row_as_array(style, out);
                out.push(b'\n');
            }
        }
        self.expect = Expect::Rows;
        Ok(())
    }

    /// A statement ends, with this command tag.
    fn complete(&mut self, tag: &[u8]) -> Result<(), Failure> {
        text::Utf8::whole(tag)?;
        self.committed |= matches!(tag, b"COMMIT" | b"PREPARE TRANSACTION");
        let (command, count) = command(tag);
        let out = &mut self.ending;
        out.extend_from_slice(if self.layout == Layout::Document { b"],\"command\":" } else { b"{\"command\":" });
        text::string(command, out);
        out.extend_from_slice(b",\"rowCount\":");
        out.extend_from_slice(count.unwrap_or(b"null"));
        match self.layout {
            Layout::Document => row_as_array(self.styles[self.at], out),
            Layout::Lines => out.extend_from_slice(b"}\n"),
        }
        self.at += 1;
        self.expect_statement();
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.ending);
        if self.batch && self.layout == Layout::Document {
            out.extend_from_slice(if self.styles.is_empty() { b"{\"results\":[]}" } else { b"]}" });
        }
    }
}

fn row_as_array(style: Style, out: &mut Vec<u8>) {
    out.extend_from_slice(if style.array_mode { b",\"rowAsArray\":true}" } else { b",\"rowAsArray\":false}" });
}

/// The command and its number of rows: behind one word, for INSERT behind two. A tag without a number is cut to its
/// first word too, as Neon and node-postgres do.
fn command(tag: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut words = tag.splitn(2, |byte| *byte == b' ');
    let (command, rest) = (words.next().unwrap_or_default(), words.next());
    let count = match rest {
        Some(rest) if command == b"INSERT" => rest.splitn(2, |byte| *byte == b' ').nth(1),
        rest => rest,
    };
    (command, count.filter(|count| count.iter().all(u8::is_ascii_digit) && text::is_number(count)))
}

/// What is UTF-8 is decided by the session's encoding.
fn parameter(body: &[u8]) -> Result<(), Failure> {
    match body.strip_prefix(b"client_encoding\0") {
        Some(encoding) if encoding != b"UTF8\0" => Err(Failure::ClientEncoding),
        _ => Ok(()),
    }
}
