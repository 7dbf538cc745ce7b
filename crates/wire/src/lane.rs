//! One direction of a relay: bytes in from one socket, a look at each frame's header, the same bytes out to the other.
//!
//! Three cursors walk through one buffer (`sent..seen` is judged and waits to be written, `seen..end` has been read
//! and waits to be judged), so nothing is copied that a socket does not copy. A frame larger than the buffer passes
//! in parts. A lane that holds no bytes holds no buffer either: buffers are a thread's, lent while there is
//! something in them, so that idle connections cost none and busy ones share the few that are warm in the cache.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::frame::{BadLength, Header, Tag};

pub use fuzz::fuzz_lane;

mod fuzz;

/// Bytes of a lane's buffer.
pub const CHUNK: usize = 32 * 1024;

/// How many empty buffers a thread keeps.
const SPARES: usize = 32;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// What is to become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Forward,
    /// It is taken out.
    Swallow,
    /// It goes on with so many of its first bytes, the header included, replaced by the patch. The judge has seen all
    /// of them. None: the patch goes before it.
    Patch(usize),
    /// It waits, and all behind it: the judge is asked again at the next scan. The patch goes before it.
    Hold,
}

/// Who decides about frames.
pub trait Judge {
    /// Why a lane cannot go on.
    type Error: From<BadLength>;

    /// How much of the body of such a frame has to be there before it is judged.
    fn peek(&self, tag: Tag) -> usize;

    /// Decides about a frame. The judge gets the header, as much of the body as it asked for (or all, if it is shorter),
    /// and an empty patch to write to if there is one.
    ///
    /// # Errors
    /// Whatever makes it impossible to go on. The lane stays at that frame.
    fn judge(&mut self, header: Header, head: &[u8], patch: &mut Vec<u8>) -> Result<Verdict, Self::Error>;

    /// More of the body of the frame that was judged last, if it is longer than what the judge asked to see.
    fn more(&mut self, body: &[u8]) {
        let _ = body;
    }
}

/// A judge made of two functions, for whom patches and the rest of bodies are no matter.
struct Simple<P, J>(P, J);

impl<E: From<BadLength>, P: Fn(Tag) -> usize, J: FnMut(Header, &[u8]) -> Result<Verdict, E>> Judge for Simple<P, J> {
    type Error = E;

    fn peek(&self, tag: Tag) -> usize {
        self.0(tag)
    }

    fn judge(&mut self, header: Header, head: &[u8], _: &mut Vec<u8>) -> Result<Verdict, E> {
        self.1(header, head)
    }
}

/// One direction of a relay.
#[derive(Debug, Default)]
pub struct Lane {
    /// Empty, or at least [`CHUNK`] bytes.
    buffer: Vec<u8>,
    sent: usize,
    seen: usize,
    end: usize,
    /// Bytes of the judged frame that lie beyond `seen`.
    rest: u64,
    /// Whether that frame is being taken out.
    swallowing: bool,
    /// Of a frame whose judge has seen its beginning and not its end: how many of the bytes beyond `seen` it knows.
    unread: Option<usize>,
    /// Bytes were written and may still wait in the socket's own buffer: TLS has one.
    unflushed: bool,
}

impl Lane {
    /// Reads once, if there is room. `Ready(0)` is the end of the stream.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_fill<R: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, from: &mut R) -> Poll<io::Result<usize>> {
        if self.buffer.is_empty() {
            return self.poll_fill_borrowed(cx, from);
        }
        if self.end >= CHUNK {
            self.compact();
        }
        // Room that an insertion made is not for the peer: it could fill it and have the next one make more.
        if self.end >= CHUNK {
            return Poll::Pending;
        }
        let count = ready!(read(cx, from, &mut self.buffer[self.end..CHUNK]))?;
        self.end += count;
        Poll::Ready(Ok(count))
    }

    /// Reads into a spare buffer, and keeps it only if something came: most often nothing does.
    fn poll_fill_borrowed<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
    ) -> Poll<io::Result<usize>> {
        SPARE.with_borrow_mut(|spare| {
            let mut buffer = spare.pop().unwrap_or_else(|| vec![0; CHUNK]);
            let count = read(cx, from, &mut buffer);
            match count {
                Poll::Ready(Ok(1..)) => self.buffer = buffer,
                _ => spare.push(buffer),
            }
            let count = ready!(count)?;
            self.end = count;
            Poll::Ready(Ok(count))
        })
    }

    /// Judges the frames that have arrived, all or as many as make a buffer full of output. The judge gets the header and as much of the body as `peek` asks for
    /// this tag (or the whole body, if it is shorter); a frame whose head is not there yet waits.
    ///
    /// # Errors
    /// [`BadLength`], if a length cannot be, or what the judge says. The lane stays at that frame.
    pub fn scan<E: From<BadLength>>(
        &mut self,
        peek: impl Fn(Tag) -> usize,
        judge: impl FnMut(Header, &[u8]) -> Result<Verdict, E>,
    ) -> Result<(), E> {
        self.scan_by(&mut Simple(peek, judge))
    }

    /// The same, for a judge who changes frames or reads all of them.
    ///
    /// # Errors
    /// [`BadLength`], if a length cannot be, or what the judge says. The lane stays at that frame.
    ///
    /// # Panics
    /// If more is to be replaced than the judge has seen.
    #[inline]
    pub fn scan_by<J: Judge>(&mut self, judge: &mut J) -> Result<(), J::Error> {
        // Most often nothing has come since the last look.
        if self.seen == self.end { Ok(()) } else { self.scan_unseen(judge) }
    }

    fn scan_unseen<J: Judge>(&mut self, judge: &mut J) -> Result<(), J::Error> {
        let mut patch = Vec::new();
        self.pass(judge);
        // Patches are as large as the judge likes, and there may be hundreds in a buffer.
        while self.rest == 0 && self.seen - self.sent < CHUNK {
            let bytes = &self.buffer[self.seen..self.end];
            let Some((header, body)) = bytes.split_first_chunk::<{ Header::SIZE }>() else { break };
            let header = Header::parse(*header)?;
            let wanted = judge.peek(header.tag);
            let Some(head) = body.get(..wanted.min(header.body as usize)) else { break };
            let seen = Header::SIZE + head.len();
            let arrived = bytes.len() as u64;
            let verdict = judge.judge(header, head, &mut patch)?;
            // Most often all of it is here, goes on, and holds nothing more that the judge wants to see.
            let size = header.frame_size();
            if verdict == Verdict::Forward && size <= arrived && (wanted == 0 || seen as u64 == size) {
                self.seen += size as usize;
                continue;
            }
            let cut = match verdict {
                Verdict::Forward | Verdict::Swallow => 0,
                Verdict::Patch(cut) => cut,
                Verdict::Hold => {
                    if !patch.is_empty() {
                        self.splice(0, &patch);
                    }
                    break;
                }
            };
            assert!(cut <= seen, "nobody replaces what they have not seen");
            if matches!(verdict, Verdict::Patch(_)) {
                self.splice(cut, &patch);
                patch.clear();
            }
            self.swallowing = verdict == Verdict::Swallow;
            self.rest = size - cut as u64;
            self.unread = (wanted > 0 && seen as u64 != size).then_some(seen - cut);
            self.pass(judge);
        }
        Ok(())
    }

    /// Writes what has been judged, and flushes once that is dry. `Ready` means that nothing of it is left, and tells
    /// how many bytes were written now.
    ///
    /// # Errors
    /// What the socket says.
    #[inline]
    pub fn poll_drain<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<io::Result<usize>> {
        if self.buffer.is_empty() && !self.unflushed {
            return Poll::Ready(Ok(0));
        }
        self.poll_drain_buffer(cx, to)
    }

    fn poll_drain_buffer<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        while self.sent < self.seen {
            let count = ready!(Pin::new(&mut *to).poll_write(cx, &self.buffer[self.sent..self.seen]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
            written += count;
            self.unflushed = true;
        }
        self.release_if_empty();
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(written))
    }

    /// Puts bytes of ours behind what has been judged and before what has not.
    ///
    /// # Panics
    /// Within a frame ([`Lane::at_boundary`]): that would tear it.
    pub fn insert(&mut self, bytes: &[u8]) {
        assert!(self.at_boundary(), "an insertion would tear a frame");
        if self.buffer.is_empty() {
            self.buffer = borrow();
        }
        self.splice(0, bytes);
    }

    /// The last judged frame has arrived whole.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.rest == 0
    }

    /// Everything read has been judged and written, and the last frame was whole.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest == 0 && self.sent == self.end
    }

    /// Bytes wait to be written, here or in the socket's own buffer.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.sent < self.seen || self.unflushed
    }

    /// What has been read last is this.
    #[must_use]
    pub fn ends_with(&self, bytes: &[u8]) -> bool {
        self.buffer[self.seen..self.end].ends_with(bytes)
    }

    /// There is no room to read into before something is written.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.end - self.sent >= CHUNK
    }

    /// Bytes wait to be judged.
    #[must_use]
    pub fn has_unseen(&self) -> bool {
        self.seen < self.end
    }

    /// Moves on over what has arrived of the judged frame.
    #[inline]
    fn pass(&mut self, judge: &mut impl Judge) {
        let count = usize::try_from(self.rest).unwrap_or(usize::MAX).min(self.end - self.seen);
        if let Some(known) = &mut self.unread {
            let old = count.min(*known);
            *known -= old;
            let new = self.seen + old..self.seen + count;
            if !new.is_empty() {
                judge.more(&self.buffer[new]);
            }
        }
        if self.swallowing && count > 0 {
            // What waits before it moves over it: an answer that is swallowed is short and rare.
            self.buffer.copy_within(self.sent..self.seen, self.sent + count);
            self.sent += count;
        }
        self.seen += count;
        self.rest -= count as u64;
    }

    /// Replaces the first bytes of what has not been judged, and counts what came in their place as judged.
    fn splice(&mut self, cut: usize, bytes: &[u8]) {
        let grown = self.end - cut + bytes.len();
        if grown > self.buffer.len() {
            self.compact();
        }
        let end = self.end - cut + bytes.len();
        if end > self.buffer.len() {
            self.buffer.resize(end, 0);
        }
        self.buffer.copy_within(self.seen + cut..self.end, self.seen + bytes.len());
        self.buffer[self.seen..self.seen + bytes.len()].copy_from_slice(bytes);
        self.seen += bytes.len();
        self.end = end;
    }

    fn compact(&mut self) {
        self.buffer.copy_within(self.sent..self.end, 0);
        self.end -= self.sent;
        self.seen -= self.sent;
        self.sent = 0;
    }

    fn release_if_empty(&mut self) {
        if self.sent == self.end && !self.buffer.is_empty() {
            (self.sent, self.seen, self.end) = (0, 0, 0);
            give_back(std::mem::take(&mut self.buffer));
        }
    }
}

/// Not called again until the socket wakes us, where it leaves room: then it has emptied the socket, and tokio
/// remembers that without asking the kernel.
fn read<R: AsyncRead + Unpin>(cx: &mut Context<'_>, from: &mut R, into: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut space = ReadBuf::new(into);
    ready!(Pin::new(from).poll_read(cx, &mut space))?;
    Poll::Ready(Ok(space.filled().len()))
}

fn borrow() -> Vec<u8> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; CHUNK])
}

fn give_back(buffer: Vec<u8>) {
    // One that an insertion made larger is not kept: it would stay large.
    if buffer.len() == CHUNK {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARES {
                spare.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests;
