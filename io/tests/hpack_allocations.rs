//! A connection that has warmed up decodes and encodes header blocks without allocating.
use edge_io::{
    count_alloc::{CountingAllocator, counts},
    head::FieldId,
    http2::hpack::{Decoder, Encoder, Pseudo},
};
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

/// One request or response with some fields that repeat and some that do not.
fn exchange(encoder: &mut Encoder, decoder: &mut Decoder, out: &mut Vec<u8>, n: u32) -> usize {
    let mut digits = *b"0000000000";
    let mut rest = n;
    for digit in digits.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    out.clear();
    encoder.begin(out);
    encoder.pseudo(out, Pseudo::Method, b"GET");
    encoder.pseudo(out, Pseudo::Path, &digits);
    encoder.pseudo(out, Pseudo::Authority, b"www.example.com");
    encoder.field(out, FieldId::UserAgent, b"User-Agent", b"some client/1.0");
    // A new entry each time: old ones are evicted.
    encoder.field(out, FieldId::Date, b"Date", &digits);
    encoder.field(out, FieldId::Cookie, b"cookie", &digits);
    encoder.field(out, FieldId::Other, b"X-Same", b"the same");
    encoder.field(out, FieldId::Other, b"X-Count", &digits);
    encoder.field(out, FieldId::Etag, b"etag", &[b'e'; 600]);
    let mut size = 0;
    let outcome = decoder.decode(out, |field| {
        size += field.size();
        Ok::<_, ()>(())
    });
    assert_eq!(outcome, Ok(()));
    size
}

#[test]
fn a_warm_connection_allocates_nothing() {
    let (mut encoder, mut decoder, mut out) = (Encoder::new(4096), Decoder::new(4096), Vec::with_capacity(4096));
    assert_ne!(allocations(|| _ = exchange(&mut encoder, &mut decoder, &mut out, 0)), 0, "allocations are counted");
    let mut sizes = (1..1000).map(|n| exchange(&mut encoder, &mut decoder, &mut out, n));
    assert!(sizes.all(|size| size > 1000));
    let again = allocations(|| (1000..20_000).for_each(|n| _ = exchange(&mut encoder, &mut decoder, &mut out, n)));
    assert_eq!(again, 0);
    // Two tables of bytes, and the entries.
    let most = 2 * 4096 + 128 * 32;
    assert!(encoder.memory() <= most, "{}", encoder.memory());
    assert!(decoder.memory() <= most + 16 * 1024, "{}", decoder.memory());
}

#[test]
fn a_new_connection_holds_nothing() {
    let count = allocations(|| {
        let (encoder, decoder) = (Encoder::new(4096), Decoder::new(4096));
        assert_eq!((encoder.memory(), decoder.memory()), (0, 0));
    });
    assert_eq!(count, 0);
}

#[test]
fn codecs_are_small() {
    assert!(size_of::<Decoder>() <= 192, "{}", size_of::<Decoder>());
    assert!(size_of::<Encoder>() <= 1024, "{}", size_of::<Encoder>());
}
