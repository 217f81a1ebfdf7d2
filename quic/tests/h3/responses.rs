//! What a server may send on a request stream, by the method that was asked with.
use crate::support::*;
use edge_quic::h3::{ErrorCode, Role};

const MESSAGE: Option<(ErrorCode, bool)> = Some((ErrorCode::H3_MESSAGE_ERROR, false));
const UNEXPECTED: Option<(ErrorCode, bool)> = Some((ErrorCode::H3_FRAME_UNEXPECTED, true));
const ID: Option<(ErrorCode, bool)> = Some((ErrorCode::H3_ID_ERROR, true));

fn case(method: &str, name: &str, input: &[u8], want: Option<(ErrorCode, bool)>) {
    for most in [usize::MAX, 1] {
        for joined in [false, true] {
            let mut side = Side::new(Role::Client);
            let mut stream = side.ask(0, method);
            let mut run = side.feed(&mut stream, 0, input, joined, pieces(1, most));
            if !joined && run.error.is_none() {
                run.error = side.give(&mut stream, 0, &[], true, &mut run).err();
            }
            assert_eq!(run.code(), want, "{method} {name}, pieces of {most}, joined {joined}: {run:?}");
        }
    }
}

#[test]
fn responses_that_are_good() {
    let ok = response("200", &[]);
    let sized = response("200", &[("content-length", "3")]);
    for (method, name, input) in [
        ("GET", "a head", ok.clone()),
        ("GET", "a body", [ok.clone(), data(b"abc")].concat()),
        ("GET", "a sized body", [sized.clone(), data(b"a"), data(b"bc")].concat()),
        ("GET", "trailers", [sized.clone(), data(b"abc"), headers(&[("a", "b")])].concat()),
        ("GET", "interim ones", [response("103", &[("link", "x")]), response("100", &[]), ok.clone()].concat()),
        ("GET", "unknown frames", [frame(GREASE, b""), ok.clone(), frame(GREASE, b"x")].concat()),
        ("HEAD", "a length without a body", sized.clone()),
        ("HEAD", "empty data", [sized.clone(), data(b"")].concat()),
        ("GET", "304 with a length", response("304", &[("content-length", "3")])),
        ("GET", "204", response("204", &[])),
        ("CONNECT", "a tunnel", [sized.clone(), data(b"more than said")].concat()),
        ("CONNECT", "a refusal with trailers", [response("403", &[]), data(b"x"), headers(&[])].concat()),
        ("GET", "an underscore in a name", response("200", &[("x_y", "z")])),
    ] {
        case(method, name, &input, None);
    }
}

#[test]
fn responses_that_are_not() {
    let ok = response("200", &[]);
    let sized = response("200", &[("content-length", "3")]);
    for (method, name, input) in [
        ("GET", "nothing", vec![]),
        ("GET", "interim only", response("103", &[])),
        ("GET", "no status", headers(&[("a", "b")])),
        ("GET", "101", response("101", &[])),
        ("GET", "a status out of range", response("600", &[])),
        ("GET", "a status of four digits", response("2000", &[])),
        ("GET", "two statuses", headers(&[(":status", "200"), (":status", "200")])),
        ("GET", "a method", headers(&[(":status", "200"), (":method", "GET")])),
        ("GET", "connection", response("200", &[("connection", "close")])),
        ("GET", "too little", [sized.clone(), data(b"a")].concat()),
        ("GET", "too much", [sized.clone(), data(b"abcd")].concat()),
        ("HEAD", "data", [ok.clone(), data(b"a")].concat()),
        ("GET", "204 with data", [response("204", &[]), data(b"a")].concat()),
        ("GET", "204 with a length", response("204", &[("content-length", "3")])),
        ("GET", "304 with data", [response("304", &[]), data(b"a")].concat()),
        ("GET", "a status in trailers", [ok.clone(), headers(&[(":status", "200")])].concat()),
    ] {
        case(method, name, &input, MESSAGE);
    }
}

#[test]
fn frames_of_servers() {
    let ok = response("200", &[]);
    for (method, name, input, want) in [
        ("GET", "data first", data(b"a"), UNEXPECTED),
        ("GET", "data behind an interim response", [response("100", &[]), data(b"a")].concat(), UNEXPECTED),
        ("GET", "HEADERS behind trailers", [ok.clone(), headers(&[]), headers(&[])].concat(), UNEXPECTED),
        ("CONNECT", "trailers of a tunnel", [ok.clone(), headers(&[])].concat(), UNEXPECTED),
        ("GET", "SETTINGS", frame(SETTINGS, &[]), UNEXPECTED),
        ("GET", "GOAWAY", [ok.clone(), frame(GOAWAY, &[0])].concat(), UNEXPECTED),
        ("GET", "PUSH_PROMISE", [ok.clone(), frame(PUSH_PROMISE, b"\0\0\0")].concat(), ID),
        ("GET", "PUSH_PROMISE before the head", frame(PUSH_PROMISE, b"\0\0\0"), ID),
        ("GET", "PING of HTTP/2", frame(0x6, &[0; 8]), UNEXPECTED),
        ("GET", "an end within a frame", ok[..ok.len() - 1].to_vec(), Some((ErrorCode::H3_FRAME_ERROR, true))),
        ("GET", "no QPACK", frame(HEADERS, &[0, 0, 0x80]), Some((ErrorCode::QPACK_DECOMPRESSION_FAILED, true))),
    ] {
        case(method, name, &input, want);
    }
}
