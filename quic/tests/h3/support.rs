//! Bytes of frames and field sections, and an owner that feeds a connection and writes down what happens.
use edge_io::head::{FieldId, FieldRef, Head};
use edge_quic::h3::{Connection, Error, ErrorCode, Event, Fatal, Limits, RequestHead, Role, Stream, Uni, UniNext};

/// Frame types.
pub const DATA: u64 = 0x0;
pub const HEADERS: u64 = 0x1;
pub const CANCEL_PUSH: u64 = 0x3;
pub const SETTINGS: u64 = 0x4;
pub const PUSH_PROMISE: u64 = 0x5;
pub const GOAWAY: u64 = 0x7;
pub const MAX_PUSH_ID: u64 = 0xd;
pub const PRIORITY_UPDATE: u64 = 0xf0700;
pub const PRIORITY_UPDATE_PUSH: u64 = 0xf0701;
/// A reserved one that everybody must pass over.
pub const GREASE: u64 = 0x1f * 1000 + 0x21;

/// A variable-length integer, as short as can be.
pub fn varint(value: u64) -> Vec<u8> {
    match value {
        0..0x40 => vec![value as u8],
        0x40..0x4000 => (value as u16 | 0x4000).to_be_bytes().to_vec(),
        0x4000..0x4000_0000 => (value as u32 | 0x8000_0000).to_be_bytes().to_vec(),
        _ => (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
    }
}

pub fn varints(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|v| varint(*v)).collect()
}

pub fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    [&varints(&[kind, payload.len() as u64])[..], payload].concat()
}

pub fn data(bytes: &[u8]) -> Vec<u8> {
    frame(DATA, bytes)
}

/// A string of QPACK, plain, with a length prefix of `bits` bits.
fn string(first: u8, bits: u32, text: &str, out: &mut Vec<u8>) {
    let max = (1usize << bits) - 1;
    if text.len() < max {
        out.push(first | text.len() as u8);
    } else {
        out.push(first | max as u8);
        let mut rest = text.len() - max;
        while rest >= 128 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
    out.extend_from_slice(text.as_bytes());
}

/// A field section of literals without any table.
pub fn section(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = vec![0, 0];
    for (name, value) in fields {
        string(0x20, 3, name, &mut out);
        string(0x00, 7, value, &mut out);
    }
    out
}

pub fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, &section(fields))
}

pub const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/x?y")];

/// A good request without a body, and more fields.
pub fn request(more: &[(&str, &str)]) -> Vec<u8> {
    headers(&[&GET[..], more].concat())
}

/// A response's head.
pub fn response(status: &str, more: &[(&str, &str)]) -> Vec<u8> {
    headers(&[&[(":status", status)], more].concat())
}

/// A control stream with these settings, its type first.
pub fn control(settings: &[u64]) -> Vec<u8> {
    [vec![0], frame(SETTINGS, &varints(settings))].concat()
}

/// What happened on a request stream; where data were cut is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Head(String),
    Data(Vec<u8>),
    Trailers(String),
    End,
    Blocked,
}

/// What came of a stream's input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    pub seen: Vec<Seen>,
    pub error: Option<Error>,
}

impl Run {
    /// The code of the error, with `true` if it ends the connection.
    pub fn code(&self) -> Option<(ErrorCode, bool)> {
        self.error.map(code)
    }

    pub fn note(&mut self, event: Event, input: &[u8], head: &Head) {
        match event {
            Event::Head { end } => {
                self.seen.push(Seen::Head(text(head)));
                self.end(end);
            }
            Event::Data { range, end } => {
                assert!(!range.is_empty());
                match self.seen.last_mut() {
                    Some(Seen::Data(all)) => all.extend_from_slice(&input[range]),
                    _ => self.seen.push(Seen::Data(input[range].to_vec())),
                }
                self.end(end);
            }
            Event::Trailers => self.seen.push(Seen::Trailers(text(head))),
            Event::End => self.seen.push(Seen::End),
            Event::Blocked => self.seen.push(Seen::Blocked),
        }
    }

    fn end(&mut self, end: bool) {
        if end {
            self.seen.push(Seen::End);
        }
    }
}

pub fn code(error: Error) -> (ErrorCode, bool) {
    match error {
        Error::Stream { code, .. } => (code, false),
        Error::Connection(fatal) => (fatal.code, true),
    }
}

/// A head, written down.
pub fn text(head: &Head) -> String {
    let fields = head.fields().map(|f| format!("{}: {}", utf8(f.name), utf8(f.value)));
    let start = match head.status() {
        0 => format!("{} {} {}", utf8(head.method_bytes()), utf8(head.authority()), utf8(head.path_and_query())),
        status => status.to_string(),
    };
    std::iter::once(start).chain(fields).collect::<Vec<_>>().join("\n")
}

fn utf8(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// One side, whose time stands still unless a test moves it.
pub struct Side {
    pub connection: Connection,
    pub head: Head,
    pub now_ms: u64,
}

impl Side {
    pub fn new(role: Role) -> Side {
        Side::with(role, &Limits::default())
    }

    pub fn with(role: Role, limits: &Limits) -> Side {
        Side { connection: Connection::new(role, limits, 0), head: Head::new(), now_ms: 0 }
    }

    /// Gives a stream `input` in pieces, and its end with the last of them if `fin`.
    pub fn feed(
        &mut self,
        stream: &mut Stream,
        id: u64,
        input: &[u8],
        fin: bool,
        mut piece: impl FnMut() -> usize,
    ) -> Run {
        let mut run = Run::default();
        let mut rest = input;
        loop {
            let (now, later) = rest.split_at(piece().clamp(1, rest.len().max(1)).min(rest.len()));
            rest = later;
            if let Err(error) = self.give(stream, id, now, fin && rest.is_empty(), &mut run) {
                run.error = Some(error);
                return run;
            }
            if rest.is_empty() || run.seen.last() == Some(&Seen::Blocked) {
                return run;
            }
        }
    }

    /// Gives a stream one piece, until all of it is taken and nothing happens.
    pub fn give(
        &mut self,
        stream: &mut Stream,
        id: u64,
        mut input: &[u8],
        fin: bool,
        run: &mut Run,
    ) -> Result<(), Error> {
        loop {
            let (n, event) = self.connection.receive(stream, id, input, fin, self.now_ms, &mut self.head)?;
            let idle = event.is_none();
            if let Some(event) = event {
                run.note(event, input, &self.head);
            }
            input = &input[n..];
            if idle {
                assert!(input.is_empty() || stream.is_blocked());
                return Ok(());
            }
        }
    }

    /// All of a request stream at once; its end comes apart from it.
    pub fn stream(&mut self, id: u64, input: &[u8], fin: bool) -> Run {
        let mut stream = Stream::new();
        self.go_on(&mut stream, id, input, fin)
    }

    /// More of a request stream.
    pub fn go_on(&mut self, stream: &mut Stream, id: u64, input: &[u8], fin: bool) -> Run {
        let mut run = self.feed(stream, id, input, false, || usize::MAX);
        if fin && run.error.is_none() {
            run.error = self.give(stream, id, &[], true, &mut run).err();
        }
        run
    }

    pub fn uni(&mut self, uni: &mut Uni, input: &[u8]) -> Result<UniNext, Fatal> {
        self.connection.receive_uni(uni, input, false, self.now_ms)
    }

    /// A client's stream with a request of this method.
    pub fn ask(&mut self, id: u64, method: &str) -> Stream {
        let mut stream = Stream::new();
        let request = RequestHead {
            method: method.as_bytes(),
            scheme: b"https",
            authority: b"a.example",
            path: b"/",
            protocol: None,
        };
        self.connection.write_request(&mut stream, id, &request, std::iter::empty(), &mut Vec::new());
        stream
    }
}

/// Fields to send.
pub fn fields<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = FieldRef<'a>> {
    pairs.iter().map(|(name, value)| FieldRef {
        id: FieldId::of(name.as_bytes()),
        name: name.as_bytes(),
        value: value.as_bytes(),
    })
}

/// Sizes of pieces from 1 to `most`, from a seed.
pub fn pieces(seed: u64, most: usize) -> impl FnMut() -> usize {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        1 + (state >> 11) as usize % most
    }
}
