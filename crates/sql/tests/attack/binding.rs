//! Claims hold in the session, for the epoch and until the moment they were signed for.

use crate::postgres::Postgres;
use crate::session::{ALICE, BOB, Session, fresh_epoch, state};
use crate::signer::{Signer, from_now};

#[tokio::test]
async fn claims_of_another_session_are_refused() {
    let postgres = Postgres::shared().await;
    let stolen = Session::alice(postgres).await.text("current_setting('pgusher.claims')").await.unwrap().unwrap();
    let initialised = Session::open(postgres).await;
    initialised.become_user(BOB).await;
    let untouched = Session::open(postgres).await;

    for thief in [initialised, untouched] {
        thief.forge(&stolen).await;

        thief.assert_refused("a replay").await;
    }
}

#[tokio::test]
async fn a_pretended_init_gains_nothing() {
    let postgres = Postgres::shared().await;
    let stolen = Session::alice(postgres).await.text("current_setting('pgusher.claims')").await.unwrap().unwrap();
    let thief = Session::open(postgres).await;

    thief.forge(&stolen).await;
    thief.batch_execute("SELECT set_config('pgusher.backend', pg_backend_pid()::text, false)").await.unwrap();

    // currval() has no epoch to answer with; the readers cannot turn that error into 28000.
    assert_eq!(state(thief.text("auth.user_id()").await), "55000");
}

#[tokio::test]
async fn claims_of_an_earlier_epoch_are_refused() {
    let session = Session::open(Postgres::shared().await).await;
    let earlier = session.become_user(ALICE).await;
    session.become_user(BOB).await;

    session.forge(&earlier).await;

    session.assert_refused("an old epoch").await;
}

#[tokio::test]
async fn an_identity_set_in_a_transaction_that_aborts_leaves_no_identity() {
    let session = Session::alice(Postgres::shared().await).await;
    session.batch_execute("BEGIN").await.unwrap();
    session.become_user(BOB).await;

    session.batch_execute("ROLLBACK").await.unwrap();

    session.assert_refused("an aborted change").await;
}

#[tokio::test]
async fn an_identity_set_after_a_savepoint_falls_with_it() {
    let session = Session::alice(Postgres::shared().await).await;
    session.batch_execute("BEGIN; SAVEPOINT before").await.unwrap();
    session.become_user(BOB).await;

    session.batch_execute("ROLLBACK TO before; COMMIT").await.unwrap();

    session.assert_refused("a change rolled back to its savepoint").await;
}

#[tokio::test]
async fn expired_claims_do_not_initialise_a_session() {
    let session = Session::open(Postgres::shared().await).await;
    let epoch = fresh_epoch();

    let claims = session.signer.claims(epoch, from_now(-1), ALICE);
    let answer = session.init(&claims, &session.signer.proof(epoch, session.pid)).await;

    assert_eq!(state(answer), "28000");
    session.assert_nobody("an init that failed").await;
}

#[tokio::test]
async fn claims_expire_during_a_session() {
    let session = Session::open(Postgres::shared().await).await;
    let (epoch, expiry) = (fresh_epoch(), from_now(3));
    let claims = session.signer.claims(epoch, expiry, ALICE);
    session.init(&claims, &session.signer.proof(epoch, session.pid)).await.unwrap();

    session.batch_execute(&format!("SELECT pg_sleep_until(to_timestamp({expiry}))")).await.unwrap();

    session.assert_refused("their expiry").await;
}

#[tokio::test]
async fn a_reset_of_all_parameters_leaves_nobody_until_the_same_bytes_come_again() {
    let session = Session::open(Postgres::shared().await).await;
    let epoch = fresh_epoch();
    let (claims, proof) =
        (session.signer.claims(epoch, from_now(3600), ALICE), session.signer.proof(epoch, session.pid));
    session.init(&claims, &proof).await.unwrap();

    for reset in ["RESET ALL", "DISCARD ALL", "RESET pgusher.claims", "SET pgusher.claims TO DEFAULT"] {
        session.batch_execute(reset).await.unwrap();

        session.assert_nobody(reset).await;
        session.init(&claims, &proof).await.unwrap();
        assert_eq!(session.user_id().await.as_deref(), Some("alice"), "{reset}");
    }
}

#[tokio::test]
async fn discarded_sequences_are_an_error_until_the_same_bytes_come_again() {
    let session = Session::open(Postgres::shared().await).await;
    let epoch = fresh_epoch();
    let (claims, proof) =
        (session.signer.claims(epoch, from_now(3600), ALICE), session.signer.proof(epoch, session.pid));
    session.init(&claims, &proof).await.unwrap();

    session.batch_execute("DISCARD SEQUENCES").await.unwrap();

    // Not 28000: currval() itself fails, and the readers cannot catch that in a parallel query.
    assert_eq!(state(session.text("auth.user_id()").await), "55000");
    session.init(&claims, &proof).await.unwrap();
    assert_eq!(session.user_id().await.as_deref(), Some("alice"));
}

#[tokio::test]
async fn an_init_needs_a_proof_for_this_epoch_and_backend() {
    let session = Session::alice(Postgres::shared().await).await;
    let (epoch, signer) = (fresh_epoch(), session.signer.clone());
    let claims = signer.claims(epoch, from_now(3600), BOB);

    let good = signer.proof(epoch, session.pid);
    let proofs = [
        String::new(),
        claims[..64].to_owned(),
        signer.proof(epoch, session.pid + 1),
        signer.proof(epoch + 1, session.pid),
        Signer::unknown().proof(epoch, session.pid),
        good.to_uppercase(),
        format!("{good} "),
    ];
    for proof in proofs {
        assert_eq!(state(session.init(&claims, &proof).await), "28000", "{proof}");
        assert_eq!(session.user_id().await.as_deref(), Some("alice"), "{proof}");
    }
    assert_eq!(state(session.batch_execute("SELECT auth.pgusher_init(NULL, NULL)").await), "28000");
}

#[tokio::test]
async fn a_good_proof_does_not_carry_forged_claims() {
    let session = Session::open(Postgres::shared().await).await;
    let epoch = fresh_epoch();
    let claims = session.signer.claims(epoch, from_now(3600), ALICE).replace("alice", "bob");

    let answer = session.init(&claims, &session.signer.proof(epoch, session.pid)).await;

    assert_eq!(state(answer), "28000");
    session.assert_nobody("an init that failed").await;
}

#[tokio::test]
async fn on_a_primary_the_process_id_is_no_epoch() {
    let session = Session::alice(Postgres::shared().await).await;
    let epoch = format!("pid:{}", session.pid);
    let claims = session.signer.claims(&epoch, from_now(3600), BOB);

    let answer = session.init(&claims, &session.signer.proof(&epoch, session.pid)).await;
    assert_eq!(state(answer), "28000");

    session.forge(&claims).await;
    session.assert_refused("the form for standbys").await;
}

#[tokio::test]
async fn an_init_of_a_read_only_session_needs_a_transaction_that_writes() {
    let session = Session::open(Postgres::shared().await).await;
    let epoch = fresh_epoch();
    let (claims, proof) =
        (session.signer.claims(epoch, from_now(3600), ALICE), session.signer.proof(epoch, session.pid));
    session.batch_execute("SET default_transaction_read_only = on").await.unwrap();
    // The session has no epoch yet, and currval() says so.
    assert_eq!(state(session.init(&claims, &proof).await), "55000");

    session.batch_execute("BEGIN READ WRITE").await.unwrap();
    session.init(&claims, &proof).await.unwrap();
    session.batch_execute("COMMIT").await.unwrap();

    assert_eq!(session.user_id().await.as_deref(), Some("alice"));
}

#[tokio::test]
async fn a_transaction_that_only_reads_takes_the_same_bytes_again_and_no_others() {
    let session = Session::open(Postgres::shared().await).await;
    let epoch = fresh_epoch();
    let (claims, proof) =
        (session.signer.claims(epoch, from_now(3600), ALICE), session.signer.proof(epoch, session.pid));
    session.init(&claims, &proof).await.unwrap();
    let next = fresh_epoch();
    let (others, others_proof) =
        (session.signer.claims(next, from_now(3600), BOB), session.signer.proof(next, session.pid));

    session.batch_execute("BEGIN READ ONLY; RESET ALL").await.unwrap();
    session.init(&claims, &proof).await.unwrap();
    assert_eq!(session.user_id().await.as_deref(), Some("alice"));
    assert_eq!(state(session.init(&others, &others_proof).await), "28000");

    session.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(session.user_id().await.as_deref(), Some("alice"));
}

#[tokio::test]
async fn sessions_after_a_crash_have_identities_again() {
    let mut postgres = Postgres::with_app().await;
    Session::alice(&postgres).await;

    postgres.crash();

    assert_eq!(Session::alice(&postgres).await.user_id().await.as_deref(), Some("alice"));
}
