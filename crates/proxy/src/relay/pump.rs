//! How bytes are moved in both directions, as far as the sockets go.

use std::io;
use std::task::{Context, Poll};

use upstream::default_access;

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
        let mut more = false;
        if self.session.listening {
            match self.up.poll_fill(cx, &mut self.client) {
                Poll::Ready(Ok(0)) => self.session.listening = false,
                Poll::Ready(Ok(_)) => more = true,
                Poll::Ready(Err(error)) => return Err(End::ClientLost(error)),
                Poll::Pending => {}
            }
        }
        if self.link.as_ref().is_some_and(|link| link.up_closed) {
            return Ok(more);
        }
        self.scan_up().map_err(End::ClientBroke)?;
        let link = self.link.as_mut().expect("there is a server to relay with");
        match self.up.poll_drain(cx, &mut link.lease.stream) {
            Poll::Ready(Ok(written)) => more |= written > 0 && (full || self.up.has_unseen()),
            // It may have said why before it went: that is still to be read.
            Poll::Ready(Err(_)) => link.up_closed = true,
            Poll::Pending => {}
        }
        Ok(more)
    }

    fn scan_up(&mut self) -> Result<(), Broken> {
        let link = self.link.as_mut().expect("there is a server to relay with");
        if self.up.at_boundary() && link.upkeep.is_due(&self.owed) {
            let flight = link.upkeep.flight(&self.owed, &link.init, default_access(&link.lease.parameters));
            self.send(&flight);
        }
        let Self { up, owed, session, link, .. } = self;
        let link = link.as_mut().expect("there is a server to relay with");
        up.scan_by(&mut up::Up { owed, session, link })
    }

    /// The same in the other direction.
    fn pump_down(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let full = self.down.is_full();
        let mut more = false;
        let link = self.link.as_mut().expect("there is a server to relay with");
        if link.down_closed.is_none() {
            match self.down.poll_fill(cx, &mut link.lease.stream) {
                Poll::Ready(Ok(0)) => link.down_closed = Some(None),
                Poll::Ready(Ok(_)) => more = true,
                Poll::Ready(Err(error)) => link.down_closed = Some(Some(error)),
                Poll::Pending => {}
            }
        }
        self.scan_down()?;
        match self.down.poll_drain(cx, &mut self.client) {
            Poll::Ready(Ok(written)) => match self.link.as_mut().and_then(|link| link.down_closed.take()) {
                Some(cause) => Err(self.server_end(cause)),
                None => Ok(more || written > 0 && (full || self.down.has_unseen())),
            },
            Poll::Ready(Err(error)) => Err(End::ClientLost(error)),
            Poll::Pending => Ok(more),
        }
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

    /// Whether the client's next request has to wait for an answer to those before it.
    fn must_wait(&self) -> bool {
        self.owed.is_full()
            || self.session.statements.is_waiting()
            || self.link.as_ref().is_some_and(|link| link.upkeep.holds_back(&self.owed))
    }

    fn server_end(&self, cause: Option<io::Error>) -> End {
        match (self.session.listening, self.error_told) {
            (false, _) => End::Left,
            (true, true) => End::ServerClosed,
            (true, false) => End::ServerLost(cause),
        }
    }
}
