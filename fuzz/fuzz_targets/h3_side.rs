//! One side of an HTTP/3 connection that is fed by a fuzzer, answers, and is checked at every step.
use edge_io::head::{FieldId, FieldRef, Head};
use edge_quic::h3::{Connection, Error, Event, Limits, Own, RequestHead, Role, Stream, Uni};

pub const MEMORY: usize = 64 * 1024;

/// Request streams, and unidirectional ones.
const STREAMS: usize = 5;

/// What happened, but for where data were cut.
#[derive(Debug, Default, PartialEq)]
pub struct Trace {
    pub events: Vec<String>,
    pub data: [Vec<u8>; STREAMS],
    pub fatal: Option<String>,
}

const FIELDS: [(FieldId, &str, &str); 2] =
    [(FieldId::Server, "server", "edge"), (FieldId::Other, "x-mine", "some value")];

fn fields() -> impl Iterator<Item = FieldRef<'static>> {
    FIELDS.iter().map(|(id, name, value)| FieldRef { id: *id, name: name.as_bytes(), value: value.as_bytes() })
}

/// A request stream, and what of its input waits.
#[derive(Default)]
struct Request {
    stream: Stream,
    input: Vec<u8>,
    fin: bool,
    over: bool,
}

struct Side {
    role: Role,
    mode: u8,
    connection: Connection,
    head: Head,
    requests: [Request; STREAMS],
    unis: [Uni; STREAMS],
    trace: Trace,
}

/// Feeds the records that `bytes` hold, each in pieces, as long as there is no fault. The first byte says how the owner
/// behaves. A record is a byte that names its stream (0 to 4 a request's, 5 to 9 a unidirectional one; with 16 its end
/// follows, with 32 it is reset instead), one with its length, and what comes.
pub fn run(role: Role, bytes: &[u8], mut piece: impl FnMut() -> usize) -> Trace {
    let (&mode, mut rest) = bytes.split_first().unwrap_or((&0, &[]));
    let mut side = Side::new(role, mode);
    while let [what, len, more @ ..] = rest {
        let (now, later) = more.split_at(more.len().min(usize::from(*len)));
        rest = later;
        let which = usize::from(what & 15) % (2 * STREAMS);
        let (fin, reset) = (what & 16 != 0, what & 32 != 0);
        let outcome = match which.checked_sub(STREAMS) {
            None if reset => side.reset(which),
            None => side.on_request(which, now, fin, &mut piece),
            Some(uni) => side.on_uni(uni, now, fin, reset, &mut piece),
        };
        if let Err(fatal) = outcome.and_then(|()| side.settle()) {
            side.trace.fatal = Some(fatal);
            break;
        }
    }
    side.trace
}

impl Side {
    fn new(role: Role, mode: u8) -> Side {
        let limits = Limits {
            memory_bytes: MEMORY,
            head_bytes: 8 * 1024,
            table_bytes: [0, 220, 4096, 4096][usize::from(mode >> 6)],
            connect_protocol: mode & 1 != 0,
            blocked_streams: 3,
            ..Limits::default()
        };
        let mut side = Side {
            role,
            mode,
            connection: Connection::new(role, &limits, 0),
            head: Head::new(),
            requests: Default::default(),
            unis: Default::default(),
            trace: Trace::default(),
        };
        if role == Role::Client {
            let methods = ["GET", "HEAD", "POST", "CONNECT", "CONNECT"];
            for (i, (request, method)) in side.requests.iter_mut().zip(methods).enumerate() {
                let protocol = (i == 4).then_some(&b"websocket"[..]);
                let head =
                    RequestHead { method: method.as_bytes(), scheme: b"https", authority: b"a", path: b"/", protocol };
                side.connection.write_request(&mut request.stream, i as u64 * 4, &head, fields(), &mut Vec::new());
            }
        }
        side
    }

    fn on_request(
        &mut self,
        which: usize,
        mut rest: &[u8],
        fin: bool,
        piece: &mut impl FnMut() -> usize,
    ) -> Result<(), String> {
        if self.requests[which].fin || self.requests[which].over {
            return Ok(());
        }
        while !rest.is_empty() {
            let (now, later) = rest.split_at(piece().min(rest.len()));
            rest = later;
            self.requests[which].input.extend_from_slice(now);
            self.read(which)?;
        }
        self.requests[which].fin = fin;
        self.read(which)
    }

    /// Gives a stream what waits, and then its end.
    fn read(&mut self, which: usize) -> Result<(), String> {
        loop {
            let request = &mut self.requests[which];
            if request.over {
                return Ok(());
            }
            let fin = request.fin && request.input.is_empty();
            let id = which as u64 * 4;
            let step = self.connection.receive(&mut request.stream, id, &request.input, fin, 0, &mut self.head);
            let (n, event) = match step {
                Ok(step) => step,
                Err(error) => return self.on_error(which, error),
            };
            let taken: Vec<u8> = request.input.drain(..n).collect();
            let blocked = request.stream.is_blocked();
            match event {
                Some(event) => self.on_event(which, event, &taken),
                None if blocked => return Ok(()),
                None => {
                    assert!(self.requests[which].input.is_empty(), "something is stuck");
                    if fin || !self.requests[which].fin {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn on_error(&mut self, which: usize, error: Error) -> Result<(), String> {
        match error {
            Error::Stream { .. } => {
                assert!(self.requests[which].stream.is_done());
                self.requests[which].over = true;
                self.trace.events.push(format!("{which} {error:?}"));
                Ok(())
            }
            Error::Connection(fatal) => Err(format!("{fatal:?}")),
        }
    }

    fn on_event(&mut self, which: usize, event: Event, input: &[u8]) {
        let head = &self.head;
        match event {
            Event::Data { range, end } => {
                assert!(!end, "the end comes apart");
                self.trace.data[which].extend_from_slice(&input[range]);
            }
            Event::Head { .. } | Event::Trailers => {
                self.trace.events.push(format!("{which} {event:?} {head:?}"));
                if self.role == Role::Server && event != Event::Trailers {
                    assert!(head.path().starts_with(b"/") || head.path() == b"*" || head.method_bytes() == b"CONNECT");
                    assert!(!head.authority().is_empty());
                    if self.mode & 2 != 0 {
                        let mut out = Vec::new();
                        self.connection.write_response(which as u64 * 4, 200, fields(), &mut out);
                    }
                }
            }
            Event::End | Event::Blocked => self.trace.events.push(format!("{which} {event:?}")),
        }
    }

    fn reset(&mut self, which: usize) -> Result<(), String> {
        let request = &mut self.requests[which];
        if std::mem::replace(&mut request.over, true) {
            return Ok(());
        }
        self.connection.cancelled(&mut request.stream, which as u64 * 4);
        self.connection.reset_by_peer(0).map_err(|fatal| format!("{fatal:?}"))
    }

    fn on_uni(
        &mut self,
        which: usize,
        mut rest: &[u8],
        fin: bool,
        reset: bool,
        piece: &mut impl FnMut() -> usize,
    ) -> Result<(), String> {
        let uni = &mut self.unis[which];
        if reset {
            let outcome = self.connection.uni_was_reset(uni).map_err(|fatal| format!("{fatal:?}"));
            self.unis[which] = Uni::new();
            return outcome;
        }
        while !rest.is_empty() {
            let (now, later) = rest.split_at(piece().min(rest.len()));
            rest = later;
            self.connection.receive_uni(uni, now, false, 0).map_err(|fatal| format!("{fatal:?}"))?;
        }
        if fin {
            self.connection.receive_uni(uni, &[], true, 0).map_err(|fatal| format!("{fatal:?}"))?;
            *uni = Uni::new();
        }
        Ok(())
    }

    /// What can go on goes on; what is to be sent is sent.
    fn settle(&mut self) -> Result<(), String> {
        while let Some(control) = self.connection.next_control() {
            self.trace.events.push(format!("{control:?}"));
        }
        while let Some(id) = self.connection.next_unblocked() {
            let which = id as usize / 4;
            let request = &mut self.requests[which];
            assert!(!request.over && request.stream.is_blocked());
            match self.connection.resume(&mut request.stream, id, &mut self.head) {
                Ok(event) => self.on_event(which, event.expect("it waited"), &[]),
                Err(error) => self.on_error(which, error)?,
            }
            self.read(which)?;
        }
        assert!(self.connection.memory() < 4 * MEMORY, "{}", self.connection.memory());
        if self.mode & 4 != 0 {
            for own in [Own::Control, Own::Encoder, Own::Decoder] {
                self.connection.out(own).clear();
            }
            assert!(!self.connection.has_out());
        }
        Ok(())
    }
}
