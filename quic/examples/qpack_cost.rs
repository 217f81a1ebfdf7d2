//! What field sections cost: nanoseconds for decoding and encoding them, on a connection where they have come before.
//! `cargo run --release -p edge-quic --example qpack_cost`
use edge_io::head::FieldId;
use edge_quic::h3::qpack::{Decoder, Encoder, Pseudo};
use std::{hint::black_box, time::Instant};

type Fields = &'static [(&'static str, &'static str)];

/// A request of which all but the authority is in the static table.
const STATIC: Fields =
    &[(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "www.example.com"), ("accept", "*/*")];
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

/// Fields with what a caller knows of their names.
type Known = Vec<(Option<Pseudo>, FieldId, &'static [u8], &'static [u8])>;

fn known(fields: Fields) -> Known {
    let of = |(name, value): &(&'static str, &'static str)| {
        let name = name.as_bytes();
        let pseudo = Pseudo::of(name);
        (pseudo, if pseudo.is_some() { FieldId::Other } else { FieldId::of(name) }, name, value.as_bytes())
    };
    fields.iter().map(of).collect()
}

fn encode(encoder: &mut Encoder, fields: &Known, out: &mut Vec<u8>) {
    out.clear();
    encoder.begin(0, out);
    for (pseudo, id, name, value) in fields {
        match pseudo {
            Some(Pseudo::Status) => encoder.status(out, 200),
            Some(pseudo) => encoder.pseudo(out, *pseudo, value),
            None => encoder.field(out, *id, name, value),
        }
    }
    encoder.end(out);
}

fn decode(decoder: &mut Decoder, section: &[u8]) {
    let outcome = decoder.decode(0, section, |field| {
        black_box(field);
        Ok::<_, ()>(())
    });
    assert!(outcome.is_ok());
    decoder.out().clear();
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

fn main() {
    println!("{:<10} {:>6} {:>6} {:>6} {:>10} {:>10}", "section", "table", "fields", "bytes", "decode ns", "encode ns");
    for (name, fields) in [("static", STATIC), ("literal", LITERAL), ("response", RESPONSE)] {
        for table in [0, 4096] {
            let fields = known(fields);
            let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(table, 0));
            encoder.set_peer(table);
            let mut section = Vec::with_capacity(4096);
            for _ in 0..4 {
                encode(&mut encoder, &fields, &mut section);
                assert!(decoder.on_encoder_stream(&std::mem::take(encoder.out())).is_ok());
                let outcome = decoder.decode(0, &section, |_| Ok::<_, ()>(()));
                assert!(outcome.is_ok());
                assert!(encoder.on_decoder_stream(&std::mem::take(decoder.out())).is_ok());
            }
            let decoding = nanoseconds(|| decode(&mut decoder, black_box(&section)));
            let mut out = Vec::with_capacity(4096);
            let encoding = nanoseconds(|| {
                encode(&mut encoder, black_box(&fields), &mut out);
                // The acknowledgment of stream 0, if there is anything to acknowledge.
                if out.first() != Some(&0) {
                    assert!(encoder.on_decoder_stream(&[0x80]).is_ok());
                }
            });
            let (count, bytes) = (fields.len(), section.len());
            println!("{name:<10} {table:>6} {count:>6} {bytes:>6} {decoding:>10.0} {encoding:>10.0}");
        }
    }
}
