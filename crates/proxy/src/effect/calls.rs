//! The calls of `set_config` that a statement is within, and what their last argument is so far. It says whether the
//! setting ends with the transaction.

/// Calls within calls beyond these are not followed.
const MOST: usize = 4;

#[derive(Clone, Copy, Debug, Default)]
struct Call {
    /// How many parentheses were open before its own.
    depth: u32,
    argument: Argument,
}

#[derive(Clone, Copy, Debug, Default)]
enum Argument {
    #[default]
    Empty,
    True,
    Other,
}

/// The open calls.
#[derive(Debug, Default)]
pub(super) struct Calls {
    open: [Call; MOST],
    len: usize,
}

impl Calls {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A call's parenthesis opens. False where it is one too many to follow.
    pub(super) fn begin(&mut self, depth: u32) -> bool {
        let Some(call) = self.open.get_mut(self.len) else { return false };
        *call = Call { depth, argument: Argument::Empty };
        self.len += 1;
        true
    }

    /// A token, or a string, stands at this depth.
    pub(super) fn token(&mut self, depth: u32, is_true: bool) {
        if let Some(call) = self.open[..self.len].last_mut() {
            call.argument = match call.argument {
                Argument::Empty if is_true && depth == call.depth + 1 => Argument::True,
                _ => Argument::Other,
            };
        }
    }

    pub(super) fn comma(&mut self, depth: u32) {
        match self.open[..self.len].last_mut() {
            Some(call) if depth == call.depth + 1 => call.argument = Argument::Empty,
            _ => {}
        }
    }

    /// A parenthesis that opened at `depth` closes. False where it ends a call whose setting outlives the transaction.
    pub(super) fn close(&mut self, depth: u32) -> bool {
        match self.open[..self.len].last() {
            Some(call) if depth == call.depth => {
                self.len -= 1;
                matches!(self.open[self.len].argument, Argument::True)
            }
            _ => true,
        }
    }
}
