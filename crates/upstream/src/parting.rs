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
use crate::connect::Route;

/// How long a server may take to go before it is interrupted, and how long it may take after many times.
const PATIENCE: Duration = Duration::from_secs(1);
const MOST_PATIENCE: Duration = Duration::from_secs(15);

/// How long there may be no sign that the server lives: nobody answers where it is, or its machine acknowledges nothing. One
/// that has vanished never tells. A backend that reads nothing more of what it was sent is taken for silent too.
const SILENCE: Duration = Duration::from_secs(60);

/// A connection that is nobody's any more, to a server that has yet to go.
#[derive(Debug)]
#[must_use = "dropped, it is hung up and not waited for"]
pub(crate) struct Parting {
    stream: Stream,
    route: Route,
    /// None where the server has not told how to interrupt it.
    cancel: Option<Arc<CancelTarget>>,
    /// Whether it is told that we go.
    goodbye: bool,
}

/// What came of waiting for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is gone.
    Gone,
    /// There is no sign of it, and it is waited for no longer.
    Silent,
}

impl Parting {
    /// From a server that waits for a request, or soon will. It gets a goodbye, and so logs no lost connection.
    pub(crate) fn politely(stream: Stream, cancel: Arc<CancelTarget>) -> Self {
        Self { goodbye: true, ..Self::anyhow(stream, cancel) }
    }

    /// From a server wherever it stands. A goodbye could be taken there for the rest of something else.
    pub(crate) fn anyhow(stream: Stream, cancel: Arc<CancelTarget>) -> Self {
        Self { stream, route: cancel.route().clone(), cancel: Some(cancel), goodbye: false }
    }

    /// From a server in which nobody has come in.
    pub(crate) fn of_login(stream: Stream, route: Route) -> Self {
        Self { stream, route, cancel: None, goodbye: false }
    }

    /// The process id of the backend, if it has told.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.cancel.as_ref().map(|cancel| cancel.pid())
    }

    /// Hangs up and waits until the server is gone, or gives no sign of life. One that stays is interrupted again and
    /// again: a request that was there before the statement has interrupted nothing, and one statement may be behind
    /// another.
    pub(crate) async fn gone(self) -> Outcome {
        let Self { mut stream, route, cancel, goodbye } = self;
        // Who answers need not be this server: a balancer may have another behind it by now.
        let _ = stream.give_up_after(SILENCE);
        let mut leaving = pin!(leave(&mut stream, goodbye));
        let (mut patience, mut alive) = (PATIENCE, Instant::now());
        while alive.elapsed() < SILENCE {
            if timeout(patience, &mut leaving).await.is_ok() {
                return Outcome::Gone;
            }
            patience = (patience * 2).min(MOST_PATIENCE);
            let rousing = timeout(MOST_PATIENCE, rouse(&route, cancel.as_deref(), alive.elapsed() >= SILENCE / 2));
            tokio::select! {
                () = &mut leaving => return Outcome::Gone,
                answered = rousing => if answered == Ok(true) { alive = Instant::now() },
            }
        }
        Outcome::Silent
    }
}

/// Interrupts a server, and if it has been silent for long asks whether it is there. Whether it has answered.
async fn rouse(route: &Route, cancel: Option<&CancelTarget>, ask: bool) -> bool {
    if let Some(cancel) = cancel {
        // If it does not arrive, the next one may.
        let _ = cancel.send().await;
    }
    ask && route.answers().await
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
    use tokio::net::TcpListener;

    use super::*;
    use crate::address::Address;
    use crate::channel_binding::Binding;
    use crate::connect::connect;
    use crate::server::ConnectConfig;
    use crate::tls::{Attempt, Tls};

    /// A connection, and its other end.
    async fn connected(listener: &TcpListener) -> (Stream, Route, Stream) {
        let config = ConnectConfig {
            address: Address::new("127.0.0.1", listener.local_addr().unwrap().port()),
            tls: Tls::disabled(),
            allow_md5: false,
            binding: Binding::Prefer,
            connect_timeout: SILENCE,
            login_timeout: SILENCE,
        };
        let (stream, route) = connect(&config, &Attempt::Plain).await.unwrap_or_else(|_| panic!("it listens"));
        let (far, _) = listener.accept().await.unwrap();
        (stream, route, far.into())
    }

    async fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.unwrap()
    }

    /// Partings from one server, with a key and without.
    async fn partings(listener: &TcpListener) -> [(Parting, Stream); 2] {
        let (one, route, far) = connected(listener).await;
        let cancel = Arc::new(CancelTarget::new(route, 1, 2, SILENCE));
        let (other, route, other_far) = connected(listener).await;
        [(Parting::anyhow(one, cancel), far), (Parting::of_login(other, route), other_far)]
    }

    // Where the clock is paused, time passes whenever there is nothing else to do.

    #[tokio::test]
    async fn a_server_that_stays_is_given_up_if_nobody_answers_there() {
        let listener = listener().await;
        let partings = partings(&listener).await;
        drop(listener);
        tokio::time::pause();

        for (parting, _far) in partings {
            let begun = Instant::now();
            let outcome = timeout(3 * SILENCE, parting.gone()).await.expect("it is not waited for");
            assert!(outcome == Outcome::Silent && begun.elapsed() >= SILENCE);
        }
    }

    #[tokio::test]
    async fn a_server_that_stays_is_given_up_if_who_answers_hangs_up() {
        let listener = listener().await;
        let partings = partings(&listener).await;
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        tokio::time::pause();

        for (parting, _far) in partings {
            let outcome = timeout(3 * SILENCE, parting.gone()).await.expect("it is not waited for");
            assert_eq!(outcome, Outcome::Silent);
        }
    }

    #[tokio::test]
    async fn a_server_that_stays_is_waited_for_as_long_as_it_answers() {
        let listener = listener().await;
        let partings = partings(&listener).await;
        tokio::spawn(async move {
            while let Ok((mut asking, _)) = listener.accept().await {
                let mut request = [0; 8];
                if asking.read_exact(&mut request).await.is_ok() {
                    let _ = asking.write_all(b"N").await;
                }
            }
        });
        tokio::time::pause();

        for (parting, far) in partings {
            let mut gone = pin!(parting.gone());
            assert!(timeout(10 * SILENCE, &mut gone).await.is_err());
            drop(far);
            assert_eq!(gone.await, Outcome::Gone);
        }
    }

    #[tokio::test]
    async fn a_server_that_goes_is_gone() {
        let listener = listener().await;
        for (parting, mut far) in partings(&listener).await {
            let gone = tokio::spawn(parting.gone());
            assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
            drop(far);
            assert_eq!(gone.await.unwrap(), Outcome::Gone);
        }
    }
}
