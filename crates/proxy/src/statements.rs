//! A client's prepared statements across servers.
//!
//! To the client a statement has the name it was given; on a server it has a name of ours, because two clients may give
//! one name to two texts. The head of each frame that names a statement is rewritten on its way up, and where the
//! server lacks the statement a Parse of ours goes before it in the same flight (`making`). Errors come from Postgres: a
//! Parse is always parsed there, and what does not exist is looked for there, under the name that the client gave. The one
//! that is ours in its place is about a statement that is no longer what the client was told of it (`description`).
//!
//! A client that keeps its server to the end (session mode) gives its statements their names itself, and there it is only
//! noted what they do.
//!
//! What is noted here and of the server runs ahead of the answers. `pending` has an entry for each Parse and Close on
//! its way; an error takes back those that it left undone.

use std::collections::{HashMap, VecDeque};
use std::ffi::CStr;
use std::sync::Arc;

use upstream::Prepared;
use wire::frame::{Header, frontend};
use wire::lane::Verdict;
use wire::owed::{Answer, Owed};

use crate::config::PoolMode;
use crate::digest::Digest;
use crate::effect::Effects;
use crate::error::too_many_statements;
use crate::statement::{Kept, Registry, Statement};

mod deallocation;
mod description;
mod frames;
mod making;
mod pending;
mod refusal;
mod unnamed;

pub(crate) use deallocation::sole_deallocation;
pub(crate) use description::Description;
pub(crate) use frames::{BadName, Way};
pub(crate) use making::ResultChanged;
pub(crate) use refusal::Raised;

use deallocation::EMPTY;
use frames::{about, c_string, key, rename};
use making::{Doubt, Ensured, Heard, Request};
use pending::Pending;
use refusal::Refusal;
use unnamed::Unnamed;

/// The longest statement that clients find on a server where another has left it.
pub(crate) const LONGEST_SHARED: usize = 16 * 1024;

/// What is kept for one client. Beyond it statements are left where they are, and the client with them.
const MOST_BYTES: usize = 4 << 20;

/// How many statements a client may have. More are refused.
const MOST_NAMED: usize = 10_000;

/// A client's prepared statements.
#[derive(Debug)]
pub(crate) struct Statements {
    registry: Arc<Registry>,
    identity: Digest,
    /// Whether statements have names of ours.
    renames: bool,
    named: HashMap<Box<[u8]>, Arc<Statement>>,
    unnamed: Option<Unnamed>,
    /// Where the next one can be kept.
    spare: Vec<u8>,
    /// Of all contents that are kept, those of statements included that are being closed.
    bytes: usize,
    /// A statement has a name and was not kept.
    unkept: bool,
    pending: VecDeque<Pending>,
    /// How many of those are of what the server makes for us.
    making: usize,
    /// The answer that is being heard to a question of ours.
    heard: Option<Box<Heard>>,
    /// A question goes behind the Parse that was judged last.
    asks: bool,
    /// A Parse waits until it is known whether its name is free.
    awaits_name: bool,
    doubt: Doubt,
    refusal: Option<Box<Refusal>>,
    /// How many Syncs were sent: an error leaves undone what is in its own batch.
    batch: u64,
}

impl Statements {
    /// Those of a client that has none. Clients for whom `identity` is the same share what they prepare.
    pub(crate) fn new(registry: Arc<Registry>, identity: Digest, mode: PoolMode) -> Self {
        Self {
            registry,
            identity,
            renames: mode == PoolMode::Transaction,
            named: HashMap::new(),
            unnamed: None,
            spare: Vec::new(),
            bytes: 0,
            unkept: false,
            pending: VecDeque::new(),
            making: 0,
            heard: None,
            asks: false,
            awaits_name: false,
            doubt: Doubt::None,
            refusal: None,
            batch: 0,
        }
    }

    /// Whether there is a statement that could not be prepared again elsewhere.
    pub(crate) fn bind_to_server(&self) -> bool {
        self.unkept || self.unnamed.as_ref().is_some_and(|unnamed| unnamed.content.is_none())
    }

    /// The client has this statement from the beginning, without a Parse: it leaves the types of parameters to the server
    /// and is told of none, so that each server's own will do. There have to be names of ours.
    pub(crate) fn knows(&mut self, name: &str, query: &CStr, effects: Effects) {
        debug_assert!(self.renames, "on the server it has to be made under a name that is nobody else's");
        let content = [query.to_bytes_with_nul(), &[0, 0]].concat();
        let statement = self.registry.intern_untold(&self.identity, &content, effects);
        self.keep(key(name.as_bytes()), statement);
    }

    /// A Parse. `effects` are those of its query; without them it is too long to be seen whole, and they come later, by
    /// [`Statements::complete`].
    pub(crate) fn parse(
        &mut self,
        header: Header,
        head: &[u8],
        effects: Option<Effects>,
        way: &mut Way<'_>,
    ) -> Result<Verdict, BadName> {
        let (name, content) = c_string(head)?;
        if name.is_empty() {
            let number = self.parse_unnamed(content, effects);
            way.server.unnamed = Some(number);
            return Ok(Verdict::Forward);
        }
        let name_key = key(name);
        if self.named.len() >= MOST_NAMED && !self.named.contains_key(name_key) {
            self.pending.push_back(Pending::Nothing);
            return Ok(self.refuse(too_many_statements(MOST_NAMED), way));
        }
        if !self.renames {
            // One of a name that is taken will be refused, and the statement stays what it is.
            let pending = if self.named.contains_key(name_key) {
                Pending::Nothing
            } else {
                let statement = self.registry.of_client(effects.unwrap_or_default());
                let number = statement.number;
                self.named.insert(name_key.into(), statement);
                Pending::Named { name: name_key.into(), number, batch: self.batch, question: None }
            };
            self.pending.push_back(pending);
            return Ok(Verdict::Forward);
        }
        if self.is_name_uncertain(name_key) {
            self.awaits_name = true;
            return Ok(Verdict::Hold);
        }
        if let Some(statement) = self.named.get(name_key).cloned() {
            // The server refuses it, because there it exists too, or another in its place.
            let there = way.server.uses(statement.number) && !self.is_uncertain(statement.number);
            let other = (!there).then(|| self.make_other(EMPTY, way));
            self.pending.push_back(Pending::Nothing);
            return Ok(rename(header, &[], name, other.as_deref().unwrap_or(&statement.name), way.patch));
        }
        self.unkept |= effects.is_some() && self.bytes + content.len() > MOST_BYTES;
        let statement = match effects {
            Some(effects) if self.bytes + content.len() <= MOST_BYTES => self.statement_for(content, effects),
            _ => self.registry.unknown(),
        };
        let number = statement.number;
        if way.server.closed(number) || self.is_closing(number) {
            self.close_on_server(number, way);
        }
        if statement.kept.get().is_some() {
            self.make_room(number, way);
        } else {
            way.server.stays(number);
        }
        let question = self.question_of_client(name_key, &statement);
        self.asks = question.is_some();
        self.pending.push_back(Pending::Named { name: name_key.into(), number, batch: self.batch, question });
        let mut verdict = rename(header, &[], name, &statement.name, way.patch);
        if self.asks {
            way.patch.extend(content);
            about(frontend::DESCRIBE, &statement.name, way.patch);
            verdict = Verdict::Patch(Header::SIZE + head.len());
        }
        self.keep(name_key, statement);
        Ok(verdict)
    }

    /// The Parse that was judged last has gone, and a Describe of ours behind it, if there is one.
    pub(crate) fn parsed(&mut self, owed: &mut Owed) {
        if std::mem::take(&mut self.asks) {
            owed.sent(frontend::DESCRIBE, Answer::SwallowSuccess);
        }
    }

    /// The rest of a long Parse has come: the whole content, if it is short enough to be kept, and what it does.
    pub(crate) fn complete(&mut self, number: u64, content: Option<Vec<u8>>, effects: Effects, server: &mut Prepared) {
        let content = content.filter(|content| self.bytes + content.len() <= MOST_BYTES);
        let bytes = content.as_ref().map_or(0, Vec::len);
        if let Some(unnamed) = self.unnamed.as_mut().filter(|unnamed| unnamed.number == number) {
            (unnamed.content, unnamed.effects) = (content, effects);
            self.bytes += bytes;
        } else if let Some(statement) = self.named.values().find(|statement| statement.number == number) {
            self.unkept |= content.is_none();
            self.bytes += bytes;
            if let Some(content) = content {
                // It is this client's alone and set only here.
                let _ = statement.kept.set(Kept { content: content.into(), effects });
                server.yields(number);
            }
        }
    }

    /// The number of the statement that the last Parse was about.
    pub(crate) fn last_parsed(&self) -> Option<u64> {
        match self.pending.back() {
            Some(Pending::Named { number, .. } | Pending::Unnamed(number, _)) => Some(*number),
            _ => None,
        }
    }

    /// What the statement does that a Bind is about.
    pub(crate) fn bound(&self, head: &[u8]) -> Option<&Effects> {
        let (_, rest) = c_string(head).ok()?;
        let (name, _) = c_string(rest).ok()?;
        match name {
            [] => self.unnamed.as_ref().map(|unnamed| &unnamed.effects),
            _ => self.named.get(key(name))?.kept.get().map(|kept| &kept.effects),
        }
    }

    /// A Bind. Returns what the statement that it is about does.
    pub(crate) fn bind(
        &mut self,
        header: Header,
        head: &[u8],
        way: &mut Way<'_>,
    ) -> Result<(Verdict, Effects), BadName> {
        let (portal, rest) = c_string(head)?;
        let (name, parameters) = c_string(rest)?;
        if name.is_empty() {
            let verdict = self.ensure_unnamed(way);
            return Ok((verdict, self.unnamed.as_ref().map(|unnamed| unnamed.effects.clone()).unwrap_or_default()));
        }
        let Some(statement) = self.named.get(key(name)).cloned() else {
            return Ok((Verdict::Forward, Effects::default()));
        };
        let effects = statement.kept.get().map(|kept| kept.effects.clone()).unwrap_or_default();
        if !self.renames {
            return Ok((Verdict::Forward, effects));
        }
        let before = &head[..=portal.len()];
        if let Some(made) = self.make_deallocation(&statement, way) {
            return Ok((rename(header, before, name, &made, way.patch), effects));
        }
        // Parameters that are too many or too few are refused before a result that has changed.
        let is_refused = self.is_miscounted(&statement, parameters);
        let is_whole = head.len() == header.body as usize;
        let request = Request::Bind(if is_whole { parameters } else { &[] });
        match if is_refused { Ensured::Goes } else { self.ensure(&statement, request, way) } {
            Ensured::Goes => Ok((rename(header, before, name, &statement.name, way.patch), effects)),
            Ensured::GoesWith(formats) => {
                let body = header.body as usize - parameters.len() + formats.len();
                let header = Header { tag: header.tag, body: u32::try_from(body).map_err(|_| BadName)? };
                rename(header, before, name, &statement.name, way.patch);
                way.patch.extend(formats);
                Ok((Verdict::Patch(Header::SIZE + head.len()), effects))
            }
            Ensured::Stays(verdict) => Ok((verdict, Effects::default())),
        }
    }

    /// A Describe, which is about a statement or a portal.
    pub(crate) fn describe(&mut self, header: Header, head: &[u8], way: &mut Way<'_>) -> Result<Verdict, BadName> {
        let Some((b'S', rest)) = head.split_first().filter(|_| self.renames) else { return Ok(Verdict::Forward) };
        let (name, _) = c_string(rest)?;
        if name.is_empty() {
            return Ok(self.ensure_unnamed(way));
        }
        let Some(statement) = self.named.get(key(name)).cloned() else { return Ok(Verdict::Forward) };
        match self.ensure(&statement, Request::Describe, way) {
            Ensured::Stays(verdict) => Ok(verdict),
            _ => Ok(rename(header, b"S", name, &statement.name, way.patch)),
        }
    }

    /// A Close, of a statement or a portal.
    pub(crate) fn close(&mut self, header: Header, head: &[u8], way: &mut Way<'_>) -> Result<Verdict, BadName> {
        let Some((b'S', rest)) = head.split_first() else {
            self.pending.push_back(Pending::Nothing);
            return Ok(Verdict::Forward);
        };
        let (name, _) = c_string(rest)?;
        if name.is_empty() {
            self.forget_unnamed(way.server);
            self.pending.push_back(Pending::UnnamedForgotten);
            return Ok(Verdict::Forward);
        }
        let Some((name_key, statement)) = self.named.remove_entry(key(name)) else {
            self.pending.push_back(Pending::Nothing);
            return Ok(Verdict::Forward);
        };
        let there = way.server.closed(statement.number);
        let verdict =
            if self.renames { rename(header, b"S", name, &statement.name, way.patch) } else { Verdict::Forward };
        self.pending.push_back(Pending::Forgotten { name: name_key, statement, there, batch: self.batch });
        Ok(verdict)
    }

    /// A plan was refused because its result has changed. Whoever prepares one of these statements anew shall not find
    /// an old plan of it on another server.
    pub(crate) fn outdated(&self) {
        self.registry.doubt();
        self.named.values().for_each(|statement| self.registry.retire(&self.identity, statement));
    }

    /// The statement of this content, for one more name. One that another name stands for has told the client already what
    /// it is, and this one may be told something else.
    fn statement_for(&self, content: &[u8], effects: Effects) -> Arc<Statement> {
        let statement = self.registry.intern(&self.identity, content, effects);
        let is_named = self.named.values().any(|held| Arc::ptr_eq(held, &statement));
        if is_named { self.registry.another(&statement) } else { statement }
    }

    fn keep(&mut self, name: &[u8], statement: Arc<Statement>) {
        self.bytes += kept_bytes(&statement);
        self.named.insert(name.into(), statement);
    }
}

fn kept_bytes(statement: &Statement) -> usize {
    statement.kept.get().map_or(0, |kept| kept.content.len())
}

#[cfg(test)]
mod tests;
