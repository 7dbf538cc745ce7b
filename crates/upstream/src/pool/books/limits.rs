//! The limits of pools and databases.

use super::Books;
use crate::pool::{Limit, PoolConfig, Want};

impl Books {
    /// What keeps somebody waiting.
    pub(in crate::pool) fn limit(&self, want: &Want<'_>) -> Limit {
        let Some(pool) = self.pools.get(want.role) else { return Limit::Pool };
        match () {
            () if pool.line.beside.values().any(|waiter| waiter.holder == want.holder) => Limit::Identity,
            () if self.is_full() && pool.places < self.config.default_pool_size => Limit::Database,
            () => Limit::Pool,
        }
    }

    /// The most servers that a pool can come to.
    pub(super) fn size(&self) -> usize {
        let PoolConfig { default_pool_size, reserve_pool_size, reserve_pool_timeout, max_db_connections, .. } =
            self.config;
        let reserve = if reserve_pool_timeout.is_zero() { 0 } else { reserve_pool_size };
        let all = if max_db_connections > 0 { max_db_connections } else { usize::MAX };
        (default_pool_size + reserve).min(all)
    }

    pub(super) fn is_full(&self) -> bool {
        let limit = self.config.max_db_connections;
        limit > 0 && self.pools.values().map(|pool| pool.places).sum::<usize>() >= limit
    }
}
