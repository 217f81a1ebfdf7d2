//! What a client may send on a request stream: each case with the code that the RFCs name, at once and byte by byte.
use crate::support::*;
use edge_quic::h3::{Connection, ErrorCode, Limits, Role, Stream};

const MESSAGE: Option<(ErrorCode, bool)> = Some((ErrorCode::H3_MESSAGE_ERROR, false));
const UNEXPECTED: Option<(ErrorCode, bool)> = Some((ErrorCode::H3_FRAME_UNEXPECTED, true));
const FRAME: Option<(ErrorCode, bool)> = Some((ErrorCode::H3_FRAME_ERROR, true));
const INCOMPLETE: Option<(ErrorCode, bool)> = Some((ErrorCode::H3_REQUEST_INCOMPLETE, false));
const DECOMPRESSION: Option<(ErrorCode, bool)> = Some((ErrorCode::QPACK_DECOMPRESSION_FAILED, true));

/// Runs a case to its stream's end, in one piece and in many; the code must be the same.
fn case(name: &str, input: &[u8], want: Option<(ErrorCode, bool)>) {
    for most in [usize::MAX, 1, 7] {
        for joined in [false, true] {
            let mut side = Side::with(Role::Server, &Limits { connect_protocol: true, ..Limits::default() });
            let mut stream = Stream::new();
            let mut run = side.feed(&mut stream, 0, input, joined, pieces(most as u64, most));
            if !joined && run.error.is_none() {
                run.error = side.give(&mut stream, 0, &[], true, &mut run).err();
            }
            assert_eq!(run.code(), want, "{name}, pieces of {most}, joined {joined}: {run:?}");
            assert!(stream.is_done(), "{name}");
            // What still comes is passed over, unless the connection has ended.
            let after = side.connection.receive(&mut stream, 0, b"more", true, 0, &mut side.head);
            assert_eq!(after.is_err(), want.is_some_and(|(_, fatal)| fatal), "{name}");
            assert!(side.connection.memory() < 2 * size_of::<Connection>() + 8192, "{name}");
        }
    }
}

#[test]
fn frames_where_they_may_be() {
    let get = request(&[]);
    let trailers = headers(&[("x-sum", "1")]);
    let grease = frame(GREASE, b"anything");
    let empty_grease = frame(GREASE, b"");
    let all = [&grease[..], &get, &empty_grease, &data(b"abc"), &grease, &data(b""), &data(b"d"), &trailers, &grease];
    for (name, input) in [
        ("a head", get.clone()),
        ("a head and data", [&get[..], &data(b"abc")].concat()),
        ("empty data", [&get[..], &data(b"")].concat()),
        ("trailers without data", [&get[..], &trailers].concat()),
        ("trailers without fields", [&get[..], &headers(&[])].concat()),
        ("unknown frames in between", all.concat()),
        ("integers longer than needed", [&[0x40, 0x01, 0x80, 0, 0, get.len() as u8 - 2][..], &get[2..]].concat()),
        (
            "the most integers can say",
            [&[0xc0, 0, 0, 0, 0, 0, 0, 1, 0xc0, 0, 0, 0, 0, 0, 0, get.len() as u8 - 2][..], &get[2..]].concat(),
        ),
        ("the length of the body", [&request(&[("content-length", "4")])[..], &data(b"ab"), &data(b"cd")].concat()),
        ("no body as announced", request(&[("content-length", "0")])),
    ] {
        case(name, &input, None);
    }
}

#[test]
fn frames_where_they_may_not_be() {
    let get = request(&[]);
    let trailers = headers(&[("x-sum", "1")]);
    let connect = headers(&[(":method", "CONNECT"), (":authority", "a.example:443")]);
    for (name, input) in [
        ("DATA first", data(b"x")),
        ("empty DATA first", data(b"")),
        ("DATA behind an unknown frame", [frame(GREASE, b"x"), data(b"x")].concat()),
        ("DATA behind trailers", [&get[..], &trailers, &data(b"x")].concat()),
        ("HEADERS behind trailers", [&get[..], &trailers, &trailers].concat()),
        ("HEADERS in a tunnel", [&connect[..], &data(b"x"), &trailers].concat()),
        ("SETTINGS", frame(SETTINGS, &[])),
        ("SETTINGS behind the head", [get.clone(), frame(SETTINGS, &[])].concat()),
        ("GOAWAY", [get.clone(), frame(GOAWAY, &[0])].concat()),
        ("CANCEL_PUSH", [get.clone(), frame(CANCEL_PUSH, &[0])].concat()),
        ("MAX_PUSH_ID", [get.clone(), frame(MAX_PUSH_ID, &[0])].concat()),
        ("PRIORITY_UPDATE", [get.clone(), frame(PRIORITY_UPDATE, b"\0u=1")].concat()),
        ("PRIORITY_UPDATE of a push", [get.clone(), frame(PRIORITY_UPDATE_PUSH, b"\0u=1")].concat()),
        ("PUSH_PROMISE", [get.clone(), frame(PUSH_PROMISE, b"\0\0\0")].concat()),
        ("PUSH_PROMISE first", frame(PUSH_PROMISE, b"\0\0\0")),
        ("PRIORITY of HTTP/2", [get.clone(), frame(0x2, &[0; 5])].concat()),
        ("PING of HTTP/2", [get.clone(), frame(0x6, &[0; 8])].concat()),
        ("WINDOW_UPDATE of HTTP/2", [get.clone(), frame(0x8, &[0; 4])].concat()),
        ("CONTINUATION of HTTP/2", [get.clone(), frame(0x9, &[])].concat()),
        ("PING of HTTP/2 first", frame(0x6, &[0; 8])),
    ] {
        case(name, &input, UNEXPECTED);
    }
}

#[test]
fn streams_that_end_where_they_may_not() {
    let get = request(&[]);
    for (name, input) in [
        ("within a type", vec![0x40]),
        ("before a length", vec![0x01]),
        ("within a length", vec![0x01, 0x40]),
        ("before a field section", vec![0x01, 9]),
        ("within a field section", get[..get.len() - 1].to_vec()),
        ("before data", [&get[..], &[0, 1]].concat()),
        ("within data", [&get[..], &[0, 3, 1]].concat()),
        ("before an unknown payload", [&get[..], &[0x21, 1]].concat()),
        ("within an unknown payload", [&get[..], &[0x21, 3, 1]].concat()),
        ("within a frame header behind trailers", [&get[..], &headers(&[]), &[0x21]].concat()),
        ("data without end", [&get[..], &varints(&[DATA, (1 << 62) - 1]), b"abc"].concat()),
    ] {
        case(name, &input, FRAME);
    }
    case("nothing at all", &[], INCOMPLETE);
    case("unknown frames only", &frame(GREASE, b"x"), INCOMPLETE);
}

#[test]
fn content_lengths_that_are_wrong() {
    let five = request(&[("content-length", "5")]);
    for (name, input) in [
        ("no data", five.clone()),
        ("too little", [&five[..], &data(b"abcd")].concat()),
        ("too little before trailers", [&five[..], &data(b"abcd"), &headers(&[])].concat()),
        ("too much", [&five[..], &data(b"abcdef")].concat()),
        ("too much in two frames", [&five[..], &data(b"abcd"), &data(b"ef")].concat()),
        ("far too much", [&five[..], &varints(&[DATA, (1 << 62) - 1])].concat()),
        ("data, and none announced", [&request(&[("content-length", "0")])[..], &data(b"a")].concat()),
        ("two of them", request(&[("content-length", "0"), ("content-length", "0")])),
        ("no number", request(&[("content-length", "+1")])),
        ("a list", request(&[("content-length", "1, 1")])),
    ] {
        case(name, &input, MESSAGE);
    }
}

#[test]
fn heads_that_are_malformed() {
    let without = |name: &str| headers(&GET.into_iter().filter(|(n, _)| *n != name).collect::<Vec<_>>());
    let with = |name: &str, value: &'static str| {
        headers(&GET.into_iter().map(|(n, v)| (n, if n == name { value } else { v })).collect::<Vec<_>>())
    };
    let connect = (":method", "CONNECT");
    for (name, input) in [
        ("no fields", headers(&[])),
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("no path", without(":path")),
        ("no authority and no host", without(":authority")),
        ("an empty method", with(":method", "")),
        ("a method that is no token", with(":method", "G T")),
        ("an empty scheme", with(":scheme", "")),
        ("a path without a slash", with(":path", "x")),
        ("an empty path", with(":path", "")),
        ("a path with a fragment", with(":path", "/#a")),
        ("an asterisk for GET", with(":path", "*")),
        ("an authority with user information", with(":authority", "u@a.example")),
        ("the method twice", headers(&[&GET[..], &GET[..1]].concat())),
        ("the path twice", headers(&[&GET[..], &GET[3..]].concat())),
        ("an unknown pseudo-header field", headers(&[&[(":x", "y")], &GET[..]].concat())),
        (":status in a request", headers(&[&[(":status", "200")], &GET[..]].concat())),
        ("a pseudo-header field behind others", headers(&[&GET[..3], &[("a", "b")], &GET[3..]].concat())),
        ("a host that differs", request(&[("host", "b.example")])),
        ("two hosts", request(&[("host", "a.example"), ("host", "a.example")])),
        ("capitals in a name", request(&[("Accept", "x")])),
        ("a blank in a name", request(&[("a b", "x")])),
        ("an empty name", request(&[("", "x")])),
        ("a line feed in a value", request(&[("a", "x\ny")])),
        ("a zero in a value", request(&[("a", "x\0y")])),
        ("a blank before a value", request(&[("a", " x")])),
        ("connection", request(&[("connection", "close")])),
        ("keep-alive", request(&[("keep-alive", "1")])),
        ("proxy-connection", request(&[("proxy-connection", "close")])),
        ("transfer-encoding", request(&[("transfer-encoding", "chunked")])),
        ("upgrade", request(&[("upgrade", "websocket")])),
        ("te", request(&[("te", "gzip")])),
        ("pseudo-header fields in trailers", [request(&[]), headers(&[(":path", "/")])].concat()),
        ("connection in trailers", [request(&[]), headers(&[("connection", "close")])].concat()),
        ("capitals in trailers", [request(&[]), headers(&[("X", "1")])].concat()),
        ("CONNECT without authority", headers(&[connect])),
        ("CONNECT with a path", headers(&[connect, (":authority", "a.example:1"), (":path", "/")])),
        ("CONNECT with a scheme", headers(&[connect, (":authority", "a.example:1"), (":scheme", "https")])),
        ("a protocol without CONNECT", headers(&[&GET[..], &[(":protocol", "websocket")]].concat())),
        (
            "a protocol without path",
            headers(&[connect, (":protocol", "websocket"), (":scheme", "https"), (":authority", "a")]),
        ),
    ] {
        case(name, &input, MESSAGE);
    }
}

#[test]
fn field_sections_that_are_not_qpack() {
    let long = |bytes: &[u8]| frame(HEADERS, bytes);
    for (name, input) in [
        ("nothing", long(&[])),
        ("half a prefix", long(&[0])),
        ("beyond the static table", long(&[0, 0, 0xff, 36])),
        ("an entry of the empty table", long(&[0, 0, 0x80])),
        ("an entry behind the base", long(&[0, 0, 0x10])),
        ("a name of the empty table", long(&[0, 0, 0x40, 0])),
        ("a name without its end", long(&[0, 0, 0x23, b'a'])),
        ("a name without a value", long(&[0, 0, 0x21, b'a'])),
        ("a value without its end", long(&[0, 0, 0x21, b'a', 3, b'b'])),
        ("an integer too large", long(&[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])),
        ("padding that is no Huffman code", long(&[0, 0, 0x29, 0x00, 0])),
        ("a base below zero", long(&[0, 0x80])),
    ] {
        case(name, &input, DECOMPRESSION);
    }
    // An insert count that a table of this size cannot mean; or any, without a table.
    for (table_bytes, octets) in [(4096, [0xff, 0xff, 0x7f, 0]), (0, [2, 0, 0x80, 0])] {
        let mut side = Side::with(Role::Server, &Limits { table_bytes, ..Limits::default() });
        assert_eq!(side.stream(0, &long(&octets), false).code(), DECOMPRESSION);
    }
}

#[test]
fn an_extended_connect_is_a_request_where_it_is_offered() {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "a.example"),
        (":path", "/chat"),
    ];
    for offered in [true, false] {
        let mut side = Side::with(Role::Server, &Limits { connect_protocol: offered, ..Limits::default() });
        let run = side.stream(0, &[headers(&fields), data(b"frames")].concat(), false);
        if offered {
            assert_eq!(run.seen, [Seen::Head("CONNECT a.example /chat".into()), Seen::Data(b"frames".to_vec())]);
            assert_eq!(side.connection.protocol(), edge_quic::h3::Protocol::WebSocket);
            assert_eq!(side.connection.scheme(), edge_quic::h3::Scheme::Https);
        } else {
            assert_eq!(run.code(), MESSAGE);
        }
    }
}
