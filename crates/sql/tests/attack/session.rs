//! A session as pgusher opens and initialises it, in the hands of a user who sends what he likes.

use std::ops::Deref;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error};

use crate::postgres::{Postgres, unique};
use crate::signer::{Signer, from_now};

pub(crate) const ALICE: &str = r#"{"sub":"alice","role":"authenticated"}"#;
pub(crate) const BOB: &str = r#"{"sub":"bob","role":"authenticated"}"#;

/// Every function that tells who the session is.
pub(crate) const READERS: [&str; 4] = ["user_id", "uid", "session", "jwt"];

pub(crate) struct Session {
    client: Client,
    pub(crate) pid: i32,
    pub(crate) signer: Signer,
}

impl Session {
    /// A session of `authenticated` without an identity.
    pub(crate) async fn open(postgres: &Postgres) -> Self {
        Self::open_with(postgres, "-c role=authenticated -c pgusher.claims=").await.unwrap()
    }

    pub(crate) async fn open_with(postgres: &Postgres, options: &str) -> Result<Self, Error> {
        let mut config = Config::new();
        let client = postgres.connect(config.user("pgusher_authenticated").dbname("app").options(options)).await?;
        let pid = client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
        Ok(Self { client, pid, signer: postgres.signer.clone() })
    }

    /// A session that pgusher has made Alice's.
    pub(crate) async fn alice(postgres: &Postgres) -> Self {
        let session = Self::open(postgres).await;
        session.become_user(ALICE).await;
        session
    }

    /// Initialises the session under a new epoch; returns the claims that it now carries.
    pub(crate) async fn become_user(&self, json: &str) -> String {
        let epoch = fresh_epoch();
        let claims = self.signer.claims(epoch, from_now(3600), json);
        self.init(&claims, &self.signer.proof(epoch, self.pid)).await.unwrap();
        claims
    }

    pub(crate) async fn init(&self, claims: &str, proof: &str) -> Result<(), Error> {
        self.client.query_one("SELECT auth.pgusher_init($1, $2)", &[&claims, &proof]).await.map(drop)
    }

    /// What every user may do: put some text where the claims are.
    pub(crate) async fn forge(&self, claims: &str) {
        self.client.query_one("SELECT set_config('pgusher.claims', $1, false)", &[&claims]).await.unwrap();
    }

    /// The first column of the only row, as text.
    pub(crate) async fn text(&self, expression: &str) -> Result<Option<String>, Error> {
        self.client.query_one(&format!("SELECT ({expression})::text"), &[]).await.map(|row| row.get(0))
    }

    pub(crate) async fn user_id(&self) -> Option<String> {
        self.text("auth.user_id()").await.unwrap()
    }

    /// Asserts that every reader refuses the session with 28000.
    pub(crate) async fn assert_refused(&self, why: &str) {
        for reader in READERS {
            let answer = self.text(&format!("auth.{reader}()")).await;
            assert_eq!(state(answer), "28000", "{reader} after: {why}");
        }
    }

    /// Asserts that the session is nobody's: not an error, and no user.
    pub(crate) async fn assert_nobody(&self, why: &str) {
        assert_eq!(self.user_id().await, None, "{why}");
        assert_eq!(self.text("auth.session()").await.unwrap().as_deref(), Some("null"), "{why}");
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// An epoch that no other session of this run had.
pub(crate) fn fresh_epoch() -> i64 {
    0x5eed_0000_0000_0000 + i64::from(unique())
}

/// The SQLSTATE of a failure, or `00000`.
pub(crate) fn state<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => SqlState::SUCCESSFUL_COMPLETION.code().to_owned(),
        Err(error) => error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned()),
    }
}
