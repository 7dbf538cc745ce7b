//! The first packet of a connection, which has a length but no tag.
//!
//! It is read to its last byte and never buffered beyond: what a peer sends in clear behind an SSLRequest must not
//! be taken for what it says inside TLS (CVE-2021-23214, CVE-2021-23222).
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest startup packet, as in Postgres (`MAX_STARTUP_PACKET_LENGTH`).
pub const MAX_STARTUP_PACKET: u32 = 10_000;

/// The longest key of a CancelRequest in protocol 3.2.
pub const MAX_CANCEL_KEY: usize = 256;

const CANCEL: u32 = 1234 << 16 | 5678;
const SSL: u32 = 1234 << 16 | 5679;
const GSS: u32 = 1234 << 16 | 5680;

/// What a client says first.
#[derive(Clone, Debug)]
pub enum FirstPacket {
    /// SSLRequest: may I speak TLS?
    Ssl,
    /// GSSENCRequest: may I speak GSSAPI encryption?
    Gss,
    /// CancelRequest, after which nothing follows.
    Cancel(CancelRequest),
    /// StartupMessage.
    Startup(Startup),
}

/// A request to cancel what another connection runs.
#[derive(Clone, Debug)]
pub struct CancelRequest {
    /// The process id of that connection's BackendKeyData.
    pub process_id: u32,
    /// Its secret key: four bytes in protocol 3.0, up to [`MAX_CANCEL_KEY`] in 3.2.
    pub key: Bytes,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 3 since PostgreSQL 7.4.
    pub major: u16,
    /// 0, or 2 since PostgreSQL 18.
    pub minor: u16,
}

impl Version {
    /// What every driver speaks.
    pub const V3_0: Self = Self { major: 3, minor: 0 };
    /// Longer cancel keys; PostgreSQL 18.
    pub const V3_2: Self = Self { major: 3, minor: 2 };
}

/// A client's StartupMessage.
#[derive(Clone, Debug)]
pub struct Startup {
    /// The version asked for.
    pub version: Version,
    /// Names and values in the order sent; a name may come twice.
    pub parameters: Vec<(String, String)>,
}

impl Startup {
    /// The value of a parameter; where it was sent twice the last one counts, as in Postgres.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Why a first packet could not be read.
#[derive(Debug)]
pub enum StartupError {
    /// The socket failed, or ended within the packet.
    Io(io::Error),
    /// The length is below eight or above [`MAX_STARTUP_PACKET`].
    Length(u32),
    /// The parameters are not pairs of zero-terminated UTF-8 strings with one more zero behind them.
    Layout,
    /// The key of a CancelRequest has no length that a key may have.
    CancelKey(usize),
}

/// Reads exactly one first packet.
///
/// # Errors
/// [`StartupError`]; nothing useful can be read from the socket after one.
pub async fn read_first_packet<R: AsyncRead + Unpin>(from: &mut R) -> Result<FirstPacket, StartupError> {
    let length = from.read_u32().await.map_err(StartupError::Io)?;
    if !(8..=MAX_STARTUP_PACKET).contains(&length) {
        return Err(StartupError::Length(length));
    }
    let mut packet = vec![0; length as usize - 4];
    from.read_exact(&mut packet).await.map_err(StartupError::Io)?;
    parse_first_packet(&packet.into())
}

/// Parses a first packet without its length word.
///
/// # Errors
/// [`StartupError`], but never `Io`.
pub fn parse_first_packet(packet: &Bytes) -> Result<FirstPacket, StartupError> {
    let Some((code, body)) = packet.split_first_chunk() else {
        return Err(StartupError::Length(packet.len() as u32 + 4));
    };
    match (u32::from_be_bytes(*code), body.len()) {
        (SSL, 0) => Ok(FirstPacket::Ssl),
        (GSS, 0) => Ok(FirstPacket::Gss),
        (SSL | GSS, _) => Err(StartupError::Layout),
        (CANCEL, _) => parse_cancel(&packet.slice(4..)).map(FirstPacket::Cancel),
        (version, _) => {
            let version = Version { major: (version >> 16) as u16, minor: version as u16 };
            let parameters = parse_parameters(body).ok_or(StartupError::Layout)?;
            Ok(FirstPacket::Startup(Startup { version, parameters }))
        }
    }
}

fn parse_cancel(body: &Bytes) -> Result<CancelRequest, StartupError> {
    match body.split_first_chunk() {
        Some((process_id, key)) if (4..=MAX_CANCEL_KEY).contains(&key.len()) => {
            Ok(CancelRequest { process_id: u32::from_be_bytes(*process_id), key: body.slice(4..) })
        }
        _ => Err(StartupError::CancelKey(body.len().saturating_sub(4))),
    }
}

fn parse_parameters(body: &[u8]) -> Option<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    let mut rest = body;
    loop {
        let (name, behind) = c_string(rest)?;
        if name.is_empty() {
            return behind.is_empty().then_some(parameters);
        }
        let (value, behind) = c_string(behind)?;
        parameters.push((name.to_owned(), value.to_owned()));
        rest = behind;
    }
}

/// Splits a zero-terminated UTF-8 string off.
fn c_string(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

/// Parses arbitrary bytes as a first packet: must not panic, must not reserve more than it was given. For the fuzzer.
pub fn fuzz_first_packet(bytes: &[u8]) {
    if let Ok(FirstPacket::Startup(startup)) = parse_first_packet(&Bytes::copy_from_slice(bytes)) {
        let size: usize = startup.parameters.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        assert_eq!(size + 5, bytes.len(), "every byte of a startup packet is accounted for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(code: u32, body: &[u8]) -> Result<FirstPacket, StartupError> {
        parse_first_packet(&[&code.to_be_bytes()[..], body].concat().into())
    }

    #[test]
    fn parameters_come_in_pairs_and_end_with_a_zero() {
        let Ok(FirstPacket::Startup(startup)) = parse(3 << 16, b"user\0alice\0database\0db\0user\0bob\0\0") else {
            panic!("a startup message");
        };
        assert_eq!(startup.version, Version::V3_0);
        assert_eq!(
            (startup.get("user"), startup.get("database"), startup.get("options")),
            (Some("bob"), Some("db"), None)
        );
        for body in [&b""[..], b"user", b"user\0", b"user\0x", b"user\0x\0", b"user\0x\0\0y", b"user\0\xff\0\0"] {
            assert!(matches!(parse(3 << 16, body), Err(StartupError::Layout)), "{body:?}");
        }
    }

    #[test]
    fn a_cancel_key_has_four_to_256_bytes() {
        let Ok(FirstPacket::Cancel(request)) = parse(CANCEL, &[0, 0, 0, 7, 1, 2, 3, 4]) else {
            panic!("a cancel request");
        };
        assert_eq!((request.process_id, &request.key[..]), (7, &[1, 2, 3, 4][..]));
        for size in [0, 3, 4 + 3, 4 + 257] {
            assert!(matches!(parse(CANCEL, &vec![0; size]), Err(StartupError::CancelKey(_))), "{size}");
        }
        assert!(matches!(parse(CANCEL, &[0; 4 + 256]), Ok(FirstPacket::Cancel(_))));
    }

    #[test]
    fn requests_for_encryption_have_no_body() {
        assert!(matches!(parse(SSL, b""), Ok(FirstPacket::Ssl)));
        assert!(matches!(parse(GSS, b""), Ok(FirstPacket::Gss)));
        assert!(matches!(parse(SSL, b"\0"), Err(StartupError::Layout)));
    }

    #[tokio::test]
    async fn a_length_is_judged_before_anything_is_reserved_for_it() {
        for length in [0, 4, 7, MAX_STARTUP_PACKET + 1, u32::MAX] {
            let packet = length.to_be_bytes();
            let refused = read_first_packet(&mut &packet[..]).await;
            assert!(matches!(refused, Err(StartupError::Length(told)) if told == length));
        }
    }

    #[tokio::test]
    async fn nothing_is_read_beyond_the_packet() {
        let mut bytes = &b"\0\0\0\x08\x04\xd2\x16\x2fclear"[..];
        assert!(matches!(read_first_packet(&mut bytes).await, Ok(FirstPacket::Ssl)));
        assert_eq!(bytes, b"clear");
    }
}
