//! The echo of a WebSocket (RFC 6455), server's side: frames go back as they come, unmasked, piece by piece. Nothing is
//! collected, so that a frame may be as large as it likes.
use super::desk::Desk;
use crate::websocket::{CONTROL_MAX, mask, write_head};
use std::{io, rc::Rc};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Read at once, bytes.
const READ: usize = 4096;
/// Longest head of a frame, bytes (section 5.2).
const HEAD_MAX: usize = 14;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const CONTROL: u8 = 0x08;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
/// Protocol error (section 7.4.1), as a whole frame.
const CLOSE_1002: [u8; 4] = [FIN | CLOSE, 2, 0x03, 0xea];

/// One connection's frames.
#[derive(Default)]
pub(super) struct Echo {
    head: [u8; HEAD_MAX],
    have: usize,
    /// Bytes of the frame's payload that are still to come.
    left: u64,
    mask: [u8; 4],
    /// Which byte of the mask is next.
    turn: usize,
    /// The payload is passed over: nobody asked for it.
    mute: bool,
    /// A message of a frame ends with it.
    data: bool,
    closing: bool,
    over: bool,
    /// Frames with data that ended since this was last taken.
    pub messages: u64,
}

impl Echo {
    /// Whether the WebSocket has come to its end.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Takes what came, and writes what goes back.
    pub fn feed(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while !self.over {
            if self.left > 0 {
                if input.is_empty() {
                    return;
                }
                let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
                let (now, later) = input.split_at(n);
                self.payload(now, out);
                input = later;
            } else {
                let [first, later @ ..] = input else { return };
                input = later;
                self.head_byte(*first, out);
            }
        }
    }

    fn payload(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.mute {
            let mut key = self.mask;
            key.rotate_left(self.turn);
            let start = out.len();
            out.extend_from_slice(bytes);
            mask(out.get_mut(start..).unwrap_or_default(), key);
        }
        self.turn = (self.turn + bytes.len()) % 4;
        self.left -= bytes.len() as u64;
        if self.left == 0 {
            self.end_of_frame();
        }
    }

    fn end_of_frame(&mut self) {
        self.over = self.closing;
        self.messages += u64::from(self.data);
    }

    fn head_byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        if let Some(place) = self.head.get_mut(self.have) {
            *place = byte;
        }
        self.have += 1;
        let [first, second, ..] = self.head;
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if self.have < 2 || self.have < 2 + extended + 4 {
            return;
        }
        self.have = 0;
        let length = self.head.iter().skip(2).take(extended).fold(0, |n, byte| n << 8 | u64::from(*byte));
        let length = if extended == 0 { u64::from(second & 0x7f) } else { length };
        for (to, from) in self.mask.iter_mut().zip(self.head.iter().skip(2 + extended)) {
            *to = *from;
        }
        self.begin(first, second, length, out);
    }

    /// A frame begins: its two first bytes, and how long its payload is.
    fn begin(&mut self, first: u8, second: u8, length: u64, out: &mut Vec<u8>) {
        let opcode = first & OPCODE;
        let control = opcode & CONTROL != 0;
        let unmasked = second & 0x80 == 0;
        let unknown = opcode > PONG || (3..CLOSE).contains(&opcode);
        let bad_control = control && (length > CONTROL_MAX as u64 || first & FIN == 0);
        if unmasked || unknown || bad_control || first & RESERVED != 0 || length >> 63 != 0 {
            out.extend_from_slice(&CLOSE_1002);
            self.over = true;
            return;
        }
        self.mute = opcode == PONG;
        self.closing = opcode == CLOSE;
        self.data = !control;
        self.left = length;
        self.turn = 0;
        if !self.mute {
            write_head(out, if opcode == PING { FIN | PONG } else { first }, false, length);
        }
        if length == 0 {
            self.end_of_frame();
        }
    }
}

impl Desk {
    /// Counts the messages that came, and waits until their echo is due.
    pub async fn wait_to_echo(&self, echo: &mut Echo) {
        let messages = std::mem::take(&mut echo.messages);
        (0..messages).for_each(|_| self.counts.messages.inc());
        let takes = if messages > 0 { self.draw_delay() } else { 0 };
        // One that would have to wait too long is echoed at once: a WebSocket has no other answer.
        let due = if messages > 0 { self.due(takes).unwrap_or(0) } else { 0 };
        self.wait(due.max(self.pace.release(self.alarms.now()))).await;
    }
}

/// Echoes until the end.
///
/// # Errors
/// Those of the stream.
pub(super) async fn serve(desk: &Rc<Desk>, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut echo = Echo::default();
    let mut input = vec![0; READ];
    let mut out = Vec::with_capacity(READ);
    while !echo.is_over() {
        let n = stream.read(&mut input).await?;
        if n == 0 {
            return Ok(());
        }
        echo.feed(input.get(..n).unwrap_or_default(), &mut out);
        desk.wait_to_echo(&mut echo).await;
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
    }
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        write_head(&mut frame, first, true, payload.len() as u64);
        let mask = [1, 2, 3, 4];
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn answer(frame_first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_head(&mut out, frame_first, false, payload.len() as u64);
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn frames_go_back_however_they_are_cut() {
        let long = vec![7; 70_000];
        let medium = vec![9; 300];
        let input = [
            frame(0x81, b"hello"),
            frame(0x02, &medium),
            frame(0x89, b"ping"),
            frame(0x8a, b"pong"),
            frame(0x80, &long),
            frame(0x81, b""),
            frame(0x88, &[3, 232]),
        ]
        .concat();
        let wanted = [
            answer(0x81, b"hello"),
            answer(0x02, &medium),
            answer(0x8a, b"ping"),
            answer(0x80, &long),
            answer(0x81, b""),
            answer(0x88, &[3, 232]),
        ]
        .concat();
        for size in [1, 2, 3, 7, 1000, input.len()] {
            let (mut echo, mut out) = (Echo::default(), Vec::new());
            input.chunks(size).for_each(|piece| echo.feed(piece, &mut out));
            assert!(out == wanted && echo.is_over(), "{size}");
            assert_eq!(echo.messages, 4);
        }
    }

    #[test]
    fn what_breaks_the_protocol_is_told_so_and_nothing_follows() {
        let unmasked = answer(0x81, b"x");
        for bad in [unmasked, frame(0xc1, b"x"), frame(0x83, b"x"), frame(0x09, b"x"), frame(0x89, &[0; 126])] {
            let (mut echo, mut out) = (Echo::default(), Vec::new());
            echo.feed(&[bad, vec![0; 4], frame(0x81, b"more")].concat(), &mut out);
            assert_eq!((out, echo.is_over()), (CLOSE_1002.to_vec(), true));
        }
    }
}
