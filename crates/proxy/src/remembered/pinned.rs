//! Why a session has to keep its server, and what it has given up of that.
//!
//! What a text makes counts as soon as it is sent, what it gives up when the transaction has committed. Drawing from a
//! sequence counts only where no transaction is open when it has been answered.

use wire::owed::TxStatus;

use crate::effect::{Cause, Counts, Effects, Held, Pins};

/// How many things with names are told apart. More pin until all of their kind is given up.
const MOST_HELD: usize = 64;

/// How many texts that give something up may wait for an answer. More give up nothing.
const MOST_RELEASING: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Pinned {
    pins: Pins,
    /// Those of the startup packet, to which every reset goes back.
    lasting: Pins,
    /// How often there was each reason in this session, for the log.
    counts: Counts,
    /// Few sessions have any of it.
    more: Option<Box<More>>,
}

/// What is told by name, and what is on its way.
#[derive(Debug, Default)]
struct More {
    /// What has a name, besides those that have none.
    held: Vec<Held>,
    /// What was sent and gives up some of all these, in which turn.
    releasing: Vec<(u64, Released)>,
    /// What is given up if the transaction commits that is open.
    released: Released,
    /// The last turn that was sent and draws from a sequence, until it is known whether a transaction is open behind it.
    drawing: Option<u64>,
}

#[derive(Debug, Default)]
struct Released {
    pins: Pins,
    held: Vec<Held>,
}

impl Pinned {
    /// A session whose startup packet pins.
    pub(super) fn new(lasting: Pins) -> Self {
        let mut new = Self { lasting, ..Self::default() };
        new.pin(lasting);
        new
    }

    #[cfg(test)]
    pub(super) fn pins(&self) -> Pins {
        self.held().iter().fold(self.pins, |pins, held| pins.union(held.cause.into()))
    }

    /// How many names there are of what is given up.
    #[cfg(test)]
    pub(super) fn noted(&self) -> usize {
        self.more.as_ref().map_or(0, |more| {
            let releasing: usize = more.releasing.iter().map(|(_, released)| released.held.len()).sum();
            releasing + more.released.held.len()
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pins.is_empty() && self.held().is_empty()
    }

    fn held(&self) -> &[Held] {
        self.more.as_ref().map_or(&[], |more| &more.held)
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(super) fn pin(&mut self, pins: Pins) {
        if !pins.is_empty() {
            self.counts.add(pins);
            self.pin_again(pins);
        }
    }

    /// A statement was prepared that has these effects when it is run.
    pub(super) fn prepared(&mut self, effects: &Effects) {
        self.pin(at_once(effects.pins));
        for held in made(effects) {
            self.counts.add(held.cause.into());
            self.hold(held);
        }
    }

    /// A text was sent in this turn that has these effects.
    pub(super) fn sent(&mut self, effects: &Effects, turn: u64) {
        self.prepared(effects);
        self.follow(effects, turn);
    }

    /// A statement that was [prepared](Self::prepared) is run in this turn. What it pins was counted then, and may have been
    /// given up since.
    pub(super) fn executed(&mut self, effects: &Effects, turn: u64) {
        self.pin_again(at_once(effects.pins));
        made(effects).for_each(|held| self.hold(held));
        self.follow(effects, turn);
    }

    /// What is to come of it when it is answered.
    fn follow(&mut self, effects: &Effects, turn: u64) {
        if effects.pins.contains(Cause::Nextval) {
            self.more.get_or_insert_default().drawing = Some(turn);
        }
        // Most often there is nothing.
        if !(effects.releases.is_empty() && effects.names.is_none()) {
            self.more.get_or_insert_default().release(effects, turn);
        }
    }

    /// For what has been counted.
    fn pin_again(&mut self, pins: Pins) {
        self.pins = self.pins.union(pins);
        if let Some(more) = &mut self.more {
            more.keep(pins, None);
        }
    }

    fn hold(&mut self, held: &Held) {
        if !self.more.get_or_insert_default().hold(held) {
            self.pins.add(held.cause);
        }
    }

    /// Whether nothing waits for an answer.
    pub(super) fn is_settled(&self) -> bool {
        self.more.as_ref().is_none_or(|more| more.releasing.is_empty() && more.drawing.is_none())
    }

    /// The server has done with this turn.
    pub(super) fn done(&mut self, done: u64, status: TxStatus) {
        let Some(more) = &mut self.more else { return };
        if more.done(done) && status == TxStatus::Idle {
            self.pin(Cause::Nextval.into());
        }
    }

    /// A request of this turn failed, and with it what is behind it in the same turn.
    pub(super) fn failed(&mut self, failed: u64) {
        if let Some(more) = &mut self.more {
            more.releasing.retain(|(turn, _)| *turn > failed);
        }
        self.rolled_back();
    }

    /// A text may have taken back what it has given up: what is behind it in the same turn is not told from what is before.
    pub(super) fn taken_back(&mut self) {
        if let Some(more) = &mut self.more {
            more.releasing.clear();
        }
        self.rolled_back();
    }

    pub(super) fn rolled_back(&mut self) {
        if let Some(more) = &mut self.more {
            more.released = Released::default();
        }
    }

    pub(super) fn committed(&mut self) {
        let Some(more) = &mut self.more else { return };
        let Released { pins, held } = std::mem::take(&mut more.released);
        self.pins = self.pins.without(pins).union(self.lasting);
        more.held.retain(|own| !(pins.contains(own.cause) || held.contains(own)));
        self.more.take_if(|more| more.is_empty());
    }

    /// Whether SQL may have prepared a statement of this name.
    pub(super) fn may_have_prepared(&self, name: &[u8]) -> bool {
        let is_it = |held: &Held| held.cause == Cause::Prepare && *held.name == *name;
        self.pins.contains(Cause::Prepare) || self.held().iter().any(is_it)
    }

    /// A tag tells what the text may not have.
    pub(super) fn unseen(&mut self, cause: Cause) {
        if self.pins.contains(cause) {
            self.pin_again(cause.into());
        } else if !self.held().iter().any(|held| held.cause == cause) {
            self.pin(cause.into());
        }
    }
}

impl More {
    fn is_empty(&self) -> bool {
        self.held.is_empty() && self.releasing.is_empty() && self.released.is_empty() && self.drawing.is_none()
    }

    /// All that is being given up.
    fn given_up(&mut self) -> impl Iterator<Item = &mut Released> {
        self.releasing.iter_mut().map(|(_, released)| released).chain([&mut self.released])
    }

    /// Something with a name is there. Returns whether there was room for it.
    fn hold(&mut self, held: &Held) -> bool {
        self.keep(held.cause.into(), Some(held));
        let is_new = !self.held.contains(held);
        let has_room = !is_new || self.held.len() < MOST_HELD;
        if is_new && has_room {
            self.held.push(held.clone());
        }
        has_room
    }

    /// What gives up the same was sent before.
    fn keep(&mut self, pins: Pins, held: Option<&Held>) {
        for released in self.given_up() {
            released.pins = released.pins.without(pins);
            released.held.retain(|other| Some(other) != held);
        }
    }

    /// A text that gives this up was sent in this turn.
    fn release(&mut self, effects: &Effects, turn: u64) {
        // What is not there is not given up: so no list is longer than that of what is.
        let given_up = |held: &&Held| effects.names.as_ref().is_some_and(|names| names.given_up.contains(held));
        let released = Released { pins: effects.releases, held: self.held.iter().filter(given_up).cloned().collect() };
        if !released.is_empty() && self.releasing.len() < MOST_RELEASING {
            self.releasing.push((turn, released));
        }
    }

    /// The server has done with this turn. Returns whether something of it, or sent since, draws from a sequence.
    fn done(&mut self, done: u64) -> bool {
        let Self { releasing, released, .. } = self;
        releasing.retain_mut(|(turn, releases)| {
            let over = *turn <= done;
            if over {
                released.pins = released.pins.union(releases.pins);
                releases.held.retain(|held| !released.held.contains(held));
                released.held.append(&mut releases.held);
            }
            !over
        });
        let draws = self.drawing.is_some();
        self.drawing.take_if(|last| *last <= done);
        draws
    }
}

impl Released {
    fn is_empty(&self) -> bool {
        self.pins.is_empty() && self.held.is_empty()
    }
}

/// What has a name of that which a text makes.
fn made(effects: &Effects) -> impl Iterator<Item = &Held> {
    effects.names.iter().flat_map(|names| &names.made)
}

/// What pins as soon as it is sent.
fn at_once(pins: Pins) -> Pins {
    pins.without(Cause::Nextval.into())
}
