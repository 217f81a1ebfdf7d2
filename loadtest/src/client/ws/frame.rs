//! WebSocket frames as a client writes and reads them (RFC 6455, section 5). Pure; nothing of a message is kept here.
use crate::websocket::{self, CONTROL_MAX, write_head};
use std::fmt;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// More of a message.
    Continuation = 0x0,
    /// A message of text begins.
    Text = 0x1,
    /// A message of bytes begins.
    Binary = 0x2,
    /// The end of the connection.
    Close = 0x8,
    /// Asks for a pong.
    Ping = 0x9,
    /// Answers a ping.
    Pong = 0xa,
}

impl Opcode {
    fn of(bits: u8) -> Result<Opcode, Broken> {
        Ok(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xa => Opcode::Pong,
            _ => return Err(Broken("an unknown opcode")),
        })
    }

    fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// The peer broke the protocol: how, in a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Appends one whole frame, masked with `mask` (RFC 6455, section 5.3).
pub fn write(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    const FINAL: u8 = 0x80;
    write_head(out, FINAL | opcode as u8, true, payload.len() as u64);
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    websocket::mask(out.get_mut(start..).unwrap_or_default(), mask);
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Some of a message; it may be empty at the end.
    Data {
        /// What the message began as: text or binary.
        kind: Opcode,
        /// The bytes.
        bytes: &'a [u8],
        /// They are its last.
        end: bool,
    },
    /// A ping, a pong or a close with its payload, at most 125 bytes.
    Control(Opcode, &'a [u8]),
}

/// Reads a server's frames, however they are cut.
#[derive(Debug)]
pub struct Reader {
    header: [u8; 10],
    have: usize,
    opcode: Opcode,
    last: bool,
    /// Payload bytes of this frame still to come; `None` between frames.
    left: Option<u64>,
    /// Of the message that has begun.
    kind: Option<Opcode>,
    control: [u8; CONTROL_MAX],
    control_len: usize,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader {
            header: [0; 10],
            have: 0,
            opcode: Opcode::Continuation,
            last: false,
            left: None,
            kind: None,
            control: [0; CONTROL_MAX],
            control_len: 0,
        }
    }
}

impl Reader {
    /// The next piece at the front of `input`, which is moved on; `None` when more bytes are needed, and all of `input`
    /// is taken then.
    ///
    /// # Errors
    /// [`Broken`]: the connection cannot go on.
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<Piece<'a>>, Broken> {
        let left = match self.left {
            Some(left) => left,
            None => match self.read_header(input)? {
                Some(left) => left,
                None => return Ok(None),
            },
        };
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let (bytes, rest) = input.split_at_checked(n).unwrap_or_default();
        *input = rest;
        let left = left - n as u64;
        self.left = (left > 0).then_some(left);
        if self.opcode.is_control() {
            return Ok(self.control(bytes, left == 0));
        }
        if n == 0 && left > 0 {
            return Ok(None);
        }
        let kind = self.kind.unwrap_or(Opcode::Binary);
        let end = self.last && left == 0;
        if end {
            self.kind = None;
        }
        Ok(Some(Piece::Data { kind, bytes, end }))
    }

    fn control<'a>(&'a mut self, bytes: &[u8], complete: bool) -> Option<Piece<'a>> {
        let to = self.control_len + bytes.len();
        self.control.get_mut(self.control_len..to)?.copy_from_slice(bytes);
        self.control_len = to;
        if !complete {
            return None;
        }
        self.control_len = 0;
        Some(Piece::Control(self.opcode, self.control.get(..to)?))
    }

    /// The header of the next frame (RFC 6455, section 5.2): how long its payload is, once all of it is there.
    fn read_header(&mut self, input: &mut &[u8]) -> Result<Option<u64>, Broken> {
        loop {
            if self.have >= 2 && self.have == self.header_len() {
                break;
            }
            let Some((byte, rest)) = input.split_first() else { return Ok(None) };
            *input = rest;
            if let Some(place) = self.header.get_mut(self.have) {
                *place = *byte;
            }
            self.have += 1;
        }
        self.have = 0;
        let [first, second, long @ ..] = self.header;
        let length = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([long[0], long[1]])),
            127 => u64::from_be_bytes(long),
            n => u64::from(n),
        };
        self.begin_frame(first, second, length)?;
        Ok(Some(length))
    }

    fn header_len(&self) -> usize {
        match self.header[1] & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        }
    }

    fn begin_frame(&mut self, first: u8, second: u8, length: u64) -> Result<(), Broken> {
        if first & 0x70 != 0 {
            return Err(Broken("a reserved bit without an extension"));
        }
        if second & 0x80 != 0 {
            return Err(Broken("a masked frame from a server"));
        }
        let shortest = match second & 0x7f {
            126 => 126,
            127 => 1 << 16,
            _ => 0,
        };
        if length < shortest || length >> 63 != 0 {
            return Err(Broken("a length that is not written as it must be"));
        }
        let (opcode, last) = (Opcode::of(first & 0xf)?, first & 0x80 != 0);
        match opcode {
            _ if opcode.is_control() => {
                if !last || length > CONTROL_MAX as u64 {
                    return Err(Broken("a control frame in pieces, or too long"));
                }
            }
            Opcode::Continuation if self.kind.is_none() => return Err(Broken("a continuation of nothing")),
            Opcode::Continuation => {}
            _ if self.kind.is_some() => return Err(Broken("a message inside another")),
            _ => self.kind = Some(opcode),
        }
        (self.opcode, self.last) = (opcode, last);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A server's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            n @ 0..=125 => out.push(n as u8),
            n @ 126..=0xffff => {
                out.push(126);
                out.extend((n as u16).to_be_bytes());
            }
            n => {
                out.push(127);
                out.extend((n as u64).to_be_bytes());
            }
        }
        out.extend(payload);
        out
    }

    type Message = (Opcode, Vec<u8>);

    /// Reads everything, in pieces of `step` bytes: whole messages and control frames, in order.
    fn read(bytes: &[u8], step: usize) -> Result<Vec<Message>, Broken> {
        let (mut reader, mut got, mut message) = (Reader::default(), Vec::new(), Vec::new());
        for mut input in bytes.chunks(step.max(1)) {
            while let Some(piece) = reader.next(&mut input)? {
                match piece {
                    Piece::Data { kind, bytes, end } => {
                        message.extend(bytes);
                        if end {
                            got.push((kind, std::mem::take(&mut message)));
                        }
                    }
                    Piece::Control(opcode, payload) => got.push((opcode, payload.to_vec())),
                }
            }
            assert!(input.is_empty());
        }
        Ok(got)
    }

    proptest! {
        #[test]
        fn messages_come_back_however_they_are_cut(
            messages in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..400), 1usize..200,
                prop::option::of(prop::collection::vec(any::<u8>(), 0..=125))), 0..6),
            step in 1usize..300,
        ) {
            let (mut bytes, mut want) = (Vec::new(), Vec::new());
            for (text, payload, fragment, ping) in messages {
                let kind = if text { Opcode::Text } else { Opcode::Binary };
                let mut parts: Vec<&[u8]> = payload.chunks(fragment).collect();
                if parts.is_empty() {
                    parts.push(b"");
                }
                let last = parts.len() - 1;
                for (i, part) in parts.iter().enumerate() {
                    let opcode = if i == 0 { kind as u8 } else { 0 };
                    bytes.extend(frame(opcode | if i == last { 0x80 } else { 0 }, part));
                    // A control frame may stand between the fragments.
                    if i == 0 && let Some(ping) = &ping {
                        if i == last {
                            want.push((kind, payload.clone()));
                        }
                        bytes.extend(frame(0x89, ping));
                        want.push((Opcode::Ping, ping.clone()));
                    }
                }
                if last > 0 || ping.is_none() {
                    want.push((kind, payload.clone()));
                }
            }
            prop_assert_eq!(read(&bytes, step).unwrap(), want);
        }

        #[test]
        fn nothing_that_comes_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), step in 1usize..50) {
            let _ = read(&bytes, step);
        }

        #[test]
        fn a_peer_reads_what_is_written(
            payload in prop::collection::vec(any::<u8>(), 0..70_000), mask in any::<[u8; 4]>(),
        ) {
            use tungstenite::{Message, protocol::{Role, WebSocket}};
            let mut out = Vec::new();
            write(&mut out, Opcode::Binary, &payload, mask);
            write(&mut out, Opcode::Ping, b"?", mask);
            let mut peer = WebSocket::from_raw_socket(std::io::Cursor::new(out), Role::Server, None);
            prop_assert_eq!(peer.read().unwrap(), Message::Binary(payload.into()));
            prop_assert_eq!(peer.read().unwrap(), Message::Ping(b"?".to_vec().into()));
        }
    }

    #[test]
    fn long_messages_are_read_in_pieces() {
        let payload: Vec<u8> = (0..70_000u32).map(|n| n as u8).collect();
        for step in [1000, 9, 100_000] {
            assert_eq!(read(&frame(0x82, &payload), step).unwrap(), [(Opcode::Binary, payload.clone())]);
        }
    }

    #[test]
    fn what_the_protocol_forbids_is_told() {
        let broken: [(&str, Vec<u8>); 10] = [
            ("reserved bit", vec![0xc2, 0]),
            ("masked", vec![0x82, 0x80, 1, 2, 3, 4]),
            ("opcode 3", vec![0x83, 0]),
            ("opcode 11", vec![0x8b, 0]),
            ("ping in pieces", vec![0x09, 0]),
            ("long ping", frame(0x89, &[0; 126])),
            ("continuation of nothing", vec![0x80, 0]),
            ("message inside another", vec![0x02, 0, 0x82, 0]),
            ("two bytes for a short length", vec![0x82, 126, 0, 125]),
            ("2^63", vec![0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for (what, bytes) in broken {
            assert!(read(&bytes, 1).is_err(), "{what}");
            assert!(read(&bytes, 100).is_err(), "{what}");
        }
    }
}
