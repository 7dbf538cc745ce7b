//! What becomes of a server's frames on their way to the client.

use std::sync::Arc;

use wire::frame::{Header, Tag, backend};
use wire::lane::{Judge, Verdict};
use wire::owed::{Answer, Owed};

use super::{Broken, End, Link, Reported, Session, update};
use crate::effect::{Cause, Change};
use crate::error::is_result_changed;
use crate::remembered;
use crate::statements::{Raised, ResultChanged};

/// How much of an error is looked at.
const ERROR: usize = 1024;

/// How long a ParameterStatus may be.
const PARAMETER: usize = 8 * 1024;

/// What the SQLSTATE begins with when a server is told to go (57P01 to 57P05).
const GOING: &[u8] = b"57P";

pub(super) struct Down<'a> {
    pub(super) owed: &'a mut Owed,
    pub(super) session: &'a mut Session,
    pub(super) link: &'a mut Link,
    pub(super) error_told: &'a mut bool,
    /// Why the session must end.
    pub(super) end: Option<End>,
}

impl Judge for Down<'_> {
    type Error = Broken;

    fn peek(&self, tag: Tag) -> usize {
        match tag {
            backend::READY_FOR_QUERY => 1,
            backend::COMMAND_COMPLETE => remembered::TAG_HEAD,
            backend::PARAMETER_STATUS => PARAMETER,
            backend::ERROR_RESPONSE => ERROR,
            // All of it is read that is asked for a part of.
            backend::PARAMETER_DESCRIPTION | backend::ROW_DESCRIPTION if self.session.statements.is_listening() => 1,
            _ => 0,
        }
    }

    fn judge(&mut self, header: Header, head: &[u8], patch: &mut Vec<u8>) -> Result<Verdict, Broken> {
        // It is over. What comes behind a refusal must not pass for an answer to what was refused.
        if self.end.is_some() {
            return Ok(Verdict::Hold);
        }
        let tag = header.tag;
        if self.owed.is_idle() && !comes_at_any_time(tag) {
            self.link.spent = true;
            // It says why it goes. Who does not need it any more does not have to know.
            if !self.session.keeps_server() {
                return Ok(Verdict::Swallow);
            }
        }
        let ours = self.link.upkeep.is_switching();
        if ours && !comes_at_any_time(tag) && !self.owed.expects(tag) {
            // Out of step, and then nobody knows whose answer it is.
            return Err(Broken::Tag(tag));
        }
        let answer = self.owed.received(tag, head.first().copied());
        *self.error_told = tag == backend::ERROR_RESPONSE && answer != Answer::Swallow;
        match tag {
            backend::DATA_ROW => {}
            backend::COMMAND_COMPLETE if ours => self.link.upkeep.switches(head),
            backend::COMMAND_COMPLETE if answer == Answer::Forward => self.completed(head),
            // It has run, and no tag tells what it was.
            backend::PORTAL_SUSPENDED if self.link.foreign => self.link.draws_for(self.session.id),
            backend::PARSE_COMPLETE | backend::CLOSE_COMPLETE => self.session.statements.answered(),
            // What runs now would be the statement as it has become.
            backend::BIND_COMPLETE if self.session.statements.must_not_bind() => {
                self.end = Some(End::ResultChanged);
                return Ok(Verdict::Swallow);
            }
            backend::READY_FOR_QUERY => return Ok(self.ready(answer, patch)),
            backend::PARAMETER_STATUS => return Ok(self.parameter(head)),
            // What the session before listened to.
            backend::NOTIFICATION_RESPONSE if ours => return Ok(Verdict::Swallow),
            backend::ERROR_RESPONSE => return Ok(self.error(header, head, answer, patch)),
            backend::PARAMETER_DESCRIPTION | backend::ROW_DESCRIPTION | backend::NO_DATA => {
                self.described(header, head)
            }
            _ => {}
        }
        Ok(verdict(answer))
    }

    fn more(&mut self, body: &[u8]) {
        let Session { statements, .. } = &mut *self.session;
        if statements.hear_more(body, self.owed.turn(), &mut self.link.lease.prepared) == Err(ResultChanged) {
            self.end = Some(End::ResultChanged);
        }
    }
}

impl Down<'_> {
    fn completed(&mut self, command: &[u8]) {
        if self.link.foreign && may_have_drawn(command) {
            self.link.draws_for(self.session.id);
        }
        let Session { remembered, statements, .. } = &mut *self.session;
        let Link { upkeep, init, lease, .. } = &mut *self.link;
        // Most often it is one that leaves nothing behind.
        let is_select = command.starts_with(b"SELECT") && !remembered.awaits_call(self.owed.turn());
        if is_select || !matches!(command.first(), Some(b'S' | b'R' | b'D' | b'C' | b'P' | b'L')) {
            return;
        }
        let change = remembered.completed(command);
        upkeep.completed(command, change.as_ref(), init);
        match &change {
            Some(Change::Deallocate(Some(name))) if remembered.may_have_prepared(name) => {}
            Some(Change::Deallocate(Some(name))) => statements.deallocated(name, &mut lease.prepared),
            Some(Change::Deallocate(None) | Change::DiscardAll) => statements.deallocated_all(&mut lease.prepared),
            // Of a text that was not understood.
            None if command.starts_with(b"DEALLOCATE ALL") || command.starts_with(b"DISCARD ALL") => {
                statements.deallocated_all(&mut lease.prepared);
            }
            _ => {}
        }
        if command.starts_with(b"ROLLBACK") {
            upkeep.rolled_back(init);
        }
    }

    fn ready(&mut self, answer: Answer, patch: &mut Vec<u8>) -> Verdict {
        let Link { upkeep, init, lease, .. } = &mut *self.link;
        if answer == Answer::Forward {
            self.session.progress.answered(self.owed.status());
            self.session.remembered.ready(self.owed.status(), self.owed.turn().saturating_sub(1));
        }
        upkeep.ready(self.owed, init);
        if answer == Answer::Forward && upkeep.is_unreported() {
            upkeep.reported();
            update(&mut self.session.known, &mut lease.parameters, patch);
        }
        // What the client does not know yet goes before it.
        if patch.is_empty() { verdict(answer) } else { Verdict::Patch(0) }
    }

    fn parameter(&mut self, head: &[u8]) -> Verdict {
        let Link { upkeep, lease, .. } = &mut *self.link;
        if let Some((name, value)) = pair(head) {
            set(&mut lease.parameters, name, value);
        }
        match &mut self.session.known {
            // What differs from what it knows it is told at once when all is known.
            Some(_) if upkeep.is_unreported() => return Verdict::Swallow,
            Some(known) => *known = lease.parameters.clone(),
            // It has been told nothing, and hears what there is to hear.
            None => {}
        }
        Verdict::Forward
    }

    /// A server describes a statement, to us perhaps.
    fn described(&mut self, header: Header, head: &[u8]) {
        let Session { statements, .. } = &mut *self.session;
        if statements.hear(header, head, self.owed.turn(), &mut self.link.lease.prepared) == Err(ResultChanged) {
            self.end = Some(End::ResultChanged);
        }
    }

    fn error(&mut self, header: Header, head: &[u8], answer: Answer, patch: &mut Vec<u8>) -> Verdict {
        if self.owed.is_astray() {
            self.session.remembered.pin(Cause::Copy.into());
        }
        // A number that is drawn is not taken back.
        if self.link.foreign && answer != Answer::Swallow {
            self.link.draws_for(self.session.id);
        }
        let (dropped, failed) = (self.owed.dropped(), self.owed.has_failed());
        self.session.statements.dropped(dropped, failed, &mut self.link.lease.prepared);
        self.session.remembered.failed(self.owed.turn());
        let field = |name: u8| head.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(&[name]));
        let is_whole = head.len() == header.body as usize;
        let raised = Raised::by(answer, field(b'C'), field(b'R')).filter(|_| is_whole);
        if let Some(refusal) = self.session.statements.take_refusal(self.owed.turn(), raised) {
            patch.extend(refusal);
            return Verdict::Patch(header.frame_size() as usize);
        }
        match (answer, field(b'C')) {
            (Answer::Forward | Answer::Refuse, code) => {
                if is_result_changed(code, field(b'R')) {
                    self.session.statements.outdated();
                }
                return Verdict::Forward;
            }
            // It says why it goes, and the next that is read is the end.
            (_, Some(code)) if code.starts_with(GOING) => {}
            _ => {
                let said = |name| String::from_utf8_lossy(field(name).unwrap_or_default());
                let key = self.link.lease.means.key_error(&said(b'C'), &said(b'D'));
                let reason = key.map_or_else(|| said(b'M').into_owned(), |error| error.to_string());
                self.end = Some(End::IdentityLost(reason));
            }
        }
        Verdict::Swallow
    }
}

/// What a server may say to a client that asks for nothing.
fn comes_at_any_time(tag: Tag) -> bool {
    matches!(tag, backend::PARAMETER_STATUS | backend::NOTICE_RESPONSE | backend::NOTIFICATION_RESPONSE)
}

/// Whether a command with this tag may have drawn from a sequence, unless a function in it has.
fn may_have_drawn(tag: &[u8]) -> bool {
    let verbs: [&[u8]; 8] = [b"INSERT", b"COPY", b"MERGE", b"UPDATE", b"DELETE", b"CALL", b"DO", b"EXPLAIN"];
    !tag.starts_with(b"SELECT") && verbs.iter().any(|verb| tag.starts_with(verb))
}

fn verdict(answer: Answer) -> Verdict {
    if answer == Answer::Forward { Verdict::Forward } else { Verdict::Swallow }
}

fn pair(body: &[u8]) -> Option<(&str, &str)> {
    let mut parts = body.split(|byte| *byte == 0).map(std::str::from_utf8);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

fn set(reported: &mut Reported, name: &str, value: &str) {
    let reported = Arc::make_mut(reported);
    match reported.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => value.clone_into(old),
        None => reported.push((name.to_owned(), value.to_owned())),
    }
}
