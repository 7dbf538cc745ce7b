//! A read replica, where no sequence moves: the process id stands in for the epoch, there and nowhere else.

use crate::postgres::Postgres;
use crate::session::{ALICE, Session, fresh_epoch, state};
use crate::signer::from_now;

#[tokio::test]
async fn a_standby_binds_claims_to_the_process_id() {
    let primary = Postgres::with_app().await;
    let standby = primary.standby();
    let session = Session::open(&standby).await;
    let other = Session::open(&standby).await;
    let epoch = format!("pid:{}", session.pid);
    let claims = session.signer.claims(&epoch, from_now(3600), ALICE);

    session.init(&claims, &session.signer.proof(&epoch, session.pid)).await.unwrap();

    assert_eq!(session.user_id().await.as_deref(), Some("alice"));
    assert_eq!(session.text("(SELECT min(user_id) FROM todos)").await.unwrap().as_deref(), Some("alice"));
    other.forge(&claims).await;
    other.assert_refused("a replay").await;
    other.batch_execute("SELECT set_config('pgusher.backend', pg_backend_pid()::text, false)").await.unwrap();
    other.assert_refused("a replay after a pretended init").await;

    let number = fresh_epoch();
    let claims = session.signer.claims(number, from_now(3600), ALICE);
    let answer = session.init(&claims, &session.signer.proof(number, session.pid)).await;
    assert_eq!(state(answer), "28000", "a numbered epoch cannot be checked here");
}

#[tokio::test]
async fn a_promotion_ends_the_identities_of_the_standby() {
    let primary = Postgres::with_app().await;
    let standby = primary.standby();
    let session = Session::open(&standby).await;
    let epoch = format!("pid:{}", session.pid);
    let claims = session.signer.claims(&epoch, from_now(3600), ALICE);
    session.init(&claims, &session.signer.proof(&epoch, session.pid)).await.unwrap();

    standby.admin("app").await.batch_execute("SELECT pg_promote()").await.unwrap();

    assert_ne!(state(session.text("auth.user_id()").await), "00000");
    session.become_user(ALICE).await;
    assert_eq!(session.user_id().await.as_deref(), Some("alice"));
}
