//! The rules, and the groups that they come in.

use std::fmt;

/// How bad it is that a rule is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// A weakness that needs something else to become a leak, or an operator's mistake in waiting.
    Warning,
    /// A client gets more than its own rows, or can harm others, with some effort or luck.
    High,
    /// Row-Level Security, or the identity that it asks for, holds nobody.
    Critical,
}

impl Level {
    /// The word for it in queries and outputs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The level of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Warning, Self::High, Self::Critical].into_iter().find(|level| level.word() == word)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Something that must not be. Rules are compared by their ids.
#[derive(Debug)]
pub struct Rule {
    /// Its name for machines and for `allow` lists, in kebab case. It never changes its meaning.
    pub id: &'static str,
    /// The group that it is told in.
    pub group: Group,
    /// How bad it is; a single finding may be less or more so.
    pub level: Level,
    /// What is the case, in a few words without a full stop.
    pub what: &'static str,
    /// Why it matters, in one sentence.
    pub why: &'static str,
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// The configuration file.
    Configuration,
    /// Attributes of the served roles and their logins.
    Attributes,
    /// The roles that can be reached from a login.
    Memberships,
    /// What a served role or a login owns.
    Ownership,
    /// Rights to create something.
    Create,
    /// Tables without effective Row-Level Security.
    Tables,
    /// Policies.
    Policies,
    /// Functions that run with their owner's rights.
    Definers,
    /// Views that run with their owner's rights.
    Views,
    /// Rights on what is yet to be created.
    Defaults,
    /// Settings of roles and databases, and rights to change parameters.
    Settings,
    /// Dangerous functions of the server.
    Functions,
    /// Rights that may be passed on.
    GrantOptions,
    /// Partitions and children.
    Children,
    /// Extensions and languages.
    Extensions,
    /// The server itself.
    Server,
    /// The schema `auth`.
    AuthSchema,
    /// Issuers of tokens and their keys.
    Issuers,
    /// Certificates.
    Tls,
}

impl Group {
    /// Its heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Attributes => "attributes of roles",
            Self::Memberships => "memberships",
            Self::Ownership => "ownership",
            Self::Create => "rights to create",
            Self::Tables => "tables without row security",
            Self::Policies => "policies",
            Self::Definers => "functions with their owner's rights",
            Self::Views => "views with their owner's rights",
            Self::Defaults => "default privileges",
            Self::Settings => "settings of roles and databases",
            Self::Functions => "dangerous functions",
            Self::GrantOptions => "grant options",
            Self::Children => "partitions and children",
            Self::Extensions => "extensions and languages",
            Self::Server => "server",
            Self::AuthSchema => "the schema auth",
            Self::Issuers => "issuers",
            Self::Tls => "TLS",
        }
    }
}
