//! Which of the idle servers is lent: the one on which the least has to be done.

use std::collections::VecDeque;
use std::thread::ThreadId;
use std::time::Instant;

use super::{Holds, Reuse, Tenant};
use crate::server::Server;

/// A server that nobody has.
pub(super) struct Idle {
    pub(super) server: Box<Server>,
    pub(super) holds: Holds,
    pub(super) since: Instant,
}

/// How well a server fits that must be changed first; the smallest is lent.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// The same identity with other settings.
    SameIdentity { age: usize },
    /// Nobody has used it. One of another thread would wake that thread for every byte.
    AsNew { foreign: bool, age: usize },
    /// Somebody else's, who of all has not been back for the longest time.
    Others { foreign: bool, youth: usize },
}

/// Finds the server to lend among the idle ones, of which the first has been idle for the longest time. The tenant may
/// have no other.
pub(super) fn pick(idle: &VecDeque<Idle>, tenant: &Tenant, thread: ThreadId, reuse: Reuse) -> Option<usize> {
    // The usual case. The one that was used last has the warmest caches, if it is of this thread.
    let mut foreign = None;
    for (index, idle) in idle.iter().enumerate().rev().filter(|(_, idle)| idle.holds == Holds::Tenant(*tenant)) {
        if idle.server.thread == thread {
            return Some(index);
        }
        foreign = foreign.or(Some(index));
    }
    if foreign.is_some() {
        return foreign;
    }
    let fits =
        idle.iter().enumerate().filter_map(|(index, idle)| Some((fit(index, idle, tenant, thread, reuse)?, index)));
    fits.min().map(|(_, index)| index)
}

fn fit(index: usize, idle: &Idle, tenant: &Tenant, thread: ThreadId, reuse: Reuse) -> Option<Fit> {
    let age = usize::MAX - index;
    let foreign = idle.server.thread != thread;
    match &idle.holds {
        Holds::Tenant(held) if held.identity == tenant.identity => Some(Fit::SameIdentity { age }),
        Holds::Nothing => Some(Fit::AsNew { foreign, age }),
        _ if reuse == Reuse::Never || !idle.server.reusable => None,
        _ => Some(Fit::Others { foreign, youth: index }),
    }
}

/// Whether anybody at all may have a server that holds this.
pub(super) fn is_lendable(server: &Server, holds: Holds, reuse: Reuse) -> bool {
    holds != Holds::Unknown || (server.reusable && reuse == Reuse::Switch)
}
