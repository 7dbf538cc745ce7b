//! Frames of a WebSocket (RFC 6455, section 5): the client's are taken apart as their bytes come, ours are made.
//!
//! A frame of data is not put together, nor is a message of several: its bytes go on as they are read, so that a frame of
//! any size costs no memory.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// The most bytes that the header of a frame of ours has here: no mask, and a length of 16 bits at most.
pub(super) const HEADER: usize = 4;

/// The most bytes that the payload of a frame of control has (section 5.5).
pub(super) const CONTROL: usize = 125;

/// What a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The last so many of the bytes that were taken are a binary frame's, perhaps not all of it.
    Data(usize),
    /// It asks whether anybody is there, and wants to have this back.
    Ping(Box<[u8]>),
    /// It is there.
    Pong,
    /// It sends no more, perhaps for this reason.
    Close(Option<CloseCode>),
}

/// What a client must not send; the code to close with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Violation {
    pub(super) code: CloseCode,
    pub(super) reason: &'static str,
}

/// Where the frames of a client stand.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Bytes of data that are still to come in this frame, and the mask that the next of them has.
    left: u64,
    mask: [u8; 4],
    /// The message goes on with the next frame of data.
    unfinished: bool,
}

impl Incoming {
    /// Takes what comes next from the front of the bytes that have been read: how many of them, and what it is; none, if
    /// that takes more of them. Data is unmasked where it stands.
    ///
    /// # Errors
    /// [`Violation`]; nothing useful can be read after one.
    pub(super) fn next(&mut self, bytes: &mut [u8]) -> Result<(usize, Option<Part>), Violation> {
        let mut taken = 0;
        while self.left == 0 {
            let mut cursor = Cursor::new(&bytes[taken..]);
            let header = FrameHeader::parse(&mut cursor).map_err(|_| broken("no such frame"))?;
            let Some((header, length)) = header else { return Ok((taken, None)) };
            let payload = taken + usize::try_from(cursor.position()).expect("a position in memory");
            let mask = judge(&header, length)?;
            match header.opcode {
                OpCode::Control(control) => {
                    let end = payload + usize::try_from(length).expect("at most CONTROL");
                    let Some(payload) = bytes.get_mut(payload..end) else { return Ok((taken, None)) };
                    unmask(payload, mask);
                    return Ok((end, Some(part(control, payload)?)));
                }
                OpCode::Data(data) => {
                    self.begin(data, header.is_final)?;
                    (self.left, self.mask) = (length, mask);
                    taken = payload;
                }
            }
        }
        let there = &mut bytes[taken..];
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(there.len());
        unmask(&mut there[..length], self.mask);
        self.left -= length as u64;
        self.mask.rotate_left(length % 4);
        Ok((taken + length, (length > 0).then_some(Part::Data(length))))
    }

    fn begin(&mut self, data: Data, is_final: bool) -> Result<(), Violation> {
        match (data, self.unfinished) {
            (Data::Binary, false) | (Data::Continue, true) => self.unfinished = !is_final,
            (Data::Text, false) => {
                return Err(Violation { code: CloseCode::Unsupported, reason: "Postgres's protocol is binary" });
            }
            (Data::Continue, false) => return Err(broken("nothing is to be continued")),
            _ => return Err(broken("a message within another")),
        }
        Ok(())
    }
}

/// The mask of a frame that may be.
fn judge(header: &FrameHeader, length: u64) -> Result<[u8; 4], Violation> {
    if header.rsv1 || header.rsv2 || header.rsv3 {
        return Err(broken("no extension is in use"));
    }
    if matches!(header.opcode, OpCode::Control(_)) && (length > CONTROL as u64 || !header.is_final) {
        return Err(broken("a frame of control is short and whole"));
    }
    if i64::try_from(length).is_err() {
        return Err(broken("no length has 64 bits"));
    }
    header.mask.ok_or_else(|| broken("a client's frames are masked"))
}

fn part(control: Control, payload: &[u8]) -> Result<Part, Violation> {
    match control {
        Control::Ping => Ok(Part::Ping(payload.into())),
        Control::Pong => Ok(Part::Pong),
        Control::Close => reason(payload).map(Part::Close),
        Control::Reserved(_) => Err(broken("no such frame")),
    }
}

/// The code of a frame that closes (section 5.5.1).
fn reason(payload: &[u8]) -> Result<Option<CloseCode>, Violation> {
    let Some((code, text)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(broken("half a code")) };
    };
    let code = CloseCode::from(u16::from_be_bytes(*code));
    if !code.is_allowed() {
        return Err(broken("no code to close with"));
    }
    match std::str::from_utf8(text) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(Violation { code: CloseCode::Invalid, reason: "a reason that is not UTF-8" }),
    }
}

fn broken(reason: &'static str) -> Violation {
    Violation { code: CloseCode::Protocol, reason }
}

/// Takes the mask off (section 5.3).
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let (words, rest) = payload.as_chunks_mut::<4>();
    let whole = u32::from_ne_bytes(mask);
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ whole).to_ne_bytes();
    }
    rest.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

/// Writes the header of a frame of ours to the end of `space`, and says where it begins.
pub(super) fn write_header(opcode: OpCode, length: usize, space: &mut [u8; HEADER]) -> usize {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    let begin = HEADER - header.len(length as u64);
    header.format(length as u64, &mut &mut space[begin..]).expect("there is room for a header");
    begin
}

#[cfg(test)]
mod tests;
