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
            let output =
                run(
                    &input,
                    step,
                    |header, _| {
                        if header.tag == backend::DATA_ROW { Verdict::Forward } else { Verdict::Swallow }
                    },
                );
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

/// Replaces the first bytes of each Query by `patch`, and remembers what it saw of them.
struct Patching {
    cut: usize,
    patch: Vec<u8>,
    read: Vec<u8>,
}

impl Judge for Patching {
    type Error = BadLength;

    fn peek(&self, tag: Tag) -> usize {
        if tag == frontend::QUERY { 4 } else { 0 }
    }

    fn judge(&mut self, header: Header, head: &[u8], patch: &mut Vec<u8>) -> Result<Verdict, BadLength> {
        assert!(patch.is_empty());
        if header.tag != frontend::QUERY {
            return Ok(Verdict::Forward);
        }
        self.read.extend(head);
        patch.extend(&self.patch);
        Ok(Verdict::Patch(self.cut))
    }

    fn more(&mut self, body: &[u8]) {
        self.read.extend(body);
    }
}

#[test]
fn a_patch_replaces_the_head_of_its_frame_and_nothing_else() {
    let cx = &mut Context::from_waker(Waker::noop());
    for (size, cut, patch) in [(4, 9, 0), (4, 9, 30), (20, 0, 7), (20, 5, 5), (100, 9, 1), (3 * CHUNK, 7, 2 * CHUNK)] {
        let query = frame(frontend::QUERY, &(0..size).map(|n| n as u8).collect::<Vec<_>>());
        let (sync, patch) = (frame(frontend::SYNC, b""), vec![0xee; patch]);
        let input = [&sync[..], &query, &query, &sync].concat();
        let patched = [&patch[..], &query[cut..]].concat();
        let expected = [&sync[..], &patched, &patched, &sync].concat();
        for step in [1, 3, 8, 1000, usize::MAX] {
            let (mut lane, mut output) = (Lane::default(), Vec::new());
            let mut judge = Patching { cut, patch: patch.clone(), read: Vec::new() };
            for mut part in input.chunks(step) {
                while !part.is_empty() {
                    assert!(lane.poll_fill(cx, &mut part).is_ready());
                    lane.scan_by(&mut judge).expect("no bad length");
                    assert!(lane.poll_drain(cx, &mut output).is_ready());
                }
            }
            assert!(output == expected, "{size} bytes, {cut} replaced by {}, in reads of {step}", patch.len());
            assert_eq!(judge.read, query[5..].repeat(2), "the judge reads all of it");
        }
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

/// Holds a Query until told to let it go, and each time puts bytes before it.
struct Holding {
    patch: Vec<u8>,
    holds: bool,
}

impl Judge for Holding {
    type Error = BadLength;

    fn peek(&self, _: Tag) -> usize {
        1
    }

    fn judge(&mut self, header: Header, _: &[u8], patch: &mut Vec<u8>) -> Result<Verdict, BadLength> {
        assert!(patch.is_empty());
        if header.tag != frontend::QUERY || !self.holds {
            return Ok(Verdict::Forward);
        }
        patch.extend(&self.patch);
        Ok(Verdict::Hold)
    }
}

#[test]
fn a_held_frame_waits_and_the_patch_goes_before_it() {
    let cx = &mut Context::from_waker(Waker::noop());
    let (first, second) = (frame(frontend::SYNC, b""), frame(frontend::QUERY, b"x\0"));
    for size in [0, 1, 100, 2 * CHUNK] {
        let (mut lane, mut output) = (Lane::default(), Vec::new());
        let mut judge = Holding { patch: vec![0xee; size], holds: true };
        assert!(lane.poll_fill(cx, &mut &[&first[..], &second].concat()[..]).is_ready());
        for _ in 0..2 {
            lane.scan_by(&mut judge).expect("no bad length");
            assert!(lane.poll_drain(cx, &mut output).is_ready() && lane.has_unseen());
        }
        judge.holds = false;
        lane.scan_by(&mut judge).expect("no bad length");
        assert!(lane.poll_drain(cx, &mut output).is_ready() && lane.is_empty());
        assert_eq!(output, [&first[..], &judge.patch, &judge.patch, &second].concat());
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
