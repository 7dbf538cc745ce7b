//! What a server still owes: the requests that were sent to it, and what is to become of their answers.
//!
//! A queue, not a counter. Each request on its way to the server leaves an entry that says whether its answer is
//! forwarded or swallowed; each answer strikes its entry off. One queue does three jobs: it swallows the answers to
//! requests that the client never made, it stays in step across errors, and it knows when the server is idle.
//!
//! Three habits of Postgres shape it (`src/backend/tcop/postgres.c`, `src/backend/commands/copyfromparse.c`):
//! after an error in the extended protocol everything up to the next Sync is skipped unanswered, Queries included;
//! while a COPY FROM STDIN runs, Sync is ignored; a copy message outside of a COPY is ignored too, unless a timeout has run
//! out when it is read: then an error and a ReadyForQuery answer what has no answer.

use std::collections::VecDeque;

use crate::frame::{Tag, backend, frontend};

/// How many entries there may be. A server answers what it has read, and keeps at most its output buffer's 8 KiB of
/// that to itself until it is asked to flush: below two thousand answers, of which the shortest has five bytes.
const MOST: usize = 16 * 1024;

/// What becomes of the answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is the client's.
    Forward,
    /// The request was ours, and the client must not see the answer.
    Swallow,
    /// The request was ours, made so that one of the client's can succeed: if this one fails, so has that one.
    SwallowSuccess,
    /// The request was ours, made to fail in the place of one of the client's that must not be run: the client gets
    /// another error for it.
    Refuse,
}

/// What a server does with a copy message (CopyData, CopyDone, CopyFail) that is sent to it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFate {
    /// A COPY reads it.
    Read,
    /// No COPY runs or will begin. Postgres ignores it, but answers a timeout that has run out in its place.
    Ignored,
    /// What is owed may begin a COPY, and will be answered if it does and if it does not.
    Undecided,
    /// The same, but as long as no Sync is sent nobody will know.
    Untold,
}

/// The transaction status of a ReadyForQuery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxStatus {
    /// Not in a transaction.
    Idle,
    /// In a transaction.
    Open,
    /// In a transaction that failed and waits for its end.
    Failed,
}

impl TxStatus {
    /// Reads the one byte of a ReadyForQuery.
    #[must_use]
    pub fn parse(byte: u8) -> Option<Self> {
        match byte {
            b'I' => Some(Self::Idle),
            b'T' => Some(Self::Open),
            b'E' => Some(Self::Failed),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Parse,
    Bind,
    Describe,
    Execute,
    Close,
    /// Query and FunctionCall: answered until a ReadyForQuery.
    Query,
    Sync,
    /// CopyDone or CopyFail sent before the server's CopyInResponse was seen. Has no answer of its own.
    CopyEnd,
}

impl Request {
    fn ends_turn(self) -> bool {
        matches!(self, Self::Query | Self::Sync)
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    request: Request,
    answer: Answer,
}

/// The requests that a server has not yet answered.
#[derive(Debug)]
pub struct Owed {
    queue: VecDeque<Entry>,
    /// How many Queries and Syncs there ever were in it.
    turns: u64,
    /// How many of them have left it.
    turn: u64,
    status: TxStatus,
    /// Requests of the extended protocol were sent and no Sync behind them.
    batch_open: bool,
    /// And a Flush, behind one of those.
    flushed: bool,
    /// The server skips what it gets until a Sync that has not been sent yet.
    skipping: bool,
    /// The server reads copy data.
    copy_in: bool,
    /// Syncs were taken for input of the COPY that runs, and it has not completed.
    struck: bool,
    /// A Query has begun a COPY.
    copied: bool,
    /// It is not known which Syncs a COPY has read, or whether a copy message was: nobody can tell any more when the server is
    /// idle.
    astray: bool,
    /// How many requests to make or close a statement the last error left unanswered.
    dropped: usize,
    /// The first of those has failed.
    failed: bool,
}

impl Default for Owed {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            turns: 0,
            turn: 0,
            status: TxStatus::Idle,
            batch_open: false,
            flushed: false,
            skipping: false,
            copy_in: false,
            struck: false,
            copied: false,
            astray: false,
            dropped: 0,
            failed: false,
        }
    }
}

impl Owed {
    /// The status that the last ReadyForQuery told.
    #[must_use]
    pub fn status(&self) -> TxStatus {
        self.status
    }

    /// Everything sent has been answered and nothing was begun: the server waits for a request.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.queue.is_empty() && !self.batch_open
    }

    /// Settled, and outside of any transaction. Never again once a COPY has made it uncertain what is still to come: it
    /// reads the Syncs behind it, but one that fails before it reads does not, and the answers look the same. Nor if a copy
    /// message was sent and nobody [was told](CopyFate::Untold) whether there is a COPY.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.is_settled() && self.status == TxStatus::Idle && !self.astray
    }

    /// Whether a COPY, or what may have been meant for one, has made it uncertain what is still to come.
    #[must_use]
    pub fn is_astray(&self) -> bool {
        self.astray
    }

    /// What becomes of a copy message that is sent now.
    #[must_use]
    pub fn copy_fate(&self) -> CopyFate {
        match () {
            () if self.copy_in => CopyFate::Read,
            () if self.skipping || self.is_settled() => CopyFate::Ignored,
            () if self.batch_open => CopyFate::Untold,
            () => CopyFate::Undecided,
        }
    }

    /// Whether the server, if it is in step, answers what it was asked first with a message of this kind.
    #[must_use]
    pub fn expects(&self, tag: Tag) -> bool {
        let request = match tag {
            backend::PARSE_COMPLETE => Request::Parse,
            backend::BIND_COMPLETE => Request::Bind,
            backend::CLOSE_COMPLETE => Request::Close,
            backend::DATA_ROW | backend::COMMAND_COMPLETE => Request::Execute,
            _ => return tag == backend::ERROR_RESPONSE,
        };
        self.front() == Some(request)
    }

    /// Whether the next answer is to a Query.
    fn answers_query(&self) -> bool {
        self.front() == Some(Request::Query)
    }

    /// Whether the server will settle by itself, with no further byte from the client: what was sent ends with a
    /// Query or a Sync, and no COPY waits for data.
    #[must_use]
    pub fn settles_unaided(&self) -> bool {
        !self.batch_open && !self.copy_in
    }

    /// So much is owed that nothing more may be asked for before something is answered. A client that does not read
    /// keeps answers from being seen, an error among them behind which the server goes on reading and answers nothing.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue.len() >= MOST
    }

    /// The server skips requests of the extended protocol until the next Sync, and answers none of them.
    #[must_use]
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// The turn of what is sent next. A turn ends with a Query or a Sync, and an error ends none but its own.
    #[must_use]
    pub fn next_turn(&self) -> u64 {
        self.turns
    }

    /// The turn that the server is at, or a later one if a COPY has read Syncs. Behind an error, the one that failed.
    #[must_use]
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// How many of the Parses and Closes sent will have no answer, the one that failed included, because of the
    /// ErrorResponse that was received last.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Whether the first of those is the one that failed. Else it was something before them.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Notes that a frame goes to the server.
    pub fn sent(&mut self, tag: Tag, answer: Answer) {
        self.note_ambiguity(tag);
        match tag {
            frontend::PARSE => self.extended(Request::Parse, answer),
            frontend::BIND => self.extended(Request::Bind, answer),
            frontend::DESCRIBE => self.extended(Request::Describe, answer),
            frontend::EXECUTE => self.extended(Request::Execute, answer),
            frontend::CLOSE => self.extended(Request::Close, answer),
            frontend::QUERY | frontend::FUNCTION_CALL => {
                (self.batch_open, self.flushed) = (self.skipping, false);
                if !self.skipping {
                    self.push(Request::Query, answer);
                }
            }
            frontend::SYNC => self.sync(answer),
            frontend::FLUSH => self.flushed = self.batch_open,
            frontend::COPY_DONE | frontend::COPY_FAIL => self.copy_end(),
            _ => {}
        }
    }

    /// Notes that a frame came from the server, and says what becomes of it: never `SwallowSuccess`, and `Refuse` of
    /// an error alone. `head` is the first byte of its body, needed of a ReadyForQuery.
    pub fn received(&mut self, tag: Tag, head: Option<u8>) -> Answer {
        let answer = match self.queue.front().map(|entry| entry.answer) {
            Some(Answer::SwallowSuccess) if tag == backend::ERROR_RESPONSE => Answer::Forward,
            Some(Answer::Refuse) if tag == backend::ERROR_RESPONSE => Answer::Refuse,
            Some(Answer::Swallow | Answer::SwallowSuccess | Answer::Refuse) => Answer::Swallow,
            Some(Answer::Forward) | None => Answer::Forward,
        };
        match tag {
            backend::DATA_ROW => {}
            backend::READY_FOR_QUERY => return self.ready(head),
            backend::COMMAND_COMPLETE | backend::EMPTY_QUERY_RESPONSE | backend::PORTAL_SUSPENDED => {
                (self.copy_in, self.struck) = (false, false);
                self.strike(Request::Execute);
            }
            backend::PARSE_COMPLETE => self.strike(Request::Parse),
            backend::BIND_COMPLETE => self.strike(Request::Bind),
            backend::CLOSE_COMPLETE => self.strike(Request::Close),
            backend::ROW_DESCRIPTION | backend::NO_DATA => self.strike(Request::Describe),
            backend::ERROR_RESPONSE => self.error(),
            backend::COPY_IN_RESPONSE | backend::COPY_BOTH_RESPONSE => self.copy_begins(),
            // These come at any time and are nobody's answer. A notice while our own request runs is that
            // request's, though, and may quote what we bound to it.
            backend::PARAMETER_STATUS | backend::NOTIFICATION_RESPONSE => return Answer::Forward,
            _ => {}
        }
        answer
    }

    fn push(&mut self, request: Request, answer: Answer) {
        self.turns += u64::from(request.ends_turn());
        self.queue.push_back(Entry { request, answer });
    }

    fn extended(&mut self, request: Request, answer: Answer) {
        self.batch_open = true;
        if !self.skipping {
            self.push(request, answer);
        }
    }

    fn sync(&mut self, answer: Answer) {
        if self.copy_in {
            self.struck = true;
            return;
        }
        (self.batch_open, self.flushed, self.skipping) = (false, false, false);
        self.push(Request::Sync, answer);
    }

    /// What may have an answer that looks like another's, or take another's away.
    fn note_ambiguity(&mut self, tag: Tag) {
        self.astray |= match tag {
            frontend::COPY_DATA | frontend::COPY_DONE | frontend::COPY_FAIL => self.copy_fate() == CopyFate::Untold,
            frontend::FLUSH | frontend::SYNC => false,
            // Whoever sends a request into a COPY knows that it has ended, and nobody else does.
            _ if self.copy_in => true,
            // A Flush that a timeout finds is refused, and this is skipped with all up to the Sync; or this is refused.
            frontend::QUERY | frontend::FUNCTION_CALL => self.flushed && self.batch_open && !self.skipping,
            _ => false,
        };
    }

    fn copy_end(&mut self) {
        if self.copy_in {
            self.copy_in = false;
            return;
        }
        // Of several in a row the server ignores all but the first, unless one Query has begun several COPYs: that shows
        // when the second begins.
        let last = self.queue.back().map(|entry| entry.request);
        if !matches!(last, None | Some(Request::CopyEnd)) {
            self.push(Request::CopyEnd, Answer::Forward);
        }
    }

    /// Strikes the first entry off if it is of this kind. A Query has many answers and stays until ReadyForQuery. Before
    /// anything else this is no answer, and the server not where it was thought to be.
    fn strike(&mut self, request: Request) {
        match self.front() {
            Some(first) if first == request => {
                self.queue.pop_front();
                self.drop_copy_ends();
            }
            Some(Request::Query) => {}
            _ => self.astray = true,
        }
    }

    /// A CopyEnd that no COPY has claimed by the time its turn comes was ignored by the server.
    fn drop_copy_ends(&mut self) {
        while self.front() == Some(Request::CopyEnd) {
            self.queue.pop_front();
        }
    }

    /// A ReadyForQuery answers a Query or a Sync. With anything else in front it answers a Sync that was taken for
    /// one that a COPY ate (a COPY that fails before it reads eats none), or nothing that is known of, and strikes nothing
    /// off.
    fn ready(&mut self, status: Option<u8>) -> Answer {
        if let Some(status) = status.and_then(TxStatus::parse) {
            self.status = status;
        }
        (self.copy_in, self.copied) = (false, false);
        match self.queue.pop_front_if(|entry| entry.request.ends_turn()) {
            Some(entry) => {
                self.turn += 1;
                self.drop_copy_ends();
                if entry.answer == Answer::Forward { Answer::Forward } else { Answer::Swallow }
            }
            None => {
                self.astray = true;
                self.skipping = false;
                self.batch_open &= !self.queue.is_empty();
                Answer::Forward
            }
        }
    }

    fn front(&self) -> Option<Request> {
        self.queue.front().map(|entry| entry.request)
    }

    fn error(&mut self) {
        self.copy_in = false;
        self.astray |= std::mem::take(&mut self.struck);
        self.dropped = 0;
        self.failed = matches!(self.front(), Some(Request::Parse | Request::Close));
        match self.front() {
            // What has no answer has failed, a Flush. Or the server says why it goes.
            None => self.skipping = self.batch_open,
            // Ends with the ReadyForQuery that follows.
            Some(Request::Query | Request::Sync) => {}
            Some(_) => {
                while let Some(entry) = self.queue.pop_front_if(|entry| entry.request != Request::Sync) {
                    self.dropped += usize::from(matches!(entry.request, Request::Parse | Request::Close));
                    self.turn += u64::from(entry.request.ends_turn());
                }
                self.skipping = self.queue.is_empty();
                self.batch_open |= self.skipping;
            }
        }
    }

    /// The Syncs that were sent behind the request that turned out to be a COPY are copy input, and ignored, up to
    /// the CopyDone that was sent in advance, if one was.
    fn copy_begins(&mut self) {
        let end = self.queue.iter().position(|entry| entry.request == Request::CopyEnd);
        self.copy_in = end.is_none();
        let mut behind = self.queue.split_off(end.unwrap_or(self.queue.len()));
        behind.pop_front();
        let before = self.queue.len();
        self.queue.retain(|entry| entry.request != Request::Sync);
        self.turn += (before - self.queue.len()) as u64;
        self.struck = self.queue.len() < before;
        self.queue.append(&mut behind);
        if self.answers_query() {
            self.astray |= self.struck || self.copied;
            self.copied = true;
        }
        // An Execute that lost its Sync leaves its batch open until the next one.
        let synced = self.queue.iter().any(|entry| entry.request == Request::Sync);
        self.batch_open |= self.front() == Some(Request::Execute) && !synced;
    }
}

#[cfg(test)]
mod tests;
