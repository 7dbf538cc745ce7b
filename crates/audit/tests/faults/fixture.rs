//! A database that the audit has nothing to say about: the schema `auth`, two served roles, `todos` with the seed's four
//! policies, and no right beyond these. Each test has its own, with roles of its own: those belong to the whole cluster.

use cluster::{Cluster, unique};
use pgusher_audit::{Check, Report, Served, ServedRole, checks, database};
use tokio::sync::{Mutex, OnceCell};
use tokio_postgres::{Client, Config};

/// A database, and its names.
pub(crate) struct Fixture {
    /// The superuser's session.
    pub(crate) admin: Client,
    /// What the audit is told.
    pub(crate) served: Served,
    number: u32,
    /// A server that no other test shares.
    alone: Option<Cluster>,
}

/// A database that is as it should be.
pub(crate) async fn fixture() -> Fixture {
    make(None).await
}

/// The same on a server of its own, for faults that all databases of a server have.
pub(crate) async fn fixture_alone() -> Fixture {
    make(Some(start().await)).await
}

async fn make(alone: Option<Cluster>) -> Fixture {
    let number = unique();
    let cluster = match &alone {
        Some(cluster) => cluster,
        None => cluster().await,
    };
    // Two sessions that grant the same role at once fail, and setting up grants pgusher_auth to the administrator.
    static ADMINISTRATION: Mutex<()> = Mutex::const_new(());
    let _guard = ADMINISTRATION.lock().await;
    let name = format!("audited_{number}");
    let create = format!("CREATE DATABASE {name} TEMPLATE clean");
    cluster.admin("postgres").await.batch_execute(&create).await.unwrap();
    let admin = cluster.admin(&name).await;
    let served = Served { claims_are_verified: true, ..Served::default() };
    let mut fixture = Fixture { admin, served, number, alone };
    for role in ["{role}", "{anonymous}"] {
        let role = fixture.named(role);
        let login = format!("pgusher_{role}");
        let served = sql::ServedRole { role: &role, login: &login, verifier: None };
        fixture.admin.batch_execute(&served.sql()).await.unwrap();
        fixture.served.roles.push(ServedRole { role, login });
    }
    fixture.run(include_str!("clean.sql")).await;
    fixture
}

/// The server's version, as in `150018`.
pub(crate) async fn version() -> i32 {
    let row = cluster().await.admin("postgres").await.query_one("SHOW server_version_num", &[]).await.unwrap();
    row.get::<_, String>(0).parse().unwrap()
}

/// Whether the server has this extension to create.
pub(crate) async fn is_at_hand(extension: &str) -> bool {
    let query = "SELECT FROM pg_available_extensions WHERE name = $1";
    cluster().await.admin("postgres").await.query_opt(query, &[&extension]).await.unwrap().is_some()
}

/// The server of all tests, its database `clean` with the schema `auth`.
async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER.get_or_init(start).await
}

async fn start() -> Cluster {
    let cluster = Cluster::start();
    cluster.admin("postgres").await.batch_execute("CREATE DATABASE clean").await.unwrap();
    let admin = cluster.admin("clean").await;
    admin.batch_execute(sql::INSTALL).await.unwrap();
    let (ipad, opad) = sql::pads(&[0x21; 32]);
    let key: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&sql::kid(&[0x21; 32]), &&ipad[..], &&opad[..]];
    admin.execute(sql::INSERT_KEY, &key).await.unwrap();
    admin.batch_execute(include_str!("hardened.sql")).await.unwrap();
    cluster
}

impl Fixture {
    async fn cluster(&self) -> &Cluster {
        match &self.alone {
            Some(cluster) => cluster,
            None => cluster().await,
        }
    }

    /// The text with this fixture's names: `{role}` and `{anonymous}` for the served roles, `{login}` for the login of
    /// the first, `{other}` for a role that a fault makes, `{database}`.
    pub(crate) fn named(&self, text: &str) -> String {
        let role = format!("authenticated_{}", self.number);
        text.replace("{login}", &format!("pgusher_{role}"))
            .replace("{role}", &role)
            .replace("{anonymous}", &format!("anonymous_{}", self.number))
            .replace("{other}", &format!("other_{}", self.number))
            .replace("{database}", &format!("audited_{}", self.number))
    }

    /// Runs statements as the superuser.
    pub(crate) async fn run(&self, statements: &str) {
        let statements = self.named(statements);
        if let Err(error) = self.admin.batch_execute(&statements).await {
            panic!("{statements}\n{error:?}");
        }
    }

    /// A session of the login of the first role.
    pub(crate) async fn login(&self) -> Client {
        let (user, database) = (self.named("{login}"), self.named("{database}"));
        self.cluster().await.connect(Config::new().user(user).dbname(database)).await.unwrap()
    }

    /// Another session of the superuser.
    pub(crate) async fn session(&self) -> Client {
        self.cluster().await.admin(&self.named("{database}")).await
    }

    /// What the superuser is told.
    pub(crate) async fn report(&self) -> Report {
        self.audit(&mut self.session().await, checks()).await
    }

    /// What these checks find in a session.
    pub(crate) async fn audit(&self, session: &mut Client, checks: impl Iterator<Item = &'static Check>) -> Report {
        database::audit(session, &self.served, checks).await.unwrap()
    }
}
