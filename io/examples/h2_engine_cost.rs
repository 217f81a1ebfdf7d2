//! What a request costs in the HTTP/2 engine, HPACK included: nanoseconds from its bytes to those of its response.
//! `cargo run --release -p edge-io --example h2_engine_cost`; with a number, that many requests of the first kind and
//! nothing else, for a profiler.
use edge_io::{
    head::{FieldId, FieldRef, Head},
    http2::{Connection, ErrorCode, Event, Limits, RequestHead, Role},
};
use std::{hint::black_box, time::Instant};

const BATCH: usize = 32;
const BODY: [u8; 128] = [b'x'; 128];

/// Batches of requests as bytes, as one client sends them.
fn batches(fields: &[(&str, &str)], count: usize) -> Vec<Vec<u8>> {
    let mut client = Connection::new(Role::Client, &Limits::default(), 0);
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let _ = client.receive(&settings, 0, &mut Head::new());
    let mut batch = || {
        let mut bytes = Vec::new();
        for _ in 0..BATCH {
            let request = RequestHead {
                method: b"GET",
                scheme: b"http",
                authority: b"127.0.0.1:8080",
                path: b"/1k",
                protocol: None,
            };
            let stream = client.send_request(&request, refs(fields), true).unwrap_or_default();
            bytes.extend_from_slice(client.out());
            // Make room for the next one, without a word to the server.
            client.reset(stream, ErrorCode::CANCEL);
            let n = client.out().len();
            client.sent(n);
        }
        // The bodies of the batch before were read.
        bytes.extend_from_slice(&[0, 0, 4, 8, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&((BATCH * BODY.len()) as u32).to_be_bytes());
        bytes
    };
    (0..count).map(|_| batch()).collect()
}

fn refs<'a>(fields: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = FieldRef<'a>> {
    fields.iter().map(|(name, value)| FieldRef {
        id: FieldId::of(name.as_bytes()),
        name: name.as_bytes(),
        value: value.as_bytes(),
    })
}

/// Answers all requests of a batch, as a server does in one turn.
#[inline(never)]
fn serve(server: &mut Connection, head: &mut Head, batch: &[u8], response: &[(&str, &str)], body: &[u8]) -> usize {
    let (mut at, mut answered) = (0, 0);
    loop {
        let input = batch.get(at..).unwrap_or(&[]);
        let Ok((n, event)) = server.receive(input, 0, head) else { return 0 };
        at += n;
        match event {
            Some(Event::Head { stream, .. }) => {
                let _ = server.send_response(stream, 200, refs(response), false);
                let _ = server.send_data(stream, body, true);
                answered += 1;
            }
            Some(_) => {}
            None => break,
        }
    }
    black_box(server.out());
    let n = server.out().len();
    server.sent(n);
    answered
}

fn main() {
    let rounds: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    let h2load = [("user-agent", "h2load nghttp2/1.52.0")];
    let browser = [
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
        ("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("cookie", "session=6f1c2b9a8d7e4f30"),
        ("cookie", "theme=dark"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "same-origin"),
        ("priority", "u=0, i"),
    ];
    let response = [("server", "edge"), ("date", "Fri, 20 Nov 2026 12:00:00 GMT"), ("content-length", "128")];
    for (name, fields) in [("h2load", &h2load[..]), ("browser", &browser[..])] {
        let count = if rounds > 0 { rounds.div_ceil(BATCH) } else { 20_000 };
        let batches = batches(fields, count);
        let mut best = f64::INFINITY;
        for _ in 0..if rounds > 0 { 1 } else { 9 } {
            let mut server = Connection::new(Role::Server, &Limits::default(), 0);
            let mut head = Head::new();
            let n = server.out().len();
            server.sent(n);
            let start = Instant::now();
            let answered: usize = batches.iter().map(|b| serve(&mut server, &mut head, b, &response, &BODY)).sum();
            best = best.min(start.elapsed().as_nanos() as f64 / answered as f64);
            assert_eq!(answered, count * BATCH);
        }
        println!("{name:<10} {best:>7.0} ns per request");
        if rounds > 0 {
            return;
        }
    }
}
