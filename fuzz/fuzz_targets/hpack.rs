//! Header blocks of one connection: decoding never panics; what the decoder says of a field holds; skipping leaves the same
//! table; what was read is the same when it is written and read again; what `fluke-hpack` accepts too, it reads the same way.
//! Input: blocks, each behind two octets of length and one that says where to stop (0xff: nowhere).
#![no_main]

use edge_io::{
    head::FieldId,
    http2::hpack::{DecodeError, Decoder, Encoder, Pseudo, is_name, is_value},
};
use libfuzzer_sys::fuzz_target;

/// Name, value, whether no one may compress it.
type Field = (Vec<u8>, Vec<u8>, bool);

const TABLE: u32 = 4096;

/// Cuts the next block off, with the field to stop at.
fn next_block<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], usize)> {
    let (&[high, low, stop], rest) = bytes.split_first_chunk::<3>()?;
    let len = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
    let (block, rest) = rest.split_at(len);
    *bytes = rest;
    Some((block, if stop == 0xff { usize::MAX } else { usize::from(stop) }))
}

fn decode(decoder: &mut Decoder, block: &[u8], stop: usize) -> (Vec<Field>, Result<(), DecodeError<()>>) {
    let mut fields = Vec::new();
    let outcome = decoder.decode(block, |f| {
        if fields.len() == stop {
            return Err(());
        }
        assert!(!f.name_checked || is_name(f.name) || f.pseudo.is_some());
        assert!(!f.value_checked || is_value(f.value));
        assert_eq!(f.pseudo, Pseudo::of(f.name));
        assert!(f.id == FieldId::Other || f.id.as_str().as_bytes() == f.name);
        fields.push((f.name.to_vec(), f.value.to_vec(), f.never_indexed));
        Ok(())
    });
    (fields, outcome)
}

fn encode(encoder: &mut Encoder, fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin(&mut out);
    for (name, value, never) in fields {
        let id = FieldId::of(name);
        let id = if id.as_str().as_bytes() == name { id } else { FieldId::Other };
        match Pseudo::of(name) {
            Some(pseudo) => encoder.pseudo(&mut out, pseudo, value),
            None if *never => encoder.never_indexed(&mut out, id, name, value),
            None => encoder.field(&mut out, id, name, value),
        }
    }
    out
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = bytes;
    let (mut decoder, mut skipping) = (Decoder::new(TABLE), Decoder::new(TABLE));
    let (mut encoder, mut again) = (Encoder::new(TABLE), Decoder::new(TABLE));
    let mut fluke = Some(fluke_hpack::Decoder::new());
    if let Some(fluke) = &mut fluke {
        fluke.set_max_allowed_table_size(TABLE as usize);
    }
    while let Some((block, stop)) = next_block(&mut input) {
        let (fields, outcome) = decode(&mut decoder, block, usize::MAX);
        let (some, stopped) = decode(&mut skipping, block, stop);
        if outcome.is_err() {
            return;
        }
        assert_eq!(some, fields[..stop.min(fields.len())]);
        assert_eq!(stopped, if stop < fields.len() { Err(DecodeError::Stopped(())) } else { Ok(()) });

        let written = encode(&mut encoder, &fields);
        let (read, outcome) = decode(&mut again, &written, usize::MAX);
        assert_eq!(outcome, Ok(()));
        assert_eq!(read.len(), fields.len());
        for (read, field) in read.iter().zip(&fields) {
            assert_eq!((&read.0, &read.1), (&field.0.to_ascii_lowercase(), &field.1));
            assert!(read.2 || !field.2 || field.0.starts_with(b":"), "compressed on the way");
        }

        // It refuses what we accept at times, and then its table is lost.
        fluke = fluke.and_then(|mut fluke| {
            let theirs = fluke.decode(block).ok()?;
            assert!(theirs.iter().map(|(n, v)| (n, v)).eq(fields.iter().map(|(n, v, _)| (n, v))));
            Some(fluke)
        });
    }
});
