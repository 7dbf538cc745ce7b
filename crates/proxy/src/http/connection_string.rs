//! A connection string as drivers send it in a header: `postgres://user:password@host:port/database?parameter=value`. Host
//! and port are ignored: which Postgres is meant is for the configuration to say.
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// What a connection string says.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ConnectionString {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: Option<String>,
    /// What is to be set for the session; not what tells a driver how to connect.
    pub(super) parameters: Vec<(String, String)>,
}

/// The parameters that are the session's; all others are about connecting, which is done.
const OF_SESSION: [&str; 2] = ["application_name", "options"];

/// Not a connection string, and why. What it says is not repeated: there may be a password in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("it does not begin with postgres:// or postgresql://")]
    Scheme,
    #[error("it has an escape that is none, or one that is no UTF-8")]
    Escape,
    #[error("it holds a zero byte")]
    ZeroByte,
}

impl ConnectionString {
    /// Reads one.
    ///
    /// # Errors
    /// [`Malformed`]
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        let scheme = ["postgres://", "postgresql://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = scheme.ok_or(Malformed::Scheme)?;
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        let (who, _) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = who.split_once(':').map_or((who, None), |(user, password)| (user, Some(password)));
        let mut parameters = Vec::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if OF_SESSION.contains(&name) {
                parameters.push((name.to_owned(), decode(value)?));
            }
        }
        let some = |text: &str| (!text.is_empty()).then(|| decode(text)).transpose();
        let database = path.split('/').next().unwrap_or_default();
        let password = password.map(decode).transpose()?;
        Ok(Self { user: some(user)?, password, database: some(database)?, parameters })
    }
}

fn decode(text: &str) -> Result<String, Malformed> {
    let well_formed = text
        .split('%')
        .skip(1)
        .all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|digit| digit.is_ascii_hexdigit()));
    if !well_formed {
        return Err(Malformed::Escape);
    }
    let text = percent_decode_str(text).decode_utf8().map(Cow::into_owned).map_err(|_| Malformed::Escape)?;
    if text.contains('\0') { Err(Malformed::ZeroByte) } else { Ok(text) }
}

/// Passwords and tokens are not for logs.
impl std::fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { user, database, .. } = self;
        f.debug_struct("ConnectionString").field("user", user).field("database", database).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ConnectionString {
        ConnectionString::parse(text).unwrap()
    }

    fn parts(text: &str) -> [Option<String>; 3] {
        let ConnectionString { user, password, database, .. } = parse(text);
        [user, password, database]
    }

    #[test]
    fn user_password_and_database_are_read_and_the_rest_is_not() {
        let some = |text: &str| Some(text.to_owned());
        for text in [
            "postgres://authenticated:token@ep-x.region.example.com/app",
            "postgresql://authenticated:token@127.0.0.1:5432/app?sslmode=require&channel_binding=require",
            "postgres://authenticated:token@[::1]:5432/app/further?host=elsewhere#fragment",
            "postgres://authenticated:token@/app",
        ] {
            assert_eq!(parts(text), [some("authenticated"), some("token"), some("app")], "{text}");
        }
        assert_eq!(parts("postgres://host/app"), [None, None, some("app")]);
        assert_eq!(parts("postgres://u@host"), [some("u"), None, None]);
        assert_eq!(parts("postgres://u:@host/"), [some("u"), some(""), None]);
    }

    #[test]
    fn escapes_are_undone_once() {
        let some = |text: &str| Some(text.to_owned());
        let text = "postgres://us%40er:a%3Ab%2F%2540@host/d%2Fb%20c";
        assert_eq!(parts(text), [some("us@er"), some("a:b/%40"), some("d/b c")]);
    }

    #[test]
    fn an_at_sign_in_a_password_does_not_move_the_host() {
        assert_eq!(parts("postgres://u:a@b@host/d")[1], Some("a@b".to_owned()));
    }

    #[test]
    fn of_the_parameters_the_sessions_own_are_kept() {
        let text = "postgres://u@h/d?sslmode=require&application_name=a%20b&options=-c%20search_path%3Dx&role=admin";
        let pairs = [("application_name", "a b"), ("options", "-c search_path=x")];
        let expected: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(parse(text).parameters, expected);
    }

    #[test]
    fn what_is_none_is_refused_without_being_repeated() {
        for (text, error) in [
            ("", Malformed::Scheme),
            ("mysql://u:secret@h/d", Malformed::Scheme),
            ("postgres://u:%2@h/d", Malformed::Escape),
            ("postgres://u:%zz@h/d", Malformed::Escape),
            ("postgres://u:%ff@h/d", Malformed::Escape),
            ("postgres://u%00:p@h/d", Malformed::ZeroByte),
        ] {
            assert_eq!(ConnectionString::parse(text), Err(error), "{text}");
        }
        assert!(!format!("{:?}", parse("postgres://u:secret@h/d")).contains("secret"));
    }
}
