//! Blocks that are not HPACK, and size updates where they may and may not stand.
use crate::support::{Field, decode, fields, hex};
use edge_io::http2::hpack::{DecodeError, Decoded, Decoder, Fault, NAME_COPIES_MAX};

#[test]
fn blocks_that_are_refused() {
    use Fault::*;
    for (block, fault, why) in [
        ("80", InvalidIndex, "index 0"),
        ("be", InvalidIndex, "the dynamic table is empty"),
        ("ff 00", InvalidIndex, "index 127"),
        ("ff ff ff ff 7f", InvalidIndex, "a large index"),
        ("7f 00 01 61", InvalidIndex, "a name's index, inserting: 63"),
        ("0f 30 01 61", InvalidIndex, "a name's index: 63"),
        ("1f 30 01 61", InvalidIndex, "a name's index, never indexed"),
        ("82 c0", InvalidIndex, "behind a good field"),
        ("ff ff ff ff ff 00", IntegerOverflow, "an index with five continuations"),
        ("0f 80 80 80 80 00", IntegerOverflow, "the same in a name's index, and all zeros"),
        ("04 7f ff ff ff ff 0f", IntegerOverflow, "a length"),
        ("3f ff ff ff ff 0f", IntegerOverflow, "a size update"),
        ("ff", Truncated, "an index"),
        ("ff 80", Truncated, "a longer index"),
        ("04", Truncated, "no value"),
        ("00", Truncated, "no name"),
        ("40 01", Truncated, "no bytes of the name"),
        ("40 01 61", Truncated, "no length of the value"),
        ("04 02 61", Truncated, "a byte of the value is missing"),
        ("04 7f 80", Truncated, "within a length"),
        ("04 82 1f", Truncated, "a coded value"),
        ("3f", Truncated, "a size update"),
        ("04 ff 80 80 80 7f 1f", Truncated, "a length near 2^28"),
        ("04 81 18", InvalidHuffman, "padding of zeros"),
        ("04 82 1f ff", InvalidHuffman, "a byte of padding"),
        ("04 81 ff", InvalidHuffman, "nothing but padding"),
        ("04 84 ff ff ff ff", InvalidHuffman, "EOS"),
        ("04 85 1f ff ff ff ff", InvalidHuffman, "EOS behind a letter"),
        ("00 81 ff 00", InvalidHuffman, "in a name"),
        ("82 20", LateSizeUpdate, "behind an indexed field"),
        ("04 01 61 3f e1 1f", LateSizeUpdate, "behind a literal"),
        ("20 82 20", LateSizeUpdate, "one at the start, one behind a field"),
        ("3f e2 1f", SizeUpdateTooLarge, "4097"),
        ("20 3f e2 1f", SizeUpdateTooLarge, "the second of two"),
    ] {
        assert_eq!(decode(&mut Decoder::new(4096), &hex(block)), Err(fault), "{block}: {why}");
    }
}

#[test]
fn every_cut_of_a_good_block_is_truncated_or_shorter() {
    let block = hex("20 3f e1 1f 82 86 84 41 8c f1 e3 c2 e5 f2 3a 6b a0 ab 90 f4 ff 00 03 78 2d 61 01 62 be");
    let all = decode(&mut Decoder::new(4096), &block).expect("a good block");
    assert_eq!(all.len(), 6);
    for cut in 0..block.len() {
        match decode(&mut Decoder::new(4096), &block[..cut]) {
            Ok(some) => assert_eq!(some, all[..some.len()]),
            Err(fault) => assert_eq!(fault, Fault::Truncated, "{cut}"),
        }
    }
}

#[test]
fn size_updates_within_the_setting_are_taken() {
    let mut decoder = Decoder::new(8192);
    // a: b is inserted, then found until an update to 0 drops it.
    assert_eq!(decode(&mut decoder, &hex("40 01 61 01 62 be")), Ok(fields(&[("a", "b"), ("a", "b")])));
    assert_eq!(decode(&mut decoder, &hex("3f e1 3f be")), Ok(fields(&[("a", "b")])), "8192");
    assert_eq!(decode(&mut decoder, &hex("3f e2 3f")), Err(Fault::SizeUpdateTooLarge), "8193");
    assert_eq!(decode(&mut decoder, &hex("20 3f e1 1f be")), Err(Fault::InvalidIndex), "0, then 4096");
    assert_eq!(decode(&mut decoder, &hex("3f 02 40 01 61 01 62")), Ok(fields(&[("a", "b")])), "33 bytes: too few");
    assert_eq!(decode(&mut decoder, &hex("be")), Err(Fault::InvalidIndex), "so it was not kept");
    assert_eq!(decode(&mut decoder, &hex("3f 03 40 01 61 01 62 be")), Ok(fields(&[("a", "b"); 2])), "34 bytes");
}

#[test]
fn a_lowered_setting_asks_for_an_update() {
    let lowered = |to: u32| {
        let mut decoder = Decoder::new(4096);
        decoder.set_max(to);
        decoder
    };
    assert_eq!(decode(&mut lowered(100), &hex("82")), Err(Fault::MissingSizeUpdate));
    assert_eq!(decode(&mut lowered(100), &hex("3f 46 82")), Err(Fault::SizeUpdateTooLarge), "101");
    assert_eq!(decode(&mut lowered(100), &hex("3f 45 82")), Ok(fields(&[(":method", "GET")])), "100");
    assert_eq!(decode(&mut lowered(100), &hex("20 82")), Ok(fields(&[(":method", "GET")])), "0");
    assert_eq!(decode(&mut lowered(0), &hex("21 82")), Err(Fault::SizeUpdateTooLarge), "1");
    assert_eq!(decode(&mut lowered(4096), &hex("82")), Ok(fields(&[(":method", "GET")])), "not lowered");
    assert_eq!(decode(&mut lowered(100), b""), Ok(vec![]), "a block without fields");

    let mut decoder = lowered(100);
    decoder.set_max(4096);
    assert_eq!(decode(&mut decoder, &hex("82")), Err(Fault::MissingSizeUpdate), "raised again: the lowest counts");
    assert_eq!(decode(&mut decoder, &hex("3f e1 1f 82")), Err(Fault::MissingSizeUpdate));
    assert_eq!(decode(&mut decoder, &hex("3f 45 3f e1 1f 82")), Ok(fields(&[(":method", "GET")])));
    assert_eq!(decode(&mut decoder, &hex("82")), Ok(fields(&[(":method", "GET")])), "once is enough");

    // The peer had a smaller table of its own accord.
    let mut decoder = Decoder::new(4096);
    assert_eq!(decode(&mut decoder, &hex("20")), Ok(vec![]));
    decoder.set_max(100);
    assert_eq!(decode(&mut decoder, &hex("82")), Ok(fields(&[(":method", "GET")])));
}

#[test]
fn a_small_setting_binds_from_its_acknowledgement_on() {
    let mut decoder = Decoder::new(0);
    assert_eq!(decode(&mut decoder, &hex("40 01 61 01 62 be")), Ok(fields(&[("a", "b"); 2])));
    decoder.set_max(0);
    assert_eq!(decode(&mut decoder, &hex("be")), Err(Fault::MissingSizeUpdate));
    assert_eq!(decode(&mut decoder, &hex("20 be")), Err(Fault::InvalidIndex));
}

/// Stops at the field number `at`, and says what came before.
fn stop_at(decoder: &mut Decoder, block: &[u8], at: usize) -> (Vec<Field>, Result<(), DecodeError<&'static str>>) {
    let mut got = Vec::new();
    let outcome = decoder.decode(block, |field: Decoded<'_>| {
        if got.len() == at {
            return Err("enough");
        }
        got.push((field.name.to_vec(), field.value.to_vec()));
        Ok(())
    });
    (got, outcome)
}

#[test]
fn a_stopped_block_leaves_the_table_in_step() {
    // Two insertions, an index, a plain literal, a third insertion whose name is that of the second.
    let block = hex("40 01 61 01 62 40 01 63 81 1f bf 00 01 78 01 79 7e 01 65");
    let after = hex("be bf c0");
    let expected = fields(&[("c", "e"), ("c", "a"), ("a", "b")]);
    for at in 0..5 {
        let mut decoder = Decoder::new(4096);
        let (got, outcome) = stop_at(&mut decoder, &block, at);
        assert_eq!((got.len(), outcome), (at, Err(DecodeError::Stopped("enough"))));
        assert_eq!(decode(&mut decoder, &after), Ok(expected.clone()), "stopped at {at}");
    }
}

#[test]
fn faults_behind_the_stop_are_still_faults() {
    for (rest, fault) in [
        ("80", Fault::InvalidIndex),
        ("0f 30 00", Fault::InvalidIndex),
        ("7e 00", Fault::InvalidIndex),
        ("00 01", Fault::Truncated),
        ("40 81 ff 00", Fault::InvalidHuffman),
        ("20", Fault::LateSizeUpdate),
        ("00 7f ff ff ff ff 0f", Fault::IntegerOverflow),
    ] {
        let block = [hex("82"), hex(rest)].concat();
        let (_, outcome) = stop_at(&mut Decoder::new(4096), &block, 0);
        assert_eq!(outcome, Err(DecodeError::Fault(fault)), "{rest}");
    }
}

#[test]
fn copying_large_names_inside_the_table_is_bounded() {
    // A name of 2,000 bytes, then the same name again and again, two octets each.
    let mut block = hex("40 7f d1 0e");
    block.extend(std::iter::repeat_n(b'n', 2000));
    block.push(0);
    let setup = block.len();
    let copies = NAME_COPIES_MAX / 2000;
    block.extend(hex("7e 00").repeat(copies));
    let (_, outcome) = stop_at(&mut Decoder::new(4096), &block, 0);
    assert_eq!(outcome, Err(DecodeError::Stopped("enough")));
    block.extend(hex("7e 00"));
    let (_, outcome) = stop_at(&mut Decoder::new(4096), &block, 0);
    assert_eq!(outcome, Err(DecodeError::Fault(Fault::NameCopies)));
    // Each block has its own count.
    let mut decoder = Decoder::new(4096);
    for block in [&block[..setup], &hex("7e 00").repeat(copies), &hex("7e 00").repeat(copies)] {
        assert!(decode(&mut decoder, block).is_ok());
    }
}
