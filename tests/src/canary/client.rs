//! A canary: it comes as somebody, does random things, judges every answer, and goes again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Run;
use super::check::{Outcome, Who};
use super::flight::{Batch, Flight, Statement};
use super::operations::LEFT;
use super::report::{Kind, Violation};
use super::session::{Login, SETTINGS, Session};
use crate::random::Random;

/// How long it may take to get in: restarts of Postgres, and clients that are in and stay.
const PATIENCE: Duration = Duration::from_secs(180);

/// A pause between attempts to get in.
const PAUSE: Duration = Duration::from_millis(20);

/// The most operations of one connection.
const STAY: usize = 40;

/// One of many clients.
pub(super) struct Client {
    pub(super) run: Arc<Run>,
    pub(super) random: Random,
    number: usize,
    /// How often it has come.
    visits: usize,
}

/// What becomes of a session after an operation.
pub(super) enum After {
    /// It goes on.
    Stay(Box<Session>),
    /// It is over: lost, or killed by its client.
    Over,
}

impl Client {
    /// One with a number of its own.
    pub(super) fn new(run: Arc<Run>, number: usize, random: Random) -> Self {
        Self { run, random, number, visits: 0 }
    }

    /// Comes and goes until the run is over.
    pub(super) async fn live(mut self) -> Result<(), Violation> {
        while !self.run.is_over() {
            self.visit().await?;
        }
        Ok(())
    }

    /// Comes when no faults happen any more, has to be served, and finds nothing that others left.
    pub(super) async fn last_visit(mut self) -> Result<(), Violation> {
        // A server that was killed in its sleep may be noticed by its next client alone.
        for _ in 0..3 {
            let mut session = self.enter().await?;
            let read = session.select(&format!("canary.rows WHERE {LEFT} = 0"), Some(self.run.plan.rows));
            session.fly(&Flight::of(Batch::simple(vec![read])), &self.run.ledger).await?;
            if !session.shaken {
                session.leave().await?;
                return Ok(());
            }
        }
        Err(Violation::new(Kind::Hang, format!("client {} is not served at the end", self.number)))
    }

    async fn visit(&mut self) -> Result<(), Violation> {
        let mut session = self.enter().await?;
        self.run.ledger.add("sessions", 1);
        for _ in 0..self.random.below(STAY) + 1 {
            if self.run.is_over() {
                break;
            }
            session.shaken = false;
            match self.operate(session).await? {
                After::Stay(same) => session = same,
                After::Over => return Ok(()),
            }
        }
        session.leave().await
    }

    /// Logs in as one of the identities.
    async fn enter(&mut self) -> Result<Box<Session>, Violation> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.visits += 1;
            let identity = self.random.below(self.run.tokens.len());
            let (subject, token) = &self.run.tokens[identity];
            let who = Who {
                subject: subject.clone(),
                prefix: format!("{subject}/{}/{}/", self.number, self.visits),
                cancels: false,
                faults: self.run.plan.faults,
            };
            let setting = *self.random.pick(&SETTINGS);
            match Session::open(&self.run.address, token, who, setting).await? {
                Login::In(session) => return Ok(session),
                Login::Out(code) => self.tolerate(code.as_deref(), deadline)?,
            }
            sleep(PAUSE).await;
        }
    }

    fn tolerate(&self, code: Option<&str>, deadline: Instant) -> Result<(), Violation> {
        let explained = match code {
            Some("53300") => true,
            Some("57P01" | "57P02" | "57P03" | "08006") | None => self.run.plan.faults,
            Some(_) => false,
        };
        let code = code.unwrap_or("none, cut off");
        self.run.ledger.error(&format!("{code} (login)"));
        if !explained {
            return Err(Violation::new(Kind::UnexpectedError, format!("{code} at login")));
        }
        if Instant::now() > deadline {
            return Err(Violation::new(Kind::Hang, format!("not let in within {PATIENCE:?}: {code}")));
        }
        Ok(())
    }

    /// Sends batches in flights of random length, and judges the answers. Behind a fault nothing more is sent, and a
    /// transaction that is left open is rolled back.
    pub(super) async fn fly(&mut self, mut session: Box<Session>, batches: Vec<Batch>) -> Result<Flown, Violation> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut rest = &batches[..];
        while !rest.is_empty() && !session.shaken {
            let (flight, behind) = rest.split_at(self.random.below(rest.len()) + 1);
            outcomes.extend(session.fly(&Flight(flight.to_vec()), &self.run.ledger).await?);
            rest = behind;
        }
        let status = outcomes.last().map(|outcome| outcome.status);
        if session.shaken && matches!(status, Some(Some(b'T' | b'E'))) {
            let rollback = Flight::of(Batch::simple(vec![Statement::command("ROLLBACK", "ROLLBACK")]));
            let rolled_back = session.fly(&rollback, &self.run.ledger).await?;
            outcomes.extend(rolled_back);
        }
        if outcomes.last().is_none_or(|outcome| outcome.status != Some(b'I')) {
            if !session.shaken {
                let text = format!("a transaction is open that should not: {outcomes:?}\n{batches:#?}");
                return Err(Violation::new(Kind::MixedAnswer, text));
            }
            return Ok(Flown::Lost);
        }
        Ok(if session.shaken { Flown::Shaken(session) } else { Flown::Well(session, outcomes) })
    }
}

/// What became of batches.
pub(super) enum Flown {
    /// All were answered as planned.
    Well(Box<Session>, Vec<Outcome>),
    /// Not all, but the session is there, and no transaction open.
    Shaken(Box<Session>),
    /// The session is gone.
    Lost,
}

impl From<Flown> for After {
    fn from(flown: Flown) -> Self {
        match flown {
            Flown::Well(session, _) | Flown::Shaken(session) => Self::Stay(session),
            Flown::Lost => Self::Over,
        }
    }
}
