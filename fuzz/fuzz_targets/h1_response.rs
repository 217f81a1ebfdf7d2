//! Responses of one connection: cutting them changes nothing, and what is read can be written and read again.
#![no_main]
mod cut;
#[path = "../../io/tests/http1/drive.rs"]
#[allow(dead_code)]
mod drive;

use drive::{Wire, responses};
use edge_io::{
    head::{Head, Method},
    http1::{HeadParser, Limits, write_field, write_status_line},
};
use libfuzzer_sys::fuzz_target;

/// Written and read again the head is the same.
fn round_trip(head: &Head) {
    let mut out = Vec::new();
    write_status_line(&mut out, head.status(), head.reason());
    head.fields().for_each(|f| write_field(&mut out, f.name, f.value));
    out.extend_from_slice(b"\r\n");
    let mut again = Head::new();
    let taken = HeadParser::response().parse(&out, &Limits::default(), &mut again);
    assert_eq!(taken, Ok(Some(out.len())), "{}", out.escape_ascii());
    assert_eq!((again.status(), again.reason()), (head.status(), head.reason()));
    assert!(again.fields().eq(head.fields()));
}

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { line_bytes: 500, head_bytes: 1200, fields: 20, chunk_line_bytes: 40, trailer_bytes: 200 };
    for (methods, upgrade) in
        [(&[Method::Get, Method::Post][..], false), (&[Method::Head, Method::Get], false), (&[Method::Get], true)]
    {
        let read = |piece: &mut dyn FnMut() -> usize, see: &mut dyn FnMut(&Head)| {
            responses(Wire::new(bytes, piece), &limits, methods, upgrade, see)
        };
        let whole = read(&mut || usize::MAX, &mut round_trip);
        assert_eq!(read(&mut cut::pieces(bytes), &mut |_| {}), whole);
        assert_eq!(read(&mut || 1, &mut |_| {}), whole);
    }
});
