//! One side of an HTTP/2 connection that is fed by a fuzzer, answers, and is checked at every step.
use edge_io::{
    head::{FieldId, FieldRef, Head},
    http2::{Connection, Event, Limits, PREFACE, RequestHead, Role},
};

pub const MEMORY: usize = 64 * 1024;

/// What happened, but for where data were cut.
#[derive(Debug, PartialEq)]
pub struct Trace {
    pub events: Vec<String>,
    pub data: Vec<(u32, Vec<u8>)>,
    pub fatal: Option<String>,
    pub out: Vec<u8>,
}

const FIELDS: [(FieldId, &str, &str); 2] =
    [(FieldId::Server, "server", "edge"), (FieldId::Other, "x-mine", "some value")];

fn fields() -> impl Iterator<Item = FieldRef<'static>> {
    FIELDS.iter().map(|(id, name, value)| FieldRef { id: *id, name: name.as_bytes(), value: value.as_bytes() })
}

/// Feeds `bytes` in pieces, as long as there is no fault. The first byte says how the owner behaves.
pub fn run(role: Role, bytes: &[u8], mut piece: impl FnMut() -> usize) -> Trace {
    let (&mode, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    let limits = Limits {
        streams: 8,
        memory_bytes: MEMORY,
        out_bytes: 4096,
        // How much is queued at once follows from the cuts.
        control_out_bytes: usize::MAX,
        connect_protocol: mode & 1 != 0,
        ..Limits::default()
    };
    let mut connection = Connection::new(role, &limits, 0);
    let start: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];
    let mut input = if role == Role::Server { PREFACE.to_vec() } else { Vec::new() };
    input.extend_from_slice(start);
    let mut head = Head::new();
    let mut trace = Trace { events: Vec::new(), data: Vec::new(), fatal: None, out: Vec::new() };
    let mut open = Vec::new();
    if role == Role::Client {
        while connection.receive(&input, 0, &mut head).is_ok_and(|(n, event)| {
            input.drain(..n);
            event.is_some()
        }) {}
        for (method, end) in [("GET", true), ("HEAD", true), ("POST", false), ("CONNECT", false)] {
            let request =
                RequestHead { method: method.as_bytes(), scheme: b"http", authority: b"a", path: b"/", protocol: None };
            open.push(connection.send_request(&request, fields(), end).expect("a stream"));
        }
    }
    let mut rest = bytes;
    'all: loop {
        let n = piece().min(rest.len());
        let (now, later) = rest.split_at(n);
        rest = later;
        input.extend_from_slice(now);
        loop {
            let (n, event) = match connection.receive(&input, 0, &mut head) {
                Ok(step) => step,
                Err(fatal) => {
                    trace.fatal = Some(format!("{fatal:?}"));
                    break 'all;
                }
            };
            assert!(n <= input.len());
            let finished = event.is_none() && !connection.is_stalled();
            if let Some(event) = event {
                on_event(&mut connection, &mut trace, &mut open, role, mode, &head, &input, event);
            }
            input.drain(..n);
            while let Some(stream) = connection.next_writable() {
                assert!(open.contains(&stream));
            }
            assert!(connection.open_streams() <= open.len());
            assert!(connection.memory() < 4 * MEMORY, "{}", connection.memory());
            trace.out.extend_from_slice(connection.out());
            let written = connection.out().len();
            connection.sent(written);
            if finished {
                break;
            }
        }
        assert!(input.len() < Connection::INPUT_BYTES_MIN, "{} bytes are stuck", input.len());
        if rest.is_empty() {
            break;
        }
    }
    trace.out.extend_from_slice(connection.out());
    trace
}

#[allow(clippy::too_many_arguments)]
fn on_event(
    connection: &mut Connection,
    trace: &mut Trace,
    open: &mut Vec<u32>,
    role: Role,
    mode: u8,
    head: &Head,
    input: &[u8],
    event: Event,
) {
    match event {
        Event::Data { stream, range, end } => {
            assert!(open.contains(&stream));
            let bytes = &input[range];
            match trace.data.iter_mut().find(|(id, _)| *id == stream) {
                Some((_, data)) => data.extend_from_slice(bytes),
                None => trace.data.push((stream, bytes.to_vec())),
            }
            if mode & 2 != 0 {
                connection.consumed(stream, bytes.len());
            }
            if end {
                trace.events.push(format!("end of {stream}"));
            }
        }
        Event::Head { stream, end } => {
            trace.events.push(format!("{stream} {end} {head:?}"));
            if role == Role::Client {
                assert!(open.contains(&stream));
                return;
            }
            assert!(!open.contains(&stream));
            assert!(head.path().starts_with(b"/") || head.path() == b"*" || head.method_bytes() == b"CONNECT");
            assert!(!head.authority().is_empty());
            open.push(stream);
            if mode & 4 != 0 {
                connection.send_response(stream, 200, fields(), false).expect("open");
                connection.send_data(stream, &[7; 3000], true).expect("open");
            }
        }
        Event::Trailers { stream } => {
            assert!(open.contains(&stream));
            trace.events.push(format!("{stream} trailers {head:?}"));
        }
        Event::Reset { stream, .. } => {
            assert!(open.contains(&stream));
            assert!(connection.send_data(stream, b"x", true).is_err());
            trace.events.push(format!("{event:?}"));
        }
        // Whether somebody still waits when a window grows follows from the cuts.
        Event::Writable => {}
        event => trace.events.push(format!("{event:?}")),
    }
}
