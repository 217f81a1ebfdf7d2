//! The examples of RFC 9204, Appendix B: one connection.
use crate::support::{Read, decode, drain, fields, hex};
use edge_quic::h3::qpack::Decoder;

#[test]
fn b_1_to_b_5() {
    let mut decoder = Decoder::new(220, 1);
    let section = hex("0000 510b 2f69 6e64 6578 2e68 746d 6c");
    assert_eq!(decode(&mut decoder, 0, &section), Ok(Read::Fields(fields(&[(":path", "/index.html")]))));
    assert!(!decoder.has_out() && decoder.out().is_empty());

    let section = hex("0381 10 11");
    assert_eq!(decode(&mut decoder, 4, &section), Ok(Read::Blocked(2)));
    let inserts = hex("3fbd01 c00f 7777 772e 6578 616d 706c 652e 636f 6d c10c 2f73 616d 706c 652f 7061 7468");
    decoder.on_encoder_stream(&inserts).expect("inserts");
    assert_eq!(decoder.insert_count(), 2);
    let expected = fields(&[(":authority", "www.example.com"), (":path", "/sample/path")]);
    assert_eq!(decode(&mut decoder, 4, &section), Ok(Read::Fields(expected)));
    assert_eq!(drain(decoder.out()), hex("84"), "the acknowledgment says it all");

    let insert = hex("4a63 7573 746f 6d2d 6b65 790c 6375 7374 6f6d 2d76 616c 7565");
    decoder.on_encoder_stream(&insert).expect("inserts");
    assert!(decoder.has_out());
    assert_eq!(drain(decoder.out()), hex("01"));

    let section = hex("0500 80 c1 81");
    assert_eq!(decode(&mut decoder, 8, &section), Ok(Read::Blocked(4)));
    decoder.cancel_stream(8);
    assert_eq!(drain(decoder.out()), hex("48"));
    decoder.on_encoder_stream(&hex("02")).expect("duplicates");
    let expected = fields(&[(":authority", "www.example.com"), (":path", "/"), ("custom-key", "custom-value")]);
    assert_eq!(decode(&mut decoder, 8, &section), Ok(Read::Fields(expected)));
    assert_eq!(drain(decoder.out()), hex("88"));

    decoder.on_encoder_stream(&hex("810d 6375 7374 6f6d 2d76 616c 7565 32")).expect("inserts");
    assert_eq!(decoder.insert_count(), 5);
    // The table of B.5, newest first, by Required Insert Count 5 and Base 5; the oldest entry is gone.
    let expected = fields(&[
        ("custom-key", "custom-value2"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
        (":path", "/sample/path"),
    ]);
    assert_eq!(decode(&mut decoder, 12, &hex("0600 80 81 82 83")), Ok(Read::Fields(expected)));
    assert!(decode(&mut decoder, 16, &hex("0600 84")).is_err());
}
