//! QPACK without an allocation: a request that names static entries on any connection, all else on one that has warmed up.
use edge_io::{
    count_alloc::{CountingAllocator, counts},
    head::FieldId,
};
use edge_quic::h3::qpack::{Decode, Decoder, Encoder};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: CountingAllocator<System> = CountingAllocator(System);

/// How often `work` allocates on this thread.
fn allocations(work: impl FnOnce()) -> u64 {
    let mine = || {
        let tid = std::fs::read_link("/proc/thread-self").expect("a thread");
        let tid: i32 = tid.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok()).expect("a thread's id");
        move || counts().into_iter().find(|c| c.tid == tid).map_or(0, |c| c.allocations)
    };
    let mine = mine();
    // The counts are read into a vector: what one reading costs is taken off.
    let cost = {
        let first = mine();
        mine() - first
    };
    let before = mine();
    work();
    mine() - before - cost
}

/// Decodes a section; bytes of its fields.
fn size(decoder: &mut Decoder, section: &[u8]) -> usize {
    let mut size = 0;
    let outcome = decoder.decode(0, section, |field| {
        size += field.size();
        Ok::<_, ()>(())
    });
    assert_eq!(outcome, Ok(Decode::Done));
    size
}

/// One section with some fields that repeat and some that do not, and all answers.
fn exchange(encoder: &mut Encoder, decoder: &mut Decoder, out: &mut Vec<u8>, n: u32) -> usize {
    let mut digits = *b"0000000000";
    let mut rest = n;
    for digit in digits.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    out.clear();
    encoder.begin(0, out);
    encoder.status(out, 418);
    encoder.field(out, FieldId::Server, b"Server", b"edge");
    // A new entry every other time: old ones are evicted.
    digits[9] &= !1;
    encoder.field(out, FieldId::Date, b"Date", &digits);
    encoder.field(out, FieldId::SetCookie, b"set-cookie", &digits);
    encoder.field(out, FieldId::Other, b"X-Same", b"the same");
    encoder.field(out, FieldId::Etag, b"etag", &[b'e'; 600]);
    encoder.end(out);
    let size = size(decoder, out);
    assert_eq!(decoder.on_encoder_stream(encoder.out()), Ok(()));
    encoder.out().clear();
    assert_eq!(encoder.on_decoder_stream(decoder.out()), Ok(()));
    decoder.out().clear();
    size
}

#[test]
fn a_request_of_static_entries_allocates_nothing() {
    // GET https://www.example.com/index.html, with `accept`.
    let mut section = vec![0, 0, 0xc0 | 17, 0xc0 | 23, 0x50, 15];
    section.extend(b"www.example.com");
    section.extend([0x51, 11]);
    section.extend(b"/index.html");
    section.push(0xc0 | 29);
    let count = allocations(|| {
        let mut decoder = Decoder::new(4096, 16);
        assert_eq!(size(&mut decoder, &section), 5 * 32 + 10 + 12 + 25 + 16 + 9);
        let (encoder, mut out) = (Encoder::new(), Vec::new());
        std::mem::swap(decoder.out(), &mut out);
        assert_eq!((encoder.memory(), decoder.memory(), out.capacity()), (0, 0, 0));
    });
    assert_eq!(count, 0);
}

#[test]
fn a_warm_connection_allocates_nothing() {
    let (mut encoder, mut decoder, mut out) = (Encoder::new(), Decoder::new(4096, 16), Vec::with_capacity(4096));
    assert_ne!(allocations(|| encoder.set_peer(4096)), 0, "allocations are counted");
    let mut sizes = (0..4000).map(|n| exchange(&mut encoder, &mut decoder, &mut out, n));
    assert!(sizes.all(|size| size > 800));
    let again = allocations(|| (4000..20_000).for_each(|n| _ = exchange(&mut encoder, &mut decoder, &mut out, n)));
    assert_eq!(again, 0);
    assert!(decoder.insert_count() > 9000, "{}", decoder.insert_count());
    // Two tables of bytes, and the entries.
    let most = 2 * 4096 + 128 * 32;
    assert!(encoder.memory() <= most + 4 * 1024, "{}", encoder.memory());
    assert!(decoder.memory() <= most + 16 * 1024, "{}", decoder.memory());
}

#[test]
fn codecs_are_small() {
    assert!(size_of::<Decoder>() <= 320, "{}", size_of::<Decoder>());
    assert!(size_of::<Encoder>() <= 128, "{}", size_of::<Encoder>());
}
