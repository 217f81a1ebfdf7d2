//! Streams of a client: cutting them anywhere changes neither events nor data nor fault; memory stays in its budget; nothing is
//! stuck.
#![no_main]
mod cut;
mod h3_side;

use edge_quic::h3::Role;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = h3_side::run(Role::Server, bytes, || usize::MAX);
    let pieces = h3_side::run(Role::Server, bytes, cut::pieces(bytes));
    assert_eq!(whole, pieces);
});
