//! Our QPACK encoder and decoder, and any order in which what they write arrives: no section is ever blocked, and each says what
//! was written. Input: octets of 3 bits that say what happens and 5 bits that say to what.
#![no_main]

use edge_io::{field_codec::Pseudo, head::FieldId};
use edge_quic::h3::qpack::{Decode, Decoder, Encoder};
use libfuzzer_sys::fuzz_target;

type Field = (Vec<u8>, Vec<u8>);

/// Octets of the input, then zeros.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn octet(&mut self) -> usize {
        let Some((&octet, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(octet)
    }

    fn octets(&mut self, n: usize) -> &'a [u8] {
        let (octets, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        octets
    }
}

/// A name that comes again, or one of any octets.
fn name<'a>(script: &mut Script<'a>) -> &'a [u8] {
    match script.octet() {
        n @ 0..=5 => Pseudo::ALL[n].as_str().as_bytes(),
        n @ 6..=240 => FieldId::ALL.get(n - 6).map_or(b"X-Mine", |id| id.as_str().as_bytes()),
        n => script.octets(n - 240),
    }
}

fn section(script: &mut Script<'_>, encoder: &mut Encoder, stream: u64, fields: usize) -> (Vec<u8>, Vec<Field>) {
    let (mut octets, mut written) = (Vec::new(), Vec::new());
    encoder.begin(stream, &mut octets);
    for _ in 0..fields {
        let name = name(script);
        let len = script.octet();
        let value = script.octets(len % 70);
        let id = FieldId::of(name);
        let id = if id.as_str().as_bytes() == name { id } else { FieldId::Other };
        match Pseudo::of(name) {
            Some(pseudo) => encoder.pseudo(&mut octets, pseudo, value),
            None if len >= 250 => encoder.never_indexed(&mut octets, id, name, value),
            None => encoder.field(&mut octets, id, name, value),
        }
        written.push((name.to_ascii_lowercase(), value.to_vec()));
    }
    encoder.end(&mut octets);
    (octets, written)
}

/// The first `n` bytes, or all, are taken away.
fn take(bytes: &mut Vec<u8>, n: usize) -> Vec<u8> {
    bytes.drain(..n.min(bytes.len())).collect()
}

fuzz_target!(|bytes: &[u8]| {
    let mut script = Script(bytes);
    let table = [0, 256, 300, 1000, 4096, 65_536][script.octet() % 6];
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(table, 0));
    encoder.set_peer(table);
    let (mut inserts, mut answers) = (Vec::new(), Vec::new());
    let (mut sections, mut stream) = (Vec::<(u64, Vec<u8>, Vec<Field>)>::new(), 0);
    while !script.0.is_empty() {
        let octet = script.octet();
        let (what, which) = (octet >> 5, octet & 0x1f);
        match what {
            0..=2 => {
                stream += 4;
                let (octets, fields) = section(&mut script, &mut encoder, stream, which % 8);
                inserts.append(encoder.out());
                sections.push((stream, octets, fields));
            }
            3 => decoder.on_encoder_stream(&take(&mut inserts, 1 + which * which)).expect("inserts"),
            4 => encoder.on_decoder_stream(&take(&mut answers, 1 + which)).expect("answers"),
            5 | 6 if !sections.is_empty() => {
                let (stream, octets, fields) = sections.swap_remove(which % sections.len());
                let mut read = Vec::new();
                let outcome = decoder.decode(stream, &octets, |f| {
                    read.push((f.name.to_vec(), f.value.to_vec()));
                    Ok::<_, ()>(())
                });
                assert_eq!(outcome, Ok(Decode::Done));
                assert_eq!(read, fields);
            }
            7 if !sections.is_empty() => {
                let (stream, ..) = sections.swap_remove(which % sections.len());
                decoder.cancel_stream(stream);
            }
            _ => {}
        }
        answers.append(decoder.out());
        assert!(encoder.memory() <= 32 * 1024, "{}", encoder.memory());
    }
});
