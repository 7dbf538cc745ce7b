//! The data phase: two lanes between a client and its server, and the account of what is owed.
//!
//! One future moves both directions, because each must go on while the other is stuck: a client that pipelines into
//! a server which is blocked on its results would wait for ever otherwise. A socket is read into a lane's fixed
//! buffer and written from it, so a peer that does not read stops the other and nothing grows.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite;
use upstream::DefaultAccess;
use wire::frame::{BadLength, Header, Tag, backend, frontend};
use wire::lane::{Lane, Verdict};
use wire::owed::{Answer, Owed};
use wire::stream::Stream;

use crate::alarm::Alarm;
use crate::client;
use crate::upkeep::{self, Upkeep};

/// How long a client may take to read its last message.
const FAREWELL: Duration = Duration::from_secs(5);

/// The parameter that decides whether session init has to ask for a transaction that may write.
const READ_ONLY: &[u8] = b"default_transaction_read_only\0on\0";

/// How a relay ended.
#[derive(Debug)]
pub(crate) enum End<R> {
    /// The client left and the server is done with it.
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
    /// The claims could not be set again.
    IdentityLost,
    /// It was asked to end.
    Asked(R),
}

/// What is not a message of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A length below four.
    Length(BadLength),
    /// A tag that no client sends at this point.
    Tag(Tag),
}

impl From<BadLength> for Broken {
    fn from(bad: BadLength) -> Self {
        Self::Length(bad)
    }
}

/// A client and its server.
#[derive(Debug)]
pub(crate) struct Relay {
    client: Stream,
    server: Stream,
    up: Lane,
    down: Lane,
    owed: Owed,
    upkeep: Upkeep,
    /// The client has not said that it is done.
    listening: bool,
    /// The server takes no more bytes.
    up_closed: bool,
    /// The server sends no more bytes; the cause, if the socket failed.
    down_closed: Option<Option<io::Error>>,
    /// The last thing the client was told is an error.
    error_told: bool,
}

impl Relay {
    /// Joins a client that has been told it is in with the server that waits for its first request.
    pub(crate) fn new(client: Stream, server: Stream, upkeep: Upkeep) -> Self {
        Self {
            client,
            server,
            up: Lane::default(),
            down: Lane::default(),
            owed: Owed::default(),
            upkeep,
            listening: true,
            up_closed: false,
            down_closed: None,
            error_told: false,
        }
    }

    /// Relays until one side ends, or until asked: `when_idle` ends it as soon as no transaction is open, `at_once`
    /// wherever it stands.
    pub(crate) async fn run<R>(
        &mut self,
        when_idle: impl Future<Output = R>,
        at_once: impl Future<Output = R>,
    ) -> End<R> {
        let (when_idle, at_once) = (pin!(when_idle), pin!(at_once));
        let (mut when_idle, mut at_once) = (Alarm::new(when_idle), Alarm::new(at_once));
        let mut asked = None;
        std::future::poll_fn(|cx| {
            // First, because what comes after may use up all that a task may do at one time.
            if let Poll::Ready(reason) = Pin::new(&mut at_once).poll(cx) {
                return Poll::Ready(End::Asked(reason));
            }
            if let Err(end) = self.pump(cx) {
                return Poll::Ready(end);
            }
            if asked.is_none()
                && let Poll::Ready(reason) = Pin::new(&mut when_idle).poll(cx)
            {
                asked = Some(reason);
            }
            match asked.take_if(|_| self.is_idle()) {
                Some(reason) => Poll::Ready(End::Asked(reason)),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Parts the two: there is a last word for the client, and whatever is still to be done with the server.
    pub(crate) fn part(self) -> (Farewell, Stream) {
        (Farewell { client: self.client, down: self.down }, self.server)
    }

    /// Whether a request of the client's is under way, or a transaction open.
    pub(crate) fn is_busy(&self) -> bool {
        !self.owed.is_idle()
    }

    fn is_idle(&self) -> bool {
        self.owed.is_idle() && self.up.is_empty() && self.down.is_empty()
    }

    /// Moves what can be moved, until both directions wait.
    fn pump<R>(&mut self, cx: &mut Context<'_>) -> Result<(), End<R>> {
        loop {
            while self.pump_up(cx)? {}
            let held = must_wait(&self.upkeep, &self.owed);
            while self.pump_down(cx)? {}
            // What the server answered may let something go up: session init, or a request that had to wait. Nothing
            // else of the one depends on the other.
            let due = self.upkeep.is_due(&self.owed) || held && !must_wait(&self.upkeep, &self.owed);
            let more = due && self.up.at_boundary() && !self.up_closed;
            if !more {
                return Ok(());
            }
        }
    }

    /// Moves what there is. Whether it was something: then there may be more, and the socket must be asked until it
    /// says that it will wake us.
    fn pump_up<R>(&mut self, cx: &mut Context<'_>) -> Result<bool, End<R>> {
        let mut moved = false;
        if self.listening {
            match self.up.poll_fill(cx, &mut self.client) {
                Poll::Ready(Ok(0)) => self.listening = false,
                Poll::Ready(Ok(_)) => moved = true,
                Poll::Ready(Err(error)) => return Err(End::ClientLost(error)),
                Poll::Pending => {}
            }
        }
        if self.up_closed {
            return Ok(moved);
        }
        self.scan_up().map_err(End::ClientBroke)?;
        match self.up.poll_drain(cx, &mut self.server) {
            Poll::Ready(Ok(written)) => moved |= written > 0,
            // It may have said why before it went: that is still to be read.
            Poll::Ready(Err(_)) => self.up_closed = true,
            Poll::Pending => return Ok(moved),
        }
        if !self.listening && !must_wait(&self.upkeep, &self.owed) {
            // The server answers what it has got, and then closes.
            self.up_closed |= Pin::new(&mut self.server).poll_shutdown(cx).is_ready();
        }
        Ok(moved)
    }

    fn scan_up(&mut self) -> Result<(), Broken> {
        let Self { up, owed, upkeep, listening, .. } = self;
        if up.at_boundary()
            && let Some(flight) = upkeep.take_due(owed)
        {
            up.insert(&flight.bytes);
            flight.requests.iter().for_each(|tag| owed.sent(*tag, Answer::Swallow));
        }
        up.scan(upkeep::request_head, |Header { tag, body }, head| {
            if must_wait(upkeep, owed) {
                return Ok(Verdict::Hold);
            }
            upkeep.requested(tag, head, body as usize == head.len() && owed.is_settled());
            match tag {
                frontend::TERMINATE => *listening = false,
                _ if !is_request(tag) => return Err(Broken::Tag(tag)),
                _ => owed.sent(tag, Answer::Forward),
            }
            Ok(Verdict::Forward)
        })
    }

    fn pump_down<R>(&mut self, cx: &mut Context<'_>) -> Result<bool, End<R>> {
        let mut moved = false;
        if self.down_closed.is_none() {
            match self.down.poll_fill(cx, &mut self.server) {
                Poll::Ready(Ok(0)) => self.down_closed = Some(None),
                Poll::Ready(Ok(_)) => moved = true,
                Poll::Ready(Err(error)) => self.down_closed = Some(Some(error)),
                Poll::Pending => {}
            }
        }
        self.scan_down()?;
        match self.down.poll_drain(cx, &mut self.client) {
            Poll::Ready(Ok(written)) => match self.down_closed.take() {
                Some(cause) => Err(self.server_end(cause)),
                None => Ok(moved || written > 0),
            },
            Poll::Ready(Err(error)) => Err(End::ClientLost(error)),
            Poll::Pending => Ok(moved),
        }
    }

    fn scan_down<R>(&mut self) -> Result<(), End<R>> {
        let Self { down, owed, upkeep, error_told, .. } = self;
        let mut identity_lost = false;
        let scanned = down.scan(head_wanted, |Header { tag, .. }, head| {
            let answer = owed.received(tag, head.first().copied());
            match tag {
                backend::DATA_ROW => {}
                backend::COMMAND_COMPLETE => upkeep.completed(head),
                backend::READY_FOR_QUERY => upkeep.ready(owed),
                backend::PARAMETER_STATUS => note_parameter(upkeep, head),
                backend::ERROR_RESPONSE => identity_lost |= answer == Answer::Swallow,
                _ => {}
            }
            *error_told = tag == backend::ERROR_RESPONSE && answer == Answer::Forward;
            Ok(if answer == Answer::Forward { Verdict::Forward } else { Verdict::Swallow })
        });
        match scanned {
            Err(broken) => Err(End::ServerBroke(broken)),
            Ok(()) if identity_lost => Err(End::IdentityLost),
            Ok(()) => Ok(()),
        }
    }

    fn server_end<R>(&self, cause: Option<io::Error>) -> End<R> {
        match (self.listening, self.error_told) {
            (false, _) => End::Left,
            (true, true) => End::ServerClosed,
            (true, false) => End::ServerLost(cause),
        }
    }
}

/// A client whose session is over.
#[derive(Debug)]
pub(crate) struct Farewell {
    client: Stream,
    down: Lane,
}

impl Farewell {
    /// Tells the client why it ends, if there is something to say and a message fits in where its stream stands, and
    /// closes.
    pub(crate) async fn say(mut self, message: &[u8]) {
        if self.down.at_boundary() {
            self.down.insert(message);
            let told = std::future::poll_fn(|cx| self.down.poll_drain(cx, &mut self.client));
            // Whether it was read or not, this is over.
            let _ = tokio::time::timeout(FAREWELL, told).await;
        }
        client::close(self.client).await;
    }
}

/// Whether the client's next request has to wait for an answer to those before it.
fn must_wait(upkeep: &Upkeep, owed: &Owed) -> bool {
    upkeep.holds_back(owed) || owed.is_full()
}

/// How much of a server's message has to be there before it is judged.
fn head_wanted(tag: Tag) -> usize {
    match tag {
        backend::READY_FOR_QUERY => 1,
        backend::COMMAND_COMPLETE => upkeep::TAG_HEAD,
        backend::PARAMETER_STATUS => READ_ONLY.len(),
        _ => 0,
    }
}

fn note_parameter(upkeep: &mut Upkeep, head: &[u8]) {
    let name_ends = READ_ONLY.len() - b"on\0".len();
    if head.starts_with(&READ_ONLY[..name_ends]) {
        let read_only = head == READ_ONLY;
        upkeep.set_access(if read_only { DefaultAccess::ReadOnly } else { DefaultAccess::ReadWrite });
    }
}

/// The messages that a client may send once it is in.
fn is_request(tag: Tag) -> bool {
    matches!(
        tag,
        frontend::BIND
            | frontend::CLOSE
            | frontend::COPY_DATA
            | frontend::COPY_DONE
            | frontend::COPY_FAIL
            | frontend::DESCRIBE
            | frontend::EXECUTE
            | frontend::FLUSH
            | frontend::FUNCTION_CALL
            | frontend::PARSE
            | frontend::QUERY
            | frontend::SYNC
    )
}
