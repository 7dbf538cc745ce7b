//! Text that pgusher did not sign, or not like that, is refused, however it gets into the session.

use crate::postgres::Postgres;
use crate::session::{ALICE, Session, fresh_epoch, state};
use crate::signer::{Signer, from_now};

#[tokio::test]
async fn claims_that_were_changed_are_refused() {
    let session = Session::open(Postgres::shared().await).await;
    let good = session.become_user(ALICE).await;
    let (mac, body) = good.split_at(64);
    let kid = &session.signer.kid;
    let last = if mac.ends_with('0') { "1" } else { "0" };

    let changed = [
        ("sub", good.replace("alice", "bob")),
        ("expiry", good.replacen(" {", "0 {", 1)),
        ("last digit of the mac", format!("{}{last}{body}", &mac[..63])),
        ("mac in capitals", mac.to_uppercase() + body),
        ("no mac", body.to_owned()),
        ("empty mac", " ".repeat(64) + body),
        ("kid of nobody", good.replace(kid, &Signer::unknown().kid)),
        ("empty kid", good.replace(kid, "")),
        ("version", good.replace("claims1", "claims2")),
        ("byte after", format!("{good}x")),
        ("space after", format!("{good} ")),
        ("newline after", format!("{good}\n")),
        ("space before", format!(" {good}")),
        ("two spaces", good.replacen(" claims1", "  claims1", 1)),
        ("cut", good[..good.len() - 1].to_owned()),
        ("other encoding of the same JSON", good.replace(r#""sub":"#, r#""sub": "#)),
        ("second sub", good.replace("{", r#"{"sub":"bob","#)),
    ];
    for (what, claims) in changed {
        assert_ne!(claims, good, "{what}");
        session.forge(&claims).await;
        session.assert_refused(what).await;
    }
    session.forge(&good).await;
    assert_eq!(session.user_id().await.as_deref(), Some("alice"));
}

#[tokio::test]
async fn garbage_is_refused_like_any_forgery() {
    let session = Session::alice(Postgres::shared().await).await;
    let kid = session.signer.kid.clone();
    let mac = "0".repeat(64);

    let garbage = [
        " ".to_owned(),
        "{".to_owned(),
        r#"{"sub":"bob"}"#.to_owned(),
        "😀".repeat(80),
        "x".repeat(1 << 20),
        format!("{mac} claims1 {kid}"),
        format!("{mac} claims1 {kid} x y {{}}"),
        format!("{mac} claims1 {kid} {0} {0} {{}}", "9".repeat(400)),
        format!("{mac} claims1 {kid} -1 NaN not json"),
    ];
    for claims in garbage {
        session.forge(&claims).await;
        session.assert_refused(&claims[..claims.len().min(100)]).await;
    }
}

#[tokio::test]
async fn fields_that_are_no_numbers_are_refused_even_if_signed() {
    let session = Session::open(Postgres::shared().await).await;
    let epoch = fresh_epoch();
    let good = session.signer.claims(epoch, from_now(3600), ALICE);
    session.init(&good, &session.signer.proof(epoch, session.pid)).await.unwrap();

    for expiry in ["", "soon", "-1", "0", "inf", "1e12", "99999999999999999999", "9999999999\n"] {
        session.forge(&session.signer.claims(epoch, expiry, ALICE)).await;
        session.assert_refused(&format!("expiry {expiry:?}")).await;
    }
    for other in ["", "x", "0", "-1", "99999999999999999999", &format!("0{epoch}"), &format!("+{epoch}")] {
        session.forge(&session.signer.claims(other, from_now(3600), ALICE)).await;
        session.assert_refused(&format!("epoch {other:?}")).await;
    }
}

#[tokio::test]
async fn a_proof_is_no_claims() {
    let session = Session::open(Postgres::shared().await).await;
    let epoch = fresh_epoch();
    let good = session.signer.claims(epoch, from_now(3600), ALICE);
    session.init(&good, &session.signer.proof(epoch, session.pid)).await.unwrap();

    let other_domain = format!(" epoch1 {} {epoch} {} {{\"sub\":\"bob\"}}", session.signer.kid, from_now(3600));
    session.forge(&session.signer.signed(&other_domain)).await;

    session.assert_refused("a body of the other domain").await;
}

#[tokio::test]
async fn a_key_that_the_database_does_not_have_signs_nothing() {
    let session = Session::alice(Postgres::shared().await).await;
    let (stranger, epoch) = (Signer::unknown(), fresh_epoch());
    let claims = stranger.claims(epoch, from_now(3600), ALICE);

    let answer = session.init(&claims, &stranger.proof(epoch, session.pid)).await;

    assert_eq!(state(answer), "28000");
    session.forge(&claims).await;
    session.assert_refused("an unknown key").await;
}

#[tokio::test]
async fn a_retired_key_ends_the_sessions_that_it_signed() {
    let postgres = Postgres::shared().await;
    let admin = postgres.admin("app").await;
    let retired = Signer::unknown();
    retired.install_in(&admin).await;
    let mut session = Session::open(postgres).await;
    session.signer = retired.clone();
    session.become_user(ALICE).await;

    admin.execute(pgusher_sql::RETIRE_KEY, &[&retired.kid]).await.unwrap();

    session.assert_refused("the retirement of its key").await;
    retired.install_in(&admin).await;
    session.assert_refused("an attempt to bring the key back").await;
    session.batch_execute("RESET ALL").await.unwrap();
    let epoch = fresh_epoch();
    let claims = retired.claims(epoch, from_now(3600), ALICE);
    assert_eq!(state(session.init(&claims, &retired.proof(epoch, session.pid)).await), "28000");
}

#[tokio::test]
async fn no_road_into_the_parameter_is_better_than_another() {
    let postgres = Postgres::shared().await;
    let forged = format!("{} claims1 {} 1 9999999999 {ALICE}", "0".repeat(64), postgres.signer.kid);
    let options = format!("-c role=authenticated -c pgusher.claims={}", forged.replace(' ', "\\ "));

    Session::open_with(postgres, &options).await.unwrap().assert_refused("startup options").await;
    let roads = [
        format!("SET pgusher.claims = '{forged}'"),
        format!("SET SESSION pgusher.claims = '{forged}'"),
        format!("BEGIN; SET LOCAL pgusher.claims = '{forged}'"),
        format!("DO $$ BEGIN PERFORM set_config('pgusher.claims', '{forged}', false); END $$"),
        format!("SELECT FROM ts_stat($$SELECT to_tsvector(set_config('pgusher.claims', '{forged}', false))$$)"),
        format!("SET PGUSHER.Claims = '{forged}'"),
    ];
    for road in roads {
        let session = Session::alice(postgres).await;
        session.batch_execute(&road).await.unwrap();
        assert_eq!(state(session.text("auth.user_id()").await), "28000", "{road}");
    }
}
