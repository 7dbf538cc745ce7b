//! What the lane costs without sockets: a scan and the account of what is owed, over bytes that are already there. The
//! kernel's part of a relay is measured by `side_by_side`.

use std::hint::black_box;
use std::task::{Context, Waker};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wire::frame::{BadLength, Tag, backend, frontend};
use wire::lane::{Lane, Verdict};
use wire::owed::{Answer, Owed};

/// A row of pgbench_accounts, as text.
const ROW: usize = 105;

/// A client's lane, the server's, and the account between them.
#[derive(Default)]
struct Relay {
    up: Lane,
    down: Lane,
    owed: Owed,
}

impl Relay {
    fn up(&mut self, mut request: &[u8]) {
        let Self { up, owed, .. } = self;
        pass(up, &mut request, |_| 0, |tag, _| owed.sent(tag, Answer::Forward));
    }

    fn down(&mut self, mut answer: &[u8]) {
        let Self { down, owed, .. } = self;
        let head_wanted = |tag| if tag == backend::READY_FOR_QUERY { 1 } else { 0 };
        pass(down, &mut answer, head_wanted, |tag, head| {
            owed.received(tag, head.first().copied());
        });
    }
}

/// Takes all of `from` through the lane, in reads of the lane's own size.
fn pass(lane: &mut Lane, from: &mut &[u8], peek: impl Fn(Tag) -> usize, mut note: impl FnMut(Tag, &[u8])) {
    let cx = &mut Context::from_waker(Waker::noop());
    while !from.is_empty() {
        assert!(lane.poll_fill(cx, from).is_ready(), "the lane was drained");
        let scanned = lane.scan(&peek, |header, head| {
            note(header.tag, head);
            Ok::<_, BadLength>(Verdict::Forward)
        });
        scanned.expect("the frames are whole");
        assert!(lane.poll_drain(cx, &mut tokio::io::sink()).is_ready(), "a sink takes everything");
    }
}

fn frame(tag: Tag, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a frame fits");
    [&[tag.0][..], &length.to_be_bytes(), body].concat()
}

/// One transaction of `pgbench -S`, in the simple protocol and as a prepared statement.
fn transaction(c: &mut Criterion) {
    let row = [
        frame(backend::DATA_ROW, b"\x00\x01\x00\x00\x00\x01\x30"),
        frame(backend::COMMAND_COMPLETE, b"SELECT 1\0"),
        frame(backend::READY_FOR_QUERY, b"I"),
    ]
    .concat();
    let description = frame(backend::ROW_DESCRIPTION, &[0; 34]);
    let query = frame(frontend::QUERY, b"SELECT abalance FROM pgbench_accounts WHERE aid = 123456;\0");
    let answer = [&description[..], &row].concat();
    let execution = [
        frame(frontend::BIND, b"\0P0_1\0\0\0\0\x01\0\0\0\x06123456\0\0"),
        frame(frontend::DESCRIBE, b"P\0"),
        frame(frontend::EXECUTE, b"\0\0\0\0\0"),
        frame(frontend::SYNC, b""),
    ]
    .concat();
    let result = [frame(backend::BIND_COMPLETE, b""), answer.clone()].concat();

    let mut group = c.benchmark_group("transaction");
    for (name, request, response) in [("simple", query, answer), ("prepared", execution, result)] {
        let mut relay = Relay::default();
        group.bench_function(name, |b| {
            b.iter(|| {
                relay.up(black_box(&request));
                relay.down(black_box(&response));
                assert!(relay.owed.is_idle());
            });
        });
    }
    group.finish();
}

/// A megabyte of a result, in short rows and in one.
fn bulk(c: &mut Criterion) {
    let rows = frame(backend::DATA_ROW, &[b'x'; ROW]).repeat(1_000_000 / (ROW + 5));
    let blob = frame(backend::DATA_ROW, &vec![b'x'; 1_000_000]);
    let mut group = c.benchmark_group("bulk");
    for (name, bytes) in [("rows", rows), ("blob", blob)] {
        let mut relay = Relay::default();
        relay.up(&frame(frontend::QUERY, b"SELECT * FROM pgbench_accounts\0"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |b| b.iter(|| relay.down(black_box(&bytes))));
    }
    group.finish();
}

criterion_group!(benches, transaction, bulk);
criterion_main!(benches);
