//! HPACK: header blocks on a connection where they have come before, and where no table helps.
use super::fields::{BROWSER, Fields, INDEXED, Known, RESPONSE, known};
use crate::scenario::{Scenario, Work};
use edge_io::{
    head::FieldId,
    http2::hpack::{Decoder, Encoder, Pseudo},
};
use std::hint::black_box;

const TABLE_BYTES: u32 = 4096;

pub fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (name, fields) in [("load generator", INDEXED), ("browser", BROWSER), ("response", RESPONSE)] {
        // Without a dynamic table, names come from the static one and values as they are.
        for (kind, table) in [("dynamic", TABLE_BYTES), ("static", 0)] {
            let block = move || steady(fields, table).1;
            let (decoded, encoded) = (format!("hpack/decode/{name}, {kind}"), format!("hpack/encode/{name}, {kind}"));
            all.push(Scenario::new(&*decoded, move || decode(blocks(fields, table))));
            all.push(Scenario::beside(&decoded, "fluke-hpack", move || fluke_decode(blocks(fields, table))));
            all.push(Scenario::beside(&decoded, "httlib-hpack", move || httlib_decode(blocks(fields, table))));
            all.push(Scenario::new(&*encoded, move || encode(fields, table)));
            if table > 0 {
                all.push(Scenario::beside(&encoded, "fluke-hpack", move || fluke_encode(fields, block().len())));
            }
        }
    }
    let huffman = "hpack/decode/huffman, 98 bytes";
    all.push(Scenario::new(huffman, || decode(vec![coded()])));
    all.push(Scenario::beside(huffman, "fluke-hpack", || fluke_decode(vec![coded()])));
    all.push(Scenario::beside(huffman, "httlib-hpack", || httlib_decode(vec![coded()])));
    all
}

fn write(encoder: &mut Encoder, fields: &[Known], out: &mut Vec<u8>) {
    out.clear();
    encoder.begin(out);
    for field in fields {
        match field.pseudo {
            Some(Pseudo::Status) => encoder.status(out, 200),
            Some(pseudo) => encoder.pseudo(out, pseudo, field.value),
            None => encoder.field(out, field.id, field.name, field.value),
        }
    }
}

/// Blocks of these fields, the last one as it is when they have come before.
fn blocks(fields: Fields, table: u32) -> Vec<Vec<u8>> {
    let (mut encoder, held) = (Encoder::new(table), known(fields));
    let mut block = |_| {
        let mut out = Vec::new();
        write(&mut encoder, &held, &mut out);
        out
    };
    (0..4).map(&mut block).collect()
}

/// An encoder to which these fields are known, and their block.
fn steady(fields: Fields, table: u32) -> (Encoder, Vec<u8>) {
    let (mut encoder, held, mut out) = (Encoder::new(table), known(fields), Vec::with_capacity(4096));
    (0..4).for_each(|_| write(&mut encoder, &held, &mut out));
    (encoder, out)
}

fn encode(fields: Fields, table: u32) -> Work {
    let ((mut encoder, mut out), held) = (steady(fields, table), known(fields));
    Box::new(move || {
        write(&mut encoder, black_box(&held), &mut out);
        black_box(&out);
    })
}

fn take(decoder: &mut Decoder, block: &[u8]) -> usize {
    let mut size = 0;
    let outcome = decoder.decode(block, |field| {
        size += black_box(field).size();
        Ok::<_, ()>(())
    });
    assert!(outcome.is_ok());
    size
}

/// Takes all blocks, then the last one again and again.
fn decode(blocks: Vec<Vec<u8>>) -> Work {
    let mut decoder = Decoder::new(TABLE_BYTES);
    blocks.iter().for_each(|block| assert!(take(&mut decoder, block) > 0));
    let block = blocks.into_iter().next_back().unwrap_or_default();
    Box::new(move || assert!(take(&mut decoder, black_box(&block)) > 0))
}

/// A literal that no table has, its value of 98 bytes Huffman coded: `user-agent`, without indexing.
fn coded() -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::new(TABLE_BYTES), Vec::new());
    encoder.field(&mut out, FieldId::UserAgent, b"", &b"Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0.0.0 ".repeat(2));
    out[0] = 0x0f;
    out.insert(1, 58 - 15);
    out
}

fn fluke_decode(blocks: Vec<Vec<u8>>) -> Work {
    let mut decoder = fluke_hpack::Decoder::new();
    let mut take = move |block: &[u8]| {
        let mut size = 0;
        let outcome = decoder.decode_with_cb(block, |name, value| size += name.len() + value.len());
        assert!(outcome.is_ok());
        size
    };
    blocks.iter().for_each(|block| assert!(take(block) > 0));
    let block = blocks.into_iter().next_back().unwrap_or_default();
    Box::new(move || assert!(take(black_box(&block)) > 0))
}

fn httlib_decode(blocks: Vec<Vec<u8>>) -> Work {
    let (mut decoder, mut fields) = (httlib_hpack::Decoder::with_dynamic_size(TABLE_BYTES), Vec::new());
    // It takes its input away from a vector: the copy is part of its cost.
    let mut take = move |block: &[u8]| {
        fields.clear();
        let outcome = decoder.decode(&mut block.to_vec(), &mut fields);
        assert!(outcome.is_ok() && !black_box(&fields).is_empty());
    };
    blocks.iter().for_each(|block| take(block));
    let block = blocks.into_iter().next_back().unwrap_or_default();
    Box::new(move || take(black_box(&block)))
}

fn fluke_encode(fields: Fields, about: usize) -> Work {
    let (mut encoder, mut out) = (fluke_hpack::Encoder::new(), Vec::with_capacity(about.max(4096)));
    Box::new(move || {
        out.clear();
        let fields = black_box(fields).iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        assert!(encoder.encode_into(fields, &mut out).is_ok());
        black_box(&out);
    })
}
