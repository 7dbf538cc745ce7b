//! Between a client and the server that is its own: two lanes, and the account of what is owed. Nothing is taken out and
//! nothing put in but the client's leave, for what is read of the frames is only where one ends and what is under way.

use std::io;
use std::task::{Context, Poll};

use upstream::Direct;
use wire::frame::{backend, frontend};
use wire::lane::{Lane, Verdict};
use wire::owed::{Answer, Owed};
use wire::stream::Stream;

use crate::deadlines::{Progress, Standing};
use crate::relay::{Broken, End, Farewell, drain_down, drain_up, fill_down, fill_up, is_request};

/// See the module.
#[derive(Debug)]
pub(super) struct Relay {
    client: Stream,
    pub(super) server: Direct,
    up: Lane,
    down: Lane,
    owed: Owed,
    progress: Progress,
    /// The client may say more: its socket has not ended, nor has it taken leave.
    listening: bool,
    /// It has taken leave. What comes behind that is not heard.
    terminated: bool,
    /// The server takes no more bytes.
    up_closed: bool,
    /// It sends no more bytes; the cause, if the socket failed.
    down_closed: Option<Option<io::Error>>,
    /// The last thing the client was told is an error.
    error_told: bool,
}

impl Relay {
    /// Between these two, of which the one waits for a request of the other.
    pub(super) fn new(client: Stream, server: Direct) -> Self {
        Self {
            client,
            server,
            up: Lane::default(),
            down: Lane::default(),
            owed: Owed::default(),
            progress: Progress::default(),
            listening: true,
            terminated: false,
            up_closed: false,
            down_closed: None,
            error_told: false,
        }
    }

    /// Tells the client something before anything of the server's.
    pub(super) fn tell(&mut self, message: &[u8]) {
        self.down.insert(message);
    }

    /// Relays until one of them is done.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        match self.pump(cx) {
            Ok(()) => self.has_left().map_or(Poll::Pending, Poll::Ready),
            Err(end) => Poll::Ready(end),
        }
    }

    /// Whether a request is under way, or a transaction open.
    pub(super) fn is_busy(&self) -> bool {
        !self.owed.is_idle()
    }

    /// What the session does at the moment.
    pub(super) fn standing(&self) -> Standing {
        Standing::of(&self.owed, self.progress)
    }

    /// Parts the two.
    pub(super) fn part(self) -> (Farewell, Direct) {
        (Farewell::new(self.client, self.down), self.server)
    }

    /// Moves what can be moved, until both directions wait.
    fn pump(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            while self.pump_up(cx)? {}
            let full = self.owed.is_full();
            while self.pump_down(cx)? {}
            // An answer may let a request go up that had to wait. Nothing else of the one depends on the other.
            if !full || self.owed.is_full() || self.up_closed {
                return Ok(());
            }
        }
    }

    /// Moves what there is. Whether there may be more: the client has to be asked until it says that it will wake us.
    fn pump_up(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let full = self.up.is_full();
        let more = fill_up(&mut self.up, cx, &mut self.client, &mut self.listening)?;
        if self.up_closed {
            return Ok(more);
        }
        self.scan_up().map_err(End::ClientBroke)?;
        Ok(more | drain_up(&mut self.up, cx, &mut self.server.stream, &mut self.up_closed, full))
    }

    fn scan_up(&mut self) -> Result<(), Broken> {
        let Self { up, owed, listening, terminated, .. } = self;
        up.scan(
            |_| 0,
            |header, _| match header.tag {
                _ if *terminated || owed.is_full() => Ok(Verdict::Hold),
                frontend::TERMINATE => {
                    (*listening, *terminated) = (false, true);
                    Ok(Verdict::Swallow)
                }
                tag if is_request(header) => {
                    owed.sent(tag, Answer::Forward);
                    Ok(Verdict::Forward)
                }
                tag => Err(Broken::Tag(tag)),
            },
        )
    }

    /// The same in the other direction.
    fn pump_down(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let full = self.down.is_full();
        let more = fill_down(&mut self.down, cx, &mut self.server.stream, &mut self.down_closed);
        self.scan_down().map_err(End::ServerBroke)?;
        let how = (self.listening, self.error_told);
        let drained = drain_down(&mut self.down, cx, &mut self.client, &mut self.down_closed, full, how)?;
        Ok(more | drained)
    }

    fn scan_down(&mut self) -> Result<(), Broken> {
        let Self { down, owed, progress, error_told, .. } = self;
        let status = |tag| usize::from(tag == backend::READY_FOR_QUERY);
        down.scan(status, |header, head| {
            owed.received(header.tag, head.first().copied());
            if header.tag == backend::READY_FOR_QUERY {
                progress.answered(owed.status());
            }
            *error_told = header.tag == backend::ERROR_RESPONSE;
            Ok(Verdict::Forward)
        })
    }

    /// The client is done, and so is the server, or it will not be without the client.
    fn has_left(&self) -> Option<End> {
        if self.listening || self.up.has_output() || self.down.has_output() {
            return None;
        }
        if !self.up.at_boundary() {
            // The server waits for the rest of a message, which will never come.
            return Some(End::ClientLost(io::ErrorKind::UnexpectedEof.into()));
        }
        // Of an account that is astray nobody knows whether anything is still to come.
        let over = self.owed.is_settled() || !self.owed.settles_unaided() || self.owed.is_astray();
        over.then_some(End::Left)
    }
}
