//! One connection of a canary: who it is, what it has set, and what it knows of its own session.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::check::{Marker, Outcome, Who, check};
use super::flight::{Batch, Flight, Statement, Way};
use super::report::{Kind, Ledger, Violation};
use crate::raw::{Message, Raw};
use crate::request::cancel;

/// How long any answer may take: longer than a client may wait for a server.
const LIMIT: Duration = Duration::from_secs(60);

/// How often a statement is cancelled until it is.
const CANCEL_AGAIN: Duration = Duration::from_millis(50);

/// Names of prepared statements: the same for all clients, and few.
pub(super) const NAMES: [&str; 3] = ["one", "two", "three"];

/// The settings that clients mark their sessions with: one that the server reports, and one that it knows nothing of.
pub(super) const SETTINGS: [&str; 2] = ["canary.owner", "application_name"];

/// A connection that is in.
pub(super) struct Session {
    raw: Raw,
    address: String,
    /// The body of its BackendKeyData.
    key: Vec<u8>,
    /// Whose it is.
    pub(super) who: Who,
    /// Which of [`SETTINGS`] it marks itself with.
    pub(super) setting: &'static str,
    /// What it is set to.
    pub(super) marker: Marker,
    /// The label of each prepared statement of [`NAMES`] that is known to be there.
    pub(super) named: [Option<String>; NAMES.len()],
    /// Whether an unplanned error has left something open since the last operation began.
    pub(super) shaken: bool,
    count: u64,
}

/// What became of an attempt to log in.
pub(super) enum Login {
    In(Box<Session>),
    /// Refused with this SQLSTATE, or cut off without one.
    Out(Option<String>),
}

impl Session {
    /// Logs in. When the session is dropped its socket says no goodbye, but resets the connection.
    pub(super) async fn open(address: &str, token: &str, who: Who, setting: &'static str) -> Result<Login, Violation> {
        let socket = TcpStream::connect(address).await.expect("the proxy listens");
        socket.set_zero_linger().expect("a socket");
        socket.set_nodelay(true).expect("a socket");
        let mut raw = Raw::over(socket);
        raw.startup(&[("user", "authenticated"), ("database", "neondb")]).await;
        raw.message(b'p', &[token.as_bytes(), &[0]].concat()).await;
        let greeting = until_ready(&mut raw).await.map_err(|violation| violation.at("a login"))?;
        if greeting.last().map(|message| message.tag) != Some(b'Z') {
            let refused = greeting.iter().find(|message| message.tag == b'E');
            return Ok(Login::Out(refused.map(Message::sqlstate)));
        }
        let key = greeting.into_iter().find(|message| message.tag == b'K').map(|message| message.body);
        Ok(Login::In(Box::new(Self {
            raw,
            address: address.to_owned(),
            key: key.expect("a key to cancel with"),
            who,
            setting,
            marker: Marker::Exactly(None),
            named: Default::default(),
            shaken: false,
            count: 0,
        })))
    }

    /// A text that no other statement of the run has.
    pub(super) fn nonce(&mut self) -> String {
        self.count += 1;
        format!("{}{}", self.who.prefix, self.count)
    }

    /// A statement that reads `rows` rows `from` a table of the canary's shape.
    pub(super) fn select(&mut self, from: &str, rows: Option<usize>) -> Statement {
        let nonce = self.nonce();
        let sql = format!("SELECT {} FROM {from}", self.columns(&format!("'{nonce}'"), &nonce));
        Statement { label: nonce.clone(), nonce, tag: "SELECT", rows, marker: self.marker.clone(), ..no_rows(sql) }
    }

    /// The select list that every row comes with.
    pub(super) fn columns(&self, nonce: &str, label: &str) -> String {
        let setting = self.setting;
        format!(
            "{nonce}, (SELECT auth.user_id()), current_user, current_setting('{setting}', true), '{label}', owner, body"
        )
    }

    /// A use of a prepared statement, which is prepared where it is not known to be there.
    pub(super) fn prepared(&mut self, which: usize, uses: usize) -> Batch {
        let prepare = self.named[which].is_none();
        let label = self.named[which].get_or_insert_default().clone();
        let label = if prepare { self.nonce() } else { label };
        self.named[which] = Some(label.clone());
        let rows = which + 1;
        let sql = format!("SELECT {} FROM canary.rows WHERE seat <= {rows}", self.columns("$1::text", &label));
        let one = |nonce| Statement {
            nonce,
            label: label.clone(),
            tag: "SELECT",
            rows: Some(rows),
            marker: self.marker.clone(),
            ..no_rows(sql.clone())
        };
        let nonces: Vec<_> = (0..uses).map(|use_| format!("{label}.{use_}.{}", self.count)).collect();
        let statements = nonces.into_iter().map(one).collect();
        self.count += 1;
        Batch { way: Way::Named { name: NAMES[which].to_owned(), prepare }, statements }
    }

    /// Sends a flight and judges its answers. Those of the last batches are missing where the connection was lost.
    pub(super) async fn fly(&mut self, flight: &Flight, ledger: &Ledger) -> Result<Vec<Outcome>, Violation> {
        self.send(flight, ledger).await;
        self.land(flight, ledger).await
    }

    /// Sends a flight.
    pub(super) async fn send(&mut self, flight: &Flight, ledger: &Ledger) {
        ledger.add_statements(flight.len() as u64);
        self.raw.send(&flight.bytes()).await;
    }

    /// Sends the beginning of a flight.
    pub(super) async fn send_part(&mut self, flight: &Flight, bytes: usize) {
        let all = flight.bytes();
        self.raw.send(&all[..bytes.min(all.len())]).await;
    }

    /// Reads so many messages.
    pub(super) async fn read_some(&mut self, messages: usize) -> Result<(), Violation> {
        for _ in 0..messages {
            if next(&mut self.raw).await?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Judges the answers to a flight that was sent.
    pub(super) async fn land(&mut self, flight: &Flight, ledger: &Ledger) -> Result<Vec<Outcome>, Violation> {
        let mut outcomes = Vec::with_capacity(flight.0.len());
        for batch in &flight.0 {
            let place = |violation: Violation| violation.at(&format!("{:?} sent\n{flight}", self.who));
            let answer = until_ready(&mut self.raw).await.map_err(place)?;
            let outcome = check(&self.who, batch, &answer, self.shaken).map_err(place)?;
            ledger.add("rows", outcome.rows);
            outcome.errors.iter().for_each(|code| ledger.error(code));
            let disturbed = !outcome.errors.is_empty() || outcome.status.is_none();
            self.shaken |= disturbed;
            if disturbed {
                // Which of the batch's statements took effect is open.
                self.marker = Marker::Own;
                self.forget(&batch.way);
            }
            let lost = outcome.status.is_none();
            outcomes.push(outcome);
            if lost {
                break;
            }
        }
        Ok(outcomes)
    }

    fn forget(&mut self, way: &Way) {
        if let Way::Named { name, .. } = way {
            let which = NAMES.iter().position(|known| known == name).expect("one of the names");
            self.named[which] = None;
        }
    }

    /// Judges the answers to a flight whose statement is cancelled until it ends.
    pub(super) async fn land_cancelled(&mut self, flight: &Flight, ledger: &Ledger) -> Result<Vec<Outcome>, Violation> {
        self.who.cancels = true;
        let (address, key) = (self.address.clone(), self.key.clone());
        let cancelling = async {
            loop {
                request_cancel(&address, &key).await;
                tokio::time::sleep(CANCEL_AGAIN).await;
            }
        };
        tokio::select! {
            outcomes = self.land(flight, ledger) => outcomes,
            () = cancelling => unreachable!("it never ends"),
        }
    }

    /// Asks for its statement, which has ended, to be cancelled.
    pub(super) async fn cancel(&mut self) {
        self.who.cancels = true;
        request_cancel(&self.address, &self.key).await;
    }

    /// Says goodbye and waits for the other side to hang up.
    pub(super) async fn leave(mut self) -> Result<(), Violation> {
        self.raw.message(b'X', b"").await;
        while next(&mut self.raw).await?.is_some() {}
        Ok(())
    }
}

fn no_rows(sql: String) -> Statement {
    Statement::command(sql, "")
}

/// Sends a request to cancel, and waits until it was taken.
async fn request_cancel(address: &str, key: &[u8]) {
    let mut connection = Raw::connect(address).await;
    connection.send(&cancel(key)).await;
    connection.byte().await;
}

async fn until_ready(raw: &mut Raw) -> Result<Vec<Message>, Violation> {
    let mut messages = Vec::new();
    while let Some(message) = next(raw).await? {
        let last = message.tag == b'Z';
        messages.push(message);
        if last {
            break;
        }
    }
    Ok(messages)
}

async fn next(raw: &mut Raw) -> Result<Option<Message>, Violation> {
    timeout(LIMIT, raw.next()).await.map_err(|_| Violation::new(Kind::Hang, format!("no answer within {LIMIT:?}")))
}
