//! The pool: who gets which server, and when.

mod cancel;
mod failure;
mod limits;
mod line;
mod order;
mod random;
mod upkeep;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use pgusher_upstream::{
    ClaimsMode, ConnectConfig, Counts, Error, Holds, Lease, Login, Password, PoolConfig, Pools, Settings, Tenant, Want,
};
use tokio::task::JoinHandle;

use crate::harness::Attempt;
use crate::postgres::WITHOUT_TLS;
use crate::scripted::Scripted;

pub(crate) static LOGIN: LazyLock<Login> =
    LazyLock::new(|| Login { user: "scram".to_owned(), password: Some(Password::new("secret".to_owned())) });

pub(crate) const ALICE: Tenant = Tenant { identity: [1; 32], state: [1; 32] };
/// Alice with other settings.
const ALICE_ELSEWHERE: Tenant = Tenant { identity: [1; 32], state: [2; 32] };
pub(crate) const BOB: Tenant = Tenant { identity: [3; 32], state: [3; 32] };
const CAROL: Tenant = Tenant { identity: [4; 32], state: [4; 32] };

pub(crate) fn config(size: usize) -> PoolConfig {
    PoolConfig { default_pool_size: size, ..PoolConfig::default() }
}

fn pools_at(connect: ConnectConfig, config: PoolConfig) -> Arc<Pools> {
    Pools::new(config, connect, Settings::default(), ClaimsMode::Claims, |_| {})
}

/// Pools of the cluster without TLS.
fn pools(config: PoolConfig) -> Arc<Pools> {
    pools_at(Attempt::to(&WITHOUT_TLS).config, config)
}

/// Pools of a scripted server.
fn pools_of(port: u16, config: PoolConfig) -> Arc<Pools> {
    pools_at(Attempt::new("127.0.0.1", port).config, config)
}

/// Pools of a scripted server in which a login may take no longer than five seconds.
async fn hasty(config: PoolConfig) -> (Scripted, Arc<Pools>) {
    let scripted = Scripted::start().await;
    let mut connect = Attempt::new("127.0.0.1", scripted.port).config;
    connect.login_timeout = Duration::from_secs(5);
    let pools = pools_at(connect, config);
    (scripted, pools)
}

/// A server that the script lets in for this.
async fn admitted(scripted: &Scripted, pools: &Arc<Pools>, want: Want<'static>) -> Lease {
    let waiting = in_line(pools, want).await;
    scripted.login().await.admit().await;
    waiting.await.unwrap().unwrap()
}

pub(crate) fn want(tenant: Tenant) -> Want<'static> {
    Want { database: "postgres", role: "authenticated", login: &LOGIN, tenant, holder: Some(tenant.identity) }
}

async fn lease(pools: &Arc<Pools>, tenant: Tenant) -> Lease {
    pools.lease(&want(tenant)).await.expect("a server")
}

/// Waits in a task of its own, and is in line when this returns.
async fn in_line(pools: &Arc<Pools>, want: Want<'static>) -> JoinHandle<Result<Lease, Arc<Error>>> {
    let before = total(pools, |counts| counts.waiting);
    let waiting = tokio::spawn({
        let pools = Arc::clone(pools);
        async move { pools.lease(&want).await }
    });
    until(|| total(pools, |counts| counts.waiting) > before).await;
    waiting
}

/// A server of the tenant's, and back.
async fn use_once(pools: &Arc<Pools>, tenant: Tenant) -> i32 {
    let lease = lease(pools, tenant).await;
    let pid = lease.cancel.pid();
    lease.give_back(Holds::Tenant(tenant));
    pid
}

fn pid(lease: &Lease) -> i32 {
    lease.cancel.pid()
}

fn total(pools: &Pools, what: impl Fn(&Counts) -> usize) -> usize {
    pools.counts().iter().map(what).sum()
}

fn open(pools: &Pools) -> usize {
    total(pools, |counts| counts.idle + counts.lent + counts.opening + counts.closing)
}

fn idle(pools: &Pools) -> usize {
    total(pools, |counts| counts.idle)
}

/// Waits for a condition, which time alone may bring about.
async fn until(condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reached).await.expect("the condition comes true");
}

/// Kills a backend, and waits until the runtime has heard of it.
async fn kill(server: &Lease) {
    let killed = WITHOUT_TLS.psql("owner", "postgres", &format!("SELECT pg_terminate_backend({}, 60000)", pid(server)));
    assert_eq!(killed.expect("psql runs"), "t");
    tokio::task::yield_now().await;
}
