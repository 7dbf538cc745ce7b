//! `--remove`.

use super::lab::{As, Lab};

#[tokio::test]
async fn removal_says_what_keeps_it_and_then_leaves_nothing() {
    for who in [As::Boss, As::Superuser] {
        let lab = Lab::new().await;
        let before = lab.dump().await;
        let options: &[&str] = &["--harden", "--schema", "public"];
        lab.apply_as(who, options).await;
        let boss = lab.boss().await;
        let table = "CREATE TABLE t (owner text); CREATE POLICY p ON t USING (owner = (SELECT auth.user_id()))";
        boss.batch_execute(table).await.expect("a policy");
        let remove = [&["--remove", "--apply", "--yes"], options].concat();

        let kept = lab.setup_as(who, &remove).await;

        assert_eq!(kept.code, Some(1), "{kept:?}");
        assert!(kept.err.contains("2BP01") && kept.err.contains("policy p on table"), "{kept:?}");
        assert!(!kept.err.contains("CASCADE"), "{kept:?}");
        assert_eq!(lab.setup_as(who, &["--verify"]).await.code, Some(0), "nothing is gone");

        boss.batch_execute("DROP TABLE t").await.expect("no table");
        let gone = lab.setup_as(who, &remove).await;
        assert_eq!(gone.code, Some(0), "{gone:?}");
        // What PostgreSQL had left unsaid is said now: the privileges are the same.
        let said =
            |dump: &str| dump.lines().filter(|line| !line.starts_with("GRANT ")).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(said(&lab.dump().await), said(&before), "{who:?}");
        assert!(lab.setup_as(who, &remove).await.out.contains("nothing to do"));
        assert!(lab.file("claims.secret").exists(), "the secrets stay");
        lab.close().await;
    }
}

#[tokio::test]
async fn a_role_that_grants_hang_on_stays_and_so_does_its_login() {
    let lab = Lab::new().await;
    lab.apply_as(As::Boss, &[]).await;
    lab.boss().await.batch_execute("CREATE TABLE t (); GRANT SELECT ON t TO authenticated").await.expect("a grant");

    let told = lab.setup_as(As::Boss, &["--remove", "--apply", "--yes"]).await;

    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.out.contains("kept: roles pgusher_authenticated and authenticated"), "{told:?}");
    assert!(told.out.contains("table public.t"), "{told:?}");
    let dump = lab.dump().await;
    assert!(dump.contains("CREATE ROLE pgusher_authenticated;") && !dump.contains("CREATE ROLE anonymous;"), "{dump}");
    lab.close().await;
}

#[tokio::test]
async fn roles_that_serve_another_database_stay() {
    let lab = Lab::new().await;
    lab.superuser().await.batch_execute("CREATE DATABASE other OWNER boss").await.expect("a database");
    let url = lab.boss_url("other");
    let other = lab.setup(&["--apply", "--yes", "--url", &url]).await;
    assert_eq!(other.code, Some(0), "{other:?}");
    lab.apply_as(As::Boss, &[]).await;

    let told = lab.setup_as(As::Boss, &["--remove", "--apply", "--yes"]).await;

    assert!(told.out.contains("used in other databases: other"), "{told:?}");
    let verified = lab.setup(&["--verify", "--url", &url]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    lab.close().await;
}

#[tokio::test]
async fn a_role_that_somebody_else_is_a_member_of_stays() {
    let lab = Lab::new().await;
    lab.apply_as(As::Boss, &[]).await;
    let member = "CREATE ROLE worker LOGIN; GRANT authenticated TO worker";
    lab.superuser().await.batch_execute(member).await.expect("a member");

    let told = lab.setup_as(As::Boss, &["--remove", "--apply", "--yes"]).await;

    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.out.contains("role worker is a member of role authenticated"), "{told:?}");
    let dump = lab.dump().await;
    assert!(dump.contains("GRANT authenticated TO worker") && !dump.contains("CREATE ROLE anonymous;"), "{dump}");
    lab.close().await;
}

#[tokio::test]
async fn the_removal_that_is_printed_removes() {
    let lab = Lab::new().await;
    let before = lab.dump().await;
    lab.apply_as(As::Boss, &[]).await;

    let script = lab.setup(&["--remove"]).await;

    let ran = lab.psql(&script.out).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(lab.dump().await, before);
    lab.close().await;
}
