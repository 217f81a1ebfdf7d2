//! Requests of one connection: cutting them changes nothing, and what is read can be written and read again.
#![no_main]
mod cut;
#[path = "../../io/tests/http1/drive.rs"]
#[allow(dead_code)]
mod drive;

use drive::{Wire, requests};
use edge_io::{
    head::Head,
    http1::{HeadParser, Limits, RequestSemantics, is_authority, write_field, write_request_line},
};
use libfuzzer_sys::fuzz_target;

/// Written and read again the head is the same.
fn round_trip(head: &Head, _: &RequestSemantics) {
    assert!(head.authority().is_empty() || is_authority(head.authority()));
    let mut out = Vec::new();
    write_request_line(&mut out, head.method_bytes(), head.path_and_query());
    head.fields().for_each(|f| write_field(&mut out, f.name, f.value));
    out.extend_from_slice(b"\r\n");
    let mut again = Head::new();
    let taken = HeadParser::request().parse(&out, &Limits::default(), &mut again);
    assert_eq!(taken, Ok(Some(out.len())), "{}", out.escape_ascii());
    assert_eq!(again.method_bytes(), head.method_bytes());
    assert_eq!((again.path(), again.query()), (head.path(), head.query()));
    assert!(again.fields().eq(head.fields()));
}

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { line_bytes: 500, head_bytes: 1200, fields: 20, chunk_line_bytes: 40, trailer_bytes: 200 };
    let whole = requests(Wire::new(bytes, &mut || usize::MAX), &limits, &mut round_trip);
    assert_eq!(requests(Wire::new(bytes, &mut cut::pieces(bytes)), &limits, &mut |_, _| {}), whole);
    assert_eq!(requests(Wire::new(bytes, &mut || 1), &limits, &mut |_, _| {}), whole);
});
