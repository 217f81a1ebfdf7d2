//! Bytes of a client behind its first SETTINGS: cutting them anywhere changes neither events nor data nor fault; memory stays in its
//! budget; every call of the owner is in order.
#![no_main]
mod cut;
mod h2_side;

use edge_io::http2::Role;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = h2_side::run(Role::Server, bytes, || usize::MAX);
    let pieces = h2_side::run(Role::Server, bytes, cut::pieces(bytes));
    assert_eq!(whole.events, pieces.events);
    assert_eq!(whole.data, pieces.data);
    assert_eq!(whole.fatal, pieces.fatal);
});
