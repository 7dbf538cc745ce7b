//! A lane beside a walk over the whole input: where a read or a write ends must make no difference to what comes out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::AsyncWrite;

use super::{CHUNK, Judge, Lane, Verdict};
use crate::frame::{BadLength, Header, Tag};

/// How much of a body the judge asks to see.
const HEAD: usize = 4;

/// Moves arbitrary bytes through a [`Lane`]: must not panic, and must forward what it was told to, in order and whole.
/// The first two bytes say how much is read and written at a time, the rest is sent until no buffer could hold it. For
/// the fuzzer.
pub fn fuzz_lane(bytes: &[u8]) {
    let Some(([read, write], frames @ [_, ..])) = bytes.split_first_chunk() else { return };
    // From one byte to a little more than a buffer.
    let at_once = |byte: &u8| usize::from(*byte) * (CHUNK / 250) + 1;
    let input = frames.repeat(2 * CHUNK / frames.len() + 1);
    assert_eq!(pass(&input, at_once(read), at_once(write)), walk(&input));
}

/// What a head is replaced by.
const PATCH: &[u8] = b"a little more than was cut";

/// Whatever the fuzzer likes to make of tags: a quarter each is taken out and patched.
fn verdict(header: Header) -> Verdict {
    match header.tag.0 & 5 {
        0 | 4 => Verdict::Forward,
        1 => Verdict::Swallow,
        _ => Verdict::Patch((Header::SIZE + HEAD).min(header.frame_size() as usize)),
    }
}

/// Holds every other tag once before it decides, and reads what it patches.
#[derive(Default)]
struct Decider {
    held: bool,
    patching: bool,
    read: Vec<u8>,
}

impl Judge for Decider {
    type Error = BadLength;

    fn peek(&self, _: Tag) -> usize {
        HEAD
    }

    fn judge(&mut self, header: Header, head: &[u8], patch: &mut Vec<u8>) -> Result<Verdict, BadLength> {
        assert_eq!(head.len(), HEAD.min(header.body as usize));
        self.held = !self.held && header.tag.0 & 2 == 0;
        if self.held {
            return Ok(Verdict::Hold);
        }
        self.patching = matches!(verdict(header), Verdict::Patch(_));
        if self.patching {
            patch.extend(PATCH);
            self.read.extend(head);
        }
        Ok(verdict(header))
    }

    fn more(&mut self, body: &[u8]) {
        if self.patching {
            self.read.extend(body);
        }
    }
}

/// What a lane makes of it: what it lets out, and what its judge has read.
fn pass(input: &[u8], read: usize, write: usize) -> (Vec<u8>, Vec<u8>, Option<BadLength>) {
    let cx = &mut Context::from_waker(Waker::noop());
    let mut sink = Sink { taken: Vec::new(), at_once: write, ready: false };
    let (mut lane, mut source, mut fault, mut judge) = (Lane::default(), input, None, Decider::default());
    loop {
        let (mut part, _) = source.split_at(source.len().min(read));
        let before = part.len();
        let _ = lane.poll_fill(cx, &mut part);
        source = &source[before - part.len()..];
        fault = fault.or_else(|| lane.scan_by(&mut judge).err());
        // A buffer full of output is written before more is judged.
        let full = lane.seen - lane.sent >= CHUNK;
        let drained = lane.poll_drain(cx, &mut sink).is_ready();
        if drained && (fault.is_some() || (source.is_empty() && !judge.held && !full)) {
            return (sink.taken, judge.read, fault);
        }
    }
}

/// What it comes to, frame by frame.
fn walk(mut input: &[u8]) -> (Vec<u8>, Vec<u8>, Option<BadLength>) {
    let (mut output, mut read) = (Vec::new(), Vec::new());
    while let Some((header, body)) = input.split_first_chunk() {
        let header = match Header::parse(*header) {
            Ok(header) => header,
            Err(bad) => return (output, read, Some(bad)),
        };
        if body.len() < HEAD.min(header.body as usize) {
            break;
        }
        let size = usize::try_from(header.frame_size()).unwrap_or(usize::MAX);
        let (frame, behind) = input.split_at(size.min(input.len()));
        match verdict(header) {
            Verdict::Patch(cut) => {
                output.extend(PATCH);
                output.extend(&frame[cut..]);
                read.extend(&frame[Header::SIZE..]);
            }
            Verdict::Forward => output.extend(frame),
            _ => {}
        }
        input = behind;
    }
    (output, read, None)
}

/// Takes only so many bytes at once, and every other time none.
struct Sink {
    taken: Vec<u8>,
    at_once: usize,
    ready: bool,
}

impl AsyncWrite for Sink {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.ready = !self.ready;
        if !self.ready {
            return Poll::Pending;
        }
        let count = bytes.len().min(self.at_once);
        self.taken.extend(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
