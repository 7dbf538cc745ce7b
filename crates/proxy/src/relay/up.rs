//! What becomes of a client's frames on their way to the server.

use wire::frame::{Header, Tag, frontend};
use wire::lane::{Judge, Verdict};
use wire::message;
use wire::owed::{Answer, CopyFate, Owed};

use super::{Broken, Link, Session};
use crate::effect::{self, Cause, Change, Effects, Reader};
use crate::statement::query_of;
use crate::statements::{Way, sole_deallocation};

/// How much of a Query or a Parse is looked at in one piece.
const TEXT: usize = 16 * 1024;

/// How much of a frame is looked at for names.
const NAMES: usize = 1024;

/// The longest Parse that is kept, to prepare the statement elsewhere.
const MOST_KEPT: usize = 1 << 20;

/// How many portals a client may have that have effects. More pin it.
const MOST_PORTALS: usize = 100;

/// A text longer than what is looked at in one piece.
#[derive(Debug)]
pub(crate) struct Long {
    reader: Reader,
    /// Bytes that are still to come.
    left: usize,
    /// Of a Query: the turn that it ends.
    turn: u64,
    /// Of a Parse: its content as far as it has come, unless that is too much.
    parsed: Option<Option<Vec<u8>>>,
    /// And the number of its statement, if it makes one.
    number: Option<u64>,
}

impl Long {
    /// A frame whose body has `seen` bytes here, of which `text` are those that are the text's.
    fn new(header: Header, text: &[u8], seen: usize, turn: u64) -> Self {
        let mut reader = Reader::default();
        reader.read(text);
        Self { reader, left: header.body as usize - seen, turn, parsed: None, number: None }
    }
}

/// Decides while there is one.
pub(super) struct Up<'a> {
    pub(super) owed: &'a mut Owed,
    pub(super) session: &'a mut Session,
    pub(super) link: &'a mut Link,
}

impl Judge for Up<'_> {
    type Error = Broken;

    fn peek(&self, tag: Tag) -> usize {
        peek(tag)
    }

    fn judge(&mut self, header: Header, head: &[u8], patch: &mut Vec<u8>) -> Result<Verdict, Broken> {
        let tag = header.tag;
        if self.session.terminated || must_wait(self.owed, self.session, self.link) {
            return Ok(Verdict::Hold);
        }
        if tag == frontend::TERMINATE {
            return Ok(terminate(self.session));
        }
        if !is_request(header) {
            return Err(Broken::Tag(tag));
        }
        // What the server skips changes nothing.
        let verdict = match tag {
            frontend::COPY_DATA | frontend::COPY_DONE | frontend::COPY_FAIL => self.copy(),
            _ if self.owed.is_skipping() => Verdict::Forward,
            _ => self.request(header, head, patch)?,
        };
        if matches!(verdict, Verdict::Hold | Verdict::Swallow) {
            return Ok(verdict);
        }
        let was_astray = self.owed.is_astray();
        self.owed.sent(tag, Answer::Forward);
        if self.owed.is_astray() && !was_astray {
            self.session.remembered.pin(Cause::Copy.into());
        }
        match tag {
            frontend::SYNC => {
                self.link.upkeep.synced();
                self.session.statements.synced();
            }
            frontend::PARSE => self.session.statements.parsed(self.owed),
            _ => {}
        }
        Ok(verdict)
    }

    fn more(&mut self, body: &[u8]) {
        let Some(long) = &mut self.session.long else { return };
        long.reader.read(body);
        if let Some(content) = &mut long.parsed {
            match content {
                Some(kept) if kept.len() + body.len() <= MOST_KEPT => kept.extend(body),
                _ => *content = None,
            }
        }
        long.left -= body.len();
        if let Some(long) = self.session.long.take_if(|long| long.left == 0) {
            self.complete(*long);
        }
    }
}

impl Up<'_> {
    fn request(&mut self, header: Header, head: &[u8], patch: &mut Vec<u8>) -> Result<Verdict, Broken> {
        let tag = header.tag;
        if self.link.foreign && tag == frontend::BIND && self.session.remembered.has_asked() && self.binds_foreign(head)
        {
            return Ok(Verdict::Hold);
        }
        let mut way = Way { server: &mut self.link.lease.prepared, owed: self.owed, patch };
        let statements = &mut self.session.statements;
        match tag {
            frontend::QUERY => Ok(self.query(header, head, patch)),
            frontend::PARSE => self.parse(header, head, patch),
            frontend::BIND => {
                let (verdict, effects) = statements.bind(header, head, &mut way).map_err(|bad| (tag, bad))?;
                self.bound(head, effects);
                Ok(verdict)
            }
            frontend::DESCRIBE => Ok(statements.describe(header, head, &mut way).map_err(|bad| (tag, bad))?),
            frontend::CLOSE => Ok(statements.close(header, head, &mut way).map_err(|bad| (tag, bad))?),
            frontend::EXECUTE => {
                self.execute(head);
                Ok(Verdict::Forward)
            }
            frontend::FUNCTION_CALL => {
                if !is_large_object_function(head) {
                    self.session.remembered.pin(Cause::FunctionCall.into());
                }
                Ok(Verdict::Forward)
            }
            _ => Ok(Verdict::Forward),
        }
    }

    /// A copy message goes on only where a COPY reads it. Postgres ignores it elsewhere, but may answer in its place what was
    /// overdue, and nobody could tell that from the answer to what is behind it.
    fn copy(&mut self) -> Verdict {
        let fate = self.owed.copy_fate();
        self.session.copy_waits = fate == CopyFate::Undecided;
        match fate {
            CopyFate::Read | CopyFate::Untold => Verdict::Forward,
            CopyFate::Ignored => Verdict::Swallow,
            CopyFate::Undecided => Verdict::Hold,
        }
    }

    fn query(&mut self, header: Header, head: &[u8], patch: &mut Vec<u8>) -> Verdict {
        let effects = (head.len() == header.body as usize).then(|| effect::effects(head));
        if self.link.foreign && self.link.finds_foreign(effects.as_ref(), self.session.id, self.owed) {
            return Verdict::Hold;
        }
        self.session.statements.forget_unnamed(&mut self.link.lease.prepared);
        let turn = self.owed.next_turn();
        let Some(effects) = effects else {
            self.session.long = Some(Box::new(Long::new(header, head, head.len(), turn)));
            return Verdict::Forward;
        };
        let deallocates = effects.changes.iter().any(|change| matches!(change, Change::Deallocate(Some(_))));
        self.sent(effects, turn);
        let mut way = Way { server: &mut self.link.lease.prepared, owed: self.owed, patch };
        let Session { statements, remembered, .. } = &mut *self.session;
        let of_sql = |name: &[u8]| remembered.may_have_prepared(name);
        match deallocates.then(|| statements.deallocate_within(head, of_sql, &mut way)).flatten() {
            Some(text) => {
                message::query(patch, &text);
                Verdict::Patch(Header::SIZE + head.len())
            }
            None => Verdict::Forward,
        }
    }

    fn parse(&mut self, header: Header, head: &[u8], patch: &mut Vec<u8>) -> Result<Verdict, Broken> {
        let Some(name) = head.iter().position(|byte| *byte == 0) else { return Err(Broken::Name(header.tag)) };
        let (unnamed, content) = (name == 0, &head[name + 1..]);
        let whole = head.len() == header.body as usize;
        let query = query_of(content);
        let effects = whole.then(|| effect::effects(query.strip_suffix(b"\0").unwrap_or(query)));
        if self.link.foreign && self.link.finds_foreign(effects.as_ref(), self.session.id, self.owed) {
            return Ok(Verdict::Hold);
        }
        let effects = effects.map(|effects| self.session.prepared(effects));
        let sole = effects.as_ref().filter(|_| unnamed).and_then(|effects| sole_deallocation(query, effects));
        let sole = sole.filter(|name| !self.session.remembered.may_have_prepared(name));
        let mut way = Way { server: &mut self.link.lease.prepared, owed: self.owed, patch };
        let ours = sole.and_then(|name| self.session.statements.deallocate(&name, &mut way));
        let parsed = self.session.statements.parse(header, head, effects, &mut way);
        let verdict = parsed.map_err(|bad| (header.tag, bad))?;
        if verdict == Verdict::Hold {
            return Ok(verdict);
        }
        if let Some(ours) = ours {
            message::parse(patch, "", &ours);
            return Ok(Verdict::Patch(Header::SIZE + head.len()));
        }
        if !whole {
            let number = self.session.statements.last_parsed();
            let long = Long::new(header, content, head.len(), self.owed.next_turn());
            self.session.long = Some(Box::new(Long { parsed: Some(Some(content.to_vec())), number, ..long }));
        }
        Ok(verdict)
    }

    /// Whether what is bound would [find](Link::finds_foreign) what is another session's.
    fn binds_foreign(&mut self, head: &[u8]) -> bool {
        let Session { id, statements, .. } = &*self.session;
        self.link.finds_foreign(statements.bound(head), *id, self.owed)
    }

    fn complete(&mut self, long: Long) {
        let effects = effect::effects_of_parts(long.reader);
        match (long.parsed, long.number) {
            (Some(content), Some(number)) => {
                self.session.remembered.prepared(&effects);
                self.session.statements.complete(number, content, effects, &mut self.link.lease.prepared);
            }
            // It is refused: there is one of that name.
            (Some(_), None) => {}
            (None, _) => self.sent(effects, long.turn),
        }
    }

    /// A text is run in this turn that has these effects.
    fn sent(&mut self, effects: Effects, turn: u64) {
        self.doubt(&effects);
        self.session.remembered.sent(effects, turn);
    }

    fn doubt(&mut self, effects: &Effects) {
        if !effects.changes.is_empty() {
            self.link.upkeep.doubt();
        }
    }

    /// A portal is bound to a statement that has these effects.
    fn bound(&mut self, head: &[u8], effects: Effects) {
        let (Session { bound, remembered, .. }, portal) = (&mut *self.session, portal(head));
        if effects != Effects::default() {
            bound.insert(portal.into(), effects);
        } else if !bound.is_empty() {
            bound.remove(portal);
        }
        if bound.len() > MOST_PORTALS {
            bound.clear();
            remembered.pin(Cause::Setting.into());
        }
    }

    /// What has no effects is run to its end in parts, perhaps. What has some has them with the first.
    fn execute(&mut self, head: &[u8]) {
        if !self.session.bound.is_empty()
            && let Some(effects) = self.session.bound.remove(portal(head))
        {
            // What it calls it may call again, if it is not run to its end.
            if !effects.pins.is_empty() {
                let again = Effects { pins: effects.pins, ..Effects::default() };
                self.session.bound.insert(portal(head).into(), again);
            }
            if effects.draws || effects.pins.contains(Cause::Nextval) {
                self.link.draws_for(self.session.id);
            }
            self.doubt(&effects);
            self.session.remembered.executed(effects, self.owed.next_turn());
        }
    }
}

impl Link {
    /// Whether this asks for what the session of this number has of its sequences, and would be told what another one has.
    /// Then it has to wait until that is gone, which in the middle of something it cannot.
    fn finds_foreign(&mut self, effects: Option<&Effects>, session: u64, owed: &Owed) -> bool {
        let does = |cause| effects.is_some_and(|effects| effects.pins.contains(cause));
        if !does(Cause::Currval) {
            if does(Cause::Nextval) || effects.is_some_and(|effects| effects.draws) {
                self.draws_for(session);
            }
            return false;
        }
        // What is under way may have drawn, and its answer will tell.
        if !owed.is_settled() && owed.settles_unaided() {
            self.upkeep.doubt();
            return true;
        }
        self.draws_for(session);
        let idle = owed.is_idle();
        if idle {
            self.upkeep.forget_sequences(&self.init);
        }
        idle
    }

    /// What the server has of its sequences is this session's from now on.
    pub(super) fn draws_for(&mut self, session: u64) {
        self.foreign = false;
        self.lease.session = session;
    }
}

/// Whether the client's next request has to wait for an answer to those before it.
pub(super) fn must_wait(owed: &Owed, session: &Session, link: &Link) -> bool {
    let refusing = || session.statements.is_refusing() && owed.settles_unaided();
    let undecided = session.copy_waits && owed.copy_fate() == CopyFate::Undecided;
    owed.is_full() || session.statements.is_waiting() || undecided || refusing() || link.upkeep.holds_back(owed)
}

/// The name that a Bind or an Execute begins with.
fn portal(head: &[u8]) -> &[u8] {
    head.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The client takes leave. The server is not its to end.
pub(super) fn terminate(session: &mut Session) -> Verdict {
    (session.listening, session.terminated) = (false, true);
    Verdict::Swallow
}

/// How much of a frame's body has to be there before it is judged.
pub(super) fn peek(tag: Tag) -> usize {
    match tag {
        frontend::QUERY | frontend::PARSE => TEXT,
        frontend::BIND | frontend::DESCRIBE | frontend::CLOSE | frontend::EXECUTE => NAMES,
        frontend::FUNCTION_CALL => 4,
        _ => 0,
    }
}

/// Whether a FunctionCall is about large objects, whose descriptors end with their transaction (`pg_proc.dat`).
fn is_large_object_function(head: &[u8]) -> bool {
    let Some((oid, _)) = head.split_first_chunk() else { return false };
    matches!(u32::from_be_bytes(*oid), 715 | 764..=767 | 952..=958 | 964 | 1004 | 3170..=3172 | 3457..=3460)
}

/// The messages that a client may send once it is in. A Flush has no answer, unless Postgres refuses it for what is in it:
/// nobody would know what is skipped then.
pub(crate) fn is_request(header: Header) -> bool {
    matches!(
        header.tag,
        frontend::BIND
            | frontend::CLOSE
            | frontend::COPY_DATA
            | frontend::COPY_DONE
            | frontend::COPY_FAIL
            | frontend::DESCRIBE
            | frontend::EXECUTE
            | frontend::FUNCTION_CALL
            | frontend::PARSE
            | frontend::QUERY
            | frontend::SYNC
    ) || (header.tag == frontend::FLUSH && header.body == 0)
}
