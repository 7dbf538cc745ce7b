//! `[pool]`: how many clients and servers, and how long what may take.

use std::ops::RangeInclusive;
use std::time::Duration;

use upstream::{PoolConfig, Reuse};

use super::limits::{DAY, SECOND, WAIT, ZERO};
use super::section::Section;
use crate::deadlines::Timeouts;

/// What a server's place in a pool is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// A client keeps its server until it leaves.
    Session,
    /// A client has a server from the first request of a transaction until that is over.
    Transaction,
}

/// `[pool]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// When a client has a server.
    pub mode: PoolMode,
    /// How many clients may be connected at once.
    pub max_client_conn: usize,
    /// How many of them with one identity; 0 is no limit.
    pub max_identity_conn: usize,
    /// How long a client waits for a server before it is turned away.
    pub query_wait_timeout: Duration,
    /// After what time a client is told that it waits; 0 is never.
    pub query_wait_notify: Duration,
    /// How long connecting to a server may take, and again logging in; none: as `[upstream]` has it.
    pub server_connect_timeout: Option<Duration>,
    /// The limits of the servers.
    pub servers: PoolConfig,
    /// The limits of what clients do.
    pub timeouts: Timeouts,
}

/// Limits that may be off, as 0.
const OFF_OR: RangeInclusive<Duration> = ZERO..=Duration::from_secs(365 * 24 * 60 * 60);

pub(super) fn read(mut section: Section<'_>) -> Pool {
    let modes = [("session", PoolMode::Session), ("transaction", PoolMode::Transaction)];
    let reuse = [("switch", Reuse::Switch), ("never", Reuse::Never)];
    let pool = Pool {
        mode: section.word("pool_mode", &modes).unwrap_or(PoolMode::Transaction),
        max_client_conn: section.number("max_client_conn", 10_000, 1..=1_000_000),
        max_identity_conn: section.number("max_identity_conn", 0, 0..=1_000_000),
        query_wait_timeout: section.duration("query_wait_timeout", SECOND * 30, WAIT),
        query_wait_notify: section.duration("query_wait_notify", SECOND * 5, ZERO..=DAY),
        server_connect_timeout: section
            .has("server_connect_timeout")
            .then(|| section.duration("server_connect_timeout", SECOND * 5, WAIT)),
        servers: PoolConfig {
            default_pool_size: section.number("default_pool_size", 20, 1..=100_000),
            min_pool_size: section.number("min_pool_size", 0, 0..=100_000),
            reserve_pool_size: section.number("reserve_pool_size", 0, 0..=100_000),
            reserve_pool_timeout: section.duration("reserve_pool_timeout", SECOND * 5, ZERO..=DAY),
            max_db_connections: section.number("max_db_connections", 0, 0..=100_000),
            max_identity_servers: section.number("max_identity_servers", 0, 0..=100_000),
            server_lifetime: section.duration("server_lifetime", SECOND * 3600, OFF_OR),
            server_idle_timeout: section.duration("server_idle_timeout", SECOND * 600, OFF_OR),
            server_login_retry: section.duration("server_login_retry", SECOND, ZERO..=DAY),
            max_prepared_statements: section.number("max_prepared_statements", 200, 1..=100_000),
            reuse: section.word("reuse", &reuse).unwrap_or(Reuse::Switch),
        },
        timeouts: Timeouts {
            query: section.duration("query_timeout", ZERO, OFF_OR),
            transaction: section.duration("transaction_timeout", ZERO, OFF_OR),
            idle_transaction: section.duration("idle_transaction_timeout", ZERO, OFF_OR),
            client_idle: section.duration("client_idle_timeout", ZERO, OFF_OR),
        },
    };
    if pool.servers.min_pool_size > pool.servers.default_pool_size {
        section.error("min_pool_size", "is more than default_pool_size");
    }
    section.finish();
    pool
}
