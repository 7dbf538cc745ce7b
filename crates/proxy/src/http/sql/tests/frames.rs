use bytes::BytesMut;

use crate::http::sql::body::Statement;
use crate::http::sql::frames::{self, Isolation, Named, Transaction};
use crate::http::sql::parameter::Parameters;

fn statement(query: &str, values: &[Option<&str>]) -> Statement {
    let mut parameters = Parameters::default();
    values.iter().for_each(|value| parameters.push(value.map(str::as_bytes)).unwrap());
    Statement { query: query.to_owned(), parameters, array_mode: None }
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
    let mut out = BytesMut::new();
    let statement = statement("select $1, $2", &[Some("ab"), None]);
    frames::single(Named { statement: &statement, name: Some("s1") }, &mut out).unwrap();
    assert_eq!(out[..25], *b"B\0\0\0\x18\0s1\0\0\0\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\0");
    assert_eq!(out[25..], *b"D\0\0\0\x06P\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04");
}

#[test]
fn a_statement_that_is_not_kept_is_parsed() {
    let mut out = BytesMut::new();
    frames::single(Named { statement: &statement("select 1", &[]), name: None }, &mut out).unwrap();
    let frames = read(&out);
    assert_eq!((tags(&frames).as_str(), frames[0].1.as_str()), ("PBDES", ".select 1..."));
}

#[test]
fn a_batch_is_a_transaction_with_one_sync() {
    let mut out = BytesMut::new();
    let (one, two) = (statement("a", &[]), statement("b", &[]));
    let transaction = Transaction { isolation: Some(Isolation::Serializable), read_only: true, deferrable: true };
    let statements = [Named { statement: &one, name: Some("s1") }, Named { statement: &two, name: None }];
    frames::batch(transaction, statements, &mut out).unwrap();
    let frames = read(&out);
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
        let mut out = BytesMut::new();
        let transaction = Transaction { isolation: isolation.and_then(Isolation::of), ..Transaction::default() };
        assert_eq!(transaction.isolation.map(Isolation::header), isolation);
        frames::batch(transaction, [], &mut out).unwrap();
        assert_eq!(read(&out)[0].1, begin);
    }
    assert_eq!(Isolation::of("serializable"), None);
}

#[test]
fn what_a_batch_leaves_is_rolled_back() {
    let mut out = BytesMut::new();
    frames::rollback(&mut out);
    assert_eq!(out[..], *b"Q\0\0\0\x0dROLLBACK\0");
}
