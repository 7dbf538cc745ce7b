//! Session init: the requests by which the database learns whose session it is.
//!
//! They go in one flight that ends with its own Sync. Claims travel as bind parameters, never in the text of a query,
//! where the logs and other sessions of the role would see them. Statement and portal have a name that was drawn for
//! this connection: unnamed ones are the client's, and a name that the client can guess it can take first.

use bytes::{Bytes, BytesMut};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;
use wire::frame::{Tag, frontend as tag};

use crate::claims::{Claims, ClaimsMode, Epoch, hex, random};
use crate::error::Error;
use crate::login::Session;

/// The type of both parameters, `text` in `pg_type`.
const TEXT: u32 = 25;

/// What a transaction may do that says nothing about it; the server reports it as `default_transaction_read_only`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAccess {
    /// Write.
    ReadWrite,
    /// Only read.
    ReadOnly,
}

/// The init of one server connection. After a reset of the session the same is sent again.
#[derive(Clone)]
pub struct SessionInit {
    name: String,
    sql: &'static str,
    values: Vec<String>,
    /// Whether it writes, and so fails in a read-only transaction.
    writes: bool,
}

/// Frames to send together, and the tag of each, in order: that is what the server owes an answer for.
#[derive(Clone, Debug)]
pub struct Flight {
    /// The frames.
    pub bytes: Bytes,
    /// Their tags; the last one is a Sync.
    pub requests: Vec<Tag>,
}

impl SessionInit {
    /// Prepares the init for the backend of a session.
    pub(crate) fn new(claims: &Claims<'_>, session: &Session) -> Result<Self, Error> {
        if !claims.json.is_ascii() || !claims.json.starts_with('{') {
            return Err(Error::Claims);
        }
        let name = format!("pgusher_{}", hex(&random::<8>()));
        Ok(match claims.mode {
            ClaimsMode::Signed(signer) => {
                let standby = session.parameters.iter().any(|(name, value)| name == "in_hot_standby" && value == "on");
                let epoch = if standby { Epoch::Pid(session.pid) } else { Epoch::draw() };
                let values = vec![signer.claims(epoch, claims.expires, claims.json), signer.proof(epoch, session.pid)];
                Self { name, sql: "SELECT auth.pgusher_init($1, $2)", values, writes: !standby }
            }
            // The comparison keeps the claims from coming back as the result.
            ClaimsMode::Claims => Self {
                name,
                sql: "SELECT pg_catalog.set_config('request.jwt.claims', $1, false) IS NULL",
                values: vec![claims.json.to_owned()],
                writes: false,
            },
        })
    }

    /// The flight. It must go out between transactions: where transactions only read by default, the init of mode
    /// `signed` brings one that may write, and commits it.
    #[must_use]
    pub fn flight(&self, access: DefaultAccess) -> Flight {
        let mut batch = Batch { name: &self.name, bytes: BytesMut::new(), requests: Vec::new() };
        let wrapped = self.writes && access == DefaultAccess::ReadOnly;
        if wrapped {
            batch.run("BEGIN READ WRITE", &[]);
        }
        batch.run(self.sql, &self.values);
        if wrapped {
            batch.run("COMMIT", &[]);
        }
        frontend::sync(&mut batch.bytes);
        batch.requests.push(tag::SYNC);
        Flight { bytes: batch.bytes.freeze(), requests: batch.requests }
    }
}

/// Claims are nobody's to read.
impl std::fmt::Debug for SessionInit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionInit").field("name", &self.name).field("sql", &self.sql).finish_non_exhaustive()
    }
}

struct Batch<'a> {
    name: &'a str,
    bytes: BytesMut,
    requests: Vec<Tag>,
}

impl Batch<'_> {
    /// Runs one statement and leaves nothing of it behind.
    fn run(&mut self, sql: &str, values: &[String]) {
        const WRITTEN: &str = "names, SQL and JSON hold no zero byte and are far below a gigabyte";

        let (name, bytes) = (self.name, &mut self.bytes);
        frontend::parse(name, sql, values.iter().map(|_| TEXT), bytes).expect(WRITTEN);
        let text = |value: &String, out: &mut BytesMut| {
            out.extend_from_slice(value.as_bytes());
            Ok(IsNull::No)
        };
        frontend::bind(name, name, [], values, text, [], bytes).map_err(|_| WRITTEN).expect(WRITTEN);
        frontend::execute(name, 0, bytes).expect(WRITTEN);
        frontend::close(b'S', name, bytes).expect(WRITTEN);
        frontend::close(b'P', name, bytes).expect(WRITTEN);
        self.requests.extend([tag::PARSE, tag::BIND, tag::EXECUTE, tag::CLOSE, tag::CLOSE]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::Signer;
    use wire::frame::Header;

    fn session() -> Session {
        Session { parameters: Vec::new(), pid: 42, secret: 7 }
    }

    fn init(mode: &ClaimsMode) -> SessionInit {
        SessionInit::new(&Claims { mode, json: r#"{"sub":"alice"}"#, expires: 9 }, &session()).unwrap()
    }

    fn signed() -> ClaimsMode {
        ClaimsMode::Signed(Signer::new(&[1; 32]))
    }

    /// Walks the frames, so that what a flight says it holds is compared with what it holds.
    fn tags(mut bytes: &[u8]) -> Vec<Tag> {
        let mut tags = Vec::new();
        while let Some((header, _)) = bytes.split_first_chunk() {
            let header = Header::parse(*header).unwrap();
            tags.push(header.tag);
            bytes = &bytes[header.frame_size() as usize..];
        }
        tags
    }

    #[test]
    fn a_flight_names_every_frame_in_it() {
        for mode in [signed(), ClaimsMode::Claims] {
            for access in [DefaultAccess::ReadWrite, DefaultAccess::ReadOnly] {
                let flight = init(&mode).flight(access);
                assert_eq!(tags(&flight.bytes), flight.requests);
                assert_eq!(flight.requests.last(), Some(&tag::SYNC));
            }
        }
    }

    #[test]
    fn only_an_init_that_writes_brings_its_own_transaction() {
        let size = |mode: &ClaimsMode, access| init(mode).flight(access).requests.len();

        assert_eq!(size(&signed(), DefaultAccess::ReadWrite), 6);
        assert_eq!(size(&signed(), DefaultAccess::ReadOnly), 16);
        assert_eq!(size(&ClaimsMode::Claims, DefaultAccess::ReadOnly), 6);
    }

    #[test]
    fn the_same_init_sends_the_same_bytes_and_another_one_others() {
        let (one, other) = (init(&signed()), init(&signed()));
        let bytes = |init: &SessionInit| init.flight(DefaultAccess::ReadWrite).bytes;

        assert_eq!(bytes(&one), bytes(&one));
        assert_ne!(bytes(&one), bytes(&other));
    }

    #[test]
    fn claims_that_are_no_ascii_object_are_refused() {
        for json in ["", "null", "[]", " {}", "{\"sub\":\"é\"}"] {
            let claims = Claims { mode: &ClaimsMode::Claims, json, expires: 9 };
            assert!(matches!(SessionInit::new(&claims, &session()), Err(Error::Claims)), "{json:?}");
        }
    }

    #[test]
    fn debug_tells_no_claims() {
        assert!(!format!("{:?}", init(&ClaimsMode::Claims)).contains("alice"));
    }
}
