//! Statements that a client has without a Parse of its own.

use upstream::Prepared;

use wire::frame::backend;

use super::frames::length;
use super::*;

const QUERY: &CStr = c"SELECT * FROM todos WHERE id = $1";

/// A client of this identity that has the statement as "s".
fn client(registry: &Arc<Registry>, identity: u8) -> Statements {
    let mut client = Statements::new(registry.clone(), [identity; 32], PoolMode::Transaction);
    client.knows("s", QUERY, Effects::default());
    client
}

/// What goes to the server when the client binds it, up to where the client's own frame goes on.
fn bind(client: &mut Statements, server: &mut Prepared) -> Vec<u8> {
    let head = b"\0s\0\0\0\0\0\0\0";
    let header = Header { tag: frontend::BIND, body: head.len() as u32 };
    let (mut owed, mut patch) = (Owed::default(), Vec::new());
    client.bind(header, head, &mut Way { server, owed: &mut owed, patch: &mut patch }).unwrap();
    patch
}

/// The name that it has on the server.
fn name(client: &Statements) -> &str {
    &client.named[&b"s"[..]].name
}

/// The client's Bind, with the name that the statement has on the server.
fn bound(name: &str) -> Vec<u8> {
    let length = length(1 + name.len() + 1 + 6);
    [b"B", &length[..], b"\0", name.as_bytes(), b"\0"].concat()
}

#[test]
fn it_is_made_where_it_is_missing_and_is_there_for_the_next_client() {
    let (registry, mut server) = (Arc::new(Registry::default()), Prepared::new(10));
    for which in 0..3 {
        let mut next = client(&registry, 7);
        let name = name(&next).to_owned();
        let length = length(name.len() + 1 + QUERY.count_bytes() + 1 + 2);
        let parse = [b"P", &length[..], name.as_bytes(), b"\0", QUERY.to_bytes(), b"\0\0\0"].concat();
        let expected = if which == 0 { [parse, bound(&name)].concat() } else { bound(&name) };
        assert_eq!(String::from_utf8_lossy(&bind(&mut next, &mut server)), String::from_utf8_lossy(&expected));
    }
    assert_eq!(bind(&mut client(&registry, 7), &mut Prepared::new(10))[0], b'P', "another server has to make it");
    server.clear();
    assert_eq!(bind(&mut client(&registry, 7), &mut server)[0], b'P', "and so has one that was reset");
}

#[test]
fn another_identity_has_a_statement_of_its_own() {
    let (registry, mut server) = (Arc::new(Registry::default()), Prepared::new(10));
    let (mut alice, mut bob) = (client(&registry, 7), client(&registry, 8));
    assert_ne!(name(&alice), name(&bob));
    assert_eq!([bind(&mut alice, &mut server)[0], bind(&mut bob, &mut server)[0]], [b'P'; 2]);
}

#[test]
fn a_plan_that_was_refused_is_not_found_by_the_next_client() {
    let (registry, mut server) = (Arc::new(Registry::default()), Prepared::new(10));
    let mut refused = client(&registry, 7);
    bind(&mut refused, &mut server);
    refused.outdated();
    let mut next = client(&registry, 7);
    assert_ne!(name(&next), name(&refused));
    assert_eq!(bind(&mut next, &mut server)[0], b'P');
}

#[test]
fn what_failed_to_be_made_is_made_once_more() {
    let (registry, mut server) = (Arc::new(Registry::default()), Prepared::new(10));
    for _ in 0..2 {
        let mut next = client(&registry, 7);
        assert_eq!(bind(&mut next, &mut server)[0], b'P');
        next.dropped(1, true, &mut server);
    }
}

#[test]
fn what_is_too_long_to_share_is_not_kept_for_the_next_client() {
    let (registry, mut server) = (Arc::new(Registry::default()), Prepared::new(10));
    let long = std::ffi::CString::new("-".repeat(LONGEST_SHARED)).unwrap();
    for _ in 0..2 {
        let mut next = Statements::new(registry.clone(), [7; 32], PoolMode::Transaction);
        next.knows("s", &long, Effects::default());
        assert_eq!(bind(&mut next, &mut server)[0], b'P');
    }
}

#[test]
fn what_is_just_being_described_is_made_once_more_for_a_later_batch() {
    let (registry, mut server) = (Arc::new(Registry::default()), Prepared::new(10));
    let mut client = client(&registry, 7);
    client.named[&b"s"[..]].description.set(Description::of(None)).unwrap();
    assert_eq!(bind(&mut client, &mut server)[0], b'P');
    client.answered();
    assert_eq!(bind(&mut client, &mut server)[0], b'B', "who fails in this batch is behind what failed first");
    client.synced();
    assert_eq!(bind(&mut client, &mut server)[0], b'C', "its answer may be another than it should be");
    let parameters = Header { tag: backend::PARAMETER_DESCRIPTION, body: 2 };
    client.hear(parameters, &[0, 0], 0, &mut server).unwrap();
    client.hear(Header { tag: backend::NO_DATA, body: 0 }, &[], 0, &mut server).unwrap();
    client.answered();
    client.answered();
    client.hear(parameters, &[0, 0], 1, &mut server).unwrap();
    client.hear(Header { tag: backend::NO_DATA, body: 0 }, &[], 1, &mut server).unwrap();
    client.synced();
    assert_eq!(bind(&mut client, &mut server)[0], b'B');
}
