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
    /// It waits, and all behind it: the judge is asked again at the next scan.
    Hold,
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

    /// Judges every frame that has arrived. The judge gets the header and as much of the body as `peek` asks for
    /// this tag (or the whole body, if it is shorter); a frame whose head is not there yet waits.
    ///
    /// # Errors
    /// [`BadLength`], if a length cannot be, or what the judge says. The lane stays at that frame.
    pub fn scan<E: From<BadLength>>(
        &mut self,
        peek: impl Fn(Tag) -> usize,
        mut judge: impl FnMut(Header, &[u8]) -> Result<Verdict, E>,
    ) -> Result<(), E> {
        loop {
            self.pass();
            let Some(bytes) = self.buffer.get(self.seen..self.end).filter(|_| self.rest == 0) else {
                return Ok(());
            };
            let Some((header, body)) = bytes.split_first_chunk::<{ Header::SIZE }>() else {
                return Ok(());
            };
            let header = Header::parse(*header)?;
            let head = peek(header.tag).min(header.body as usize);
            let Some(head) = body.get(..head) else {
                return Ok(());
            };
            match judge(header, head)? {
                Verdict::Forward => self.swallowing = false,
                Verdict::Swallow => self.swallowing = true,
                Verdict::Hold => return Ok(()),
            }
            self.rest = header.frame_size();
        }
    }

    /// Writes what has been judged, and flushes once that is dry. `Ready` means that nothing of it is left, and tells
    /// how many bytes were written now.
    ///
    /// # Errors
    /// What the socket says.
    pub fn poll_drain<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<io::Result<usize>> {
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
        self.compact();
        let end = self.end + bytes.len();
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        self.buffer.copy_within(self.seen..self.end, self.seen + bytes.len());
        self.buffer[self.seen..self.seen + bytes.len()].copy_from_slice(bytes);
        self.seen += bytes.len();
        self.end = end;
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

    /// Bytes wait to be written.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.sent < self.seen
    }

    /// Moves on over what has arrived of the judged frame.
    fn pass(&mut self) {
        let count = usize::try_from(self.rest).unwrap_or(usize::MAX).min(self.end - self.seen);
        if self.swallowing && count > 0 {
            // What waits before it moves over it: an answer that is swallowed is short and rare.
            self.buffer.copy_within(self.sent..self.seen, self.sent + count);
            self.sent += count;
        }
        self.seen += count;
        self.rest -= count as u64;
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
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::frame::{backend, frontend};

    fn frame(tag: Tag, body: &[u8]) -> Vec<u8> {
        let length = i32::try_from(body.len() + 4).expect("a small frame");
        [&[tag.0][..], &length.to_be_bytes(), body].concat()
    }

    /// Runs `input` through a lane in reads of `step` bytes, and returns what comes out.
    fn run(input: &[u8], step: usize, judge: impl Fn(Header, &[u8]) -> Verdict) -> Result<Vec<u8>, BadLength> {
        let cx = &mut Context::from_waker(Waker::noop());
        let (mut lane, mut output) = (Lane::default(), Vec::new());
        for part in input.chunks(step) {
            let mut part = part;
            while !part.is_empty() {
                assert!(lane.poll_fill(cx, &mut part).is_ready());
                lane.scan(|_| 4, |header, head| Ok::<_, BadLength>(judge(header, head)))?;
                assert!(lane.poll_drain(cx, &mut output).is_ready());
            }
        }
        Ok(output)
    }

    #[test]
    fn bytes_arrive_as_they_were_sent_however_they_are_cut() {
        let sizes = [0, 1, 4, 5, 4096, CHUNK - 6, CHUNK, CHUNK + 1, 3 * CHUNK + 7];
        let input: Vec<u8> = sizes.iter().flat_map(|size| frame(backend::DATA_ROW, &vec![7; *size])).collect();
        for step in [1, 2, 3, 5, 6, 1000, CHUNK, usize::MAX] {
            assert_eq!(run(&input, step, |_, _| Verdict::Forward).as_ref(), Ok(&input), "in reads of {step}");
        }
    }

    #[test]
    fn a_swallowed_frame_leaves_its_neighbours_whole() {
        for size in [0, 3, 100, CHUNK + 100] {
            let kept = [frame(backend::DATA_ROW, b"before"), frame(backend::DATA_ROW, b"behind")];
            let swallowed = frame(backend::COMMAND_COMPLETE, &vec![9; size]);
            let input = [&kept[0][..], &swallowed, &kept[1], &swallowed].concat();
            for step in [1, 4, 7, 64, usize::MAX] {
                let output = run(&input, step, |header, _| {
                    if header.tag == backend::DATA_ROW { Verdict::Forward } else { Verdict::Swallow }
                });
                assert_eq!(output, Ok(kept.concat()), "{size} bytes in reads of {step}");
            }
        }
    }

    #[test]
    fn the_judge_sees_the_head_it_asked_for() {
        let input = [frame(frontend::QUERY, b"select 1\0"), frame(frontend::SYNC, b"")].concat();
        for step in 1..input.len() {
            let output = run(&input, step, |header, head| {
                assert_eq!(head, if header.tag == frontend::QUERY { &b"sele"[..] } else { b"" });
                Verdict::Forward
            });
            assert_eq!(output.as_ref(), Ok(&input));
        }
    }

    #[test]
    fn an_impossible_length_stops_the_lane_before_it_is_forwarded() {
        let input = [frame(frontend::SYNC, b""), vec![b'Q', 0, 0, 0, 3]].concat();
        let refused = run(&input, usize::MAX, |_, _| Verdict::Forward);
        assert_eq!(refused, Err(BadLength { tag: frontend::QUERY, length: 3 }));
    }

    #[test]
    fn a_held_frame_waits_and_an_insertion_goes_before_it() {
        let cx = &mut Context::from_waker(Waker::noop());
        let (first, second) = (frame(frontend::SYNC, b""), frame(frontend::QUERY, b"x\0"));
        let input = [&first[..], &second].concat();
        for size in [0, 1, 100, 2 * CHUNK] {
            let (mut lane, mut output) = (Lane::default(), Vec::new());
            let ours = frame(frontend::PARSE, &vec![1; size]);
            let hold_queries = |header: Header, _: &[u8]| {
                Ok::<_, BadLength>(if header.tag == frontend::QUERY { Verdict::Hold } else { Verdict::Forward })
            };
            assert!(lane.poll_fill(cx, &mut &input[..]).is_ready());
            lane.scan(|_| 0, hold_queries).expect("no bad length");
            lane.insert(&ours);
            assert!(lane.poll_drain(cx, &mut output).is_ready() && !lane.is_empty());
            lane.scan(|_| 0, |_, _| Ok::<_, BadLength>(Verdict::Forward)).expect("no bad length");
            assert!(lane.poll_drain(cx, &mut output).is_ready() && lane.is_empty());
            assert_eq!(output, [&first[..], &ours, &second].concat());
        }
    }

    #[test]
    fn a_lane_whose_writer_is_stuck_stops_reading_at_its_buffer() {
        let cx = &mut Context::from_waker(Waker::noop());
        let input = frame(backend::DATA_ROW, &vec![0; 10 * CHUNK]);
        let (mut source, mut lane) = (&input[..], Lane::default());
        while lane.poll_fill(cx, &mut source).is_ready() {
            lane.scan(|_| 0, |_, _| Ok::<_, BadLength>(Verdict::Forward)).expect("no bad length");
        }
        assert_eq!(input.len() - source.len(), CHUNK);
    }

    #[test]
    fn insertions_do_not_make_room_for_the_peer_to_fill() {
        let cx = &mut Context::from_waker(Waker::noop());
        let (ours, mut lane) = (frame(frontend::PARSE, &[1; 1000]), Lane::default());
        for _ in 0..100 {
            while lane.poll_fill(cx, &mut &frame(frontend::FLUSH, b"")[..]).is_ready() {}
            lane.scan(|_| 0, |_, _| Ok::<_, BadLength>(Verdict::Hold)).expect("no bad length");
            lane.insert(&ours);
            assert!(lane.poll_drain(cx, &mut Vec::new()).is_ready());
        }
        assert!(lane.buffer.len() <= CHUNK + ours.len(), "{}", lane.buffer.len());
    }

    #[test]
    fn an_empty_lane_holds_no_buffer() {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut lane = Lane::default();
        assert!(lane.poll_fill(cx, &mut &frame(frontend::SYNC, b"")[..]).is_ready());
        assert_eq!(lane.buffer.len(), CHUNK);
        lane.scan(|_| 0, |_, _| Ok::<_, BadLength>(Verdict::Forward)).expect("no bad length");
        assert!(lane.poll_drain(cx, &mut Vec::new()).is_ready());
        assert_eq!(lane.buffer.capacity(), 0);
    }
}
