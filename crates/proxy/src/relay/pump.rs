//! How bytes are moved in both directions, as far as the sockets go.

use std::io;
use std::task::{Context, Poll};

use upstream::default_access;
use wire::lane::Lane;
use wire::stream::Stream;

use super::{Broken, End, Relay, down, up};

impl Relay {
    /// Moves what can be moved, until both directions wait.
    pub(super) fn pump(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            while self.pump_up(cx)? {}
            let held = self.must_wait();
            while self.pump_down(cx)? && !self.is_over() {}
            // What the server answered may let something go up: session init, or a request that had to wait. Nothing
            // else of the one depends on the other.
            let link = self.link.as_ref().expect("there is a server to relay with");
            let due = link.upkeep.is_due(&self.owed) || held && !self.must_wait();
            let more = due && self.up.at_boundary() && !link.up_closed;
            if !more {
                return Ok(());
            }
        }
    }

    /// Moves what there is. Whether there may be more: the client has to be asked until it says that it will wake us.
    fn pump_up(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let full = self.up.is_full();
        let more = fill_up(&mut self.up, cx, &mut self.client, &mut self.session.listening)?;
        if self.link.as_ref().is_some_and(|link| link.up_closed) {
            return Ok(more);
        }
        self.scan_up().map_err(End::ClientBroke)?;
        let link = self.link.as_mut().expect("there is a server to relay with");
        Ok(more | drain_up(&mut self.up, cx, &mut link.lease.stream, &mut link.up_closed, full))
    }

    fn scan_up(&mut self) -> Result<(), Broken> {
        let link = self.link.as_mut().expect("there is a server to relay with");
        if self.up.at_boundary() && link.upkeep.is_due(&self.owed) {
            let access = default_access(&link.lease.parameters);
            let flight = link.upkeep.flight(&self.owed, &link.init, &self.session.remembered, access);
            self.send(&flight);
        }
        let Self { up, owed, session, link, .. } = self;
        let link = link.as_mut().expect("there is a server to relay with");
        up.scan_by(&mut up::Up { owed, session, link })
    }

    /// The same in the other direction.
    fn pump_down(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let full = self.down.is_full();
        let link = self.link.as_mut().expect("there is a server to relay with");
        let more = fill_down(&mut self.down, cx, &mut link.lease.stream, &mut link.down_closed);
        self.scan_down()?;
        let link = self.link.as_mut().expect("there is a server to relay with");
        let how = (self.session.listening, self.error_told);
        drain_down(&mut self.down, cx, &mut self.client, &mut link.down_closed, full, how).map(|drained| more | drained)
    }

    fn scan_down(&mut self) -> Result<(), End> {
        let Self { down, owed, session, link, error_told, .. } = self;
        let link = link.as_mut().expect("there is a server to relay with");
        let mut judge = down::Down { owed, session, link, error_told, end: None };
        let scanned = down.scan_by(&mut judge);
        match (scanned, judge.end) {
            (Err(broken), _) => Err(End::ServerBroke(broken)),
            (Ok(()), Some(end)) => Err(end),
            (Ok(()), None) => Ok(()),
        }
    }

    fn must_wait(&self) -> bool {
        self.link.as_ref().is_some_and(|link| up::must_wait(&self.owed, &self.session, link))
    }
}

// The steps of a pump, for whoever moves bytes between a client and a server.

/// Reads from the client, who may have ended its side. Whether something has come.
#[inline]
pub(crate) fn fill_up(
    up: &mut Lane,
    cx: &mut Context<'_>,
    client: &mut Stream,
    listening: &mut bool,
) -> Result<bool, End> {
    if *listening && client.poll_readable(cx).is_ready() {
        match up.poll_fill(cx, client) {
            Poll::Ready(Ok(0)) => *listening = false,
            Poll::Ready(Ok(_)) => return Ok(true),
            Poll::Ready(Err(error)) => return Err(End::ClientLost(error)),
            Poll::Pending => {}
        }
    }
    Ok(false)
}

/// Writes to the server. Whether that has made room for more: `full`, there was none.
#[inline]
pub(crate) fn drain_up(
    up: &mut Lane,
    cx: &mut Context<'_>,
    server: &mut Stream,
    closed: &mut bool,
    full: bool,
) -> bool {
    match up.poll_drain(cx, server) {
        Poll::Ready(Ok(written)) => written > 0 && (full || up.has_unseen()),
        // It may have said why before it went: that is still to be read.
        Poll::Ready(Err(_)) => {
            *closed = true;
            false
        }
        Poll::Pending => false,
    }
}

/// Reads from the server, which may have gone. Whether something has come.
#[inline]
pub(crate) fn fill_down(
    down: &mut Lane,
    cx: &mut Context<'_>,
    server: &mut Stream,
    closed: &mut Option<Option<io::Error>>,
) -> bool {
    if closed.is_none() && server.poll_readable(cx).is_ready() {
        match down.poll_fill(cx, server) {
            Poll::Ready(Ok(0)) => *closed = Some(None),
            Poll::Ready(Ok(_)) => return true,
            Poll::Ready(Err(error)) => *closed = Some(Some(error)),
            Poll::Pending => {}
        }
    }
    false
}

/// Writes to the client. Whether that has made room for more; the end, if all is written of a server that has gone. `how`:
/// whether the client is listened to, and whether the last that it was told is an error.
#[inline]
pub(crate) fn drain_down(
    down: &mut Lane,
    cx: &mut Context<'_>,
    client: &mut Stream,
    closed: &mut Option<Option<io::Error>>,
    full: bool,
    how: (bool, bool),
) -> Result<bool, End> {
    match (down.poll_drain(cx, client), how) {
        (Poll::Ready(Ok(written)), (listening, error_told)) => match closed.take() {
            None => Ok(written > 0 && (full || down.has_unseen())),
            Some(_) if !listening => Err(End::Left),
            Some(_) if error_told => Err(End::ServerClosed),
            Some(cause) => Err(End::ServerLost(cause)),
        },
        (Poll::Ready(Err(error)), _) => Err(End::ClientLost(error)),
        (Poll::Pending, _) => Ok(false),
    }
}
