//! Which of the idle servers is lent: the one on which the least has to be done.

use std::collections::VecDeque;
use std::thread::ThreadId;

use super::{Holds, Reuse, Tenant};
use crate::server::Server;

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
pub(super) fn pick(idle: &VecDeque<Box<Server>>, tenant: &Tenant, thread: ThreadId, reuse: Reuse) -> Option<usize> {
    // The usual case. The one that was used last has the warmest caches, if it is of this thread.
    let mut foreign = None;
    for (index, server) in idle.iter().enumerate().rev().filter(|(_, server)| server.holds == Holds::Tenant(*tenant)) {
        if server.thread == thread {
            return Some(index);
        }
        foreign = foreign.or(Some(index));
    }
    if foreign.is_some() {
        return foreign;
    }
    let fits =
        idle.iter().enumerate().filter_map(|(index, server)| Some((fit(index, server, tenant, thread, reuse)?, index)));
    fits.min().map(|(_, index)| index)
}

fn fit(index: usize, server: &Server, tenant: &Tenant, thread: ThreadId, reuse: Reuse) -> Option<Fit> {
    let age = usize::MAX - index;
    let foreign = server.thread != thread;
    match &server.holds {
        Holds::Tenant(held) if held.identity == tenant.identity => Some(Fit::SameIdentity { age }),
        Holds::Nothing => Some(Fit::AsNew { foreign, age }),
        _ if reuse == Reuse::Never || !server.reusable => None,
        _ => Some(Fit::Others { foreign, youth: index }),
    }
}

/// Whether anybody at all may have a server.
pub(super) fn is_lendable(server: &Server, reuse: Reuse) -> bool {
    server.holds != Holds::Unknown || (server.reusable && reuse == Reuse::Switch)
}
