//! What a server is asked besides what the client asks: to make a statement that it lacks, to close one, to describe one.
//!
//! A statement that is made again may turn out to have another result than the client knows, because something was
//! altered. Most often nothing was, and the client's own requests go in the same flight: if the answer is then another
//! than it should be, the server refuses the client's Bind where it can be made to (`refusal`), and otherwise the session
//! ends before the client sees any of it. That somebody comes upon such a statement raises a doubt about all others: each
//! is then asked for first, and the client's requests wait for the answer, until a server has agreed. So what was altered
//! costs a session or a few at most, and the others get Postgres's own refusal, and nothing of theirs is run.

use std::sync::Arc;

use upstream::Prepared;
use wire::frame::{Header, frontend};
use wire::lane::Verdict;
use wire::message;
use wire::owed::Answer;

use super::description::{Description, Listener};
use super::frames::{about, length};
use super::pending::Pending;
use super::refusal::with_formats;
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
    /// The batch in which it was sent.
    batch: u64,
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
    /// The same, and the first of them is a Bind that fails if there are more columns than we know of, or fewer.
    Binder,
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

/// The client's request for which a statement has to be there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request<'a> {
    Describe,
    /// With what it has behind its names, as far as it is here whole.
    Bind(&'a [u8]),
}

/// What becomes of that request.
#[derive(Debug)]
pub(super) enum Ensured {
    /// It goes on, with the name that the statement has on the server.
    Goes,
    /// The same, with this behind its names.
    GoesWith(Vec<u8>),
    /// It does not go on for this statement, and this becomes of it.
    Stays(Verdict),
}

/// The answer to a question was another than it should be, and the client's requests are on their way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ResultChanged;

impl Statements {
    /// Has the server make a statement that it lacks, before the client's request.
    pub(super) fn ensure(&mut self, statement: &Arc<Statement>, request: Request<'_>, way: &mut Way<'_>) -> Ensured {
        let number = statement.number;
        if self.doubt == Doubt::Confirmed(number) {
            self.doubt = Doubt::None;
            return Ensured::Stays(self.refuse_changed(statement, request, way));
        }
        let there = way.server.uses(number);
        let is_right = there && !way.server.is_spoiled(number) && !self.is_uncertain(number);
        let Some(kept) = statement.kept.get().filter(|_| !is_right) else { return Ensured::Goes };
        if there || self.is_closing(number) {
            self.close_on_server(number, way);
        }
        self.make_room(number, way);
        if kept.content.len() <= LONGEST_SHARED {
            way.server.keep(number, statement.clone());
        }
        let Some(known) = statement.description.get() else {
            self.make(statement, kept, None, way);
            return Ensured::Goes;
        };
        let (asker, becomes) = match request {
            Request::Bind(behind_names) if !statement.is_in_doubt(&self.registry) => {
                match with_formats(behind_names, known.count()) {
                    Some(behind_names) => (Asker::Binder, Ensured::GoesWith(behind_names)),
                    None => (Asker::Maker, Ensured::Goes),
                }
            }
            // What is described to the client has to be what it knows, or the refusal.
            Request::Bind(_) | Request::Describe => (Asker::Doubter, Ensured::Stays(Verdict::Hold)),
        };
        self.make(statement, kept, Some(self.question(statement, asker)), way);
        if let Ensured::Stays(_) = becomes {
            message::flush(way.patch);
            self.doubt = Doubt::Open;
        }
        becomes
    }

    fn refuse_changed(&mut self, statement: &Statement, request: Request<'_>, way: &mut Way<'_>) -> Verdict {
        let known = statement.description.get().filter(|_| matches!(request, Request::Describe));
        // Postgres describes the parameters before it refuses.
        let parameters = known.map(Description::parameter_description).unwrap_or_default();
        self.refuse([parameters, result_changed()].concat(), way)
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
        self.pending.push_back(Pending::Made { number, batch: self.batch, question });
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

    /// The client prepares a statement under this name: what is to be asked behind its Parse.
    pub(super) fn question_of_client(&self, name: &[u8], statement: &Arc<Statement>) -> Option<Question> {
        let kept = statement.kept.get()?;
        is_planned(kept.query()).then(|| self.question(statement, Asker::Client(name.into())))
    }

    fn question(&self, statement: &Arc<Statement>, asker: Asker) -> Question {
        Question { statement: statement.clone(), asker, doubts: self.registry.doubts(), batch: self.batch }
    }

    /// Whether the client's requests wait for an answer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.doubt == Doubt::Open || self.awaits_name
    }

    /// Whether the answer is coming to a question about this statement that went in an earlier batch.
    pub(super) fn hears_of(&self, number: u64) -> bool {
        let heard = self.heard.as_ref().map(|heard| &heard.question);
        heard.is_some_and(|question| question.statement.number == number && question.batch < self.batch)
    }

    /// Whether the description that comes next is for us.
    pub(crate) fn is_listening(&self) -> bool {
        self.heard.is_some()
    }

    /// The server answers in this turn to a question of ours: a frame of a description, of which this is the beginning.
    pub(crate) fn hear(
        &mut self,
        header: Header,
        head: &[u8],
        turn: u64,
        server: &mut Prepared,
    ) -> Result<(), ResultChanged> {
        if let Some(heard) = &mut self.heard {
            heard.listener.begin(header, head);
        }
        self.heard_all(turn, server)
    }

    /// More of that frame.
    pub(crate) fn hear_more(&mut self, body: &[u8], turn: u64, server: &mut Prepared) -> Result<(), ResultChanged> {
        if let Some(heard) = self.heard.as_mut().filter(|heard| heard.listener.is_within()) {
            heard.listener.read(body);
        }
        self.heard_all(turn, server)
    }

    fn heard_all(&mut self, turn: u64, server: &mut Prepared) -> Result<(), ResultChanged> {
        let Some(heard) = self.heard.take_if(|heard| heard.listener.is_done()) else { return Ok(()) };
        let Heard { question, listener } = *heard;
        let (Question { statement, asker, doubts, .. }, told) = (question, listener.finish());
        let number = statement.number;
        let known = statement.description.get_or_init(|| told.clone());
        let (agrees, refuses) = (*known == told, told.refuses_formats_of(known));
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
            Asker::Binder if refuses && !self.is_refusing() => self.expect(turn, result_changed()),
            Asker::Maker | Asker::Binder if !agrees => return Err(ResultChanged),
            Asker::Doubter => self.doubt = if agrees { Doubt::None } else { Doubt::Confirmed(number) },
            Asker::Client(_) | Asker::Maker | Asker::Binder => {}
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
