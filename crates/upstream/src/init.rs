//! Session init: the requests by which the database learns whose session it is, and what its client has set.
//!
//! Claims travel as bind parameters, never in the text of a query, where the logs and other sessions of the role would
//! see them.
//!
//! *Within a session*, after a client has reset it, init is a batch of its own with a Sync ([`SessionInit::flight`]).
//! Statement and portal have a name that is drawn each time: unnamed ones are the client's, and a name that the client
//! can guess it can take first.
//!
//! *Between two sessions* ([`switch`]) the server's old state goes and the new one's comes in one write with the
//! client's first bytes, and nothing waits for an answer. What keeps the client's statement from running without its
//! identity is the rule by which Postgres recovers from errors (`ignore_till_sync` in `src/backend/tcop/postgres.c`):
//! when a request of the extended protocol fails, all that follows is skipped until a Sync, simple Queries included.
//! So the switch has no Sync. It is a transaction of its own, whose COMMIT is one of those requests too: either it was
//! committed, or whatever the client sent behind it is skipped, up to the client's own Sync. Nor has it a Flush: its
//! answers come together with those to the client's first statement, in one packet.

use std::slice;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;
use wire::frame::{Tag, frontend as tag};

use crate::claims::{Claims, Epoch, hex, random};
use crate::error::Error;
use crate::means::Means;
use crate::parameters::Parameters;

/// The type of every parameter, `text` in `pg_type`.
const TEXT: u32 = 25;

/// `DISCARD ALL` leaves the state of random(), which the session before may have chosen.
fn set_seed(parameter: usize) -> String {
    format!("pg_catalog.setseed(${parameter}::pg_catalog.float8) IS NULL")
}

const WRITTEN: &str = "names, SQL and values hold no zero byte and are far below a gigabyte";

/// What a transaction may do that says nothing about it; the server reports it as `default_transaction_read_only`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAccess {
    /// Write.
    ReadWrite,
    /// Only read.
    ReadOnly,
}

/// The backend that an init is for.
#[derive(Clone, Copy, Debug)]
pub struct Backend<'a> {
    /// Its process id.
    pub pid: i32,
    /// Whether it is one of a standby, which can write nothing.
    pub standby: bool,
    /// How it is told whose session it is.
    pub means: &'a Means,
}

/// The init of one session on one server connection. After a reset of the session the same is sent again.
#[derive(Clone)]
pub struct SessionInit {
    claims: Option<Call>,
    /// Whether they are somebody's. To be nobody may take a call too.
    identified: bool,
    startup: Arc<Parameters>,
    /// Whether the claims are written somewhere, and so fail in a read-only transaction.
    writes: bool,
}

/// What of an init is to be done again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The claims.
    pub claims: bool,
    /// The startup parameters with these names.
    pub startup: Vec<String>,
    /// The statements by which the client has set some of these since.
    pub settings: Vec<Box<[u8]>>,
    /// Before all, what another session has left of its sequences goes.
    pub sequences: bool,
}

#[derive(Clone)]
struct Call {
    /// What follows SELECT, and its parameters.
    call: String,
    values: Vec<String>,
}

/// Frames to send together, and the tag of each, in order: that is what the server owes an answer for.
#[derive(Clone, Debug)]
pub struct Flight {
    /// The frames.
    pub bytes: Bytes,
    /// Their tags. The last is a Sync, but for a [`switch`].
    pub requests: Vec<Tag>,
    /// How often a transaction of theirs is committed.
    pub commits: usize,
    /// How many commands complete before those that set what the client asks for.
    pub(crate) ours: usize,
}

impl Flight {
    /// Ends it with a Sync.
    pub(crate) fn sync(&mut self) {
        let mut bytes = BytesMut::from(std::mem::take(&mut self.bytes));
        frontend::sync(&mut bytes);
        self.bytes = bytes.freeze();
        self.requests.push(tag::SYNC);
    }
}

impl SessionInit {
    /// Prepares the init for a backend: claims, if the identity has any, and what the client set in its startup packet.
    ///
    /// # Errors
    /// [`Error::Claims`] for claims that are no JSON object in ASCII.
    pub fn new(claims: Option<&Claims<'_>>, startup: Arc<Parameters>, backend: Backend<'_>) -> Result<Self, Error> {
        if claims.is_some_and(|claims| !claims.json.is_ascii() || !claims.json.starts_with('{')) {
            return Err(Error::Claims);
        }
        Ok(Self {
            writes: claims.is_some() && matches!(backend.means, Means::Signed(_)) && !backend.standby,
            identified: claims.is_some(),
            claims: match claims {
                Some(claims) => Some(call_for_claims(claims, backend)?),
                None => call_for_nobody(backend),
            },
            startup,
        })
    }

    /// Whether there are claims to keep.
    #[must_use]
    pub fn has_claims(&self) -> bool {
        self.identified
    }

    /// The names of what the client set in its startup packet.
    pub fn startup(&self) -> impl Iterator<Item = &str> {
        self.startup.iter().map(|(name, _)| name)
    }

    /// The flight within a session. It must go out between transactions: where transactions only read by default, the
    /// init of mode `signed` brings one that may write, and commits it.
    #[must_use]
    pub fn flight(&self, part: &Part, access: DefaultAccess) -> Flight {
        let name = format!("pgusher_{}", hex(&random::<8>()));
        let mut batch = Batch::named(&name);
        if part.sequences {
            // A transaction that has looked at anything cannot be made to write any more.
            for sql in ["BEGIN", "DISCARD SEQUENCES", "COMMIT"] {
                batch.run(sql.as_bytes(), &[]);
            }
        }
        if part.claims {
            batch.claims(self, access);
        }
        batch.startup(self.startup.iter().filter(|(name, _)| part.startup.iter().any(|chosen| chosen == name)));
        part.settings.iter().for_each(|statement| batch.run(statement, &[]));
        let mut flight = batch.end();
        flight.sync();
        flight
    }
}

fn call_for_claims(claims: &Claims<'_>, backend: Backend<'_>) -> Result<Call, Error> {
    Ok(match backend.means {
        Means::Signed(signer) => {
            let epoch = if backend.standby { Epoch::Pid(backend.pid) } else { Epoch::draw() };
            let values = vec![signer.claims(epoch, claims.expires, claims.json), signer.proof(epoch, backend.pid)];
            Call { call: "auth.pgusher_init($1, $2)".to_owned(), values }
        }
        // The comparison keeps the claims from coming back as the result.
        Means::Claims => Call {
            call: "pg_catalog.set_config('request.jwt.claims', $1, false) IS NULL".to_owned(),
            values: vec![claims.json.to_owned()],
        },
        Means::SessionJwt(key) => {
            Call { call: "auth.jwt_session_init($1)".to_owned(), values: vec![key.token(claims)?] }
        }
    })
}

/// The extension keeps the last token that it took, and takes that again without a look at its number or its expiry: who
/// knows it could set it. So even nobody has a token, which takes its place and then goes.
fn call_for_nobody(backend: Backend<'_>) -> Option<Call> {
    let Means::SessionJwt(key) = backend.means else { return None };
    let reset = "pg_catalog.set_config('pg_session_jwt.jwt', NULL, false) IS NULL";
    Some(Call { call: format!("auth.jwt_session_init($1), {reset}"), values: vec![key.nobody()] })
}

/// The flight between two sessions: it does away with the one before, if there was one, which is told by what its
/// transactions may do (`former`); `init` begins the new one, and `settings`
/// are the statements by which its client has set more since. The server keeps its answers to itself until what comes
/// behind is answered.
#[must_use]
pub fn switch<'a>(
    former: Option<DefaultAccess>,
    init: &SessionInit,
    settings: impl Iterator<Item = &'a [u8]>,
) -> Flight {
    // Unnamed ones are nobody's here: the session before is over and the next one's client has not sent anything yet.
    let mut batch = Batch::named("");
    if former == Some(DefaultAccess::ReadOnly) {
        // Such a transaction may be deferrable as well, and then DISCARD ALL waits for all that write: it resets the
        // settings, but has begun by then. RESET ALL takes no snapshot. It goes in a transaction of its own, for DISCARD
        // ALL takes no company.
        for sql in ["BEGIN", "RESET ALL", "COMMIT"] {
            batch.run(sql.as_bytes(), &[]);
        }
    }
    if former.is_some() {
        batch.run(b"DISCARD ALL", &[]);
    }
    batch.run(if init.writes { b"BEGIN READ WRITE" } else { b"BEGIN" }, &[]);
    batch.identity(init, former.is_some().then(seed));
    batch.startup(init.startup.iter());
    settings.for_each(|statement| batch.run(statement, &[]));
    batch.run(b"COMMIT", &[]);
    // Or else the client could bind it.
    frontend::close(b'S', "", &mut batch.bytes).expect(WRITTEN);
    batch.requests.push(tag::CLOSE);
    batch.end()
}

/// From -1 to 1.
fn seed() -> String {
    let random = i32::from_be_bytes(random());
    (f64::from(random) / f64::from(i32::MAX)).clamp(-1.0, 1.0).to_string()
}

/// Claims are nobody's to read.
impl std::fmt::Debug for SessionInit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionInit").finish_non_exhaustive()
    }
}

struct Batch<'a> {
    name: &'a str,
    bytes: BytesMut,
    requests: Vec<Tag>,
    commands: usize,
    commits: usize,
    ours: usize,
}

impl<'a> Batch<'a> {
    fn named(name: &'a str) -> Self {
        // Most flights fit.
        let (bytes, requests) = (BytesMut::with_capacity(1024), Vec::with_capacity(16));
        Self { name, bytes, requests, commands: 0, commits: 0, ours: 0 }
    }

    fn claims(&mut self, init: &SessionInit, access: DefaultAccess) {
        let Some(claims) = &init.claims else { return };
        let wrapped = init.writes && access == DefaultAccess::ReadOnly;
        if wrapped {
            self.run(b"BEGIN READ WRITE", &[]);
        }
        self.select(slice::from_ref(&claims.call), &claims.values);
        if wrapped {
            self.run(b"COMMIT", &[]);
        }
    }

    /// The claims, and a seed for random(), in one statement: planning one costs as much as running it.
    fn identity(&mut self, init: &SessionInit, seed: Option<String>) {
        let (mut calls, mut values) = (Vec::new(), Vec::new());
        if let Some(claims) = &init.claims {
            calls.push(claims.call.clone());
            values.extend_from_slice(&claims.values);
        }
        if let Some(seed) = seed {
            values.push(seed);
            calls.push(set_seed(values.len()));
        }
        self.select(&calls, &values);
    }

    fn startup<'b>(&mut self, settings: impl Iterator<Item = (&'b str, &'b str)>) {
        self.ours = self.commands;
        let values: Vec<_> = settings.flat_map(|(name, value)| [name.to_owned(), value.to_owned()]).collect();
        let set = |first| format!("pg_catalog.set_config(${first}, ${}, false) IS NULL", first + 1);
        let calls: Vec<_> = (1..=values.len()).step_by(2).map(set).collect();
        self.select(&calls, &values);
    }

    fn select(&mut self, calls: &[String], values: &[String]) {
        if !calls.is_empty() {
            self.run(format!("SELECT {}", calls.join(", ")).as_bytes(), values);
        }
    }

    /// Runs one statement and leaves nothing of it behind, if it has a name.
    fn run(&mut self, sql: &[u8], values: &[String]) {
        let (name, bytes) = (self.name, &mut self.bytes);
        parse(name, sql, values.len(), bytes);
        let text = |value: &String, out: &mut BytesMut| {
            out.extend_from_slice(value.as_bytes());
            Ok(IsNull::No)
        };
        frontend::bind(name, name, [], values, text, [], bytes).map_err(|_| WRITTEN).expect(WRITTEN);
        frontend::execute(name, 0, bytes).expect(WRITTEN);
        self.requests.extend([tag::PARSE, tag::BIND, tag::EXECUTE]);
        self.commands += 1;
        self.commits += usize::from(sql == b"COMMIT");
        if !name.is_empty() {
            frontend::close(b'S', name, bytes).expect(WRITTEN);
            frontend::close(b'P', name, bytes).expect(WRITTEN);
            self.requests.extend([tag::CLOSE, tag::CLOSE]);
        }
    }

    fn end(self) -> Flight {
        let Self { bytes, requests, commits, ours, .. } = self;
        Flight { bytes: bytes.freeze(), requests, commits, ours }
    }
}

/// Parse. The SQL may be a client's, in whatever encoding it speaks.
fn parse(name: &str, sql: &[u8], parameters: usize, out: &mut BytesMut) {
    let length = 4 + name.len() + 1 + sql.len() + 1 + 2 + 4 * parameters;
    out.put_u8(tag::PARSE.0);
    out.put_u32(u32::try_from(length).expect(WRITTEN));
    out.put_slice(name.as_bytes());
    out.put_u8(0);
    out.put_slice(sql);
    out.put_u8(0);
    out.put_u16(u16::try_from(parameters).expect(WRITTEN));
    (0..parameters).for_each(|_| out.put_u32(TEXT));
}

#[cfg(test)]
mod tests;
