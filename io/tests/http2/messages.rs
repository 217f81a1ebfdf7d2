//! Messages: pseudo-header fields, field grammar, content-length, trailers, cookies (RFC 9113, section 8; RFC 8441).
use crate::support::*;
use edge_io::{
    head::{FieldId, Method, Version},
    http2::{ErrorCode, Event, Limits, Protocol, Scheme},
};

/// Sends one request; whether it was accepted. If not, it was reset with PROTOCOL_ERROR and the connection lives.
#[track_caller]
fn accepted<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> bool {
    let mut side = Side::server_with(&Limits { connect_protocol: true, ..Limits::default() });
    side.feed(&frame(HEADERS, END_HEADERS, 1, &block(fields)));
    let events = side.take_events();
    if events == [Event::Head { stream: 1, end: false }] {
        side.assert_alive();
        return true;
    }
    assert_eq!(events, []);
    side.assert_reset(1, ErrorCode::PROTOCOL_ERROR);
    assert_eq!(side.conn.open_streams(), 0);
    false
}

#[track_caller]
fn accepted_with(field: (&str, &[u8])) -> bool {
    let base = POST.map(|(n, v)| (n.as_bytes(), v.as_bytes()));
    accepted(&[&base[..], &[(field.0.as_bytes(), field.1)]].concat())
}

#[test]
fn a_request_is_read() {
    let mut side = Side::server();
    let fields = [
        (":path", "/a?b=c"),
        (":authority", "Example.com:8080"),
        (":scheme", "https"),
        (":method", "GET"),
        ("accept", "*/*"),
        ("x-empty", ""),
        ("te", "trailers"),
        ("host", "example.com:8080"),
    ];
    side.feed(&frame(HEADERS, END, 1, &block(&fields)));
    assert_eq!(side.take_events(), [Event::Head { stream: 1, end: true }]);
    let head = &side.heads[0];
    assert_eq!((head.method(), head.version(), head.status()), (Method::Get, Version::Http2, 0));
    assert_eq!((head.path(), head.query()), (&b"/a"[..], Some(&b"b=c"[..])));
    assert_eq!(head.authority(), b"Example.com:8080");
    assert_eq!(head.target_authority(), Some(&b"Example.com:8080"[..]));
    assert_eq!(head.get(FieldId::Accept), Some(&b"*/*"[..]));
    assert_eq!(head.get_name(b"x-empty"), Some(&b""[..]));
    assert_eq!(head.len(), 4);
    assert_eq!((side.conn.scheme(), side.conn.protocol()), (Scheme::Https, Protocol::None));
}

#[test]
fn pseudo_fields_are_complete_known_single_and_first() {
    assert!(accepted(&GET));
    for left_out in 0..4 {
        let mut fields = GET.to_vec();
        fields.remove(left_out);
        assert!(!accepted(&fields), "without {}", GET[left_out].0);
        let mut fields = GET.to_vec();
        fields.push(GET[left_out]);
        assert!(!accepted(&fields), "{} twice", GET[left_out].0);
        let mut fields = GET.to_vec();
        fields[left_out].1 = "";
        assert!(!accepted(&fields), "{} empty", GET[left_out].0);
        let mut fields = GET.to_vec();
        let moved = fields.remove(left_out);
        fields.extend([("accept", "*/*"), moved]);
        assert!(!accepted(&fields), "{} behind a field", moved.0);
    }
    for unknown in [":status", ":test", ":", ":Method", ":protocol", ""] {
        assert!(!accepted(&[&GET[..], &[(unknown, "200")]].concat()), "{unknown}");
    }
    let host_alone = [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "a.test")];
    assert!(accepted(&host_alone));
}

#[test]
fn authority_and_host_are_one() {
    let with_host = |hosts: &[&'static str]| {
        let hosts: Vec<_> = hosts.iter().map(|h| ("host", *h)).collect();
        accepted(&[&GET[..], &hosts].concat())
    };
    assert!(with_host(&["a.test"]) && with_host(&["A.Test"]));
    assert!(!with_host(&["b.test"]) && !with_host(&["a.test:80"]) && !with_host(&[""]));
    assert!(!with_host(&["a.test", "a.test"]));
    for authority in ["user@a.test", "a.test:0", "a.test:99999", "a b", "a.test/", "[::1", "a,b", "a%41"] {
        let fields = [(":method", "GET"), (":scheme", "http"), (":authority", authority), (":path", "/")];
        assert!(!accepted(&fields), "{authority}");
        let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", authority)];
        assert!(!accepted(&fields), "{authority}");
    }
}

#[test]
fn paths_methods_and_schemes_keep_to_their_grammar() {
    let path =
        |method, path| accepted(&[(":method", method), (":scheme", "http"), (":authority", "a.test"), (":path", path)]);
    for good in ["/", "/%41?%zz", "//", "/a;b,c=@!$&'()*+"] {
        assert!(path("GET", good), "{good}");
    }
    for bad in
        ["*", "", "a", "?x", "/a b", "/#f", "/a#", "/\\", "/%4", "/%zz", "/%00", "http://a.test/", "/\u{e9}", "/\t"]
    {
        assert!(!path("GET", bad), "{bad}");
    }
    assert!(path("OPTIONS", "*") && path("OPTIONS", "/") && path("M-SEARCH", "/"));
    for method in ["", "G T", "GET\0", "G:T", "(", "G\u{e9}"] {
        assert!(!path(method, "/"), "{method}");
    }
    for (scheme, good) in
        [("https", true), ("ftp", true), ("x+1.-", true), ("1x", false), ("ht tp", false), ("h:", false)]
    {
        let fields = [(":method", "GET"), (":scheme", scheme), (":authority", "a.test"), (":path", "/")];
        assert_eq!(accepted(&fields), good, "{scheme}");
    }
}

#[test]
fn fields_keep_to_their_grammar() {
    for name in ["", "Accept", "x-Y", "a b", "a:b", "a_b", "a\0", "a\n", "a\u{e9}", "a\"", "content-Length"] {
        assert!(!accepted_with((name, b"1")), "{name:?}");
    }
    for value in [&b" x"[..], b"x ", b"\tx", b"x\t", b"a\rb", b"a\nb", b"a\0b", b"a\x7fb", b"a\x01", b" "] {
        assert!(!accepted_with(("x-mine", value)), "{value:?}");
        assert!(!accepted_with(("user-agent", value)), "{value:?}");
    }
    for value in [&b""[..], b"a b", b"a\tb", b"\xe9\xff", b"\"'(){}[]\\:;,<>?@="] {
        assert!(accepted_with(("x-mine", value)), "{value:?}");
    }
}

#[test]
fn fields_of_the_connection_are_malformed() {
    for (name, value) in [
        ("connection", "close"),
        ("connection", ""),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        ("te", ""),
    ] {
        assert!(!accepted_with((name, value.as_bytes())), "{name}: {value}");
    }
    assert!(accepted_with(("te", b"trailers")) && accepted_with(("te", b"Trailers")));
}

#[test]
fn content_length_is_one_number_and_what_comes() {
    for value in ["", "-1", "+1", "1,1", "0x1", "9223372036854775808", "1 1"] {
        assert!(!accepted_with(("content-length", value.as_bytes())), "{value}");
    }
    assert!(!accepted(&[&POST[..], &[("content-length", "1"), ("content-length", "1")]].concat()));
    let run = |length: &str, pieces: &[(&[u8], bool)], trailers: bool| {
        let mut side = Side::server();
        side.feed(&frame(HEADERS, END_HEADERS, 1, &with(&POST, &[("content-length", length)])));
        for (piece, end) in pieces {
            side.feed(&data(1, *end, piece));
        }
        if trailers {
            side.feed(&frame(HEADERS, END, 1, &block(&[("x", "y")])));
        }
        let reset = side.take_events().iter().any(|e| matches!(e, Event::Reset { stream: 1, by_peer: false, .. }));
        if reset {
            side.assert_reset(1, ErrorCode::PROTOCOL_ERROR);
        }
        !reset
    };
    assert!(run("4", &[(b"ab", false), (b"cd", true)], false));
    assert!(run("4", &[(b"ab", false), (b"cd", false), (b"", true)], false));
    assert!(run("4", &[(b"abcd", false)], true));
    assert!(run("0", &[(b"", true)], false));
    assert!(!run("4", &[(b"abc", true)], false));
    assert!(!run("4", &[(b"abcde", true)], false));
    assert!(!run("4", &[(b"ab", false), (b"cde", false)], false));
    assert!(!run("4", &[(b"abc", false)], true));
    assert!(!run("0", &[(b"a", true)], false));
    let mut side = Side::server();
    side.feed(&frame(HEADERS, END, 1, &with(&POST, &[("content-length", "1")])));
    side.assert_reset(1, ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn trailers_end_the_message() {
    let mut side = Side::server();
    side.feed(
        &[post(1), data(1, false, b"x"), frame(HEADERS, END, 1, &block(&[("grpc-status", "0"), ("host", "b")]))]
            .concat(),
    );
    let events = side.take_events();
    assert_eq!(events[2], Event::Trailers { stream: 1 });
    assert_eq!(side.heads[1].get_name(b"grpc-status"), Some(&b"0"[..]));
    assert_eq!(side.heads[1].len(), 1, "what may not stand in trailers is dropped");
    side.conn.send_response(1, 200, fields(&[]), true).unwrap();
    assert_eq!(side.conn.open_streams(), 0);

    // Without END_STREAM, with pseudo-header fields, with fields of the connection.
    let second = |flags, more: &[(&str, &str)]| {
        let mut side = Side::server();
        side.feed(&[post(1), frame(HEADERS, flags, 1, &block(more))].concat());
        side.assert_reset(1, ErrorCode::PROTOCOL_ERROR);
        assert!(matches!(side.take_events()[1], Event::Reset { stream: 1, by_peer: false, .. }));
    };
    second(END_HEADERS, &[("x", "y")]);
    second(END, &[(":path", "/")]);
    second(END, &[(":status", "200")]);
    second(END, &[("connection", "close")]);
    second(END, &[("X", "y")]);
}

#[test]
fn cookie_crumbs_are_joined() {
    for (crumbs, want) in [
        (&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3"), ("x", "y")][..], "a=1; b=2; c=3"),
        (&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("z", "y"), ("cookie", "c=3")][..], "a=1; b=2; c=3"),
        (&[("cookie", "a=1")][..], "a=1"),
    ] {
        let mut side = Side::server();
        side.feed(&frame(HEADERS, END, 1, &with(&GET, crumbs)));
        let head = &side.heads[0];
        assert_eq!(head.get(FieldId::Cookie), Some(want.as_bytes()));
        assert!(!head.has_many(FieldId::Cookie));
        let others = crumbs.iter().filter(|(n, _)| *n != "cookie").count();
        assert_eq!(head.len(), 1 + others);
        let lines: usize = head.fields().map(|f| f.name.len() + f.value.len() + 4).sum();
        assert_eq!(head.fields_bytes(), lines);
    }
}

#[test]
fn connect_has_an_authority_and_nothing_else() {
    let mut side = Side::server();
    side.feed(&frame(HEADERS, END_HEADERS, 1, &block(&[(":method", "CONNECT"), (":authority", "a.test:443")])));
    assert_eq!(side.take_events(), [Event::Head { stream: 1, end: false }]);
    assert_eq!(side.heads[0].method(), Method::Connect);
    assert_eq!(side.heads[0].path_and_query(), b"");
    assert!(!accepted(&[(":method", "CONNECT")]));
    assert!(!accepted(&[(":method", "CONNECT"), ("host", "a.test")]));
    assert!(!accepted(&[(":method", "CONNECT"), (":authority", "a.test"), (":path", "/")]));
    assert!(!accepted(&[(":method", "CONNECT"), (":authority", "a.test"), (":scheme", "http")]));
    assert!(!accepted(&[(":method", "CONNECT"), (":authority", "a.test"), ("content-length", "0")]));
}

#[test]
fn extended_connect_is_taken_when_offered() {
    let connect = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/chat"),
        (":authority", "a.test"),
    ];
    let mut side = Side::server_with(&Limits { connect_protocol: true, ..Limits::default() });
    side.feed(&frame(HEADERS, END_HEADERS, 1, &block(&connect)));
    assert_eq!(side.take_events(), [Event::Head { stream: 1, end: false }]);
    assert_eq!((side.conn.protocol(), side.conn.scheme()), (Protocol::WebSocket, Scheme::Https));
    assert_eq!(side.heads[0].path(), b"/chat");
    for left_out in 2..5 {
        let mut fields = connect.to_vec();
        fields.remove(left_out);
        assert!(!accepted(&fields), "{left_out}");
    }
    let mut get = connect;
    get[0].1 = "GET";
    assert!(!accepted(&get));
    let mut side = Side::server();
    side.feed(&frame(HEADERS, END_HEADERS, 1, &block(&connect)));
    side.assert_reset(1, ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn broken_compression_ends_the_connection() {
    for bytes in [&[0x80][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &[0, 5, b'a'], &[0xbf]] {
        let mut side = Side::server();
        side.feed(&frame(HEADERS, END, 1, bytes));
        side.assert_fatal(ErrorCode::COMPRESSION_ERROR);
    }
}
