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

#[tokio::test]
async fn what_is_said_of_several_databases_keeps_all_of_them_open() {
    let lab = Lab::new().await;
    lab.superuser().await.batch_execute("CREATE DATABASE other OWNER boss").await.expect("a database");
    let other = lab.boss_url("other");
    let elsewhere =
        async |arguments: &[&str]| lab.setup(&[arguments, &["--apply", "--yes", "--url", &other]].concat()).await;
    lab.apply_as(As::Boss, &[]).await;
    assert_eq!(elsewhere(&[]).await.code, Some(0));

    let told = lab.apply_as(As::Boss, &["--rotate-key"]).await;
    let [apply, start, retire] =
        ["pgusher setup --apply ", "start every pgusher", "--retire-keys"].map(|words| told.out.find(words));
    assert!(apply.is_some() && apply < start && start < retire, "{told:?}");

    let told = elsewhere(&[]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.out.contains("+ key "), "{told:?}");
    let new = lab.serve().await;
    for database in ["app", "other"] {
        let alice = lab.user_in(&new, "alice", database).await;
        assert_eq!(value(&alice, WHO).await.as_deref(), Some("alice"), "{database}");
    }
    lab.apply_as(As::Boss, &["--retire-keys"]).await;
    assert_eq!(elsewhere(&["--retire-keys"]).await.code, Some(0));
    lab.close().await;
}
