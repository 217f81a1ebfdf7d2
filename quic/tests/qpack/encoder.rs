//! What the encoder writes, and when.
use crate::support::{Read, decode, drain, encode, fields, hex};
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
