//! HTTP/2 frame by frame, for what no well-behaved library sends: a raw client, and a raw origin that goes away.
use super::{Addr, Protocol, Wire, origin::Origin, tls, wire::Stream};
use std::io;

/// What a client's connection begins with (RFC 9113 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113 6).
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
}

/// END_STREAM of DATA and HEADERS; ACK of SETTINGS and PING.
pub const END_STREAM: u8 = 1;
/// END_HEADERS.
pub const END_HEADERS: u8 = 4;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// 0 for the connection.
    pub stream: u32,
    /// The rest.
    pub payload: Vec<u8>,
}

impl Frame {
    /// As on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = (self.payload.len() as u32).to_be_bytes()[1..].to_vec();
        out.extend_from_slice(&[self.kind, self.flags]);
        out.extend_from_slice(&self.stream.to_be_bytes());
        out.extend_from_slice(&self.payload);
        out
    }

    /// Reads one.
    ///
    /// # Errors
    /// The socket's, or `UnexpectedEof`.
    pub fn read(wire: &mut Wire) -> io::Result<Frame> {
        let head = wire.take(9)?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Ok(Frame { kind: head[3], flags: head[4], stream, payload: wire.take(len)? })
    }
}

/// Builds a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Frame {
    Frame { kind, flags, stream, payload: payload.as_ref().to_vec() }
}

/// A header block of literals without indexing (RFC 7541 6.2.2), which any decoder takes and none remembers.
pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let string = |out: &mut Vec<u8>, s: &[u8]| {
        assert!(s.len() < 127 + 128, "a short string");
        if s.len() < 127 {
            out.push(s.len() as u8);
        } else {
            out.extend_from_slice(&[127, (s.len() - 127) as u8]);
        }
        out.extend_from_slice(s);
    };
    for (name, value) in fields {
        out.push(0);
        string(&mut out, name);
        string(&mut out, value);
    }
    out
}

/// A client that sends what it is told to.
pub struct RawClient {
    wire: Wire,
    next_stream: u32,
}

/// What became of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer, whose first header block began with this byte.
    Answer(u8),
    /// RST_STREAM with this code.
    Reset(u32),
    /// GOAWAY with this code.
    GoAway(u32),
    /// The connection ended without a word.
    Closed,
}

impl RawClient {
    /// Connects and says hello.
    ///
    /// # Panics
    /// When that fails.
    pub fn connect(protocol: Protocol, to: &Addr) -> RawClient {
        let stream = Stream::connect(to).expect("the listener accepts");
        let stream = match (protocol.tls(), stream) {
            (true, Stream::Tcp(socket)) => {
                let config = tls::client(&["h2"]);
                Stream::Tls(tls::TlsStream::connect(socket, config, tls::EDGE_NAME).expect("a handshake"))
            }
            (_, stream) => stream,
        };
        let mut wire = Wire::over(stream, None).expect("a socket takes timeouts");
        wire.send([PREFACE, &frame(kind::SETTINGS, 0, 0, []).bytes()].concat());
        RawClient { wire, next_stream: 1 }
    }

    /// Sends frames as they are.
    pub fn send(&mut self, frames: &[Frame]) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        let _ = self.wire.try_send(bytes);
    }

    /// The next stream's number.
    pub fn stream(&mut self) -> u32 {
        self.next_stream += 2;
        self.next_stream - 2
    }

    /// Sends a request of these fields, pseudo-header fields and all, with a body if there is one.
    pub fn request(&mut self, fields: &[(&[u8], &[u8])], body: Option<&[u8]>) -> u32 {
        let stream = self.stream();
        let end = if body.is_none() { END_STREAM } else { 0 };
        let mut frames = vec![frame(kind::HEADERS, END_HEADERS | end, stream, block(fields))];
        frames.extend(body.map(|b| frame(kind::DATA, END_STREAM, stream, b)));
        self.send(&frames);
        stream
    }

    /// Waits for what becomes of a stream, answering what the connection wants answered.
    ///
    /// # Panics
    /// When nothing comes in time.
    pub fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            let frame = match Frame::read(&mut self.wire) {
                Ok(frame) => frame,
                Err(e) if super::wire::timed_out(&e) => panic!("nothing becomes of stream {stream}"),
                Err(_) => return Outcome::Closed,
            };
            match frame.kind {
                kind::HEADERS if frame.stream == stream => {
                    return Outcome::Answer(frame.payload.first().copied().unwrap_or(0));
                }
                kind::RST_STREAM if frame.stream == stream => return Outcome::Reset(code(&frame.payload)),
                kind::GOAWAY => return Outcome::GoAway(code(&frame.payload[4..])),
                kind::SETTINGS | kind::PING => self.acknowledge(&frame),
                _ => {}
            }
        }
    }

    /// The next frame of this kind, answering what the connection wants answered; `None` at its end.
    ///
    /// # Panics
    /// When nothing comes in time.
    pub fn wait(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next_frame()?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// The next frame whatever it is, answering what the connection wants answered; `None` at its end.
    ///
    /// # Panics
    /// When neither comes in time.
    pub fn next_frame(&mut self) -> Option<Frame> {
        match Frame::read(&mut self.wire) {
            Ok(frame) => {
                self.acknowledge(&frame);
                Some(frame)
            }
            Err(e) if super::wire::timed_out(&e) => panic!("neither a frame nor the end"),
            Err(_) => None,
        }
    }

    fn acknowledge(&mut self, got: &Frame) {
        if got.flags & END_STREAM == 0 && matches!(got.kind, kind::SETTINGS | kind::PING) {
            let payload = if got.kind == kind::PING { got.payload.clone() } else { Vec::new() };
            self.send(&[frame(got.kind, END_STREAM, 0, payload)]);
        }
    }
}

fn code(payload: &[u8]) -> u32 {
    payload.get(..4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

/// An HTTP/2 origin of raw frames.
pub struct Peer(Origin);

impl Peer {
    /// Its first `leaving` connections answer the first request with GOAWAY, last stream 0, and end; later ones answer
    /// every request with 200 and `ok`.
    pub fn going_away(protocol: Protocol, leaving: usize) -> Peer {
        Peer::answering(protocol, move |number, stream| match number < leaving {
            true => vec![frame(kind::GOAWAY, 0, 0, [0; 8])],
            // 0x88: `:status: 200` of the static table (RFC 7541 A).
            false => {
                vec![frame(kind::HEADERS, END_HEADERS, stream, [0x88]), frame(kind::DATA, END_STREAM, stream, "ok")]
            }
        })
    }

    /// Answers every complete request with frames, given the connection's and the stream's number. GOAWAY ends the
    /// connection and does not wait for the request's end.
    pub fn answering(protocol: Protocol, answer: impl Fn(usize, u32) -> Vec<Frame> + Send + Sync + 'static) -> Peer {
        Peer(Origin::raw(protocol, move |wire, number| {
            if wire.take(PREFACE.len())? != PREFACE {
                return Err(io::ErrorKind::InvalidData.into());
            }
            wire.try_send(frame(kind::SETTINGS, 0, 0, []).bytes())?;
            loop {
                let got = Frame::read(wire)?;
                let ends = got.flags & END_STREAM != 0;
                match got.kind {
                    kind::SETTINGS | kind::PING if !ends => {
                        let payload = if got.kind == kind::PING { got.payload } else { Vec::new() };
                        wire.try_send(frame(got.kind, END_STREAM, 0, payload).bytes())?;
                    }
                    kind::HEADERS | kind::DATA => {
                        let frames = answer(number, got.stream);
                        let leaves = frames.iter().any(|f| f.kind == kind::GOAWAY);
                        if ends || leaves {
                            wire.try_send(frames.iter().flat_map(Frame::bytes).collect::<Vec<u8>>())?;
                        }
                        if leaves {
                            wire.finish();
                            wire.read_to_close();
                            return Ok(());
                        }
                    }
                    _ => {}
                }
            }
        }))
    }

    /// A pool of it.
    pub fn pool_text(&self, name: &str) -> String {
        super::edge::pool_text(name, &[&self.0], "")
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.0.connections()
    }
}
