//! The servers that the attacks run against: a [`Cluster`] with the schema, and who signs for it.

use std::ops::{Deref, DerefMut};

use cluster::Cluster;
pub(crate) use cluster::unique;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::signer::Signer;

/// A running server, its superuser `postgres` trusted.
pub(crate) struct Postgres {
    cluster: Cluster,
    pub(crate) signer: Signer,
}

impl Postgres {
    /// The server that most tests share: database `app` with the schema, a key, two served roles and `todos`.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(Self::with_app).await
    }

    /// A server of its own with an empty database `app`.
    pub(crate) async fn empty() -> Self {
        let postgres = Self { cluster: Cluster::start(), signer: Signer::new([0x21; 32]) };
        postgres.admin("postgres").await.batch_execute("CREATE DATABASE app").await.unwrap();
        postgres
    }

    /// A server of its own, set up like the shared one.
    pub(crate) async fn with_app() -> Self {
        let postgres = Self::empty().await;
        let admin = postgres.admin("app").await;
        admin.batch_execute(pgusher_sql::INSTALL).await.unwrap();
        postgres.signer.install_in(&admin).await;
        for role in ["authenticated", "anonymous"] {
            let login = format!("pgusher_{role}");
            let served = pgusher_sql::ServedRole { role, login: &login, verifier: None };
            admin.batch_execute(&served.sql()).await.unwrap();
        }
        admin.batch_execute(include_str!("todos.sql")).await.unwrap();
        postgres
    }

    /// A standby that streams from this server.
    pub(crate) fn standby(&self) -> Self {
        Self { cluster: self.cluster.standby(), signer: self.signer.clone() }
    }

    /// An empty database of the shared server, and the right to change its roles: those belong to the whole server,
    /// where two sessions that grant the same role at once fail.
    pub(crate) async fn fresh_database(&self) -> (String, MutexGuard<'static, ()>) {
        static ADMINISTRATION: Mutex<()> = Mutex::const_new(());
        let guard = ADMINISTRATION.lock().await;
        let name = format!("fresh_{}", unique());
        self.admin("postgres").await.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        (name, guard)
    }
}

impl Deref for Postgres {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl DerefMut for Postgres {
    fn deref_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }
}
