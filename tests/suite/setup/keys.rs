//! Another signing key, under way.

use super::lab::{As, Lab, refusal, value};

const WHO: &str = "SELECT auth.user_id()";

#[tokio::test]
async fn the_key_is_changed_while_proxies_run() {
    let lab = Lab::new().await;
    lab.apply_as(As::Boss, &[]).await;
    let old = lab.serve().await;
    let alice = lab.user(&old, "alice").await;
    assert_eq!(value(&alice, WHO).await.as_deref(), Some("alice"));
    let secret = lab.read("claims.secret");

    let told = lab.apply_as(As::Boss, &["--rotate-key"]).await;

    assert!(told.out.contains("--retire-keys"), "{told:?}");
    assert_ne!(lab.read("claims.secret"), secret);
    assert_eq!(value(&alice, WHO).await.as_deref(), Some("alice"), "the proxy that runs goes on");
    assert_eq!(value(&lab.user(&old, "carol").await, WHO).await.as_deref(), Some("carol"), "with new users, too");
    let new = lab.serve().await;
    let bob = lab.user(&new, "bob").await;
    assert_eq!(value(&bob, WHO).await.as_deref(), Some("bob"), "and so does one with the new key");

    lab.apply_as(As::Boss, &["--retire-keys"]).await;

    assert_eq!(value(&bob, WHO).await.as_deref(), Some("bob"));
    assert_eq!(refusal(&alice, WHO).await, "28000");
    assert_eq!(lab.setup_as(As::Boss, &["--verify"]).await.code, Some(0));
    lab.close().await;
}

#[tokio::test]
async fn a_key_that_the_database_does_not_go_by_retires_no_other() {
    let lab = Lab::new().await;
    lab.apply_as(As::Boss, &[]).await;
    let secret = lab.read("claims.secret");
    lab.apply_as(As::Boss, &["--rotate-key"]).await;
    lab.apply_as(As::Boss, &["--retire-keys"]).await;
    let before = lab.dump().await;
    std::fs::write(lab.file("claims.secret"), &secret).expect("a file");

    for arguments in
        [&["--apply", "--yes", "--retire-keys"][..], &["--apply", "--yes", "--rotate-key"], &["--apply", "--yes"]]
    {
        let told = lab.setup_as(As::Boss, arguments).await;
        assert_eq!(told.code, Some(1), "{arguments:?}: {told:?}");
        assert!(told.err.contains("does not go by the key") || told.err.contains("was retired"), "{told:?}");
    }
    assert_eq!(lab.read("claims.secret"), secret);
    assert_eq!(lab.dump().await, before);
    lab.close().await;
}
