//! One frame of the protocol: a tag, a length, a body.
//!
//! Every message but a client's first is framed the same way: one byte that names it, a big-endian `i32` that
//! counts itself and the body, the body
//! (<https://www.postgresql.org/docs/current/protocol-message-formats.html>). The same letter means different
//! messages in the two directions, so the names live in [`frontend`] and [`backend`].

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The byte that names a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub u8);

/// Tags of what a client sends.
pub mod frontend {
    use super::Tag;

    /// Bind.
    pub const BIND: Tag = Tag(b'B');
    /// Close of a statement or a portal.
    pub const CLOSE: Tag = Tag(b'C');
    /// CopyData.
    pub const COPY_DATA: Tag = Tag(b'd');
    /// CopyDone.
    pub const COPY_DONE: Tag = Tag(b'c');
    /// CopyFail.
    pub const COPY_FAIL: Tag = Tag(b'f');
    /// Describe.
    pub const DESCRIBE: Tag = Tag(b'D');
    /// Execute.
    pub const EXECUTE: Tag = Tag(b'E');
    /// Flush.
    pub const FLUSH: Tag = Tag(b'H');
    /// FunctionCall, the "fast path" that large objects use.
    pub const FUNCTION_CALL: Tag = Tag(b'F');
    /// Parse.
    pub const PARSE: Tag = Tag(b'P');
    /// PasswordMessage, and every other answer to an authentication request.
    pub const PASSWORD: Tag = Tag(b'p');
    /// Query: the simple protocol.
    pub const QUERY: Tag = Tag(b'Q');
    /// Sync.
    pub const SYNC: Tag = Tag(b'S');
    /// Terminate.
    pub const TERMINATE: Tag = Tag(b'X');
}

/// Tags of what a server sends.
pub mod backend {
    use super::Tag;

    /// Authentication requests, and AuthenticationOk.
    pub const AUTHENTICATION: Tag = Tag(b'R');
    /// BackendKeyData.
    pub const BACKEND_KEY_DATA: Tag = Tag(b'K');
    /// BindComplete.
    pub const BIND_COMPLETE: Tag = Tag(b'2');
    /// CloseComplete.
    pub const CLOSE_COMPLETE: Tag = Tag(b'3');
    /// CommandComplete.
    pub const COMMAND_COMPLETE: Tag = Tag(b'C');
    /// CopyBothResponse.
    pub const COPY_BOTH_RESPONSE: Tag = Tag(b'W');
    /// CopyInResponse.
    pub const COPY_IN_RESPONSE: Tag = Tag(b'G');
    /// CopyOutResponse.
    pub const COPY_OUT_RESPONSE: Tag = Tag(b'H');
    /// DataRow.
    pub const DATA_ROW: Tag = Tag(b'D');
    /// EmptyQueryResponse.
    pub const EMPTY_QUERY_RESPONSE: Tag = Tag(b'I');
    /// ErrorResponse.
    pub const ERROR_RESPONSE: Tag = Tag(b'E');
    /// NegotiateProtocolVersion.
    pub const NEGOTIATE_PROTOCOL_VERSION: Tag = Tag(b'v');
    /// NoData.
    pub const NO_DATA: Tag = Tag(b'n');
    /// NoticeResponse.
    pub const NOTICE_RESPONSE: Tag = Tag(b'N');
    /// NotificationResponse.
    pub const NOTIFICATION_RESPONSE: Tag = Tag(b'A');
    /// ParameterDescription.
    pub const PARAMETER_DESCRIPTION: Tag = Tag(b't');
    /// ParameterStatus.
    pub const PARAMETER_STATUS: Tag = Tag(b'S');
    /// ParseComplete.
    pub const PARSE_COMPLETE: Tag = Tag(b'1');
    /// PortalSuspended.
    pub const PORTAL_SUSPENDED: Tag = Tag(b's');
    /// ReadyForQuery.
    pub const READY_FOR_QUERY: Tag = Tag(b'Z');
    /// RowDescription.
    pub const ROW_DESCRIPTION: Tag = Tag(b'T');
}

/// The first five bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub tag: Tag,
    /// Bytes that follow the header.
    pub body: u32,
}

impl Header {
    /// Bytes a header takes.
    pub const SIZE: usize = 5;

    /// Reads a header. The length counts its own four bytes and is signed, so fewer than four, or the top bit set, is
    /// no length at all.
    ///
    /// # Errors
    /// [`BadLength`] for a length that cannot be.
    pub fn parse(bytes: [u8; Self::SIZE]) -> Result<Self, BadLength> {
        let [tag, length @ ..] = bytes;
        let length = i32::from_be_bytes(length);
        match u32::try_from(i64::from(length) - 4) {
            Ok(body) => Ok(Self { tag: Tag(tag), body }),
            Err(_) => Err(BadLength { tag: Tag(tag), length }),
        }
    }

    /// The size of the frame with its header.
    #[must_use]
    pub fn frame_size(self) -> u64 {
        Self::SIZE as u64 + u64::from(self.body)
    }
}

/// A length word below four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLength {
    /// The tag that stood before it.
    pub tag: Tag,
    /// The length as sent.
    pub length: i32,
}

/// A whole frame, for the few that are looked into: those of the handshake.
#[derive(Clone, Debug)]
pub struct Frame {
    /// What the frame is.
    pub tag: Tag,
    /// What follows the header.
    pub body: Bytes,
}

impl Frame {
    /// The frame as it is on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(Header::SIZE + self.body.len());
        bytes.put_u8(self.tag.0);
        bytes.put_u32(self.body.len() as u32 + 4);
        bytes.extend_from_slice(&self.body);
        bytes.freeze()
    }
}

/// Why a frame could not be read.
#[derive(Debug)]
pub enum ReadError {
    /// The socket failed, or ended within the frame.
    Io(io::Error),
    /// The length cannot be.
    Length(BadLength),
    /// The frame is longer than what is allowed here.
    TooLarge {
        /// What the frame is.
        tag: Tag,
        /// Bytes of its body.
        size: u32,
    },
}

/// Reads exactly one frame and not a byte more: what follows belongs to someone else. Its length is judged before
/// anything is reserved for it.
///
/// # Errors
/// [`ReadError`]; nothing useful can be read from the socket after one.
pub async fn read_frame<R: AsyncRead + Unpin>(from: &mut R, limit: u32) -> Result<Frame, ReadError> {
    let mut header = [0; Header::SIZE];
    from.read_exact(&mut header).await.map_err(ReadError::Io)?;
    let Header { tag, body: size } = Header::parse(header).map_err(ReadError::Length)?;
    if size > limit {
        return Err(ReadError::TooLarge { tag, size });
    }
    let mut body = vec![0; size as usize];
    from.read_exact(&mut body).await.map_err(ReadError::Io)?;
    Ok(Frame { tag, body: body.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_below_four_is_no_length() {
        for length in [i32::MIN, -1, 0, 1, 2, 3] {
            let mut bytes = [b'Q', 0, 0, 0, 0];
            bytes[1..].copy_from_slice(&length.to_be_bytes());
            assert_eq!(Header::parse(bytes), Err(BadLength { tag: frontend::QUERY, length }));
        }
        assert_eq!(Header::parse([b'Q', 0, 0, 0, 4]), Ok(Header { tag: frontend::QUERY, body: 0 }));
        let largest = Header::parse([b'd', 0x7f, 0xff, 0xff, 0xff]).expect("the largest length");
        assert_eq!(largest.frame_size(), 1 + i32::MAX as u64);
    }

    #[tokio::test]
    async fn a_frame_over_the_limit_is_refused_before_its_body() {
        let mut bytes: &[u8] = &[b'p', 0, 0, 0x10, 0];
        let refused = read_frame(&mut bytes, 0x100).await;
        assert!(matches!(refused, Err(ReadError::TooLarge { size: 0xffc, .. })));
    }

    #[tokio::test]
    async fn a_frame_is_read_to_its_last_byte_and_no_further() {
        let mut bytes: &[u8] = &[b'p', 0, 0, 0, 6, 1, 2, 3];
        let frame = read_frame(&mut bytes, 100).await.expect("a frame");
        assert_eq!((frame.tag, &frame.body[..], bytes), (frontend::PASSWORD, &[1, 2][..], &[3][..]));
    }
}
