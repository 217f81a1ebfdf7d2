//! Everything a peer can do wrong, and every bound.
use crate::support::{Read, decode, drain, encode, fields, hex, integer};
use edge_io::field_codec::Malformed;
use edge_quic::h3::qpack::{BACKLOG_MAX, COPIES_MAX, Decode, DecodeError, Decoder, Encoder, Fault, OUTSTANDING_MAX};

/// A decoder with a table of 220 bytes that holds `a: 0`, `a: 1` and `a: 2`.
fn filled() -> Decoder {
    let mut decoder = Decoder::new(220, 2);
    decoder.on_encoder_stream(&hex("3fbd01 4161 0130 4161 0131 4161 0132")).expect("inserts");
    assert_eq!(decoder.insert_count(), 3);
    decoder.out().clear();
    decoder
}

#[test]
fn field_sections() {
    for (section, fault) in [
        ("", Fault::Section(Malformed::Truncated)),
        ("00", Fault::Section(Malformed::Truncated)),
        ("ff", Fault::Section(Malformed::Truncated)),
        ("00ff", Fault::Section(Malformed::Truncated)),
        ("ffffffffffffffffffffff00 00", Fault::Section(Malformed::IntegerOverflow)),
        ("00 7fffffffffffffffffffff00", Fault::Section(Malformed::IntegerOverflow)),
        // 99 of the static table, indexed and as a name.
        ("0000 ff24", Fault::InvalidReference),
        ("0000 5f54 00", Fault::InvalidReference),
        ("0000 ffffffffff7f", Fault::Section(Malformed::IntegerOverflow)),
        ("0000 ff", Fault::Section(Malformed::Truncated)),
        // References without a required insert count.
        ("0000 80", Fault::InvalidReference),
        ("0003 80", Fault::InvalidReference),
        ("0000 10", Fault::InvalidReference),
        ("0000 40 00", Fault::InvalidReference),
        ("0000 00 00", Fault::InvalidReference),
        // Beyond the required insert count, below the base, above it, and negative.
        ("0301 80", Fault::InvalidReference),
        ("0300 10", Fault::InvalidReference),
        ("0300 82", Fault::InvalidReference),
        ("0381 12", Fault::InvalidReference),
        ("0300 42 00", Fault::InvalidReference),
        ("0300 00 00", Fault::InvalidReference),
        // Not an encoding of a count: 2 * 6 + 1, and 0 with another encoding.
        ("0d00 80", Fault::InvalidRequiredInsertCount),
        ("0100 80", Fault::InvalidRequiredInsertCount),
        ("0083", Fault::InvalidBase),
        ("0382 80", Fault::InvalidBase),
        // Strings: cut, not Huffman, and the name too.
        ("0000 51", Fault::Section(Malformed::Truncated)),
        ("0000 51 05 61", Fault::Section(Malformed::Truncated)),
        ("0000 51 81 00", Fault::Section(Malformed::InvalidHuffman)),
        ("0000 51 84 ffffffff", Fault::Section(Malformed::InvalidHuffman)),
        ("0000 22 61", Fault::Section(Malformed::Truncated)),
        ("0000 29 00 00", Fault::Section(Malformed::InvalidHuffman)),
        ("0000 51 7fffffff7f", Fault::Section(Malformed::Truncated)),
    ] {
        let outcome = decode(&mut filled(), 0, &hex(section));
        assert_eq!(outcome, Err(fault), "{section}");
        assert_eq!(fault.code(), 0x200);
        assert!(!fault.is_abuse() && !fault.to_string().is_empty());
    }
    // What lies beside those faults is fine.
    for (section, field) in [
        ("0301 81", ("a", "1")),
        ("0300 80", ("a", "1")),
        ("0300 81", ("a", "0")),
        ("0381 11", ("a", "1")),
        ("0300 40 00", ("a", "")),
        ("0381 01 00", ("a", "")),
        ("007f00 d1", (":method", "GET")),
        ("0000 ff23", ("x-frame-options", "sameorigin")),
    ] {
        assert_eq!(decode(&mut filled(), 0, &hex(section)), Ok(Read::Fields(fields(&[field]))), "{section}");
    }
}

#[test]
fn entries_that_were_evicted() {
    let mut decoder = filled();
    // To 68 bytes: two of the three remain.
    decoder.on_encoder_stream(&hex("3f25")).expect("a capacity");
    assert_eq!(decode(&mut decoder, 0, &hex("0400 80 81")), Ok(Read::Fields(fields(&[("a", "2"), ("a", "1")]))));
    assert_eq!(decode(&mut decoder, 0, &hex("0400 82")), Err(Fault::InvalidReference));
    assert_eq!(decode(&mut decoder, 0, &hex("0400 42 00")), Err(Fault::InvalidReference));
    assert_eq!(decoder.on_encoder_stream(&hex("02")), Err(Fault::InvalidName));
    decoder.on_encoder_stream(&hex("20")).expect("no capacity");
    assert_eq!(decoder.on_encoder_stream(&hex("00")), Err(Fault::InvalidName));
    assert_eq!(decoder.insert_count(), 3);
}

#[test]
fn the_encoder_stream() {
    for (octets, fault) in [
        // 221 bytes of 220.
        ("3fbe01", Fault::CapacityTooLarge),
        ("3fffffffff7f", Fault::EncoderStream(Malformed::IntegerOverflow)),
        ("ff24 00", Fault::InvalidName),
        ("83 00", Fault::InvalidName),
        ("03", Fault::InvalidName),
        ("1fffffff7f", Fault::InvalidName),
        ("c1 81 00", Fault::EncoderStream(Malformed::InvalidHuffman)),
        ("61 00 00", Fault::EncoderStream(Malformed::InvalidHuffman)),
        // 220 bytes are 188 of name and value: `:path` and 184; refused as soon as the length is there.
        ("c1 7f3e", Fault::EntryTooLarge),
        ("5f9e01", Fault::EntryTooLarge),
        ("c1 fffe05", Fault::EntryTooLarge),
    ] {
        let mut decoder = filled();
        assert_eq!(decoder.on_encoder_stream(&hex(octets)), Err(fault), "{octets}");
        assert_eq!(fault.code(), 0x201);
        assert_eq!(decoder.insert_count(), 3);
    }
    let mut decoder = filled();
    let mut insert = hex("c1 7f38");
    insert.resize(insert.len() + 183, b'a');
    decoder.on_encoder_stream(&insert).expect("exactly the table");
    let mut decoder = filled();
    insert[2] += 1;
    insert.push(b'a');
    assert_eq!(decoder.on_encoder_stream(&insert), Err(Fault::EntryTooLarge), "one more");
    assert_eq!(Decoder::new(220, 0).on_encoder_stream(&hex("4161 0130")), Err(Fault::EntryTooLarge), "no capacity yet");
    assert_eq!(Decoder::new(0, 0).on_encoder_stream(&hex("21")), Err(Fault::CapacityTooLarge));
    Decoder::new(0, 0).on_encoder_stream(&hex("20")).expect("none of none");
}

#[test]
fn blocked_streams_are_few() {
    let mut decoder = Decoder::new(4096, 2);
    let section = hex("0200 80");
    assert_eq!(decode(&mut decoder, 0, &section), Ok(Read::Blocked(1)));
    assert_eq!(decode(&mut decoder, 4, &hex("0300 80")), Ok(Read::Blocked(2)));
    assert_eq!(decode(&mut decoder, 4, &hex("0300 80")), Ok(Read::Blocked(2)), "a stream counts once");
    decoder.cancel_stream(0);
    assert_eq!(decode(&mut decoder, 8, &section), Ok(Read::Blocked(1)), "one that is cancelled does not");
    decoder.on_encoder_stream(&hex("3fe11f 4161 0130")).expect("inserts");
    assert_eq!(decode(&mut decoder, 12, &hex("0300 80")), Ok(Read::Blocked(2)), "nor one that could go on");
    assert_eq!(decode(&mut decoder, 16, &hex("0300 80")), Err(Fault::TooManyBlocked));
    assert_eq!(decode(&mut Decoder::new(4096, 0), 0, &section), Err(Fault::TooManyBlocked));
    assert_eq!(Fault::TooManyBlocked.code(), 0x200);
}

#[test]
fn a_section_that_is_stopped_is_acknowledged() {
    let mut decoder = filled();
    let mut seen = 0;
    let outcome = decoder.decode(4, &hex("0400 80 81 ff"), |_| {
        seen += 1;
        Err("enough")
    });
    assert_eq!((outcome, seen), (Err(DecodeError::Stopped("enough")), 1));
    assert_eq!(drain(decoder.out()), hex("84"));
    let outcome = decoder.decode(8, &hex("0000 d1 ff24"), |_| Err("enough"));
    assert_eq!(outcome, Err(DecodeError::Stopped("enough")));
    assert!(!decoder.has_out());
    assert_eq!(decoder.decode(8, &hex("0000 d1"), |_| Ok::<_, ()>(())), Ok(Decode::Done));
}

#[test]
fn copies_are_bounded_between_sections() {
    let mut decoder = Decoder::new(4096, 0);
    let mut insert = hex("3fe11f 4161 7f");
    insert.extend(integer(0, 7, 1900).into_iter().skip(1));
    insert.resize(insert.len() + 1900, b'v');
    decoder.on_encoder_stream(&insert).expect("inserts");
    let fits = COPIES_MAX / 1901;
    for _ in 0..3 {
        decoder.on_encoder_stream(&vec![0; fits]).expect("duplicates");
        assert_eq!(decode(&mut decoder, 0, &hex("0000")), Ok(Read::Fields(vec![])));
    }
    decoder.on_encoder_stream(&vec![0; fits]).expect("duplicates");
    assert_eq!(decoder.on_encoder_stream(&[0]), Err(Fault::Copies));
    assert!(Fault::Copies.is_abuse() && Fault::Copies.code() == 0x107);
    // The same by names.
    let mut decoder = Decoder::new(4096, 0);
    let mut insert = hex("3fe11f 5f");
    insert.extend(integer(0, 5, 1900).into_iter().skip(1));
    insert.resize(insert.len() + 1900, b'n');
    insert.push(0);
    decoder.on_encoder_stream(&insert).expect("inserts");
    let named = [0x80, 0x00].repeat(COPIES_MAX / 1900);
    decoder.on_encoder_stream(&named).expect("inserts");
    assert_eq!(decoder.on_encoder_stream(&[0x80, 0x00]), Err(Fault::Copies));
}

#[test]
fn a_peer_that_does_not_read_is_not_waited_for() {
    let mut decoder = filled();
    let outcome = (0..100_000).find_map(|n| decode(&mut decoder, n * 4, &hex("0400 80")).err());
    assert_eq!(outcome, Some(Fault::Backlog));
    assert!(Fault::Backlog.is_abuse() && Fault::Backlog.code() == 0x107);
    for n in 0..100_000 {
        decoder.cancel_stream(n * 4);
    }
    assert!(decoder.out().len() <= BACKLOG_MAX + 10, "{}", decoder.out().len());
    assert!(decoder.memory() < 3 * BACKLOG_MAX);
    // Insertions are told together.
    let mut decoder = Decoder::new(4096, 0);
    decoder.on_encoder_stream(&hex("3fe11f")).expect("a capacity");
    for _ in 0..10_000 {
        decoder.on_encoder_stream(&hex("4161 0130")).expect("inserts");
    }
    assert_eq!(drain(decoder.out()), integer(0, 6, 10_000));
    for _ in 0..10_000 {
        decoder.on_encoder_stream(&hex("4161 0130")).expect("inserts");
        decoder.out();
    }
    assert!(decoder.out().len() <= 1024);
}

#[test]
fn a_decoder_without_a_table_says_nothing() {
    let mut decoder = Decoder::new(0, 16);
    decoder.cancel_stream(0);
    assert_eq!(decode(&mut decoder, 0, &hex("0000 d1")), Ok(Read::Fields(fields(&[(":method", "GET")]))));
    assert!(!decoder.has_out() && decoder.out().is_empty());
    assert_eq!(decode(&mut decoder, 0, &hex("0200 80")), Err(Fault::InvalidRequiredInsertCount));
}

/// An encoder that has inserted `server: edge`, and what it wrote.
fn inserted() -> Encoder {
    let mut encoder = Encoder::new();
    encoder.set_peer(4096);
    for stream in [0, 4] {
        encode(&mut encoder, stream, &[("server", "edge")]);
    }
    assert!(encoder.has_out());
    encoder
}

#[test]
fn the_decoder_stream() {
    for (octets, fault) in [
        ("00", Fault::InvalidIncrement),
        ("02", Fault::InvalidIncrement),
        ("01 01", Fault::InvalidIncrement),
        ("3fffffffffffffffff1f", Fault::InvalidIncrement),
        ("80", Fault::UnexpectedAcknowledgment),
        ("84", Fault::UnexpectedAcknowledgment),
        ("ffffffffffffffffffff", Fault::DecoderStream(Malformed::IntegerOverflow)),
        ("ffffffffffffffffff7f", Fault::DecoderStream(Malformed::IntegerOverflow)),
        ("7fffffffffffffffffff", Fault::DecoderStream(Malformed::IntegerOverflow)),
    ] {
        assert_eq!(inserted().on_decoder_stream(&hex(octets)), Err(fault), "{octets}");
        let mut encoder = inserted();
        let bytes = hex(octets);
        let outcome = bytes.iter().try_for_each(|octet| encoder.on_decoder_stream(&[*octet]));
        assert_eq!(outcome, Err(fault), "{octets}, cut");
        assert_eq!(fault.code(), 0x202);
    }
    let mut encoder = Encoder::new();
    assert_eq!(encoder.on_decoder_stream(&hex("01")), Err(Fault::InvalidIncrement), "there is no table");
    assert_eq!(encoder.on_decoder_stream(&hex("80")), Err(Fault::UnexpectedAcknowledgment));
    encoder.on_decoder_stream(&hex("40 7fff01")).expect("a peer may cancel what has no references");
}

#[test]
fn each_section_is_acknowledged_once() {
    let mut encoder = inserted();
    encoder.on_decoder_stream(&hex("01")).expect("an increment");
    // Stream 300, whose number has three octets, which come one by one.
    encode(&mut encoder, 300, &[("server", "edge")]);
    encode(&mut encoder, 300, &[("server", "edge")]);
    encode(&mut encoder, 304, &[(":status", "200")]);
    for octet in hex("ffad01 ffad01") {
        encoder.on_decoder_stream(&[octet]).expect("acknowledgments");
    }
    assert_eq!(encoder.on_decoder_stream(&hex("ffad01")), Err(Fault::UnexpectedAcknowledgment));
    assert_eq!(encoder.on_decoder_stream(&hex("ffb101")), Err(Fault::UnexpectedAcknowledgment), "it had no references");
    encode(&mut encoder, 0, &[("server", "edge")]);
    encoder.on_decoder_stream(&hex("40")).expect("a cancellation");
    assert_eq!(encoder.on_decoder_stream(&hex("80")), Err(Fault::UnexpectedAcknowledgment));
}

#[test]
fn sections_that_wait_are_bounded() {
    let mut encoder = inserted();
    encoder.on_decoder_stream(&hex("01")).expect("an increment");
    let memory = encoder.memory();
    for stream in 0..10_000 {
        let section = encode(&mut encoder, stream, &[("server", "edge")]);
        let expected = if stream < OUTSTANDING_MAX as u64 { "0200 80" } else { "0000 5f4d 04 65646765" };
        assert_eq!(section, hex(expected), "{stream}");
    }
    assert!(encoder.memory() <= memory + 2 * 16 * OUTSTANDING_MAX);
    encoder.on_decoder_stream(&hex("85")).expect("an acknowledgment");
    assert_eq!(encode(&mut encoder, 0, &[("server", "edge")]), hex("0200 80"));
}
