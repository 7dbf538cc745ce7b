//! What a flight holds.

use super::*;
use crate::claims::Signer;
use crate::session_jwt::SessionKey;
use wire::frame::Header;

fn claims_alone() -> Part {
    Part { claims: true, startup: Vec::new() }
}

fn primary(means: &Means) -> Backend<'_> {
    Backend { pid: 42, standby: false, means }
}

fn init_of(json: &str, means: &Means) -> Result<SessionInit, Error> {
    SessionInit::new(Some(&Claims { json, expires: 9 }), Arc::default(), primary(means))
}

fn init(means: &Means) -> SessionInit {
    init_of(r#"{"sub":"alice"}"#, means).unwrap()
}

fn signed() -> Means {
    Means::Signed(Signer::new(&[1; 32]))
}

fn session_jwt() -> Means {
    Means::SessionJwt(Arc::new(SessionKey::draw()))
}

/// Walks the frames, so that what a flight says it holds is compared with what it holds.
fn tags(mut bytes: &[u8]) -> Vec<Tag> {
    let mut tags = Vec::new();
    while let Some((header, _)) = bytes.split_first_chunk() {
        let header = Header::parse(*header).unwrap();
        tags.push(header.tag);
        bytes = &bytes[header.frame_size() as usize..];
    }
    tags
}

#[test]
fn a_flight_names_every_frame_in_it() {
    for means in [signed(), Means::Claims, session_jwt()] {
        for access in [DefaultAccess::ReadWrite, DefaultAccess::ReadOnly] {
            let flight = init(&means).flight(&claims_alone(), access);
            assert_eq!(tags(&flight.bytes), flight.requests);
            assert_eq!(flight.requests.last(), Some(&tag::SYNC));
        }
    }
}

#[test]
fn only_an_init_that_writes_brings_its_own_transaction() {
    let size = |means: &Means, access| init(means).flight(&claims_alone(), access).requests.len();

    assert_eq!(size(&signed(), DefaultAccess::ReadWrite), 6);
    assert_eq!(size(&signed(), DefaultAccess::ReadOnly), 16);
    assert_eq!(size(&Means::Claims, DefaultAccess::ReadOnly), 6);
    assert_eq!(size(&session_jwt(), DefaultAccess::ReadOnly), 6);
}

#[test]
fn the_same_init_sends_the_same_bytes_and_another_one_others() {
    let means = session_jwt();
    for (one, other) in [(init(&signed()), init(&signed())), (init(&means), init(&means))] {
        assert_same_and_others(&one, &other);
    }
}

fn assert_same_and_others(one: &SessionInit, other: &SessionInit) {
    let bytes = |init: &SessionInit| init.flight(&claims_alone(), DefaultAccess::ReadWrite).bytes;

    assert_eq!(bytes(one), bytes(one));
    assert_ne!(bytes(one), bytes(other));
}

#[test]
fn claims_that_are_no_ascii_object_are_refused() {
    for json in ["", "null", "[]", " {}", "{\"sub\":\"é\"}"] {
        assert!(matches!(init_of(json, &Means::Claims), Err(Error::Claims)), "{json:?}");
    }
}

#[test]
fn a_switch_has_no_sync_and_ends_with_a_query() {
    let startup = Parameters::parse([("TimeZone", "UTC"), ("application_name", "x")]).unwrap();
    let startup = Arc::new(startup);
    for means in [signed(), Means::Claims, session_jwt()] {
        let claims = Claims { json: "{}", expires: 9 };
        let init = SessionInit::new(Some(&claims), startup.clone(), primary(&means)).unwrap();
        for (reset, settings) in [(true, &[&b"SET work_mem = 64"[..]][..]), (false, &[])] {
            let flight = switch(reset, &init, settings.iter().copied());
            assert_eq!(tags(&flight.bytes), flight.requests);
            let (last, others) = flight.requests.split_last().unwrap();
            assert_eq!(*last, tag::QUERY);
            assert!(!others.iter().any(|other| [tag::SYNC, tag::QUERY].contains(other)));
            assert!(flight.bytes.ends_with(b"Q\0\0\0\x05\0"), "the Query is empty");
        }
    }
}

#[test]
fn only_the_extension_has_to_be_told_of_nobody_and_only_at_a_switch() {
    for (means, told) in [(signed(), false), (Means::Claims, false), (session_jwt(), true)] {
        let init = SessionInit::new(None, Arc::default(), primary(&means)).unwrap();
        let sent = switch(true, &init, std::iter::empty()).bytes;
        let text = String::from_utf8_lossy(&sent);
        assert_eq!(text.contains("jwt_session_init"), told, "{means:?}");
        assert!(!init.has_claims());
    }
}

#[test]
fn debug_tells_no_claims() {
    assert!(!format!("{:?}", init(&Means::Claims)).contains("alice"));
}
