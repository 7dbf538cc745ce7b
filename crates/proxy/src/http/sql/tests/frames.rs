use bytes::BytesMut;

use crate::http::sql::frames::{self, Frames, Isolation, Transaction};
use crate::http::sql::parameter::Parameters;

fn texts(values: &[Option<&str>]) -> Parameters {
    let mut parameters = Parameters::default();
    values.iter().for_each(|value| parameters.push(value.map(str::as_bytes)).unwrap());
    parameters
}

/// All bytes in one.
fn bytes(frames: Frames) -> Vec<u8> {
    frames.finish().unwrap().iter().flatten().copied().collect()
}

/// The tags of frames and what their bodies say.
fn read(mut bytes: &[u8]) -> Vec<(char, String)> {
    let mut frames = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<5>() {
        let [tag, length @ ..] = *header;
        let (body, rest) = rest.split_at(u32::from_be_bytes(length) as usize - 4);
        frames.push((char::from(tag), String::from_utf8_lossy(body).replace('\0', ".")));
        bytes = rest;
    }
    frames
}

fn tags(frames: &[(char, String)]) -> String {
    frames.iter().map(|(tag, _)| tag).collect()
}

#[test]
fn a_statement_that_is_known_is_named() {
    let mut frames = Frames::single();
    frames.named("s1", texts(&[Some("ab"), None])).unwrap();
    let out = bytes(frames);
    assert_eq!(out[..25], *b"B\0\0\0\x18\0s1\0\0\0\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\0");
    assert_eq!(out[25..], *b"D\0\0\0\x06P\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04");
}

#[test]
fn a_statement_that_is_not_kept_is_parsed() {
    let mut frames = Frames::single();
    frames.unnamed("select 1", texts(&[])).unwrap();
    let frames = read(&bytes(frames));
    assert_eq!((tags(&frames).as_str(), frames[0].1.as_str()), ("PBDES", ".select 1..."));
}

#[test]
fn large_parameters_are_a_piece_of_their_own() {
    let (mut frames, large) = (Frames::single(), "x".repeat(1 << 20));
    frames.named("s1", texts(&[Some(&large), Some("y")])).unwrap();
    let pieces = frames.finish().unwrap();
    assert_eq!(pieces.iter().map(|piece| piece.len() > 1 << 20).collect::<Vec<_>>(), [false, true, false]);
    let frames = read(&pieces.iter().flatten().copied().collect::<Vec<_>>());
    assert_eq!(tags(&frames), "BDES");
    assert!(frames[0].1.contains(&large) && frames[0].1.ends_with("\u{1}y.."));
}

#[test]
fn a_batch_is_a_transaction_with_one_sync() {
    let transaction = Transaction { isolation: Some(Isolation::Serializable), read_only: true, deferrable: true };
    let mut frames = Frames::batch(transaction).unwrap();
    frames.named("s1", texts(&[])).unwrap();
    frames.unnamed("b", texts(&[])).unwrap();
    let frames = read(&bytes(frames));
    assert_eq!(tags(&frames), "PBEBDEPBDEPBES");
    assert_eq!(frames[0].1, ".BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE...");
    assert_eq!(frames[10].1, ".COMMIT...");
}

#[test]
fn a_transaction_is_what_the_headers_say() {
    for (isolation, begin) in [
        (None, ".BEGIN..."),
        (Some("ReadUncommitted"), ".BEGIN ISOLATION LEVEL READ UNCOMMITTED..."),
        (Some("ReadCommitted"), ".BEGIN ISOLATION LEVEL READ COMMITTED..."),
        (Some("RepeatableRead"), ".BEGIN ISOLATION LEVEL REPEATABLE READ..."),
        (Some("Serializable"), ".BEGIN ISOLATION LEVEL SERIALIZABLE..."),
    ] {
        let transaction = Transaction { isolation: isolation.and_then(Isolation::of), ..Transaction::default() };
        assert_eq!(transaction.isolation.map(Isolation::header), isolation);
        assert_eq!(read(&bytes(Frames::batch(transaction).unwrap()))[0].1, begin);
    }
    assert_eq!(Isolation::of("serializable"), None);
}

#[test]
fn what_a_batch_leaves_is_rolled_back() {
    let mut out = BytesMut::new();
    frames::rollback(&mut out);
    assert_eq!(out[..], *b"Q\0\0\0\x0dROLLBACK\0");
}
