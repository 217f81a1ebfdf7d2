//! The HTTP/2 engine, HPACK included: a server's turns alone, and a client and a server against each other.
use super::fields::{BROWSER, Fields, INDEXED, Known, RESPONSE, known, pseudo, regular};
use crate::scenario::{Scenario, Work};
use edge_io::{
    head::Head,
    http2::{Connection, ErrorCode, Event, Limits, RequestHead, Role},
};
use std::hint::black_box;

/// Requests of one turn.
const BATCH: usize = 32;
/// Turns that are recorded: a server is made anew behind the last. More than a count makes.
const TURNS: usize = 128;
const BODY: [u8; 128] = [b'x'; 128];

pub fn scenarios() -> Vec<Scenario> {
    let sets = [("load generator", INDEXED), ("browser", BROWSER)];
    let server = sets.map(|(name, fields)| {
        let prepare = move || server(fields);
        Scenario::new(format!("h2/server/{name}"), prepare).of(BATCH as u32).calls(40)
    });
    let pair = sets.map(|(name, fields)| {
        let prepare = move || pair(fields);
        Scenario::new(format!("h2/client and server/{name}"), prepare).of(BATCH as u32).calls(40)
    });
    server.into_iter().chain(pair).collect()
}

fn request(fields: Fields) -> RequestHead<'static> {
    RequestHead {
        method: b"GET",
        scheme: b"https",
        authority: pseudo(fields, ":authority"),
        path: pseudo(fields, ":path"),
        protocol: None,
    }
}

/// Turns of requests as bytes, as one client sends them.
fn record(fields: Fields) -> Vec<Vec<u8>> {
    let mut client = Connection::new(Role::Client, &Limits::default(), 0);
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    client.receive(&settings, 0, &mut Head::new()).expect("settings are fine");
    let held = known(fields);
    let turn = |_| {
        let mut bytes = Vec::new();
        for _ in 0..BATCH {
            let stream = client.send_request(&request(fields), regular(&held), true).expect("there is room");
            bytes.extend_from_slice(client.out());
            // Make room for the next one, without a word to the server.
            client.reset(stream, ErrorCode::CANCEL);
            let n = client.out().len();
            client.sent(n);
        }
        // The bodies of the turn before were read.
        bytes.extend_from_slice(&[0, 0, 4, 8, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&((BATCH * BODY.len()) as u32).to_be_bytes());
        bytes
    };
    (0..TURNS).map(turn).collect()
}

fn server(fields: Fields) -> Work {
    let (turns, answer) = (record(fields), known(RESPONSE));
    let fresh = || Connection::new(Role::Server, &Limits::default(), 0);
    let (mut server, mut head, mut turn) = (fresh(), Head::new(), 0);
    Box::new(move || {
        if turn == turns.len() {
            (server, turn) = (fresh(), 0);
        }
        let answered = serve(&mut server, &mut head, black_box(&turns[turn]), &answer, turn as u64);
        assert_eq!(answered, BATCH);
        black_box(server.out());
        let n = server.out().len();
        server.sent(n);
        turn += 1;
    })
}

/// Answers all requests of a turn.
fn serve(server: &mut Connection, head: &mut Head, mut input: &[u8], answer: &[Known], now_ms: u64) -> usize {
    let mut answered = 0;
    loop {
        let (n, event) = server.receive(input, now_ms, head).expect("a good peer");
        input = &input[n..];
        match event {
            Some(Event::Head { stream, .. }) => {
                server.send_response(stream, 200, regular(answer), false).expect("it is open");
                assert_eq!(server.send_data(stream, &BODY, true), Ok(BODY.len()));
                answered += 1;
            }
            Some(_) => {}
            None => return answered,
        }
    }
}

/// A turn of requests, their answers, and all of these read. The time goes on, as the bounds on control frames expect.
fn pair(fields: Fields) -> Work {
    let (held, answer) = (known(fields), known(RESPONSE));
    let mut client = Connection::new(Role::Client, &Limits::default(), 0);
    let mut server = Connection::new(Role::Server, &Limits::default(), 0);
    let (mut heads, mut now_ms) = ([Head::new(), Head::new()], 0);
    // The first words: settings of both, and that they were seen.
    for _ in 0..2 {
        serve(&mut server, &mut heads[0], client.out(), &answer, 0);
        let n = client.out().len();
        client.sent(n);
        read(&mut client, &mut heads[1], server.out(), 0);
        let n = server.out().len();
        server.sent(n);
    }
    Box::new(move || {
        now_ms += 1;
        for _ in 0..BATCH {
            client.send_request(black_box(&request(fields)), regular(&held), true).expect("there is room");
        }
        assert_eq!(serve(&mut server, &mut heads[0], client.out(), &answer, now_ms), BATCH);
        let n = client.out().len();
        client.sent(n);
        assert_eq!(read(&mut client, &mut heads[1], server.out(), now_ms), BATCH);
        let n = server.out().len();
        server.sent(n);
    })
}

/// Reads answers; how many came to their end.
fn read(client: &mut Connection, head: &mut Head, mut input: &[u8], now_ms: u64) -> usize {
    let mut ended = 0;
    loop {
        let (n, event) = client.receive(input, now_ms, head).expect("a good peer");
        match event {
            Some(Event::Data { stream, range, end }) => {
                black_box(&input[range.clone()]);
                client.consumed(stream, range.len());
                ended += usize::from(end);
            }
            Some(_) => {}
            None => return ended,
        }
        input = &input[n..];
    }
}
