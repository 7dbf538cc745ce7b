//! The threads that connections are spread over.
//!
//! Every worker has a runtime of its own, and a connection stays with the worker it was given to: to move it, and to
//! wake another thread for it, costs more than what a relay does per statement. The first worker is the thread that
//! listens.

use std::io;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::admission::LoginPermit;
use crate::listener::Accepted;
use crate::proxy::Proxy;
use crate::session;

/// All workers. Their threads end when this is dropped, with whatever still runs on them.
#[derive(Debug)]
pub(crate) struct Workers {
    workers: Vec<Worker>,
    ended: CancellationToken,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    sessions: TaskTracker,
}

impl Workers {
    /// Starts the threads; the calling one is the first.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let mut all = Self::apart(count - 1, "worker")?;
        all.workers.push(Worker::on(Handle::current()));
        Ok(all)
    }

    /// Starts threads of this name; the calling one is not among them.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn apart(count: usize, name: &str) -> io::Result<Self> {
        let ended = CancellationToken::new();
        let mut workers = Vec::new();
        for number in 1..=count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            workers.push(Worker::on(runtime.handle().clone()));
            let until = ended.clone().cancelled_owned();
            let thread = std::thread::Builder::new().name(format!("{name}-{number}"));
            thread.spawn(move || runtime.block_on(until))?;
        }
        Ok(Self { workers, ended })
    }

    /// Serves a connection of a Postgres client.
    pub(crate) fn serve(&self, socket: Accepted, proxy: &Arc<Proxy>, permit: LoginPermit) {
        let (proxy, id) = (proxy.clone(), proxy.next_connection());
        self.spawn(session::serve(async move {
            match socket.into_stream() {
                Ok(stream) => session::enter(stream, proxy, permit, id, |_| Ok(())).await,
                Err(error) => {
                    debug!(id, %error, "connection lost before it was served");
                    None
                }
            }
        }));
    }

    /// Does something on the worker that does the fewest things.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let worker = self.workers.iter().min_by_key(|worker| worker.sessions.len()).expect("there is a worker");
        worker.sessions.spawn_on(work, &worker.runtime);
    }

    /// Waits until every connection has ended. There must be no new ones.
    pub(crate) async fn finished(&self) {
        for worker in &self.workers {
            worker.sessions.close();
            worker.sessions.wait().await;
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl Worker {
    fn on(runtime: Handle) -> Self {
        Self { runtime, sessions: TaskTracker::new() }
    }
}
