//! The roles that clients get, and the logins that reach them: one login for one role.

/// A role that clients get and the login through which pgusher reaches it.
#[derive(Clone, Copy)]
pub struct ServedRole<'a> {
    /// The role that queries run as, `authenticated` for example. Cannot log in; made if it is missing.
    pub role: &'a str,
    /// The login. Inherits nothing, owns nothing, and is a member of `role` alone; made if it is missing.
    pub login: &'a str,
    /// The login's password, or better its SCRAM verifier: the text of a statement may be logged.
    pub password: &'a str,
}

impl ServedRole<'_> {
    /// Sets up both roles and lets `role` start sessions; run after [`INSTALL`](crate::INSTALL), in the same way.
    ///
    /// May be run again, then it sets the password. It fails with 55000 where one of the roles has more than it may
    /// have: an administrator's attribute, another membership, an object of its own.
    pub fn sql(&self) -> String {
        let body = format!(
            "<<given>> DECLARE served text := {}; login text := {}; secret text := {}; BEGIN\n{};\nEND",
            literal(self.role),
            literal(self.login),
            literal(self.password),
            include_str!("../sql/served_role.sql").trim_end(),
        );
        format!("SET LOCAL search_path = pg_catalog, pg_temp; DO {};", literal(&body))
    }
}

/// A string constant of SQL that means the same under any `standard_conforming_strings`.
fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') {
        return format!("E'{}'", quoted.replace('\\', "\\\\"));
    }
    format!("'{quoted}'")
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn a_literal_doubles_quotes_and_escapes_backslashes_only_when_it_says_so() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\' b"), r"E'a\\'' b'");
    }
}
