//! Limits at moments that are chosen: no test waits for one.

use std::sync::atomic::AtomicUsize;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{KeySource, ProviderConfig, Verifier};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};

use super::*;

const SECRET: [u8; 32] = [7; 32];

/// How many accounts the limiters here have.
const ROOM: usize = 1000;

fn rates(rate: &Rate) -> (Rates, Instant) {
    (Rates::new(rate), Instant::now())
}

fn none() -> Rate {
    Rate { identity_rate: 0, address_rate: 0, address_failures: 0 }
}

fn limiter(limit: u32) -> (Limiter<u32>, Instant) {
    (Limiter::new(limit, SECOND, ROOM as u64).unwrap(), Instant::now())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn nanos(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

/// How many of `many` are admitted at once.
fn admitted(many: usize, one: impl Fn() -> Result<(), Error>) -> usize {
    (0..many).filter(|_| one().is_ok()).count()
}

fn refused_token() -> Error {
    Error::Token(Rejection::BadSignature { provider: "acme".to_owned(), key_id: None })
}

fn refused_login(sqlstate: &str) -> Error {
    let (message, detail, frame) = (String::new(), String::new(), bytes::Bytes::new());
    Error::LoginRefused(upstream::DatabaseError { sqlstate: sqlstate.to_owned(), message, detail, frame })
}

/// The identity of a token of this subject, from one of two providers.
async fn identity(issuer: &str, subject: &str) -> Identity {
    let provider = |name: &str| {
        let config = ProviderConfig::new(name, name, KeySource::Secret(SECRET.to_vec()));
        ProviderConfig { roles: vec!["r".to_owned()], ..config }
    };
    let (verifier, _) = Verifier::new(&[provider("one"), provider("two")]).unwrap();
    let claims = serde_json::json!({"iss": issuer, "sub": subject, "exp": 4_000_000_000_u64});
    let signed = [r#"{"alg":"HS256"}"#, &claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let key = EncodingKey::from_secret(&SECRET);
    let signature = crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
    verifier.verify(&format!("{signed}.{signature}"), "r").await.unwrap()
}

#[test]
fn a_burst_is_what_a_second_allows() {
    let (limiter, now) = limiter(5);

    let taken: Vec<_> = (0..7).map(|_| limiter.take(1, now)).collect();

    assert_eq!(taken[..5], [Ok(()); 5]);
    assert_eq!(taken[5..], [Err(nanos(200_000_000)); 2]);
}

#[test]
fn one_comes_back_after_its_share_of_a_second_and_not_a_nanosecond_before() {
    let (limiter, now) = limiter(4);
    assert!((0..4).all(|_| limiter.take(1, now).is_ok()));

    for quarter in 1..=10 {
        let due = now + nanos(250_000_000) * quarter;
        assert_eq!(limiter.take(1, due - nanos(1)), Err(nanos(1)));
        assert_eq!(limiter.take(1, due), Ok(()));
        assert_eq!(limiter.take(1, due), Err(nanos(250_000_000)));
    }
}

#[test]
fn nothing_is_saved_up_beyond_a_second() {
    let (limiter, now) = limiter(3);
    assert_eq!(limiter.take(1, now), Ok(()));

    let later = now + Duration::from_secs(3600);

    assert_eq!((0..9).filter(|_| limiter.take(1, later).is_ok()).count(), 3);
}

#[test]
fn a_clock_reading_that_comes_late_gives_nothing_away() {
    let (limiter, now) = limiter(2);
    let later = now + SECOND;
    assert_eq!((limiter.take(1, later), limiter.take(1, later)), (Ok(()), Ok(())));

    assert_eq!(limiter.take(1, now), Err(nanos(1_500_000_000)));
}

#[test]
fn a_limit_that_does_not_divide_a_second_holds() {
    for limit in [1, 3, 7, 10_007] {
        let (limiter, now) = limiter(limit);
        let taken = (0..limit + 1).filter(|_| limiter.take(1, now).is_ok()).count();
        assert_eq!(taken, limit as usize);
        assert_eq!(limiter.take(1, now + SECOND), Ok(()));
    }
}

#[test]
fn addresses_are_independent() {
    let (rates, now) = rates(&Rate { address_rate: 2, ..none() });
    let admitted = |from| admitted(5, || rates.came(ip(from), now));

    assert_eq!(admitted("192.0.2.1"), 2);
    assert_eq!(admitted("192.0.2.2"), 2);
    assert_eq!(admitted("2001:db8::1"), 2);
    assert_eq!(admitted("192.0.2.1"), 0);
}

#[test]
fn a_64_is_one_address_and_so_are_two_spellings() {
    let (rates, now) = rates(&Rate { address_rate: 2, ..none() });
    let admitted = |from| admitted(1, || rates.came(ip(from), now));

    assert_eq!(["2001:db8:0:1::1", "2001:db8:0:1:ffff::", "2001:db8:0:1::2"].map(admitted), [1, 1, 0]);
    assert_eq!(admitted("2001:db8:0:2::1"), 1);
    assert_eq!(["192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.1"].map(admitted), [1, 1, 0]);
    // All of them are in ::/64, had they been taken for IPv6.
    assert_eq!(admitted("::ffff:192.0.2.2"), 1);
}

#[test]
fn whoever_is_too_fast_is_told_when_to_come_back_in_whole_seconds() {
    let (rates, now) = rates(&Rate { address_rate: 100, address_failures: 6, ..none() });
    admitted(100, || rates.came(ip("192.0.2.1"), now));
    for _ in 0..7 {
        rates.failed(ip("192.0.2.2"), &refused_token(), now);
    }
    let told = |from| rates.came(ip(from), now).unwrap_err();

    let Error::TooFast { pace: Pace::Address(100), retry_after } = told("192.0.2.1") else { panic!("too fast") };
    assert_eq!(retry_after, SECOND);
    let Error::TooFast { pace: Pace::Failures(6), retry_after } = told("192.0.2.2") else { panic!("too fast") };
    assert_eq!(retry_after, SECOND * 20);
    let told = told("192.0.2.2").refusal(true, 1).unwrap();
    assert_eq!((told.code, &*told.message), ("53400", "too many requests"));
    let detail = "http.address_failures = 6 failed authentications a minute from one address.";
    assert_eq!((told.detail.as_deref(), told.hint.as_deref()), (Some(detail), Some("Try again in 20 s.")));
}

#[tokio::test]
async fn an_identity_is_limited_wherever_it_comes_from() {
    let (rates, now) = rates(&Rate { identity_rate: 2, ..none() });
    let (alice, bob) = (identity("one", "alice").await, identity("one", "bob").await);
    let namesake = identity("two", "alice").await;
    let admitted = |identity: &Identity| admitted(5, || rates.identified(identity, now));

    assert_eq!(admitted(&alice), 2);
    assert_eq!(admitted(&identity("one", "alice").await), 0);
    assert_eq!((admitted(&bob), admitted(&namesake)), (2, 2));
    assert_eq!(admitted(&Identity::anonymous("r")), 5);
}

#[test]
fn an_address_with_too_many_refused_tokens_waits() {
    let (rates, now) = rates(&Rate { address_failures: 60, ..none() });
    let (from, other) = (ip("192.0.2.1"), ip("192.0.2.2"));

    let looked_at = admitted(1000, || rates.came(from, now).inspect(|()| rates.failed(from, &refused_token(), now)));

    assert_eq!(looked_at, 60);
    assert!(rates.came(other, now).is_ok());
    assert!(rates.came(from, now + SECOND - nanos(1)).is_err());
    assert!(rates.came(from, now + SECOND).is_ok());
}

#[test]
fn nothing_but_a_refused_token_or_password_is_held_against_an_address() {
    let (rates, now) = rates(&Rate { address_failures: 1, ..none() });
    let from = ip("192.0.2.1");
    let provider = || "acme".to_owned();
    let blameless = [
        Error::Token(Rejection::Empty),
        Error::Token(Rejection::KeysUnavailable { provider: provider() }),
        Error::Token(Rejection::RoleNotGranted { provider: provider(), role: "owner".to_owned() }),
        Error::Database("postgres".to_owned()),
        refused_login("53300"),
    ];

    for error in &blameless {
        rates.failed(from, error, now);
        assert_eq!(admitted(10, || rates.came(from, now)), 10, "{error}");
    }

    for (error, from) in [(refused_token(), from), (refused_login("28P01"), ip("192.0.2.2"))] {
        rates.failed(from, &error, now);
        assert!(rates.came(from, now).is_err(), "{error}");
    }
}

#[test]
fn failures_that_were_under_way_together_are_paid_for_up_to_a_minute() {
    let (rates, now) = rates(&Rate { address_failures: 60, ..none() });
    let from = ip("192.0.2.1");

    for _ in 0..70 {
        rates.failed(from, &refused_token(), now);
    }
    assert!(rates.came(from, now + SECOND * 11 - nanos(1)).is_err());
    assert!(rates.came(from, now + SECOND * 11).is_ok());

    for _ in 0..10_000 {
        rates.failed(from, &refused_token(), now);
    }
    assert!(rates.came(from, now + MINUTE).is_err());
    assert!(rates.came(from, now + MINUTE + SECOND).is_ok());
}

#[tokio::test]
async fn without_limits_nobody_is_counted() {
    let (rates, now) = rates(&none());
    let alice = identity("one", "alice").await;

    assert_eq!(admitted(10_000, || rates.came(ip("192.0.2.1"), now)), 10_000);
    assert_eq!(admitted(10_000, || rates.identified(&alice, now)), 10_000);
}

#[test]
fn a_flood_of_addresses_leaves_no_more_than_there_is_room_for() {
    let (limiter, now) = limiter(1);
    let mut most = 0;

    for address in 0..20 * ROOM as u32 {
        assert_eq!(limiter.take(address, now), Ok(()));
        if address % 500 == 0 {
            most = most.max(limiter.accounts.iter().count());
        }
    }

    // Moka makes room a little late: when it has a few hundred to make it for.
    assert!((ROOM / 2..2 * ROOM).contains(&most), "{most}");
}

#[test]
fn a_flood_of_others_does_not_set_free_whoever_goes_on() {
    let (limiter, now) = limiter(1);
    assert_eq!(limiter.take(0, now), Ok(()));

    for stranger in 1..3 * ROOM as u32 {
        assert_eq!(limiter.take(stranger, now), Ok(()));
        assert!(limiter.take(0, now).is_err(), "after {stranger}");
    }
}

#[test]
fn two_threads_cannot_both_take_the_last() {
    for _ in 0..200 {
        let (limiter, now) = limiter(3);
        let taken = AtomicUsize::new(0);
        let barrier = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    barrier.wait();
                    let own = (0..3).filter(|_| limiter.take(1, now).is_ok()).count();
                    taken.fetch_add(own, Relaxed);
                });
            }
        });
        assert_eq!(taken.into_inner(), 3);
    }
}
