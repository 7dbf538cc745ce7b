//! How a relay ends, and what is said then.

use std::io;
use std::time::Duration;

use wire::frame::{BadLength, Tag};
use wire::lane::Lane;
use wire::stream::Stream;

use crate::client;
use crate::statements::BadName;

/// How long a client may take to read its last message.
const FAREWELL: Duration = Duration::from_secs(5);

/// How a relay ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The client left.
    Left,
    /// The client's socket failed.
    ClientLost(io::Error),
    /// The server closed the connection, having told the client why.
    ServerClosed,
    /// The server was gone without a word.
    ServerLost(Option<io::Error>),
    /// The client sent what is not a message.
    ClientBroke(Broken),
    /// The server sent what is not a message.
    ServerBroke(Broken),
    /// The session could not be set up on its server, or not again; what the server said.
    IdentityLost(String),
    /// A statement was prepared again while the client's requests for it were on their way, and has another result than
    /// the client knows.
    ResultChanged,
}

/// What is not a message of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A length below four.
    Length(BadLength),
    /// A tag that no client sends at this point.
    Tag(Tag),
    /// A name without an end where it has to have one.
    Name(Tag),
}

impl From<BadLength> for Broken {
    fn from(bad: BadLength) -> Self {
        Self::Length(bad)
    }
}

impl From<(Tag, BadName)> for Broken {
    fn from((tag, _): (Tag, BadName)) -> Self {
        Self::Name(tag)
    }
}

/// A client whose session is over.
#[derive(Debug)]
pub(crate) struct Farewell {
    client: Stream,
    down: Lane,
}

impl Farewell {
    /// What is left of a relay.
    pub(crate) fn new(client: Stream, down: Lane) -> Self {
        Self { client, down }
    }

    /// Tells the client why it ends, if there is something to say and a message fits in where its stream stands, and
    /// closes.
    pub(crate) async fn say(mut self, message: &[u8]) {
        if self.down.at_boundary() {
            self.down.insert(message);
            let told = std::future::poll_fn(|cx| self.down.poll_drain(cx, &mut self.client));
            // Whether it was read or not, this is over.
            let _ = tokio::time::timeout(FAREWELL, told).await;
        }
        // What a tunnel has been told can be read when it is gone.
        if !self.client.is_tunnel() {
            client::close(self.client).await;
        }
    }
}
