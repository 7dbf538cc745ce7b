//! What a flight holds.

use super::*;
use crate::claims::Signer;
use crate::session_jwt::SessionKey;
use wire::frame::Header;

fn claims_alone() -> Part {
    Part { claims: true, ..Part::default() }
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
fn each_flight_has_a_name_of_its_own_and_the_claims_of_its_init() {
    let means = session_jwt();
    for (one, other) in [(init(&signed()), init(&signed())), (init(&means), init(&means))] {
        let [(name, claims), (again, same), (_, others)] = [&one, &one, &other].map(name_and_rest);
        assert!(name.starts_with("pgusher_") && name.len() == 24);
        assert_ne!(name, again);
        assert_eq!(claims, same);
        assert_ne!(claims, others);
    }
}

/// The name of an init's statement, and its flight without that.
fn name_and_rest(init: &SessionInit) -> (String, String) {
    let flight = init.flight(&claims_alone(), DefaultAccess::ReadWrite);
    let text = String::from_utf8_lossy(&flight.bytes);
    let name = text[Header::SIZE..].split('\0').next().unwrap().to_owned();
    let rest = text.replace(&name, "");
    (name, rest)
}

#[test]
fn claims_that_are_no_ascii_object_are_refused() {
    for json in ["", "null", "[]", " {}", "{\"sub\":\"é\"}"] {
        assert!(matches!(init_of(json, &Means::Claims), Err(Error::Claims)), "{json:?}");
    }
}

#[test]
fn a_switch_has_no_sync_and_ends_with_a_commit_of_which_nothing_is_left() {
    let startup = Parameters::parse([("TimeZone", "UTC"), ("application_name", "x")]).unwrap();
    let startup = Arc::new(startup);
    for means in [signed(), Means::Claims, session_jwt()] {
        let claims = Claims { json: "{}", expires: 9 };
        let init = SessionInit::new(Some(&claims), startup.clone(), primary(&means)).unwrap();
        let settings = [&b"SET work_mem = 64"[..]];
        let writing = Some(DefaultAccess::ReadWrite);
        for (former, settings) in [(writing, &settings[..]), (Some(DefaultAccess::ReadOnly), &[]), (None, &[])] {
            let flight = switch(former, &init, settings.iter().copied());
            assert_eq!(tags(&flight.bytes), flight.requests);
            assert!(!flight.requests.iter().any(|tag| [tag::SYNC, tag::QUERY].contains(tag)));
            let commits = [
                &b"P\0\0\0\x0e\0COMMIT\0\0\0"[..],
                b"B\0\0\0\x0c\0\0\0\0\0\0\0\0",
                b"E\0\0\0\x09\0\0\0\0\0",
                b"C\0\0\0\x06S\0",
            ];
            assert!(flight.bytes.ends_with(&commits.concat()));
            assert_eq!(
                flight.bytes.windows(commits[0].len()).filter(|bytes| *bytes == commits[0]).count(),
                flight.commits
            );
        }
    }
}

#[test]
fn only_the_extension_has_to_be_told_of_nobody_and_only_at_a_switch() {
    for (means, told) in [(signed(), false), (Means::Claims, false), (session_jwt(), true)] {
        let init = SessionInit::new(None, Arc::default(), primary(&means)).unwrap();
        let sent = switch(Some(DefaultAccess::ReadWrite), &init, std::iter::empty()).bytes;
        let text = String::from_utf8_lossy(&sent);
        assert_eq!(text.contains("jwt_session_init"), told, "{means:?}");
        assert!(!init.has_claims());
    }
}

#[test]
fn debug_tells_no_claims() {
    assert!(!format!("{:?}", init(&Means::Claims)).contains("alice"));
}
