//! What a canary does: a list of operations with how often each comes up.

use super::check::Marker;
use super::client::{After, Client, Flown};
use super::flight::{Batch, Flight, Statement, Way};
use super::report::{Kind, Violation};
use super::session::{NAMES, Session};

/// The operations without the faults. Those at the end make state that pins a server.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Read,
    Pipeline,
    Transaction,
    Mark,
    Write,
    Trespass,
    Copy,
    Big,
    Inspect,
    Pin,
    Fault,
}

/// In what share they come up.
const SHARES: [(Operation, usize); 11] = [
    (Operation::Read, 30),
    (Operation::Pipeline, 20),
    (Operation::Transaction, 20),
    (Operation::Mark, 10),
    (Operation::Write, 10),
    (Operation::Trespass, 4),
    (Operation::Copy, 4),
    (Operation::Big, 1),
    (Operation::Inspect, 4),
    (Operation::Pin, 1),
    (Operation::Fault, 4),
];

/// What is left in a server that somebody else may have had: each has to be nothing.
pub(super) const LEFT: &str =
    "(SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND relnamespace = pg_my_temp_schema())
    + (SELECT count(*) FROM pg_listening_channels())
    + (SELECT count(*) FROM pg_cursors WHERE name <> '')
    + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())";

impl Client {
    /// Does one thing.
    pub(super) async fn operate(&mut self, session: Box<Session>) -> Result<After, Violation> {
        let session = match self.settle(session).await? {
            After::Stay(session) => session,
            After::Over => return Ok(After::Over),
        };
        let total = SHARES.iter().map(|(_, share)| share).sum();
        let mut ticket = self.random.below(total);
        let chosen = SHARES.iter().find(|(_, share)| {
            let won = ticket < *share;
            ticket = ticket.saturating_sub(*share);
            won
        });
        match chosen.expect("the ticket is below the sum of the shares").0 {
            Operation::Read => self.read(session).await,
            Operation::Pipeline => self.pipeline(session).await,
            Operation::Transaction => self.transaction(session).await,
            Operation::Mark => self.mark(session).await,
            Operation::Write => self.write(session).await,
            Operation::Trespass => self.trespass(session).await,
            Operation::Copy => self.copy(session).await,
            Operation::Big => self.big(session).await,
            Operation::Inspect => self.inspect(session).await,
            Operation::Pin => self.pin(session).await,
            Operation::Fault if self.run.plan.faults => self.fault(session).await,
            Operation::Fault => self.read(session).await,
        }
    }

    /// Finds out what a fault left of its setting.
    async fn settle(&mut self, mut session: Box<Session>) -> Result<After, Violation> {
        if session.marker != Marker::Own {
            return Ok(After::Stay(session));
        }
        let read = Batch::simple(vec![session.select("canary.rows WHERE seat = 1", Some(1))]);
        Ok(match self.fly(session, vec![read]).await? {
            Flown::Well(mut session, outcomes) => {
                session.marker =
                    Marker::Exactly(outcomes.into_iter().flat_map(|outcome| outcome.markers).next().flatten());
                After::Stay(session)
            }
            other => other.into(),
        })
    }

    async fn read(&mut self, mut session: Box<Session>) -> Result<After, Violation> {
        let batch = self.reading(&mut session);
        Ok(self.fly(session, vec![batch]).await?.into())
    }

    /// A batch that reads, sent in any way.
    fn reading(&mut self, session: &mut Session) -> Batch {
        let count = self.random.below(3) + 1;
        if self.random.one_in(3) {
            return session.prepared(self.random.below(NAMES.len()), count);
        }
        let statements = (0..count).map(|_| {
            let rows = self.random.below(self.run.plan.rows) + 1;
            session.select(&format!("canary.rows WHERE seat <= {rows}"), Some(rows))
        });
        Batch { statements: statements.collect(), way: if self.random.one_in(2) { Way::Simple } else { Way::Unnamed } }
    }

    /// Several batches, errors among them.
    async fn pipeline(&mut self, mut session: Box<Session>) -> Result<After, Violation> {
        let count = self.random.below(6) + 2;
        let mut batches = Vec::new();
        for _ in 0..count {
            batches.push(self.reading(&mut session));
            if self.random.one_in(4) {
                let mut failing = self.unnamed(&mut session);
                failing.statements.push(Statement::command("SELECT 1 / 0", "SELECT").fails("22012"));
                let skipped = session.select("canary.rows", None);
                failing.statements.push(skipped);
                batches.push(failing);
            }
        }
        Ok(self.fly(session, batches).await?.into())
    }

    fn unnamed(&mut self, session: &mut Session) -> Batch {
        let read = session.select("canary.rows WHERE seat = 1", Some(1));
        Batch { way: if self.random.one_in(2) { Way::Simple } else { Way::Unnamed }, statements: vec![read] }
    }

    /// One command in a batch of its own.
    fn command(&mut self, sql: impl Into<String>, tag: &'static str) -> Batch {
        let way = if self.random.one_in(2) { Way::Simple } else { Way::Unnamed };
        Batch { way, statements: vec![Statement::command(sql, tag)] }
    }

    /// A transaction that reads, writes, sets, perhaps fails, and ends.
    async fn transaction(&mut self, mut session: Box<Session>) -> Result<After, Violation> {
        self.run.ledger.add("transactions", 1);
        let before = session.marker.clone();
        let mut batches = vec![self.command("BEGIN", "BEGIN"), self.reading(&mut session)];
        if self.random.one_in(2) {
            let value = session.nonce();
            batches.push(self.command(format!("SET LOCAL {} = '{value}'", session.setting), "SET"));
            session.marker = Marker::Exactly(Some(value));
            batches.push(self.reading(&mut session));
        }
        batches.push(self.inserting(&mut session));
        let fails = self.random.one_in(4);
        if fails {
            let statement = Statement::command("SELECT 1 / 0", "SELECT").fails("22012");
            batches.push(Batch { way: Way::Unnamed, statements: vec![statement] });
            let refused = Statement::command("SELECT 1", "SELECT").fails("25P02");
            batches.push(Batch::simple(vec![refused]));
        }
        session.marker = before;
        batches.push(match (self.random.one_in(2), fails) {
            (true, true) => self.command("COMMIT", "ROLLBACK"),
            (true, false) => self.command("COMMIT", "COMMIT"),
            (false, _) => self.command("ROLLBACK", "ROLLBACK"),
        });
        Ok(self.fly(session, batches).await?.into())
    }

    /// Sets or resets its setting, alone or in a transaction that may not last.
    async fn mark(&mut self, mut session: Box<Session>) -> Result<After, Violation> {
        let (before, setting) = (session.marker.clone(), session.setting);
        let (value, sql, tag) = if self.random.one_in(4) {
            (None, format!("RESET {setting}"), "RESET")
        } else {
            let value = session.nonce();
            (Some(value.clone()), format!("SET {setting} = '{value}'"), "SET")
        };
        let mut batches = vec![self.command(sql, tag)];
        let after = Marker::Exactly(value);
        session.marker = after.clone();
        batches.push(self.reading(&mut session));
        if self.random.one_in(2) {
            batches.insert(0, self.command("BEGIN", "BEGIN"));
            if self.random.one_in(2) {
                batches.push(self.command("ROLLBACK", "ROLLBACK"));
                session.marker = before;
            } else {
                batches.push(self.command("COMMIT", "COMMIT"));
            }
            batches.push(self.reading(&mut session));
        }
        Ok(self.fly(session, batches).await?.into())
    }

    /// A batch that inserts a row and gets it back.
    fn inserting(&mut self, session: &mut Session) -> Batch {
        let nonce = session.nonce();
        let columns = session.columns(&format!("'{nonce}'"), &nonce);
        let sql =
            format!("INSERT INTO canary.notes (body) VALUES ('{}#{nonce}') RETURNING {columns}", session.who.subject);
        let marker = session.marker.clone();
        let statement =
            Statement { label: nonce.clone(), nonce, rows: Some(1), marker, ..Statement::command(sql, "INSERT 0 1") };
        Batch { way: if self.random.one_in(2) { Way::Simple } else { Way::Unnamed }, statements: vec![statement] }
    }

    /// Inserts, and takes away what this connection has inserted.
    async fn write(&mut self, mut session: Box<Session>) -> Result<After, Violation> {
        let mut batches = vec![self.inserting(&mut session), self.inserting(&mut session)];
        let nonce = session.nonce();
        let columns = session.columns(&format!("'{nonce}'"), &nonce);
        let mine = format!("{}#{}%", session.who.subject, session.who.prefix);
        let sql = format!("DELETE FROM canary.notes WHERE body LIKE '{mine}' RETURNING {columns}");
        let marker = session.marker.clone();
        let statement =
            Statement { label: nonce.clone(), nonce, rows: None, marker, ..Statement::command(sql, "DELETE") };
        batches.push(Batch { way: Way::Unnamed, statements: vec![statement] });
        Ok(self.fly(session, batches).await?.into())
    }

    /// Tries to write in the name of somebody else.
    async fn trespass(&mut self, session: Box<Session>) -> Result<After, Violation> {
        let sql = "INSERT INTO canary.notes (owner, body) VALUES ('nobody', 'nobody#')";
        let statements = vec![Statement::command(sql, "INSERT").fails("42501")];
        Ok(self.fly(session, vec![Batch { way: Way::Unnamed, statements }]).await?.into())
    }

    /// Copies out, and in and out again.
    async fn copy(&mut self, mut session: Box<Session>) -> Result<After, Violation> {
        let mut out = session.select("canary.rows", Some(self.run.plan.rows));
        (out.sql, out.tag) = (format!("COPY ({}) TO STDOUT", out.sql), "COPY");
        let nonce = session.nonce();
        let body = format!("{}#{nonce}", session.who.subject);
        let into = Statement {
            copy: Some(format!("{body}\n").repeat(3)),
            ..Statement::command("COPY canary.inbox (body) FROM STDIN", "COPY 3")
        };
        let back = session.select(&format!("canary.inbox WHERE body = '{body}'"), Some(3));
        let ways = [Way::Simple, Way::Unnamed, Way::Simple];
        let statements = [out, into, back];
        let batches = ways.into_iter().zip(statements).map(|(way, one)| Batch { way, statements: vec![one] });
        Ok(self.fly(session, batches.collect()).await?.into())
    }

    async fn big(&mut self, mut session: Box<Session>) -> Result<After, Violation> {
        let rows = self.run.plan.rows * 100;
        let batch = Batch::simple(vec![session.select("canary.rows, generate_series(1, 100)", Some(rows))]);
        Ok(self.fly(session, vec![batch]).await?.into())
    }

    /// Looks for what others may have left, prepared statements of theirs included.
    async fn inspect(&mut self, mut session: Box<Session>) -> Result<After, Violation> {
        let subject = session.who.subject.clone();
        let foreign = format!(
            "(SELECT count(*) FROM pg_prepared_statements
               WHERE statement LIKE '%canary.rows%' AND statement NOT LIKE '%''{subject}/%')"
        );
        let from = format!("canary.rows WHERE seat = 1 AND {LEFT} + {foreign} = 0");
        let batch = Batch::simple(vec![session.select(&from, Some(1))]);
        Ok(self.fly(session, vec![batch]).await?.into())
    }

    /// Makes state that cannot be replayed, uses it in other transactions, and discards it. If anything goes wrong
    /// underway the session is given up: what there is of the state would be open.
    async fn pin(&mut self, session: Box<Session>) -> Result<After, Violation> {
        let flown = match self.random.below(3) {
            0 => self.pocket(session).await?,
            1 => self.listen(session).await?,
            _ => self.lock(session).await?,
        };
        let Flown::Well(session, _) = flown else { return Ok(After::Over) };
        let discard = self.command("DISCARD ALL", "DISCARD ALL");
        let Flown::Well(mut session, _) = self.fly(session, vec![discard]).await? else { return Ok(After::Over) };
        session.marker = Marker::Exactly(None);
        session.named = Default::default();
        Ok(After::Stay(session))
    }

    async fn pocket(&mut self, mut session: Box<Session>) -> Result<Flown, Violation> {
        let subject = session.who.subject.clone();
        let sql = format!("CREATE TEMP TABLE pocket AS SELECT '{subject}' AS owner, '{subject}#' AS body");
        let batches = vec![
            self.command(sql, "SELECT 1"),
            Batch::simple(vec![session.select("pocket", Some(1))]),
            self.reading(&mut session),
            Batch { way: Way::Unnamed, statements: vec![session.select("pg_temp.pocket", Some(1))] },
        ];
        self.fly(session, batches).await
    }

    async fn listen(&mut self, mut session: Box<Session>) -> Result<Flown, Violation> {
        let payload = session.nonce();
        let channel = session.who.prefix.clone();
        let batches = vec![
            self.command(format!("LISTEN \"{channel}\""), "LISTEN"),
            self.reading(&mut session),
            self.command(format!("NOTIFY \"{channel}\", '{payload}'"), "NOTIFY"),
        ];
        let flown = self.fly(session, batches).await?;
        if let Flown::Well(session, outcomes) = &flown
            && !outcomes.iter().flat_map(|outcome| &outcome.notifications).any(|said| said.contains(&payload))
        {
            return Err(Violation::new(Kind::WrongState, format!("{:?} did not hear itself", session.who)));
        }
        Ok(flown)
    }

    async fn lock(&mut self, mut session: Box<Session>) -> Result<Flown, Violation> {
        // Nobody else may hold it: it is this connection's.
        let key = format!("hashtextextended('{}', 0)", session.who.prefix);
        let lock = format!("canary.rows WHERE seat = 1 AND pg_try_advisory_lock({key})");
        let unlock = format!("canary.rows WHERE seat = 1 AND pg_advisory_unlock({key})");
        let batches = vec![
            Batch::simple(vec![session.select(&lock, Some(1))]),
            self.reading(&mut session),
            Batch::simple(vec![session.select(&unlock, Some(1))]),
        ];
        self.fly(session, batches).await
    }

    /// Something that a client does to itself.
    async fn fault(&mut self, session: Box<Session>) -> Result<After, Violation> {
        match self.random.below(6) {
            0 => self.cancel(session).await,
            1 => self.cancel_late(session).await,
            2 => self.die_in_a_statement(session).await,
            3 => self.die_in_a_transaction(session).await,
            4 => self.die_in_a_pipeline(session).await,
            _ => self.die_in_a_result(session).await,
        }
    }

    fn sleeping(&mut self, session: &mut Session) -> Flight {
        let from = match self.random.below(2) {
            0 => "(SELECT pg_sleep(5)) s, canary.rows WHERE seat = 1",
            _ => "(SELECT count(*) FROM generate_series(1, 30000000)) s, canary.rows WHERE seat = 1",
        };
        Flight::of(Batch::simple(vec![session.select(from, Some(1))]))
    }

    async fn cancel(&mut self, mut session: Box<Session>) -> Result<After, Violation> {
        self.run.ledger.fault("cancel");
        let flight = self.sleeping(&mut session);
        session.send(&flight, &self.run.ledger).await;
        let outcomes = session.land_cancelled(&flight, &self.run.ledger).await?;
        let lost = outcomes.last().is_none_or(|outcome| outcome.status.is_none());
        Ok(if lost { After::Over } else { After::Stay(session) })
    }

    async fn cancel_late(&mut self, mut session: Box<Session>) -> Result<After, Violation> {
        self.run.ledger.fault("cancel behind the answer");
        let batch = self.reading(&mut session);
        match self.fly(session, vec![batch]).await? {
            Flown::Well(mut session, _) => {
                session.cancel().await;
                Ok(After::Stay(session))
            }
            other => Ok(other.into()),
        }
    }

    async fn die_in_a_statement(&mut self, mut session: Box<Session>) -> Result<After, Violation> {
        self.run.ledger.fault("client gone in a statement");
        let flight = self.sleeping(&mut session);
        session.send(&flight, &self.run.ledger).await;
        Ok(After::Over)
    }

    async fn die_in_a_transaction(&mut self, mut session: Box<Session>) -> Result<After, Violation> {
        self.run.ledger.fault("client gone in a transaction");
        let value = session.nonce();
        let set = self.command(format!("SET {} = '{value}'", session.setting), "SET");
        let flight = Flight(vec![self.command("BEGIN", "BEGIN"), set, self.inserting_unseen(&mut session)]);
        session.fly(&flight, &self.run.ledger).await?;
        Ok(After::Over)
    }

    fn inserting_unseen(&mut self, session: &mut Session) -> Batch {
        session.marker = Marker::Own;
        self.inserting(session)
    }

    async fn die_in_a_pipeline(&mut self, mut session: Box<Session>) -> Result<After, Violation> {
        self.run.ledger.fault("client gone in a pipeline");
        let flight = Flight((0..5).map(|_| self.reading(&mut session)).collect());
        let part = self.random.below(flight.bytes().len());
        session.send_part(&flight, part).await;
        Ok(After::Over)
    }

    async fn die_in_a_result(&mut self, mut session: Box<Session>) -> Result<After, Violation> {
        self.run.ledger.fault("client gone in a result");
        let select = session.select("canary.rows, generate_series(1, 100)", None);
        session.send(&Flight::of(Batch::simple(vec![select])), &self.run.ledger).await;
        session.read_some(self.random.below(100)).await?;
        Ok(After::Over)
    }
}
