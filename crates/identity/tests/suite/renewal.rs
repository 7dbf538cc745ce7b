//! Renewal over hours, on a paused clock and with keys in a file.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pgusher_identity::{Algorithm, Fault, KeySource, ProviderConfig, Rejection, Renewed, Verifier};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::support::{ISSUER, ROLE, Signer, now, provider, refusal};

/// A provider whose keys are in a file, with its renewal running.
struct World {
    file: PathBuf,
    verifier: Arc<Verifier>,
    reports: mpsc::UnboundedReceiver<Renewed>,
}

impl World {
    /// Starts, and waits for the first load.
    async fn new(keys: &[Value], configure: impl FnOnce(&mut ProviderConfig)) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pgusher-keys-{}-{}.json", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let file = std::env::temp_dir().join(name);
        publish(&file, keys);
        let mut config = provider(KeySource::JwksFile(file.clone()));
        configure(&mut config);
        let (verifier, renewal) = Verifier::new(&[config]).unwrap();
        let (report, reports) = mpsc::unbounded_channel();
        tokio::spawn(renewal.run(move |renewed| drop(report.send(renewed))));
        let mut world = Self { file, verifier: Arc::new(verifier), reports };
        assert!(matches!(world.next_load().await.0, Renewed::Keys { .. }));
        world
    }

    /// The next load, and how long it was until then.
    async fn next_load(&mut self) -> (Renewed, Duration) {
        let since = Instant::now();
        let renewed = self.reports.recv().await.expect("a running renewal");
        (renewed, since.elapsed())
    }

    fn remove_keys(&self) {
        std::fs::remove_file(&self.file).unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

fn publish(file: &PathBuf, keys: &[Value]) {
    std::fs::write(file, json!({ "keys": keys }).to_string()).unwrap();
}

fn signer(kid: &'static str) -> Signer {
    Signer::new(kid, Algorithm::ES256)
}

#[tokio::test(start_paused = true)]
async fn keys_are_renewed_every_five_minutes() {
    let (old, new) = (signer("old"), signer("new"));
    let mut world = World::new(&[old.jwk()], |_| ()).await;
    let token = old.token(json!({}));
    assert!(world.verifier.verify(&token, ROLE).await.is_ok());

    publish(&world.file, &[new.jwk()]);
    let (_, after) = world.next_load().await;

    assert!((Duration::from_secs(225)..=Duration::from_secs(301)).contains(&after), "{after:?}");
    assert!(matches!(refusal(&world.verifier, &token).await, Rejection::UnknownKey { .. }));
    assert!(world.verifier.verify(&new.token(json!({})), ROLE).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_key_replaced_under_its_id_ends_what_it_has_verified() {
    let (old, new) = (signer("same"), signer("same"));
    let mut world = World::new(&[old.jwk()], |_| ()).await;
    let token = old.token(json!({}));
    assert!(world.verifier.verify(&token, ROLE).await.is_ok());

    publish(&world.file, &[new.jwk()]);
    world.next_load().await;

    assert!(matches!(refusal(&world.verifier, &token).await, Rejection::BadSignature { .. }));
}

/// The key is still there: a memory of keys alone would believe it.
#[tokio::test(start_paused = true)]
async fn a_second_key_that_suits_ends_what_the_only_one_has_verified() {
    let (first, second) = (signer("first"), signer("second"));
    let mut world = World::new(&[first.jwk()], |_| ()).await;
    let payload = json!({"iss": ISSUER, "exp": now() + 600}).to_string();
    let token = first.sign(&json!({"alg": "ES256"}), &payload);
    assert!(world.verifier.verify(&token, ROLE).await.is_ok());

    publish(&world.file, &[first.jwk(), second.jwk()]);
    world.next_load().await;

    assert!(matches!(refusal(&world.verifier, &token).await, Rejection::AmbiguousKey { .. }));
}

#[tokio::test(start_paused = true)]
async fn failed_loads_are_repeated_more_and_more_slowly() {
    let mut world = World::new(&[], |_| ()).await;
    world.remove_keys();
    world.next_load().await;

    let mut pauses = Vec::new();
    for _ in 0..8 {
        let (renewed, after) = world.next_load().await;
        assert!(matches!(renewed, Renewed::Failed { .. }));
        pauses.push(after);
    }

    for (pause, longest) in pauses.iter().zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        let longest = Duration::from_secs(longest);
        assert!(*pause > longest.mul_f64(0.7) && *pause < longest.mul_f64(1.1), "{pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_outlive_an_outage_up_to_the_limit() {
    let key = signer("k1");
    let hour = Duration::from_secs(3600);
    let mut world = World::new(&[key.jwk()], |config| config.max_stale = hour).await;
    let token = key.token(json!({}));
    let loaded = Instant::now();
    world.remove_keys();

    while loaded.elapsed() < hour - Duration::from_secs(120) {
        world.next_load().await;
        assert!(world.verifier.verify(&token, ROLE).await.is_ok());
    }
    tokio::time::advance(Duration::from_secs(121)).await;

    assert_eq!(refusal(&world.verifier, &token).await.fault(), Fault::Keys);
}

#[tokio::test(start_paused = true)]
async fn unknown_keys_ask_again_after_half_a_minute() {
    let (old, new) = (signer("old"), signer("new"));
    let mut world = World::new(&[old.jwk()], |_| ()).await;
    let token = new.token(json!({}));
    assert!(matches!(refusal(&world.verifier, &token).await, Rejection::UnknownKey { .. }));
    world.next_load().await;
    publish(&world.file, &[new.jwk()]);

    tokio::time::advance(Duration::from_secs(29)).await;
    assert!(matches!(refusal(&world.verifier, &token).await, Rejection::UnknownKey { .. }));
    tokio::time::advance(Duration::from_secs(1)).await;

    assert!(world.verifier.verify(&token, ROLE).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_verifier_ends_its_renewal() {
    let mut world = World::new(&[], |_| ()).await;

    world.verifier = Arc::new(Verifier::new(&[]).unwrap().0);

    assert!(world.reports.recv().await.is_none());
}
