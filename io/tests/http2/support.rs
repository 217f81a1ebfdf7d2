//! A connection under test, and frames made by hand.
#![allow(dead_code)]
use edge_io::{
    head::{FieldId, FieldRef, Head},
    http2::{Connection, ErrorCode, Event, Fatal, Limits, PREFACE, RequestHead, Role},
};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const PRIORITY_UPDATE: u8 = 16;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITIZED: u8 = 0x20;
pub const END: u8 = END_STREAM | END_HEADERS;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

pub fn number(kind: u8, stream: u32, value: u32) -> Vec<u8> {
    frame(kind, 0, stream, &value.to_be_bytes())
}

pub fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        entries.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat()).collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// Splits whole frames off.
pub fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        frames.push(Frame {
            kind: bytes[3],
            flags: bytes[4],
            stream: u32::from_be_bytes(bytes[5..9].try_into().unwrap()),
            payload: bytes[9..9 + length].to_vec(),
        });
        bytes = &bytes[9 + length..];
    }
    frames
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    if text.len() < 127 {
        out.push(text.len() as u8);
    } else {
        out.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
    out.extend(text);
}

/// A header block of literals that are not indexed.
pub fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        string(&mut out, name.as_ref());
        string(&mut out, value.as_ref());
    }
    out
}

pub const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", "/")];
pub const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":authority", "a.test"), (":path", "/")];

/// `base`, then `more`.
pub fn with<'a>(base: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<u8> {
    block(&[base, more].concat())
}

pub fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END, stream, &block(&GET))
}

pub fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(&POST))
}

pub fn response(stream: u32, status: &str, end: bool) -> Vec<u8> {
    let flags = if end { END } else { END_HEADERS };
    frame(HEADERS, flags, stream, &block(&[(":status", status)]))
}

pub fn data(stream: u32, end: bool, payload: &[u8]) -> Vec<u8> {
    frame(DATA, u8::from(end), stream, payload)
}

/// Fields for the `send_…` calls.
pub fn fields<'a>(fields: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = FieldRef<'a>> {
    fields.iter().map(|(name, value)| FieldRef {
        id: FieldId::of(name.as_bytes()),
        name: name.as_bytes(),
        value: value.as_bytes(),
    })
}

/// A connection, its input and the events so far.
pub struct Side {
    pub conn: Connection,
    pub head: Head,
    pub now_ms: u64,
    pub input: Vec<u8>,
    pub events: Vec<Event>,
    /// `Debug` of the heads, in order.
    pub heads: Vec<Head>,
    pub fatal: Option<Fatal>,
    /// All data, by stream.
    pub data: Vec<(u32, Vec<u8>)>,
    /// Say `consumed` at once.
    pub consume: bool,
}

impl Side {
    pub fn new(role: Role, limits: &Limits) -> Side {
        Side {
            conn: Connection::new(role, limits, 0),
            head: Head::new(),
            now_ms: 0,
            input: Vec::new(),
            events: Vec::new(),
            heads: Vec::new(),
            fatal: None,
            data: Vec::new(),
            consume: true,
        }
    }

    /// A server that has had preface, SETTINGS and their acknowledgement; its output so far is taken away.
    pub fn server_with(limits: &Limits) -> Side {
        let mut side = Side::new(Role::Server, limits);
        side.feed(&[&PREFACE[..], &settings(&[]), &frame(SETTINGS, ACK, 0, &[])].concat());
        assert_eq!(side.take_events(), [Event::Settings]);
        side.take_out();
        side
    }

    pub fn server() -> Side {
        Side::server_with(&Limits::default())
    }

    /// A client whose server's SETTINGS have come.
    pub fn client_with(limits: &Limits) -> Side {
        let mut side = Side::new(Role::Client, limits);
        side.feed(&[settings(&[]), frame(SETTINGS, ACK, 0, &[])].concat());
        assert_eq!(side.take_events(), [Event::Settings]);
        side.take_out();
        side
    }

    pub fn client() -> Side {
        Side::client_with(&Limits::default())
    }

    /// Gives input, and takes all events of it.
    pub fn feed(&mut self, bytes: &[u8]) -> &mut Side {
        self.input.extend_from_slice(bytes);
        loop {
            match self.conn.receive(&self.input, self.now_ms, &mut self.head) {
                Ok((n, event)) => {
                    if let Some(event) = event {
                        self.on_event(event);
                        self.input.drain(..n);
                    } else {
                        self.input.drain(..n);
                        break;
                    }
                }
                Err(fatal) => {
                    self.fatal = Some(fatal);
                    break;
                }
            }
        }
        self
    }

    fn on_event(&mut self, event: Event) {
        match &event {
            Event::Head { .. } | Event::Trailers { .. } => self.heads.push(self.head.clone()),
            Event::Data { stream, range, .. } => {
                let bytes = self.input[range.clone()].to_vec();
                if self.consume {
                    self.conn.consumed(*stream, bytes.len());
                }
                match self.data.iter_mut().find(|(id, _)| id == stream) {
                    Some((_, all)) => all.extend(bytes),
                    None => self.data.push((*stream, bytes)),
                }
            }
            _ => {}
        }
        self.events.push(event);
    }

    pub fn take_events(&mut self) -> Vec<Event> {
        assert_eq!(self.fatal, None);
        std::mem::take(&mut self.events)
    }

    pub fn take_out(&mut self) -> Vec<Frame> {
        let out = self.conn.out();
        let parsed = frames(out.strip_prefix(PREFACE).unwrap_or(out));
        let n = out.len();
        self.conn.sent(n);
        parsed
    }

    /// The connection ended with this code, and said so.
    #[track_caller]
    pub fn assert_fatal(&mut self, code: ErrorCode) -> Fatal {
        let fatal = self.fatal.expect("no connection error");
        assert_eq!(fatal.code, code, "{fatal}");
        let last = self.take_out().pop().expect("no output");
        assert_eq!((last.kind, last.stream, last.word(4)), (GOAWAY, 0, code.0));
        let again = self.conn.receive(&[], self.now_ms, &mut self.head);
        assert_eq!(again, Err(fatal));
        fatal
    }

    /// A RST_STREAM with this code is the last frame that was sent, and the connection lives.
    #[track_caller]
    pub fn assert_reset(&mut self, stream: u32, code: ErrorCode) {
        assert_eq!(self.fatal, None);
        let out = self.take_out();
        let last = out.iter().rev().find(|f| f.kind != WINDOW_UPDATE).expect("no output");
        assert_eq!((last.kind, last.stream, ErrorCode(last.word(0))), (RST_STREAM, stream, code));
        self.assert_alive();
    }

    /// The connection still answers a PING.
    #[track_caller]
    pub fn assert_alive(&mut self) {
        self.take_out();
        self.feed(&frame(PING, 0, 0, b"alive???"));
        assert_eq!(self.fatal, None);
        let out = self.take_out();
        assert!(
            out.iter().any(|f| (f.kind, f.flags) == (PING, ACK) && f.payload == b"alive???"),
            "no answer to PING: {out:?}"
        );
    }

    /// Sends a GET and returns its stream.
    pub fn request(&mut self, method: &str, end: bool) -> u32 {
        let request = RequestHead {
            method: method.as_bytes(),
            scheme: b"http",
            authority: b"a.test",
            path: b"/",
            protocol: None,
        };
        let stream = self.conn.send_request(&request, fields(&[]), end).unwrap();
        self.take_out();
        stream
    }
}

/// Moves output to the other side until neither has any, in pieces of the sizes that `cut` gives.
pub fn exchange(a: &mut Side, b: &mut Side, mut cut: impl FnMut() -> usize) {
    loop {
        let mut moved = false;
        for flip in [false, true] {
            let (from, to) = if flip { (&mut *b, &mut *a) } else { (&mut *a, &mut *b) };
            let n = from.conn.out().len().min(cut().max(1));
            if n == 0 {
                continue;
            }
            let bytes = from.conn.out()[..n].to_vec();
            from.conn.sent(n);
            to.feed(&bytes);
            moved = true;
        }
        if !moved {
            return;
        }
    }
}
