//! What a request head costs: nanoseconds for parsing it and for asking what it means.
//! `cargo run --release -p edge-io --example h1_parse_cost`
use edge_io::{
    head::Head,
    http1::{BodyDecoder, Framing, HeadParser, Limits, request_semantics, write_field, write_request_line},
};
use std::{hint::black_box, time::Instant};

const WRK: &str = "GET /1k HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
const SIX: &str = "GET /api/v1/items?limit=20 HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\
    Accept-Encoding: gzip, br\r\nX-Request-Id: 0f3a9c1e5b7d4a62\r\nConnection: keep-alive\r\n\r\n";
const BROWSER: &str = "GET /products/42?ref=home HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.com/\r\nCookie: session=6f1c2b9a8d7e4f30; theme=dark; consent=1\r\n\
    Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\n\
    Upgrade-Insecure-Requests: 1\r\n\r\n";

/// The fastest of nine rounds: the others were disturbed.
fn nanoseconds(mut work: impl FnMut()) -> f64 {
    const TIMES: u32 = 200_000;
    (0..9)
        .map(|_| {
            let start = Instant::now();
            (0..TIMES).for_each(|_| work());
            start.elapsed().as_nanos() as f64 / f64::from(TIMES)
        })
        .fold(f64::INFINITY, f64::min)
}

fn main() {
    let limits = Limits::default();
    println!(
        "{:<10} {:>6} {:>7} {:>9} {:>11} {:>9}",
        "request", "bytes", "fields", "parse ns", "+semantics", "write ns"
    );
    for (name, bytes) in [("wrk", WRK), ("six", SIX), ("browser", BROWSER)] {
        let (mut parser, mut head) = (HeadParser::request(), Head::new());
        let mut parse = |head: &mut Head| {
            parser.reset();
            let taken = parser.parse(black_box(bytes.as_bytes()), &limits, head);
            assert_eq!(taken, Ok(Some(bytes.len())));
        };
        let alone = nanoseconds(|| parse(&mut head));
        let both = nanoseconds(|| {
            parse(&mut head);
            let meaning = request_semantics(black_box(&head));
            assert!(black_box(meaning).is_ok());
        });
        let mut out = Vec::with_capacity(4096);
        let write = nanoseconds(|| {
            out.clear();
            write_request_line(&mut out, head.method_bytes(), head.path_and_query());
            head.fields().for_each(|f| write_field(&mut out, f.name, f.value));
            black_box(&out);
        });
        println!("{name:<10} {:>6} {:>7} {alone:>9.0} {both:>11.0} {write:>9.0}", bytes.len(), head.len());
    }
    let body = format!("400\r\n{}\r\n", "x".repeat(1024)).repeat(16) + "0\r\n\r\n";
    let mut trailers = Head::new();
    let decode = nanoseconds(|| {
        let (mut decoder, mut at) = (BodyDecoder::new(Framing::Chunked), 0);
        while !decoder.is_done() {
            let step = decoder.decode(black_box(&body.as_bytes()[at..]), &limits, &mut trailers);
            at += step.map_or(usize::MAX, |s| s.consumed);
        }
    });
    println!("16 chunks of 1 KiB: {decode:.0} ns");
}
