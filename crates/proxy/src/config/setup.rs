//! What `pgusher setup` needs of the configuration: the upstream, the way of the claims, the roles. Secrets may be missing,
//! for it is setup that makes them; the other tables are not looked at.

use std::path::Path;

use super::report::{ConfigErrors, Problem, Report};
use super::secret::{self, NO_SIGNING_KEY, Secret, signing_key};
use super::section::{Reading, Section};
use super::server::{self, Upstream};
use super::{Overrides, read_tree, roles};

/// The part of the configuration that the database is set up from.
pub struct SetupConfig {
    /// The Postgres behind.
    pub upstream: Upstream,
    /// How the database gets to know whose session it is.
    pub claims: ClaimsSetup,
    /// The roles, in the order of the file.
    pub roles: Vec<RoleSetup>,
}

/// `[claims]`
pub struct ClaimsSetup {
    /// The mode.
    pub mode: ClaimsWord,
    /// The signing key, which is 64 hexadecimal digits if it is there.
    pub secret: Option<Secret>,
}

/// The word of `[claims] mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimsWord {
    /// Whatever the database has.
    Auto,
    /// The schema `auth` of pgusher's own.
    Signed,
    /// The extension.
    PgSessionJwt,
    /// Plain claims.
    Claims,
}

/// A `[[role]]`
pub struct RoleSetup {
    /// The role.
    pub name: String,
    /// Its login.
    pub login: String,
    /// The login's password; none where the server wants none.
    pub password: Option<Secret>,
}

impl SetupConfig {
    /// Reads the file, and what goes over it, as [`Config::load`](super::Config::load) does.
    ///
    /// # Errors
    /// All that is wrong with these tables, at once.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<(Self, Vec<Problem>), ConfigErrors> {
        let report = Report::default();
        let config = read_tree(path, overrides, &report).and_then(|root| {
            let directory = path.parent().unwrap_or_else(|| Path::new(""));
            let reading = Reading { report: &report, directory, variables: overrides.variables() };
            Self::read(Section::root(&reading, root))
        });
        let warnings = report.finish()?;
        Ok((config.expect("a reader that has no value has reported an error"), warnings))
    }

    fn read(mut root: Section<'_>) -> Option<Self> {
        let upstream = server::read(root.section("upstream"));
        let claims = read_claims(root.section("claims"));
        let roles = roles::find(root.sections("role"));
        if roles.is_empty() {
            root.error("role", "there is none: each [[role]] is one that clients may get");
        }
        let setup =
            |role: roles::Role<Secret>| RoleSetup { name: role.name, login: role.login, password: role.password };
        let roles = roles.into_iter().map(|role| setup(role.value)).collect();
        Some(Self { upstream: upstream?, claims, roles })
    }
}

fn read_claims(mut section: Section<'_>) -> ClaimsSetup {
    let words = [
        ("auto", ClaimsWord::Auto),
        ("signed", ClaimsWord::Signed),
        ("pg_session_jwt", ClaimsWord::PgSessionJwt),
        ("claims", ClaimsWord::Claims),
    ];
    let mode = section.word("mode", &words).unwrap_or(ClaimsWord::Auto);
    let given = secret::is_given(&section, "secret");
    let secret = secret::find(&mut section, "secret");
    if mode == ClaimsWord::Signed && !given {
        section.error("secret_file", "missing: claims are signed with a secret that the database has too");
    }
    if let Some((key, Secret { text: Some(text), .. })) = &secret
        && signing_key(text).is_none()
    {
        section.error(key, NO_SIGNING_KEY);
    }
    section.finish();
    ClaimsSetup { mode, secret: secret.map(|(_, secret)| secret) }
}
