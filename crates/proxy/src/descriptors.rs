//! How many files, and so connections, the system lets the process have open.

use tracing::warn;

use crate::config::Config;

/// For what is open beside connections: listeners, epoll, the log, and room for logins and cancel requests.
const BESIDE: u64 = 128;

/// Raises the limit as far as the process may, and warns if clients and servers may need more than that.
pub(crate) fn raise(config: &Config) {
    let needed = needed(config);
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit >= needed => {}
        Ok(limit) => warn!(limit, needed, "{TOO_LOW}"),
        Err(error) => warn!(%error, needed, "the limit on open files cannot be raised"),
    }
}

const TOO_LOW: &str = "the hard limit on open files is lower than what clients and servers may need; \
    beyond it connections are refused (ulimit -Hn, LimitNOFILE)";

fn needed(config: &Config) -> u64 {
    let (pool, passthrough) = (&config.pool, &config.passthrough);
    let pools = config.upstream.databases.known().count() * config.roles.len();
    let servers = pools * (pool.servers.default_pool_size + pool.servers.reserve_pool_size);
    let http = if config.listen.http.is_empty() { 0 } else { config.http.max_connections };
    let direct = if passthrough.users.is_empty() { 0 } else { passthrough.max_conn };
    (pool.max_client_conn + http + servers + direct) as u64 + BESIDE
}
