//! A cancel request reaches the session whose key it brings, and no other.

use pgusher_tests::request::{cancel, query};
use pgusher_tests::{Message, Proxy, ProxyBuilder, Raw, Stage, Token, startup};
use tokio_postgres::Client;

use crate::drivers::cancels_a_query;

/// A session that waits for a lock, so that it is the test which decides when its statement ends.
struct Waiting {
    session: Raw,
    /// The body of its BackendKeyData.
    key: Vec<u8>,
    lock: i64,
    holder: Client,
    backend: i32,
}

impl Waiting {
    /// Begins one with a lock of its own; `minor` is the version of the protocol that it speaks.
    async fn begin(proxy: &Proxy, lock: i64, minor: u32) -> Self {
        let stage = Stage::get();
        let holder = stage.superuser().await;
        holder.execute("SELECT pg_advisory_lock($1)", &[&lock]).await.expect("a lock");
        let (mut session, key) = log_in(proxy, &stage.token("alice"), minor).await;
        let backend = session.backend().await;
        session.send(&query(format!("SELECT pg_advisory_lock({lock})"))).await;
        stage.until_backend(backend, "wait_event = 'advisory'").await;
        Self { session, key, lock, holder, backend }
    }

    async fn is_cancelled(&mut self) {
        let answer = self.session.until_ready().await;
        assert_eq!(Message::tags(&answer), "TEZ");
        assert_eq!(answer[1].sqlstate(), "57014");
    }

    async fn goes_on(mut self) {
        self.holder.execute("SELECT pg_advisory_unlock($1)", &[&self.lock]).await.expect("its own lock");
        assert_eq!(Message::tags(&self.session.until_ready().await), "TDCZ");
    }
}

async fn log_in(proxy: &Proxy, token: &Token<'_>, minor: u32) -> (Raw, Vec<u8>) {
    let mut session = proxy.raw().await;
    session.send(&startup(3 << 16 | minor, &[("user", "authenticated"), ("database", "neondb")])).await;
    session.until(b'R').await;
    session.message(b'p', format!("{token}\0").as_bytes()).await;
    let greeting = session.until_ready().await;
    let key = greeting.into_iter().find(|message| message.tag == b'K').expect("a key to cancel with");
    (session, key.body)
}

#[tokio::test]
async fn a_driver_cancels_its_statement() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    cancels_a_query(stage, &proxy.connect(&stage.token("alice")).await).await.expect("delivered");
}

#[tokio::test]
async fn keys_have_four_bytes_in_protocol_3_0_and_thirty_two_in_3_2_and_both_cancel() {
    let proxy = Proxy::start(Stage::get()).await;
    for (minor, size) in [(0, 4), (2, 32)] {
        let mut waiting = Waiting::begin(&proxy, 4200 + i64::from(minor), minor).await;
        assert_eq!(waiting.key.len(), 4 + size);
        proxy.cancel(&waiting.key).await;
        waiting.is_cancelled().await;
        assert_eq!(waiting.session.value("SELECT 'here'").await, "here");
    }
}

#[tokio::test]
async fn a_request_with_any_other_key_does_nothing() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let (gone, old) = log_in(&proxy, &stage.token("alice"), 2).await;
    drop(gone);
    let waiting = Waiting::begin(&proxy, 4300, 2).await;
    let (_other, others) = log_in(&proxy, &stage.token("alice"), 2).await;
    let (right, process_id) = (waiting.key.clone(), waiting.key[..4].to_vec());

    for bit in [0, 7, 128, 255] {
        let mut wrong = right.clone();
        wrong[4 + bit / 8] ^= 1 << (bit % 8);
        proxy.cancel(&wrong).await;
    }
    proxy.cancel(&[&others[..4], &right[4..]].concat()).await;
    for key in [&old[4..], &others[4..], &[0; 32], &right[4..8], &right[4..35], &[&right[4..], &[0]].concat()] {
        proxy.cancel(&[&process_id[..], key].concat()).await;
    }
    proxy.cancel(&old).await;

    waiting.goes_on().await;
}

#[tokio::test]
async fn a_request_that_is_cut_off_or_has_no_key_at_all_does_nothing() {
    let proxy = Proxy::start(Stage::get()).await;
    let waiting = Waiting::begin(&proxy, 4400, 0).await;
    let whole = cancel(&waiting.key);

    for end in 1..whole.len() {
        let mut connection = proxy.raw().await;
        connection.send(&whole[..end]).await;
        connection.finish().await;
        assert_eq!(connection.byte().await, None);
    }
    for size in 0..4 {
        let mut connection = proxy.raw().await;
        connection.send(&cancel(&waiting.key[..4 + size])).await;
        let refused = connection.receive().await.expect("a refusal");
        assert_eq!(refused.sqlstate(), "08P01");
    }

    waiting.goes_on().await;
}

#[tokio::test]
async fn a_cancel_hits_its_own_session_and_not_its_neighbour() {
    let proxy = Proxy::start(Stage::get()).await;
    let mut alices = Waiting::begin(&proxy, 4500, 0).await;
    let bobs = Waiting::begin(&proxy, 4501, 0).await;

    proxy.cancel(&alices.key).await;

    alices.is_cancelled().await;
    bobs.goes_on().await;
}

#[tokio::test]
async fn a_cancel_of_a_session_that_does_nothing_does_nothing() {
    let stage = Stage::get();
    let proxy = Proxy::start(stage).await;
    let (mut session, key) = log_in(&proxy, &stage.token("alice"), 0).await;

    proxy.cancel(&key).await;

    assert_eq!(session.value("SELECT 'here'").await, "here");
}

#[tokio::test]
async fn a_cancel_travels_to_the_server_as_its_session_did() {
    let stage = Stage::get();
    let tls = |builder: ProxyBuilder<'static>, mode| {
        let builder = builder.set("upstream.host", "localhost").set("upstream.sslmode", mode);
        builder.set("upstream.sslrootcert", stage.authority.file.display())
    };
    for (lock, mode) in [(4600, "require"), (4601, "verify-full")] {
        let proxy = tls(Proxy::builder(stage), mode).start().await;
        let mut waiting = Waiting::begin(&proxy, lock, 0).await;
        proxy.cancel(&waiting.key).await;
        waiting.is_cancelled().await;
        stage.until_backend(waiting.backend, "pid IN (SELECT pid FROM pg_stat_ssl WHERE ssl)").await;
    }
    let sockets = Proxy::builder(stage).set("upstream.host", stage.postgres_sockets().display());
    let proxy = sockets.start().await;
    let mut waiting = Waiting::begin(&proxy, 4602, 0).await;
    proxy.cancel(&waiting.key).await;
    waiting.is_cancelled().await;
}
