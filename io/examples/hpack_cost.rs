//! What header blocks cost: nanoseconds for decoding and encoding them. With the name of a set (or `huffman`) and a count
//! it only decodes it, with `-encode` behind the name it only encodes it: for a tool that counts instructions.
//! `cargo run --release -p edge-io --example hpack_cost`
use edge_io::{
    head::FieldId,
    http2::hpack::{Decoder, Encoder, Pseudo},
};
use std::{hint::black_box, time::Instant};

type Fields = &'static [(&'static str, &'static str)];

/// A load generator's request: all of it repeats.
const INDEXED: Fields = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/"),
    (":authority", "www.example.com"),
    ("user-agent", "h2load nghttp2/1.52.0"),
    ("accept", "*/*"),
    ("accept-encoding", "gzip, deflate"),
];
/// The same with what does not repeat.
const LITERAL: Fields = &[
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/products/42?ref=home&page=3"),
    (":authority", "www.example.com"),
    ("user-agent", "h2load nghttp2/1.52.0"),
    ("referer", "https://www.example.com/products"),
    ("cookie", "session=6f1c2b9a8d7e4f30; theme=dark; consent=1"),
    ("x-request-id", "0f3a9c1e5b7d4a62"),
];
const RESPONSE: Fields = &[
    (":status", "200"),
    ("server", "edge"),
    ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-length", "128"),
    ("x-frame-options", "DENY"),
];
const SETS: [(&str, Fields); 3] = [("indexed", INDEXED), ("literal", LITERAL), ("response", RESPONSE)];

/// Fields with what a caller knows of their names.
type Known = Vec<(Option<Pseudo>, FieldId, &'static [u8], &'static [u8])>;

fn known(fields: Fields) -> Known {
    let of = |(name, value): &(&'static str, &'static str)| {
        let name = name.as_bytes();
        (Pseudo::of(name), if name[0] == b':' { FieldId::Other } else { FieldId::of(name) }, name, value.as_bytes())
    };
    fields.iter().map(of).collect()
}

fn encode(encoder: &mut Encoder, fields: &Known, out: &mut Vec<u8>) {
    out.clear();
    encoder.begin(out);
    for (pseudo, id, name, value) in fields {
        match pseudo {
            Some(Pseudo::Status) => encoder.status(out, 200),
            Some(pseudo) => encoder.pseudo(out, *pseudo, value),
            None => encoder.field(out, *id, name, value),
        }
    }
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> usize {
    let mut size = 0;
    let outcome = decoder.decode(block, |field| {
        size += black_box(field).size();
        Ok::<_, ()>(())
    });
    assert!(outcome.is_ok());
    size
}

/// The fastest of nine rounds: the others were disturbed.
fn nanoseconds(mut work: impl FnMut()) -> f64 {
    const TIMES: u32 = 100_000;
    (0..9)
        .map(|_| {
            let start = Instant::now();
            (0..TIMES).for_each(|_| work());
            start.elapsed().as_nanos() as f64 / f64::from(TIMES)
        })
        .fold(f64::INFINITY, f64::min)
}

/// A block of these fields when they have come before.
fn steady(fields: &Known, decoder: &mut Decoder) -> (Encoder, Vec<u8>) {
    let (mut encoder, mut out) = (Encoder::new(4096), Vec::with_capacity(4096));
    for _ in 0..3 {
        encode(&mut encoder, fields, &mut out);
        decode(decoder, &out);
    }
    encode(&mut encoder, fields, &mut out);
    (encoder, out)
}

fn main() {
    let mut args = std::env::args().skip(1);
    if let (Some(which), Some(count)) = (args.next(), args.next().and_then(|n| n.parse::<u32>().ok())) {
        if which == "huffman" {
            let (coded, mut decoder) = (coded(), Decoder::new(4096));
            return (0..count).for_each(|_| _ = decode(&mut decoder, black_box(&coded)));
        }
        let (_, fields) = SETS.into_iter().find(|(name, _)| which.starts_with(name)).expect("a known name");
        let (fields, mut decoder) = (known(fields), Decoder::new(4096));
        let (mut encoder, block) = steady(&fields, &mut decoder);
        let mut out = Vec::with_capacity(4096);
        if which.ends_with("-encode") {
            (0..count).for_each(|_| encode(&mut encoder, black_box(&fields), &mut out));
        } else {
            (0..count).for_each(|_| _ = decode(&mut decoder, black_box(&block)));
        }
        return;
    }
    println!("{:<10} {:>6} {:>6} {:>10} {:>10}", "block", "fields", "bytes", "decode ns", "encode ns");
    for (name, fields) in SETS {
        let (fields, mut decoder) = (known(fields), Decoder::new(4096));
        let (mut encoder, block) = steady(&fields, &mut decoder);
        let decoding = nanoseconds(|| _ = decode(&mut decoder, black_box(&block)));
        let mut out = Vec::with_capacity(4096);
        let encoding = nanoseconds(|| encode(&mut encoder, black_box(&fields), &mut out));
        println!("{name:<10} {:>6} {:>6} {decoding:>10.0} {encoding:>10.0}", fields.len(), block.len());
    }
    let (coded, mut decoder) = (coded(), Decoder::new(4096));
    let decoding = nanoseconds(|| _ = decode(&mut decoder, black_box(&coded)));
    println!("{:<10} {:>6} {:>6} {decoding:>10.0}", "huffman", 1, coded.len());
}

/// A literal that no table has, its value of 98 bytes Huffman coded: `user-agent`, without indexing.
fn coded() -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::new(4096), Vec::new());
    encoder.field(&mut out, FieldId::UserAgent, b"", &b"Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0.0.0 ".repeat(2));
    out[0] = 0x0f;
    out.insert(1, 58 - 15);
    out
}
