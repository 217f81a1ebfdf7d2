//! QPACK: field sections with and without a dynamic table.
use super::fields::{BROWSER, Fields, INDEXED, Known, RESPONSE, known};
use crate::scenario::{Scenario, Work};
use edge_quic::h3::qpack::{Decoder, Encoder, Pseudo};
use std::hint::black_box;

pub fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (name, fields) in [("load generator", INDEXED), ("browser", BROWSER), ("response", RESPONSE)] {
        for (kind, table) in [("dynamic", 4096), ("static", 0)] {
            all.push(Scenario::new(format!("qpack/decode/{name}, {kind}"), move || decode(fields, table)));
            all.push(Scenario::new(format!("qpack/encode/{name}, {kind}"), move || encode(fields, table)));
        }
    }
    all
}

fn write(encoder: &mut Encoder, fields: &[Known], out: &mut Vec<u8>) {
    out.clear();
    encoder.begin(0, out);
    for field in fields {
        match field.pseudo {
            Some(Pseudo::Status) => encoder.status(out, 200),
            Some(pseudo) => encoder.pseudo(out, pseudo, field.value),
            None => encoder.field(out, field.id, field.name, field.value),
        }
    }
    encoder.end(out);
}

fn take(decoder: &mut Decoder, section: &[u8]) {
    let outcome = decoder.decode(0, section, |field| {
        black_box(field);
        Ok::<_, ()>(())
    });
    assert!(outcome.is_ok());
    decoder.out().clear();
}

/// Both sides when these fields have come before, and their section.
fn steady(fields: &[Known], table: u32) -> (Encoder, Decoder, Vec<u8>) {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(table, 0));
    encoder.set_peer(table);
    let mut section = Vec::with_capacity(4096);
    for _ in 0..4 {
        write(&mut encoder, fields, &mut section);
        assert!(decoder.on_encoder_stream(&std::mem::take(encoder.out())).is_ok());
        assert!(decoder.decode(0, &section, |_| Ok::<_, ()>(())).is_ok());
        assert!(encoder.on_decoder_stream(&std::mem::take(decoder.out())).is_ok());
    }
    (encoder, decoder, section)
}

fn decode(fields: Fields, table: u32) -> Work {
    let (_, mut decoder, section) = steady(&known(fields), table);
    Box::new(move || take(&mut decoder, black_box(&section)))
}

fn encode(fields: Fields, table: u32) -> Work {
    let held = known(fields);
    let (mut encoder, _, mut out) = steady(&held, table);
    Box::new(move || {
        write(&mut encoder, black_box(&held), &mut out);
        // The acknowledgment of stream 0, if there is anything to acknowledge.
        if out.first() != Some(&0) {
            assert!(encoder.on_decoder_stream(&[0x80]).is_ok());
        }
        black_box(&out);
    })
}
