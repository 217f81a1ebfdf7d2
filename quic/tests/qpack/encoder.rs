//! What the encoder writes, and when.
use crate::support::{Read, decode, drain, encode, fields, hex, statics};
use edge_quic::h3::qpack::{Decoder, Encoder};

#[test]
fn without_a_table_only_static_entries_and_literals() {
    let mut encoder = Encoder::new();
    let list = [(":status", "200"), ("content-type", "text/css"), ("x-frame-options", "deny"), ("server", "edge")];
    for _ in 0..3 {
        let section = encode(&mut encoder, 0, &list);
        assert_eq!(section, hex("0000 d9 f3 ff22 5f4d 04 65646765"));
        assert!(!encoder.has_out());
    }
}

#[test]
fn what_repeats_is_inserted_once_and_named_once_acknowledged() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096, 0));
    encoder.set_peer(4096);
    let list = [(":status", "200"), ("server", "edge"), ("x-mine", "some value")];
    let literal = encode(&mut encoder, 0, &list);
    assert!(!encoder.has_out(), "nothing has repeated yet");
    assert_eq!(encode(&mut encoder, 4, &list), literal);
    let inserts = drain(encoder.out());
    assert_eq!(&inserts[..3], hex("3fe11f"), "the capacity comes first");
    assert_eq!(encode(&mut encoder, 8, &list), literal, "not acknowledged yet");
    assert!(!encoder.has_out(), "nor inserted again");
    decoder.on_encoder_stream(&inserts).expect("inserts");
    encoder.on_decoder_stream(decoder.out()).expect("increment");
    decoder.out().clear();
    let section = encode(&mut encoder, 12, &list);
    assert_eq!(section, hex("0300 d9 81 80"));
    assert_eq!(decode(&mut decoder, 12, &section), Ok(Read::Fields(fields(&list))));
    encoder.on_decoder_stream(decoder.out()).expect("acknowledgment");
}

/// Writes a section to the end: the peer's answers come at once.
fn exchange(encoder: &mut Encoder, decoder: &mut Decoder, list: &[(&str, &str)]) -> Vec<u8> {
    let section = encode(encoder, 0, list);
    assert_eq!(decode(decoder, 0, &section), Ok(Read::Fields(fields(list))));
    decoder.on_encoder_stream(encoder.out()).expect("inserts");
    encoder.out().clear();
    encoder.on_decoder_stream(decoder.out()).expect("acknowledgments");
    decoder.out().clear();
    section
}

#[test]
fn a_table_goes_on_for_ever() {
    // Large settings: counts that take more octets than one.
    for table in [256, 300, 4096, 8192, 1 << 20] {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(table, 0));
        encoder.set_peer(table);
        let mut lengths = Vec::new();
        for n in 0..3000u32 {
            let date = format!("{n}");
            let list = [(":status", "200"), ("date", &*date), ("server", "edge")];
            for _ in 0..3 {
                lengths.push(exchange(&mut encoder, &mut decoder, &list).len());
            }
        }
        // Mostly the third time all three fields are named.
        let short = lengths.iter().filter(|len| **len <= 8).count();
        assert!(short >= 2900, "{table}: {short}");
        assert!(decoder.insert_count() >= 3000);
        assert!(encoder.memory() < 24 * 1024, "{}", encoder.memory());
    }
}

#[test]
fn what_is_not_acknowledged_is_not_evicted() {
    let mut encoder = Encoder::new();
    encoder.set_peer(256);
    // Each entry has 33 bytes and more: no more than six fit.
    let mut inserts = Vec::new();
    for n in 0..100 {
        let value = format!("{n:03}");
        for _ in 0..2 {
            encode(&mut encoder, 0, &[("vary", &*value)]);
        }
        inserts.extend(drain(encoder.out()));
    }
    let mut decoder = Decoder::new(256, 0);
    decoder.on_encoder_stream(&inserts).expect("inserts");
    assert_eq!(decoder.insert_count(), 256 / (32 + 4 + 3));
    // They are acknowledged, and one of them is named by a section that is not: it stays, and so do all behind it.
    encoder.on_decoder_stream(decoder.out()).expect("an increment");
    decoder.out().clear();
    let section = encode(&mut encoder, 4, &[("vary", "003")]);
    assert_eq!(section[0], 5, "named");
    for n in 100..200 {
        let value = format!("{n:03}");
        for _ in 0..2 {
            encode(&mut encoder, 0, &[("vary", &*value)]);
        }
    }
    decoder.on_encoder_stream(encoder.out()).expect("inserts");
    encoder.out().clear();
    assert_eq!(decoder.insert_count(), 6 + 3);
    assert_eq!(decode(&mut decoder, 4, &section), Ok(Read::Fields(fields(&[("vary", "003")]))));
    encoder.on_decoder_stream(decoder.out()).expect("an acknowledgment");
    for _ in 0..2 {
        encode(&mut encoder, 0, &[("vary", "x")]);
    }
    assert!(encoder.has_out(), "there is room again");
}

#[test]
fn an_entry_of_the_section_that_is_written_is_not_evicted() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(256, 0));
    encoder.set_peer(256);
    let list: Vec<(&str, String)> = (0..6).map(|n| ("vary", format!("{n:03}"))).collect();
    let list: Vec<(&str, &str)> = list.iter().map(|(name, value)| (*name, &**value)).collect();
    for field in &list {
        (0..2).for_each(|_| _ = exchange(&mut encoder, &mut decoder, &[*field]));
    }
    assert_eq!(decoder.insert_count(), 6);
    exchange(&mut encoder, &mut decoder, &[("server", "edge")]);
    // The oldest but one is named, then there is something to insert, which would evict up to it.
    let section = encode(&mut encoder, 8, &[("vary", "002"), ("server", "edge"), ("vary", "003")]);
    decoder.on_encoder_stream(encoder.out()).expect("inserts");
    assert_eq!(
        decode(&mut decoder, 8, &section),
        Ok(Read::Fields(fields(&[("vary", "002"), ("server", "edge"), ("vary", "003")])))
    );
}

#[test]
fn credentials_never_enter_the_table() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096, 0));
    encoder.set_peer(4096);
    let long = "c".repeat(30);
    let list = [("authorization", "secret"), ("proxy-authorization", "secret"), ("set-cookie", "secret")];
    for field in list.into_iter().chain([("cookie", "short"), ("cookie", &*long)]) {
        for _ in 0..4 {
            let section = exchange(&mut encoder, &mut decoder, &[field]);
            let mut never = false;
            decoder
                .decode(0, &section, |f| {
                    never = f.never_indexed;
                    Ok::<_, ()>(())
                })
                .expect("decodes");
            assert_eq!(never, field.1 != long, "{field:?}");
        }
    }
    assert_eq!(decoder.insert_count(), 0);
    let mut section = Vec::new();
    encoder.begin(0, &mut section);
    encoder.never_indexed(&mut section, edge_io::head::FieldId::Server, b"Server", b"edge");
    encoder.never_indexed(&mut section, edge_io::head::FieldId::Other, b"X-Mine", b"mine");
    encoder.end(&mut section);
    let mut seen = Vec::new();
    let outcome = decoder.decode(0, &section, |f| {
        assert!(f.never_indexed);
        seen.push((f.name.to_vec(), f.value.to_vec()));
        Ok::<_, ()>(())
    });
    assert!(outcome.is_ok());
    assert_eq!(seen, fields(&[("server", "edge"), ("x-mine", "mine")]));
}

#[test]
fn every_static_entry_is_one_index() {
    let mut encoder = Encoder::new();
    for (index, (name, value)) in statics().into_iter().enumerate() {
        // Credentials, cookies, and what the second run of a name has.
        let literal = ["cookie", "authorization", "set-cookie"].iter().any(|n| n.as_bytes() == name) || index == 75;
        let mut section = Vec::new();
        encoder.begin(0, &mut section);
        crate::support::encode_field(&mut encoder, &mut section, &name, &value);
        encoder.end(&mut section);
        let expected: Vec<u8> = [0, 0].into_iter().chain(crate::support::integer(0xc0, 6, index as u64)).collect();
        assert_eq!(section == expected, !literal, "{index}");
    }
}

#[test]
fn what_is_always_named_does_not_hold_up_the_table() {
    for table in [512, 4096] {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(table, 0));
        encoder.set_peer(table);
        let (mut acknowledgments, mut named) = (std::collections::VecDeque::new(), 0);
        for n in 0..4000u64 {
            // A new value every fourth section; the two others are named by all of them.
            let date = format!("{}", n / 4);
            let list = [("server", "edge"), ("x-mine", "some value"), ("date", &*date)];
            let section = encode(&mut encoder, n, &list);
            assert_eq!(decode(&mut decoder, n, &section), Ok(Read::Fields(fields(&list))));
            // Two octets each, the prefix, and the date as a literal.
            named += usize::from(section.len() <= 3 + 2 * 2 + 6);
            decoder.on_encoder_stream(&drain(encoder.out())).expect("inserts");
            // Three sections are always without an acknowledgment.
            acknowledgments.push_back(drain(decoder.out()));
            if acknowledgments.len() > 3 {
                encoder.on_decoder_stream(&acknowledgments.pop_front().unwrap_or_default()).expect("acknowledgments");
            }
        }
        assert!(decoder.insert_count() >= 900, "{table}: {}", decoder.insert_count());
        assert!(named >= 3500, "{table}: {named}");
    }
}
