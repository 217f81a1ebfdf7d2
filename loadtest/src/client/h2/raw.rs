//! For tests: a server that speaks HTTP/2 by hand, so that it can do what no server does.
use std::{
    io::{Read, Write},
    net::TcpStream,
};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
/// `:status: 200`, in HPACK.
pub const OK: &[u8] = &[0x88];

/// A frame that came.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A server's side of a connection.
pub struct Peer {
    pub socket: TcpStream,
}

impl Peer {
    /// Reads the preface and says these settings.
    pub fn new(mut socket: TcpStream, settings: &[(u16, u32)]) -> Peer {
        let mut preface = [0; 24];
        socket.read_exact(&mut preface).unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut peer = Peer { socket };
        peer.settings(settings);
        peer
    }

    pub fn settings(&mut self, settings: &[(u16, u32)]) {
        let entries = settings.iter().flat_map(|(id, value)| id.to_be_bytes().into_iter().chain(value.to_be_bytes()));
        let payload: Vec<u8> = entries.collect();
        self.send(SETTINGS, 0, 0, &payload);
    }

    /// Writes, whether or not anyone reads.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
        let mut frame = vec![a, b, c, kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        let _ = self.socket.write_all(&frame);
    }

    /// The next frame; `None` at the end.
    pub fn next(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        self.socket.read_exact(&mut header).ok()?;
        let [a, b, c, kind, flags, id @ ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.socket.read_exact(&mut payload).ok()?;
        Some(Frame { kind, flags, stream: u32::from_be_bytes(id), payload })
    }

    /// The next frame of a kind; others are passed over.
    pub fn wait(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// The next request's stream.
    pub fn request(&mut self) -> Option<u32> {
        self.wait(HEADERS).map(|f| f.stream)
    }

    /// Answers with a status of 200 and this body.
    pub fn answer(&mut self, stream: u32, body: &[u8]) {
        self.send(HEADERS, END_HEADERS, stream, OK);
        self.send(DATA, END_STREAM, stream, body);
    }

    /// Reads until the other side closes.
    pub fn read_to_end(&mut self) {
        while self.next().is_some() {}
    }
}
