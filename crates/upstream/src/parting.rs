//! The end of a server connection. What we hang up on may be at work for a while yet, and as long as it is it has one of the
//! connections that the database can have.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncWriteExt, copy, sink};
use tokio::time::{Instant, timeout};
use wire::stream::Stream;

use crate::cancel::CancelTarget;

/// How long a server may take to go before it is interrupted, and how long it may take after many times.
const PATIENCE: Duration = Duration::from_secs(1);
const MOST_PATIENCE: Duration = Duration::from_secs(15);

/// How long there may be no sign that the server lives: it takes no request to cancel, or its machine acknowledges nothing.
/// One that has vanished never tells. What is no sign either is a backend that reads nothing more of what was sent, and
/// one in which a login hangs, for which there is no key.
const SILENCE: Duration = Duration::from_secs(60);

/// A connection that is nobody's any more, to a server that has yet to go.
#[derive(Debug)]
#[must_use = "dropped, it is hung up and not waited for"]
pub(crate) struct Parting {
    stream: Stream,
    /// None where the server has not told how to interrupt it.
    cancel: Option<Arc<CancelTarget>>,
    /// Whether it is told that we go.
    goodbye: bool,
}

impl Parting {
    /// From a server that waits for a request, or soon will. It gets a goodbye, and so logs no lost connection.
    pub(crate) fn politely(stream: Stream, cancel: Arc<CancelTarget>) -> Self {
        Self { stream, cancel: Some(cancel), goodbye: true }
    }

    /// From a server wherever it stands. A goodbye could be taken there for the rest of something else.
    pub(crate) fn anyhow(stream: Stream, cancel: Option<Arc<CancelTarget>>) -> Self {
        Self { stream, cancel, goodbye: false }
    }

    /// Hangs up and waits until the server is gone, or gives no sign of life. One that stays is interrupted again and
    /// again: a request that was there before the statement has interrupted nothing, and one statement may be behind
    /// another.
    pub(crate) async fn gone(self) {
        let Self { mut stream, cancel, goodbye } = self;
        // The way to the cancel may not be the one to the server: a name or a balancer may have another behind it by now.
        let _ = stream.give_up_after(SILENCE);
        let mut leaving = pin!(leave(&mut stream, goodbye));
        let (mut patience, mut alive) = (PATIENCE, Instant::now());
        while alive.elapsed() < SILENCE && timeout(patience, &mut leaving).await.is_err() {
            // If it does not arrive, the next one may.
            if let Some(cancel) = &cancel
                && cancel.send().await.is_ok()
            {
                alive = Instant::now();
            }
            patience = (patience * 2).min(MOST_PATIENCE);
        }
    }
}

async fn leave(stream: &mut Stream, goodbye: bool) {
    if goodbye {
        say_goodbye(stream).await;
    }
    if stream.shutdown().await.is_ok() {
        // Whatever it still has to say is nobody's.
        let _ = copy(stream, &mut sink()).await;
    }
}

/// Takes leave, so that the server logs no lost connection. One that is already gone needs no goodbye.
pub(crate) async fn say_goodbye(stream: &mut Stream) {
    let mut goodbye = BytesMut::new();
    frontend::terminate(&mut goodbye);
    let _ = stream.write_all(&goodbye).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::address::Address;
    use crate::connect::connect;
    use crate::server::ConnectConfig;
    use crate::tls::{Attempt, Tls};

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_connection_breaks_if_the_machine_is_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.set_nonblocking(true).unwrap();
        let seen = near.try_clone().unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let stream = TcpStream::from_std(near).unwrap().into();

        let parting = tokio::spawn(Parting::anyhow(stream, None).gone());

        // It has hung up, so what comes before that has been done.
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(socket2::SockRef::from(&seen).tcp_user_timeout().unwrap(), Some(SILENCE));
        drop(far);
        parting.await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_neither_goes_nor_takes_a_cancel_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = ConnectConfig {
            address: Address::new("127.0.0.1", listener.local_addr().unwrap().port()),
            tls: Tls::disabled(),
            allow_md5: false,
            connect_timeout: SILENCE,
            login_timeout: SILENCE,
        };
        let (stream, route) = connect(&config, &Attempt::Plain).await.unwrap_or_else(|_| panic!("it listens"));
        let _far = listener.accept().await.unwrap();
        drop(listener);
        let cancel = Arc::new(CancelTarget::new(route, 1, 2, config.login_timeout));
        // From here on time passes whenever there is nothing else to do.
        tokio::time::pause();

        let begun = Instant::now();
        Parting::anyhow(stream, Some(cancel)).gone().await;

        assert!(begun.elapsed() >= SILENCE);
    }
}
