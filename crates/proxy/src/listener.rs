//! Where clients connect.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tracing::{error, warn};

use crate::config::Address;
use crate::proxy::Proxy;
use crate::workers::Workers;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 4096;

/// How long accepting rests when the process has no descriptor left. Another connection has to end first.
pub(crate) const EXHAUSTED: Duration = Duration::from_millis(100);

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket, and the path to remove when it is closed.
    Unix(UnixListener, PathBuf),
}

/// A connection as the system hands it over; it belongs to no runtime yet.
#[derive(Debug)]
pub(crate) enum Accepted {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Listener {
    /// Listens at an address. A socket file that nobody listens behind any more is replaced.
    ///
    /// # Errors
    /// What the system says.
    pub async fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => bind_tcp(*address).map(Self::Tcp),
            Address::Unix(path) => bind_unix(path).await.map(|listener| Self::Unix(listener, path.clone())),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => listener.local_addr().map_or_else(|error| error.to_string(), |at| at.to_string()),
            Self::Unix(_, path) => path.display().to_string(),
        }
    }

    /// Accepts until told to stop, and hands each connection to a worker.
    pub(crate) async fn run(self, proxy: Arc<Proxy>, workers: Arc<Workers>) {
        let stopped = proxy.stop.gently.clone().cancelled_owned();
        let accepting = async {
            loop {
                match self.accept().await {
                    Ok(socket) => admit(socket, &proxy, &workers),
                    Err(error) if is_exhausted(&error) => {
                        error!(%error, "cannot accept connections");
                        tokio::time::sleep(EXHAUSTED).await;
                    }
                    // The client was gone before it was accepted.
                    Err(error) => warn!(%error, "a connection was not accepted"),
                }
            }
        };
        tokio::select! {
            () = stopped => {}
            () = accepting => {}
        }
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (socket, _) = listener.accept().await?;
                socket.set_nodelay(true)?;
                Ok(Accepted::Tcp(socket.into_std()?))
            }
            Self::Unix(listener, _) => Ok(Accepted::Unix(listener.accept().await?.0.into_std()?)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // If it is gone already, all the better.
            let _ = fs::remove_file(path);
        }
    }
}

/// Listens at a TCP address, whatever is spoken there.
///
/// # Errors
/// What the system says.
pub(crate) fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Connections have it from here. Without it a client whose machine is gone would keep its seat for ever.
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixStream::connect(path).await {
        Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    // As Postgres does: who gets in is decided by the token, not by the file.
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
    Ok(listener)
}

/// Gives a connection to a worker, or turns it away where too many are logging in. There is no time to be lost on the
/// latter: whatever the kernel takes at once has to do.
fn admit(socket: Accepted, proxy: &Arc<Proxy>, workers: &Workers) {
    match proxy.admission.login() {
        Ok(permit) => workers.serve(socket, proxy, permit),
        Err(error) => {
            warn!(reason = %error, "connection refused");
            if let Some(refusal) = error.refusal(proxy.limits.auth_error_detail, proxy.next_connection()) {
                let _ = socket.into_writer().write(&refusal.to_message());
            }
        }
    }
}

impl Accepted {
    /// Takes the connection to the runtime that this is called on.
    pub(crate) fn into_stream(self) -> io::Result<wire::stream::Stream> {
        match self {
            Self::Tcp(socket) => TcpStream::from_std(socket).map(Into::into),
            Self::Unix(socket) => UnixStream::from_std(socket).and_then(TryInto::try_into),
        }
    }

    fn into_writer(self) -> Box<dyn Write> {
        match self {
            Self::Tcp(socket) => Box::new(socket),
            Self::Unix(socket) => Box::new(socket),
        }
    }
}

/// Whether it is the process or the system that has no descriptor or memory left.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    matches!(error.raw_os_error(), Some(ENOMEM | ENFILE | EMFILE | ENOBUFS))
}
