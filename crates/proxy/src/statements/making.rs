//! What a server is asked besides what the client asks: to make a statement that it lacks, to close one, to describe one.
//!
//! A statement that is made again may turn out to have another result than the client knows, because something was
//! altered. Most often nothing was, and the client's own requests go in the same flight: if the answer is then another
//! than it should be, the session ends before the client sees any of it. That somebody comes upon such a statement raises
//! a doubt about all others: each is then asked for first, and the client's requests wait for the answer, until a server
//! has agreed. So what was altered costs one session or a few, and the others get Postgres's own refusal, and nothing of
//! theirs is run.

use std::sync::Arc;

use upstream::Prepared;
use wire::frame::{Header, frontend};
use wire::lane::Verdict;
use wire::message;
use wire::owed::Answer;

use super::description::{Description, Listener};
use super::frames::{about, length};
use super::pending::Pending;
use super::{LONGEST_SHARED, Statements, Way};
use crate::effect::is_planned;
use crate::error::result_changed;
use crate::statement::{Kept, Statement};

/// A Describe of ours behind a Parse.
#[derive(Debug)]
pub(super) struct Question {
    statement: Arc<Statement>,
    asker: Asker,
    /// How many doubts there were when it was sent.
    doubts: u64,
}

/// A question to which the answer is coming.
#[derive(Debug)]
pub(super) struct Heard {
    question: Question,
    listener: Listener,
}

/// Who asks.
#[derive(Debug)]
enum Asker {
    /// The client prepares the statement under this name.
    Client(Box<[u8]>),
    /// We make it again, and the client's requests for it are on their way.
    Maker,
    /// We make it again, and the client's requests wait.
    Doubter,
}

/// What keeps the client's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Doubt {
    #[default]
    None,
    /// The question has not been answered.
    Open,
    /// The statement of this number is not what the client knows.
    Confirmed(u64),
}

/// The answer to a question was another than it should be, and the client's requests are on their way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ResultChanged;

impl Statements {
    /// Has the server make a statement that it lacks, before the client's frame that is about it. Returns what becomes of
    /// that, where it is not to be sent for this statement.
    pub(super) fn ensure(&mut self, statement: &Arc<Statement>, describes: bool, way: &mut Way<'_>) -> Option<Verdict> {
        let number = statement.number;
        if self.doubt == Doubt::Confirmed(number) {
            self.doubt = Doubt::None;
            // Postgres describes the parameters before it refuses.
            let parameters = statement.description.get().filter(|_| describes).map(Description::parameter_description);
            return Some(self.refuse([parameters.unwrap_or_default(), result_changed()].concat(), way));
        }
        let there = way.server.uses(number);
        let is_right = there && !way.server.is_spoiled(number) && !self.is_uncertain(number);
        let kept = statement.kept.get().filter(|_| !is_right)?;
        if there {
            self.close_on_server(number, way);
        }
        self.make_room(number, way);
        if kept.content.len() <= LONGEST_SHARED {
            way.server.keep(number, statement.clone());
        }
        let asker = if statement.is_in_doubt(&self.registry) { Asker::Doubter } else { Asker::Maker };
        let question = statement.description.get().map(|_| self.question(statement, asker));
        let waits = matches!(&question, Some(Question { asker: Asker::Doubter, .. }));
        self.make(statement, kept, question, way);
        waits.then(|| {
            message::flush(way.patch);
            self.doubt = Doubt::Open;
            Verdict::Hold
        })
    }

    pub(super) fn ensure_unnamed(&mut self, way: &mut Way<'_>) -> Verdict {
        let number = self.unnamed.as_ref().map(|unnamed| unnamed.number);
        if way.server.unnamed == number && !number.is_some_and(|number| self.is_uncertain(number)) {
            return Verdict::Forward;
        }
        match self.unnamed.take() {
            Some(unnamed) => {
                if let Some(content) = &unnamed.content {
                    self.send_parse("", [content, &[]], unnamed.number, None, way);
                    way.server.unnamed = number;
                }
                self.unnamed = Some(unnamed);
            }
            // Another client's: to this one there is none.
            None => {
                about(frontend::CLOSE, "", way.patch);
                way.owed.sent(frontend::CLOSE, Answer::SwallowSuccess);
                self.pending.push_back(Pending::UnnamedForgotten);
                way.server.unnamed = None;
            }
        }
        Verdict::Patch(0)
    }

    /// Makes a statement again. Its parameters have the types that the client was told.
    fn make(&mut self, statement: &Statement, kept: &Kept, question: Option<Question>, way: &mut Way<'_>) {
        let types = statement.description.get().map(|description| &*description.parameters);
        let content = match types {
            Some(types) => [kept.query(), types],
            None => [&*kept.content, &[]],
        };
        let asks = question.is_some();
        self.send_parse(&statement.name, content, statement.number, question, way);
        if asks {
            about(frontend::DESCRIBE, &statement.name, way.patch);
            way.owed.sent(frontend::DESCRIBE, Answer::SwallowSuccess);
        }
    }

    /// Makes a statement that no client has, with this behind its name, which is returned.
    pub(super) fn make_other(&mut self, content: [&[u8]; 2], way: &mut Way<'_>) -> String {
        let number = self.registry.next();
        let name = self.registry.name(number);
        self.make_room(number, way);
        self.send_parse(&name, content, number, None, way);
        name
    }

    /// A Parse with this behind the name.
    pub(super) fn send_parse(
        &mut self,
        name: &str,
        content: [&[u8]; 2],
        number: u64,
        question: Option<Question>,
        way: &mut Way<'_>,
    ) {
        way.patch.push(frontend::PARSE.0);
        way.patch.extend(length(name.len() + 1 + content[0].len() + content[1].len()));
        way.patch.extend(name.as_bytes());
        way.patch.push(0);
        content.iter().for_each(|part| way.patch.extend(*part));
        way.owed.sent(frontend::PARSE, Answer::SwallowSuccess);
        self.pending.push_back(Pending::Made(number, self.batch, question));
        self.making += 1;
    }

    pub(super) fn make_room(&mut self, number: u64, way: &mut Way<'_>) {
        if let Some(oldest) = way.server.made(number) {
            self.close_on_server(oldest, way);
        }
    }

    pub(super) fn close_on_server(&mut self, number: u64, way: &mut Way<'_>) {
        about(frontend::CLOSE, &self.registry.name(number), way.patch);
        way.owed.sent(frontend::CLOSE, Answer::SwallowSuccess);
        self.pending.push_back(Pending::Closed(number));
    }

    /// Has the server fail in the place of the client's request: it skips that, and what is behind it. The client is told
    /// why, if nothing before it fails.
    pub(super) fn refuse(&mut self, why: Vec<u8>, way: &mut Way<'_>) -> Verdict {
        self.refusal.get_or_insert_with(|| Box::new((way.owed.next_turn(), why)));
        about(frontend::DESCRIBE, &self.registry.name(self.registry.next()), way.patch);
        way.owed.sent(frontend::DESCRIBE, Answer::Refuse);
        Verdict::Patch(0)
    }

    /// Whether a Bind is not to be refused for what its statement turned out to be, because the server refuses it for
    /// what it has behind the names: another number of parameters.
    pub(super) fn is_miscounted(&mut self, statement: &Statement, behind_names: &[u8]) -> bool {
        let is_wrong = |description: &Description| !description.fits(behind_names);
        let is_miscounted =
            self.doubt == Doubt::Confirmed(statement.number) && statement.description.get().is_some_and(is_wrong);
        if is_miscounted {
            self.doubt = Doubt::None;
        }
        is_miscounted
    }

    /// The server has raised an error in this turn, one that it was `made` to raise or another. What the client is told in
    /// the place of that.
    pub(crate) fn take_refusal(&mut self, turn: u64, made: bool) -> Option<Vec<u8>> {
        let (_, refusal) = *self.refusal.take_if(|refusal| refusal.0 <= turn)?;
        Some(refusal).filter(|_| made)
    }

    /// Whether the server was made to raise an error that it has not raised yet.
    pub(crate) fn is_refusing(&self) -> bool {
        self.refusal.is_some()
    }

    /// The client prepares a statement under this name: what is to be asked behind its Parse.
    pub(super) fn question_of_client(&self, name: &[u8], statement: &Arc<Statement>) -> Option<Question> {
        let kept = statement.kept.get()?;
        is_planned(kept.query()).then(|| self.question(statement, Asker::Client(name.into())))
    }

    fn question(&self, statement: &Arc<Statement>, asker: Asker) -> Question {
        Question { statement: statement.clone(), asker, doubts: self.registry.doubts() }
    }

    /// Whether the client's requests wait for an answer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.doubt == Doubt::Open
    }

    /// Whether the description that comes next is for us.
    pub(crate) fn is_listening(&self) -> bool {
        self.heard.is_some()
    }

    /// The server answers to a question of ours: a frame of a description, of which this is the beginning.
    pub(crate) fn hear(&mut self, header: Header, head: &[u8], server: &mut Prepared) -> Result<(), ResultChanged> {
        if let Some(heard) = &mut self.heard {
            heard.listener.begin(header, head);
        }
        self.heard_all(server)
    }

    /// More of that frame.
    pub(crate) fn hear_more(&mut self, body: &[u8], server: &mut Prepared) -> Result<(), ResultChanged> {
        if let Some(heard) = self.heard.as_mut().filter(|heard| heard.listener.is_within()) {
            heard.listener.read(body);
        }
        self.heard_all(server)
    }

    fn heard_all(&mut self, server: &mut Prepared) -> Result<(), ResultChanged> {
        let Some(heard) = self.heard.take_if(|heard| heard.listener.is_done()) else { return Ok(()) };
        let Heard { question, listener } = *heard;
        let (Question { statement, asker, doubts }, told) = (question, listener.finish());
        let number = statement.number;
        let agrees = *statement.description.get_or_init(|| told.clone()) == told;
        if agrees {
            statement.agreed(doubts);
        } else {
            server.spoil(number);
            self.registry.doubt();
        }
        match asker {
            Asker::Client(name) if !agrees => {
                let new = self.registry.renew(&self.identity, &statement, told);
                new.agreed(self.registry.doubts());
                if let Some(held) = self.named.get_mut(&name).filter(|held| held.number == number) {
                    *held = new;
                }
            }
            Asker::Maker if !agrees => return Err(ResultChanged),
            Asker::Doubter => self.doubt = if agrees { Doubt::None } else { Doubt::Confirmed(number) },
            Asker::Client(_) | Asker::Maker => {}
        }
        Ok(())
    }

    /// The Parse was answered behind which this was asked.
    pub(super) fn listen(&mut self, question: Option<Question>) {
        self.heard = question.map(|question| Box::new(Heard { question, listener: Listener::default() }));
    }

    /// An error came in the place of an answer.
    pub(super) fn unanswered(&mut self, server: &mut Prepared) {
        if let Some(Heard { question, .. }) = self.heard.take().map(|heard| *heard) {
            server.spoil(question.statement.number);
            self.unasked(&question);
        }
    }

    /// The Parse failed behind which this was asked.
    pub(super) fn unasked(&mut self, question: &Question) {
        if matches!(question.asker, Asker::Doubter) {
            self.doubt = Doubt::None;
        }
    }
}
