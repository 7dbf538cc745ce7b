//! What a server says between the startup packet and the first request that is relayed, decoded within one frame.
//!
//! A hostile or broken server can send anything here, so every frame is cut by its length first, a body with bytes
//! left over is refused, and all frames together have a budget.

use bytes::Bytes;
use wire::frame::{Frame, ReadError, backend, read_frame};
use wire::stream::Stream;

use crate::error::{DatabaseError, Error};

/// Bytes of all that a server may say before it is handed on. A real one says about one kilobyte.
const BUDGET: u32 = 64 * 1024;

/// A frame of a server that logs in.
#[derive(Debug)]
pub(crate) enum Answer {
    /// An authentication request, by its code, with what goes with it.
    Authentication(u32, Bytes),
    Parameter(String, String),
    Key {
        pid: i32,
        secret: i32,
    },
    Ready(u8),
    Error(DatabaseError),
    /// Notices say nothing that a login depends on.
    Notice,
    /// Anything else: answers to the requests of the session init.
    Other(Frame),
}

/// Reads a server's answers.
#[derive(Debug)]
pub(crate) struct Answers<'a> {
    stream: &'a mut Stream,
    budget: u32,
}

impl<'a> Answers<'a> {
    pub(crate) fn new(stream: &'a mut Stream) -> Self {
        Self { stream, budget: BUDGET }
    }

    /// The stream, to send a reply.
    pub(crate) fn stream(&mut self) -> &mut Stream {
        self.stream
    }

    /// The next frame, decoded.
    pub(crate) async fn next(&mut self) -> Result<Answer, Error> {
        self.next_frame().await.map(|(answer, _)| answer)
    }

    /// The same, and the frame as it came.
    pub(crate) async fn next_frame(&mut self) -> Result<(Answer, Frame), Error> {
        let frame = read_frame(self.stream, self.budget).await.map_err(read_error)?;
        // Headers count too, or a flood of empty frames would cost nothing.
        let size = frame.body.len() as u32 + 5;
        self.budget = self.budget.checked_sub(size).ok_or_else(|| Error::Protocol("a login without end".to_owned()))?;
        let answer = decode(frame.clone());
        let answer =
            answer.ok_or_else(|| Error::Protocol(format!("malformed message {:?}", char::from(frame.tag.0))))?;
        Ok((answer, frame))
    }
}

fn read_error(error: ReadError) -> Error {
    match error {
        ReadError::Io(error) => Error::Lost(error),
        ReadError::Length(bad) => Error::Protocol(format!("a message of length {}", bad.length)),
        ReadError::TooLarge { size, .. } => Error::Protocol(format!("a message of {size} bytes during the login")),
    }
}

fn decode(frame: Frame) -> Option<Answer> {
    let body = &frame.body[..];
    Some(match frame.tag {
        backend::AUTHENTICATION => {
            let (code, _) = body.split_first_chunk()?;
            Answer::Authentication(u32::from_be_bytes(*code), frame.body.slice(4..))
        }
        backend::PARAMETER_STATUS => {
            let (name, rest) = c_string(body)?;
            let (value, rest) = c_string(rest)?;
            rest.is_empty().then(|| Answer::Parameter(lossy(name), lossy(value)))?
        }
        backend::BACKEND_KEY_DATA => {
            let (pid, secret) = body.split_first_chunk()?;
            let secret = secret.try_into().ok()?;
            Answer::Key { pid: i32::from_be_bytes(*pid), secret: i32::from_be_bytes(secret) }
        }
        backend::READY_FOR_QUERY => {
            let [status] = body else { return None };
            Answer::Ready(*status)
        }
        backend::ERROR_RESPONSE => Answer::Error(database_error(&frame)?),
        backend::NOTICE_RESPONSE => Answer::Notice,
        _ => Answer::Other(frame),
    })
}

/// Fields are a letter and a zero-terminated string each, and one zero ends them.
fn database_error(frame: &Frame) -> Option<DatabaseError> {
    let (mut sqlstate, mut message, mut detail) = (String::new(), String::new(), String::new());
    let mut rest = &frame.body[..];
    loop {
        let (field, behind) = rest.split_first()?;
        if *field == 0 {
            return behind.is_empty().then(|| DatabaseError { sqlstate, message, detail, frame: frame.to_bytes() });
        }
        let (value, behind) = c_string(behind)?;
        match field {
            b'C' => sqlstate = lossy(value),
            b'M' => message = lossy(value),
            b'D' => detail = lossy(value),
            _ => {}
        }
        rest = behind;
    }
}

/// Splits a zero-terminated string off.
pub(crate) fn c_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// A database's own texts come in its encoding, before any `client_encoding` holds.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;
    use wire::frame::Tag;

    fn decoded(tag: Tag, body: &'static [u8]) -> Option<Answer> {
        decode(Frame { tag, body: Bytes::from_static(body) })
    }

    #[test]
    fn an_error_keeps_its_frame() {
        let Some(Answer::Error(error)) = decoded(backend::ERROR_RESPONSE, b"SFATAL\0C3D000\0Mno such\0\0") else {
            panic!("an error");
        };
        assert_eq!((&error.sqlstate[..], &error.message[..]), ("3D000", "no such"));
        assert_eq!(&error.frame[..], b"E\0\0\0\x1cSFATAL\0C3D000\0Mno such\0\0");
    }

    #[test]
    fn bytes_left_over_and_bytes_missing_are_refused() {
        for (tag, body) in [
            (backend::AUTHENTICATION, &b"\0\0\0"[..]),
            (backend::PARAMETER_STATUS, b"a\0b"),
            (backend::PARAMETER_STATUS, b"a\0b\0c"),
            (backend::BACKEND_KEY_DATA, b"\0\0\0\x01\0\0\0"),
            (backend::BACKEND_KEY_DATA, b"\0\0\0\x01\0\0\0\0\0"),
            (backend::READY_FOR_QUERY, b""),
            (backend::READY_FOR_QUERY, b"II"),
            (backend::ERROR_RESPONSE, b""),
            (backend::ERROR_RESPONSE, b"Mno"),
            (backend::ERROR_RESPONSE, b"Mno\0\0x"),
        ] {
            assert!(decoded(tag, body).is_none(), "{tag:?} {body:?}");
        }
    }

    #[tokio::test]
    async fn a_flood_of_small_frames_ends_at_the_budget() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut stream = Stream::try_from(near).unwrap();
        let flood = tokio::spawn(async move { while far.write_all(b"N\0\0\0\x05\0").await.is_ok() {} });

        let mut answers = Answers::new(&mut stream);
        let mut read = 0;
        let refused = loop {
            match answers.next().await {
                Ok(_) => read += 1,
                Err(error) => break error,
            }
        };

        assert!(matches!(refused, Error::Protocol(_)), "{refused}");
        assert!(read < BUDGET / 5, "{read} frames were read");
        drop(stream);
        flood.await.unwrap();
    }
}
