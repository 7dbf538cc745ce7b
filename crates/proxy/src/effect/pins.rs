//! Why a server must stay with its client.

use std::fmt;

/// A reason for which a server stays with the client whose statement ran on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Listen,
    Temporary,
    Prepare,
    Hold,
    AdvisoryLock,
    SetConfig,
    Load,
    /// `nextval` or `setval`, unless a transaction is open when that has been answered.
    Nextval,
    /// `currval` or `lastval`.
    Currval,
    Seed,
    Dblink,
    Role,
    Claims,
    /// A call that has no text.
    FunctionCall,
    /// A COPY that failed before it had read what was sent behind it.
    Copy,
    /// A setting that cannot be replayed.
    Setting,
    /// What the text does cannot be told.
    Unclear,
}

impl Cause {
    const ALL: [Self; 17] = [
        Self::Listen,
        Self::Temporary,
        Self::Prepare,
        Self::Hold,
        Self::AdvisoryLock,
        Self::SetConfig,
        Self::Load,
        Self::Nextval,
        Self::Currval,
        Self::Seed,
        Self::Dblink,
        Self::Role,
        Self::Claims,
        Self::FunctionCall,
        Self::Copy,
        Self::Setting,
        Self::Unclear,
    ];

    /// A word or two for the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::Temporary => "temporary object",
            Self::Prepare => "prepare",
            Self::Hold => "cursor with hold",
            Self::AdvisoryLock => "advisory lock",
            Self::SetConfig => "set_config",
            Self::Load => "load",
            Self::Nextval => "nextval",
            Self::Currval => "currval",
            Self::Seed => "random seed",
            Self::Dblink => "dblink",
            Self::Role => "role",
            Self::Claims => "claims",
            Self::FunctionCall => "function call",
            Self::Copy => "failed copy",
            Self::Setting => "setting",
            Self::Unclear => "unclear statement",
        }
    }
}

/// A set of causes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pins(u32);

impl Pins {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self(u32::MAX);

    pub(crate) fn is_empty(self) -> bool {
        self == Self::NONE
    }

    pub(crate) fn contains(self, cause: Cause) -> bool {
        self.0 & Self::from(cause).0 != 0
    }

    #[must_use]
    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn add(&mut self, cause: Cause) {
        *self = self.union(cause.into());
    }

    pub(crate) fn causes(self) -> impl Iterator<Item = Cause> {
        Cause::ALL.into_iter().filter(move |&cause| self.contains(cause))
    }
}

impl From<Cause> for Pins {
    fn from(cause: Cause) -> Self {
        Self(1 << cause as u32)
    }
}

/// The causes' names, with commas between them.
impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, cause) in self.causes().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(cause.name())?;
        }
        Ok(())
    }
}

/// How often there was each cause. Most sessions have none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(Option<Box<[u32; Cause::ALL.len()]>>);

impl Counts {
    pub(crate) fn has(&self, cause: Cause) -> bool {
        self.0.as_ref().is_some_and(|counts| counts[cause as usize] > 0)
    }

    pub(crate) fn add(&mut self, pins: Pins) {
        for cause in pins.causes() {
            let count = &mut self.0.get_or_insert_default()[cause as usize];
            *count = count.saturating_add(1);
        }
    }
}

/// The causes' names with their counts, and commas between them.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        let counts = self.0.as_deref().into_iter().flatten();
        for (cause, count) in Cause::ALL.into_iter().zip(counts).filter(|(_, count)| **count > 0) {
            write!(f, "{comma}{} {count}", cause.name())?;
            comma = ", ";
        }
        Ok(())
    }
}
