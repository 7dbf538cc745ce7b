//! By which means claims reach a server: what the configuration asks for, settled for the database that the server is
//! in, before anybody has it.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::message::frontend;
use tokio::io::AsyncWriteExt;
use wire::frame::backend;
use wire::stream::Stream;

use crate::answer::{Answer, Answers};
use crate::claims::{ClaimsMode, Signer};
use crate::error::{Error, KeyError, MeansError};
use crate::login::report;
use crate::session_jwt::SessionKey;

/// How a server is told whose session it is.
#[derive(Clone, Debug)]
pub enum Means {
    /// By claims that are signed for `auth.pgusher_init` and verified by its readers.
    Signed(Signer),
    /// As `request.jwt.claims`, which anyone with SQL can change.
    Claims,
    /// By tokens for the extension `pg_session_jwt`, which has taken this key.
    SessionJwt(Arc<SessionKey>),
}

impl Means {
    /// The name of the mode.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Signed(_) => "signed",
            Self::Claims => "claims",
            Self::SessionJwt(_) => "pg_session_jwt",
        }
    }

    /// Whether a session init was refused with this SQLSTATE and this detail because of our key.
    #[must_use]
    pub fn key_error(&self, sqlstate: &str, detail: &str) -> Option<KeyError> {
        match self {
            Self::Signed(signer) if (sqlstate, detail) == KEY_REFUSED => {
                Some(KeyError { kid: signer.kid().to_owned() })
            }
            _ => None,
        }
    }

    /// The same error, or what it comes from.
    pub(crate) fn explained(&self, error: Error) -> Error {
        let Error::Init(refusal) = &error else { return error };
        self.key_error(&refusal.sqlstate, &refusal.detail).map_or(error, Error::Key)
    }
}

/// What `auth.pgusher_init` says to a proof that it cannot verify.
const KEY_REFUSED: (&str, &str) = ("28000", "The proof is wrong, or its key is unknown or retired.");

/// What the database has. The version is the extension's only if the function that takes tokens belongs to it: a schema
/// `auth` is anybody's who came first.
const LOOK: &str = "SELECT \
    (SELECT e.extversion FROM pg_catalog.pg_extension AS e \
       JOIN pg_catalog.pg_depend AS d ON d.refobjid OPERATOR(pg_catalog.=) e.oid \
        AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass \
        AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass \
        AND d.deptype OPERATOR(pg_catalog.=) 'e'::\"char\" \
       JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) d.objid \
       JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace \
      WHERE e.extname OPERATOR(pg_catalog.=) 'pg_session_jwt'::pg_catalog.name \
        AND n.nspname OPERATOR(pg_catalog.=) 'auth'::pg_catalog.name \
        AND p.proname OPERATOR(pg_catalog.=) 'jwt_session_init'::pg_catalog.name LIMIT 1), \
    EXISTS (SELECT FROM pg_catalog.pg_proc AS p \
       JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace \
       JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) p.proowner \
      WHERE n.nspname OPERATOR(pg_catalog.=) 'auth'::pg_catalog.name \
        AND p.proname OPERATOR(pg_catalog.=) 'pgusher_init'::pg_catalog.name \
        AND r.rolname OPERATOR(pg_catalog.=) 'pgusher_auth'::pg_catalog.name)";

/// Loads the extension, which makes it keep the key of the startup packet, and asks which one that is. Before it is
/// loaded the setting is a name that means nothing, and anybody's.
const INIT: &str = "SELECT auth.init(), pg_catalog.current_setting('pg_session_jwt.jwk', true)";

/// The versions of the extension that are known to behave as [`SessionKey`] needs it.
const VERSIONS: [&str; 3] = ["0.3", "0.4", "0.5"];

/// Settles the means for a server that has just logged in; its startup packet has brought the key, if there is one.
///
/// # Errors
/// [`Error::Means`], [`Error::Init`], or the connection breaks.
pub(crate) async fn settle(
    mode: &ClaimsMode,
    key: Option<SessionKey>,
    stream: &mut Stream,
    parameters: &mut Vec<(String, String)>,
) -> Result<Means, Error> {
    let (key, signer) = match (mode, key) {
        (ClaimsMode::Claims, _) => return Ok(Means::Claims),
        (ClaimsMode::Signed(signer), _) => return Ok(Means::Signed(signer.clone())),
        (ClaimsMode::SessionJwt | ClaimsMode::Auto(_), None) => return Err(MeansError::KeyNotTaken.into()),
        (ClaimsMode::SessionJwt, Some(key)) => (key, None),
        (ClaimsMode::Auto(signer), Some(key)) => (key, Some(signer)),
    };
    let found = ask(LOOK, stream, parameters).await?;
    let [version, has_signed] = &found[..] else { return Err(out_of_place()) };
    match (version, signer) {
        (Some(version), _) => {
            take_key(&String::from_utf8_lossy(version), &key, stream, parameters).await?;
            Ok(Means::SessionJwt(Arc::new(key)))
        }
        (None, None) => Err(MeansError::NoExtension.into()),
        (None, Some(_)) if has_signed.as_deref() != Some(b"t") => Err(MeansError::Nothing.into()),
        (None, Some(None)) => Err(MeansError::NoSecret.into()),
        (None, Some(Some(signer))) => Ok(Means::Signed(signer.clone())),
    }
}

/// Has the extension take the key, and makes sure that it is this one: without a key it would believe
/// `request.jwt.claims`, which anybody can set.
async fn take_key(
    version: &str,
    key: &SessionKey,
    stream: &mut Stream,
    parameters: &mut Vec<(String, String)>,
) -> Result<(), Error> {
    let series = version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    if !VERSIONS.contains(&series.as_str()) {
        return Err(MeansError::Version(version.to_owned()).into());
    }
    let taken = ask(INIT, stream, parameters).await?;
    match &taken[..] {
        [_, Some(jwk)] if jwk[..] == *key.jwk().as_bytes() => Ok(()),
        _ => Err(MeansError::KeyNotTaken.into()),
    }
}

/// The columns of the only row that a query returns.
///
/// # Errors
/// [`Error::Init`] if the database refuses it.
pub(crate) async fn ask(
    sql: &str,
    stream: &mut Stream,
    parameters: &mut Vec<(String, String)>,
) -> Result<Vec<Option<Bytes>>, Error> {
    let mut question = BytesMut::new();
    frontend::query(sql, &mut question).expect("SQL without a zero byte");
    stream.write_all(&question).await.map_err(Error::Lost)?;
    stream.flush().await.map_err(Error::Lost)?;

    let mut answers = Answers::new(stream);
    let mut found = Ok(Vec::new());
    loop {
        match answers.next().await? {
            Answer::Other(frame) if frame.tag == backend::DATA_ROW => {
                found = Ok(columns(frame.body).ok_or_else(out_of_place)?);
            }
            Answer::Error(error) => found = Err(Error::Init(error)),
            Answer::Parameter(name, value) => report(parameters, name, value),
            Answer::Ready(b'I') => return found,
            // A transaction of its own that has failed. The connection is of no use any more.
            Answer::Ready(b'E') if found.is_err() => return found,
            Answer::Ready(_) | Answer::Authentication(..) | Answer::Key { .. } => return Err(out_of_place()),
            Answer::Other(_) | Answer::Notice => {}
        }
    }
}

/// Two bytes count the columns. Each has its length before it; -1 is NULL.
fn columns(mut row: Bytes) -> Option<Vec<Option<Bytes>>> {
    let mut columns = Vec::new();
    for _ in 0..row.try_get_u16().ok()? {
        columns.push(match usize::try_from(row.try_get_i32().ok()?) {
            Ok(length) => Some((length <= row.len()).then(|| row.split_to(length))?),
            Err(_) => None,
        });
    }
    row.is_empty().then_some(columns)
}

fn out_of_place() -> Error {
    Error::Protocol("an answer to a Query that is none".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_cut_into_its_columns() {
        let row = b"\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0";
        let expected = vec![Some(Bytes::from_static(b"ab")), None, Some(Bytes::new())];
        assert_eq!(columns(Bytes::from_static(row)), Some(expected));
    }

    #[test]
    fn a_row_that_is_cut_short_or_too_long_is_none() {
        for row in [&b""[..], b"\0", b"\0\x01", b"\0\x01\0\0\0\x02a", b"\0\x01\0\0\0\x01ab", b"\0\x02\xff\xff\xff\xff"]
        {
            assert_eq!(columns(Bytes::copy_from_slice(row)), None, "{row:?}");
        }
    }
}
