//! The script that setup prints.

use super::lab::{As, Lab, is_private};

#[tokio::test]
async fn the_script_does_what_apply_does() {
    let lab = Lab::new().await;

    let script = lab.setup(&["--write-secrets", "--harden", "--schema", "public"]).await;

    assert_eq!(script.code, Some(0), "{script:?}");
    assert!(script.err.contains("keep it as safe as the key's file"), "{script:?}");
    for name in ["authenticated.password", "anonymous.password", "claims.secret"] {
        assert!(is_private(&lab.file(name)) && !script.out.contains(&lab.read(name)), "{name}");
    }
    for _ in 0..2 {
        let ran = lab.psql(&script.out).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let verified = lab.setup_as(As::Boss, &["--verify", "--harden", "--schema", "public"]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    lab.close().await;
}

#[tokio::test]
async fn printing_makes_no_file_unless_it_is_told_to() {
    let lab = Lab::new().await;

    let script = lab.setup(&[]).await;

    assert_eq!(script.code, Some(0), "{script:?}");
    assert!(script.err.contains("authenticated.password is not there: printed without it"), "{script:?}");
    assert!(!script.out.contains("SCRAM-SHA-256$") && !script.out.contains("COPY"), "{script:?}");
    assert!(!lab.file("authenticated.password").exists() && !lab.file("claims.secret").exists());
    lab.close().await;
}

#[tokio::test]
async fn a_script_that_fails_leaves_nothing() {
    let lab = Lab::new().await;
    let script = lab.setup(&["--write-secrets"]).await.out;
    lab.boss().await.batch_execute("CREATE SCHEMA auth").await.expect("a schema");
    let before = lab.dump().await;

    let ran = lab.psql(&script).await;

    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("schema \"auth\" exists and belongs to boss"), "{ran:?}");
    assert_eq!(lab.dump().await, before);
    lab.close().await;
}
