//! The HTTP/3 engine, QPACK included: a client and a server against each other, without QUIC.
use super::fields::{BROWSER, Fields, INDEXED, Known, RESPONSE, known, pseudo, regular};
use crate::scenario::{Scenario, Work};
use edge_io::head::Head;
use edge_quic::h3::{Connection, Event, Limits, Own, RequestHead, Role, Stream, Uni, data_header};
use std::hint::black_box;

/// Requests of one turn.
const BATCH: usize = 32;
const BODY: [u8; 128] = [b'x'; 128];
const OWN: [Own; 3] = [Own::Control, Own::Encoder, Own::Decoder];

pub fn scenarios() -> Vec<Scenario> {
    let of = |(name, fields)| {
        Scenario::new(format!("h3/client and server/{name}"), move || pair(fields)).of(BATCH as u32).calls(40)
    };
    [("load generator", INDEXED), ("browser", BROWSER)].map(of).into()
}

/// One end, and what the other has of its unidirectional streams.
struct End {
    connection: Connection,
    unis: [Uni; 3],
    head: Head,
    now_ms: u64,
}

impl End {
    fn new(role: Role) -> End {
        End {
            connection: Connection::new(role, &Limits::default(), 0),
            unis: Default::default(),
            head: Head::new(),
            now_ms: 0,
        }
    }

    /// What this end has to say beside the messages reaches the other.
    fn tell(&mut self, other: &mut End) {
        for (own, uni) in OWN.into_iter().zip(&mut other.unis) {
            let bytes = self.connection.out(own);
            if !bytes.is_empty() {
                other.connection.receive_uni(uni, bytes, false, other.now_ms).expect("a good peer");
                bytes.clear();
            }
        }
        while other.connection.next_control().is_some() {}
    }

    /// Reads all of a message.
    fn read(&mut self, stream: &mut Stream, id: u64, mut input: &[u8]) {
        let mut data = 0;
        while !stream.is_done() {
            let step = self.connection.receive(stream, id, input, true, self.now_ms, &mut self.head);
            let (n, event) = step.expect("a good peer");
            if let Some(Event::Data { range, .. }) = event {
                data += black_box(&input[range]).len();
            }
            input = &input[n..];
        }
        black_box((&self.head, data));
    }
}

fn pair(fields: Fields) -> Work {
    let (held, answer) = (known(fields), known(RESPONSE));
    let (mut client, mut server) = (End::new(Role::Client), End::new(Role::Server));
    client.tell(&mut server);
    server.tell(&mut client);
    let (mut id, mut bytes) = (0, Vec::with_capacity(64 * 1024));
    Box::new(move || {
        (client.now_ms, server.now_ms) = (client.now_ms + 1, server.now_ms + 1);
        for _ in 0..BATCH {
            exchange(&mut client, &mut server, id, fields, &held, &answer, &mut bytes);
            id += 4;
        }
    })
}

/// One request and its answer. What the tables need goes ahead of it, so that nothing waits for them.
fn exchange(
    client: &mut End,
    server: &mut End,
    id: u64,
    fields: Fields,
    held: &[Known],
    answer: &[Known],
    bytes: &mut Vec<u8>,
) {
    let (mut asked, mut received) = (Stream::new(), Stream::new());
    let request = RequestHead {
        method: b"GET",
        scheme: b"https",
        authority: pseudo(fields, ":authority"),
        path: pseudo(fields, ":path"),
        protocol: None,
    };
    bytes.clear();
    client.connection.write_request(&mut asked, id, black_box(&request), regular(held), bytes);
    client.tell(server);
    server.read(&mut received, id, bytes);
    bytes.clear();
    server.connection.write_response(id, 200, regular(answer), bytes);
    data_header(BODY.len() as u64, bytes);
    bytes.extend_from_slice(&BODY);
    server.tell(client);
    client.read(&mut asked, id, bytes);
}
