//! The roles that clients get, and the logins that reach them: one login for one role.

use crate::quote::{block, literal};

/// A role that clients get and the login through which pgusher reaches it.
#[derive(Clone, Copy)]
pub struct ServedRole<'a> {
    /// The role that queries run as, `authenticated` for example. Cannot log in; made if it is missing.
    pub role: &'a str,
    /// The login. Inherits nothing, owns nothing, and is a member of `role` alone; made if it is missing.
    pub login: &'a str,
    /// The [verifier](crate::scram_verifier) of the login's password, never the password itself: the text of a statement
    /// may be logged. Without one the password, or the lack of it, stays as it is.
    pub verifier: Option<&'a str>,
}

impl ServedRole<'_> {
    /// Sets up both roles and lets `role` start sessions; run after [`INSTALL`](crate::INSTALL), in the same way.
    ///
    /// May be run again. It fails with 55000 where one of the roles has more than it may have: an administrator's
    /// attribute, another membership, an object of its own.
    #[must_use]
    pub fn sql(&self) -> String {
        self.roles_sql() + &self.admission_sql()
    }

    /// The part of [`sql`](Self::sql) that is about the roles themselves, which needs no schema `auth`.
    #[must_use]
    pub fn roles_sql(&self) -> String {
        let verifier = self.verifier.map_or_else(|| "NULL".to_owned(), literal);
        let declarations = [
            ("served", "text", literal(self.role)),
            ("login", "text", literal(self.login)),
            ("secret", "text", verifier),
        ];
        block(&declarations.each_ref().map(|(name, kind, value)| (*name, *kind, value.as_str())), BODY)
    }

    /// The part of [`sql`](Self::sql) that lets `role` start sessions with signed claims.
    #[must_use]
    pub fn admission_sql(&self) -> String {
        block(&[("served", "text", &literal(self.role))], include_str!("../sql/admit_role.sql"))
    }

    /// Drops both roles, unless something hangs on them: then a warning says what, and they stay.
    #[must_use]
    pub fn removal_sql(&self) -> String {
        let [served, login] = [self.role, self.login].map(literal);
        let declarations = [("served", "text", served.as_str()), ("login", "text", login.as_str())];
        block(&declarations, include_str!("../sql/remove_role.sql"))
    }
}

const BODY: &str = include_str!("../sql/served_role.sql");
