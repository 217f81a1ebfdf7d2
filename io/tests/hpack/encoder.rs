//! What the encoder chooses to write.
use crate::support::{decode, encode, encode_field, hex};
use edge_io::{
    head::FieldId,
    http2::hpack::{Decoded, Decoder, Encoder, Pseudo},
};

/// How many octets these fields take, time after time.
fn lengths(encoder: &mut Encoder, fields: &[(&str, &str)], times: usize) -> Vec<usize> {
    (0..times).map(|_| encode(encoder, fields).len()).collect()
}

#[test]
fn what_the_static_table_has_takes_one_octet() {
    let mut encoder = Encoder::new(4096);
    let fields = [
        (":method", "GET"),
        (":method", "POST"),
        (":path", "/"),
        (":path", "/index.html"),
        (":scheme", "http"),
        (":scheme", "https"),
        (":status", "200"),
        (":status", "204"),
        (":status", "206"),
        (":status", "304"),
        (":status", "400"),
        (":status", "404"),
        (":status", "500"),
        ("accept-encoding", "gzip, deflate"),
    ];
    assert_eq!(encode(&mut encoder, &fields), hex("82 83 84 85 86 87 88 89 8a 8b 8c 8d 8e 90"));
    let mut out = Vec::new();
    encoder.pseudo(&mut out, Pseudo::Status, b"204");
    assert_eq!(out, [0x89]);
}

#[test]
fn what_repeats_takes_one_octet_from_the_second_time_on() {
    for field in [
        (":status", "302"),
        (":authority", "www.example.com"),
        (":method", "PUT"),
        ("server", "edge"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("content-type", "text/html"),
        ("user-agent", "some client/1.0 (and more)"),
        ("sec-fetch-mode", "navigate"),
    ] {
        let counts = lengths(&mut Encoder::new(4096), &[field], 3);
        assert!(counts[0] > 1, "{field:?}");
        assert_eq!(counts[1..], [1, 1], "{field:?}");
    }
}

#[test]
fn the_last_four_values_of_a_name_are_remembered() {
    let mut encoder = Encoder::new(4096);
    let types = ["text/html", "text/css", "image/png", "text/plain", "image/webp"].map(|t| [("content-type", t)]);
    let first = types.each_ref().map(|t| encode(&mut encoder, t).len());
    assert!(first.iter().all(|n| *n > 1));
    assert_eq!(types.each_ref().map(|t| encode(&mut encoder, t).len() == 1), [false, false, false, false, false]);
    for _ in 0..3 {
        assert_eq!(types[1..].iter().map(|t| encode(&mut encoder, t).len()).collect::<Vec<_>>(), [1; 4]);
    }
}

#[test]
fn names_without_an_id_are_learned_when_they_come_again() {
    let same = [("x-frame-options", "DENY")];
    let mut encoder = Encoder::new(4096);
    let counts = lengths(&mut encoder, &same, 4);
    assert!(counts[0] > 20 && counts[1] > 10);
    assert_eq!(counts[2..], [1, 1]);
    assert_eq!(encode(&mut encoder, &[("X-Frame-Options", "DENY")]).len(), 1, "in any case");
    let changing = ["1", "2", "3", "4"].map(|n| [("x-count", n)]);
    assert!(changing.iter().all(|fields| encode(&mut encoder, fields)[0] == 0), "values that change are not inserted");
    let shared = lengths(&mut Encoder::new(4096).shared(), &same, 4);
    assert_eq!(shared, [shared[0]; 4], "not where others may look");
    assert_eq!(lengths(&mut Encoder::new(4096).shared(), &[("server", "edge")], 2)[1], 1);
}

#[test]
fn credentials_are_never_indexed_and_changing_values_not_inserted() {
    for (name, value, first) in [
        ("authorization", "Basic dTpw", 0x10),
        ("proxy-authorization", "Basic dTpw", 0x10),
        ("set-cookie", "a=b; and much more than that, but all the same", 0x10),
        ("cookie", "a=b", 0x10),
        ("cookie", "session=0123456789abcdef", 0),
        ("content-length", "17", 0),
        ("etag", "\"abc\"", 0),
        ("x-request-id", "0123", 0),
        (":path", "/some/path", 0),
    ] {
        let mut encoder = Encoder::new(4096);
        for _ in 0..3 {
            let block = encode(&mut encoder, &[(name, value)]);
            assert_eq!(block[0] & 0xf0, first, "{name}");
        }
    }
}

#[test]
fn a_field_that_may_not_be_compressed_says_so_at_the_other_end() {
    let (mut encoder, mut decoder, mut out) = (Encoder::new(4096), Decoder::new(4096), Vec::new());
    encoder.never_indexed(&mut out, FieldId::Server, b"server", b"a");
    encoder.never_indexed(&mut out, FieldId::Other, b"X-Key", b"b");
    encoder.field(&mut out, FieldId::Server, b"server", b"c");
    encoder.field(&mut out, FieldId::Etag, b"etag", b"d");
    let mut got = Vec::new();
    let outcome = decoder.decode(&out, |f: Decoded<'_>| {
        got.push((f.name.to_vec(), f.never_indexed));
        Ok::<_, ()>(())
    });
    assert_eq!(outcome, Ok(()));
    let names = ["server", "x-key", "server", "etag"].map(|n| n.as_bytes().to_vec());
    assert_eq!(got, names.into_iter().zip([true, true, false, false]).collect::<Vec<_>>());
}

#[test]
fn the_table_size_is_told_once_and_lowest_first() {
    assert_eq!(encode(&mut Encoder::new(4096), &[]), b"");
    assert_eq!(encode(&mut Encoder::new(9000), &[]), b"", "the peer allows 4096");
    assert_eq!(encode(&mut Encoder::new(0), &[]), hex("20"));
    let mut encoder = Encoder::new(4096);
    encoder.set_max(4096);
    encoder.set_max(65_536);
    assert_eq!(encode(&mut encoder, &[]), b"", "what we want has not changed");
    encoder.set_max(100);
    encoder.set_max(0);
    encoder.set_max(200);
    assert_eq!(encode(&mut encoder, &[(":method", "GET")]), hex("20 3f a9 01 82"));
    assert_eq!(encode(&mut encoder, &[(":method", "GET")]), hex("82"));
    encoder.set_max(4096);
    assert_eq!(encode(&mut encoder, &[]), hex("3f e1 1f"));
    let mut encoder = Encoder::new(10_000);
    encoder.set_max(20_000);
    assert_eq!(encode(&mut encoder, &[]), hex("3f f1 4d"), "10000");
}

#[test]
fn large_values_do_not_push_out_the_rest() {
    let mut encoder = Encoder::new(4096);
    let long = "a".repeat(1100);
    encode(&mut encoder, &[("server", "edge")]);
    for _ in 0..10 {
        assert_eq!(encode(&mut encoder, &[("user-agent", &long)])[0] & 0xf0, 0);
    }
    assert_eq!(encode(&mut encoder, &[("server", "edge")]).len(), 1);
}

/// Many values, so that entries come and go and every index is used.
#[test]
fn entries_are_found_until_they_are_evicted() {
    let (mut encoder, mut decoder) = (Encoder::new(4096), Decoder::new(4096));
    for n in 0..5000u32 {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        let ids = [FieldId::ContentType, FieldId::Date, FieldId::Vary, FieldId::Via];
        let expected: Vec<_> = ids
            .iter()
            .zip([n % 3, n / 7, n % 11, n % 97])
            .map(|(id, value)| (id.as_str().as_bytes().to_vec(), value.to_string().into_bytes()))
            .collect();
        expected.iter().for_each(|(name, value)| encode_field(&mut encoder, &mut out, name, value));
        assert_eq!(decode(&mut decoder, &out), Ok(expected));
    }
}
