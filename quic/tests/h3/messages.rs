//! Messages as they are told: heads, data, trailers, ends; and heads as they are written.
use crate::support::*;
use edge_io::head::Version;
use edge_quic::h3::{Event, RequestHead, Role, Scheme, Stream, data_header};

#[test]
fn a_request_is_told_piece_by_piece() {
    let mut side = Side::new(Role::Server);
    let input = [
        request(&[("cookie", "a=1"), ("cookie", "b=2"), ("content-length", "5"), ("host", "A.example")]),
        data(b"ab"),
        data(b"cde"),
        headers(&[("x-sum", "1"), ("content-length", "9")]),
    ]
    .concat();
    let run = side.stream(0, &input, true);
    assert_eq!(run.error, None);
    let head = "GET a.example /x?y\ncookie: a=1; b=2\ncontent-length: 5\nhost: A.example";
    assert_eq!(
        run.seen,
        [Seen::Head(head.into()), Seen::Data(b"abcde".to_vec()), Seen::Trailers("  \nx-sum: 1".into())]
    );
    assert_eq!(side.head.version(), Version::Http3);
    assert_eq!(side.connection.scheme(), Scheme::Https);
}

#[test]
fn the_end_is_told_with_what_comes_last() {
    let mut side = Side::new(Role::Server);
    let get = request(&[]);
    let mut receive = |stream: &mut Stream, input: &[u8], fin| {
        side.connection.receive(stream, 0, input, fin, 0, &mut side.head).expect("no error")
    };
    let mut stream = Stream::new();
    assert_eq!(receive(&mut stream, &get, true), (get.len(), Some(Event::Head { end: true })));
    assert!(stream.is_done() && stream.has_head());
    assert_eq!(receive(&mut stream, &[], true), (0, None));

    let mut stream = Stream::new();
    assert_eq!(receive(&mut stream, &get, false), (get.len(), Some(Event::Head { end: false })));
    assert_eq!(receive(&mut stream, &[0, 3, 1], false), (3, Some(Event::Data { range: 2..3, end: false })));
    assert_eq!(receive(&mut stream, &[], false), (0, None));
    assert_eq!(receive(&mut stream, &[2, 3], true), (2, Some(Event::Data { range: 0..2, end: true })));

    let mut stream = Stream::new();
    let all = [&get[..], &[0, 1, 7, 0, 0]].concat();
    assert_eq!(receive(&mut stream, &all, true), (get.len(), Some(Event::Head { end: false })));
    let rest = &all[get.len()..];
    assert_eq!(receive(&mut stream, rest, true), (3, Some(Event::Data { range: 2..3, end: false })));
    assert_eq!(receive(&mut stream, &rest[3..], true), (2, Some(Event::End)));

    let mut stream = Stream::new();
    let all = [get.clone(), headers(&[])].concat();
    assert_eq!(receive(&mut stream, &all, true).0, get.len());
    assert_eq!(receive(&mut stream, &all[get.len()..], true), (all.len() - get.len(), Some(Event::Trailers)));
    assert!(stream.is_done());
}

#[test]
fn what_is_written_is_read() {
    let (mut client, mut server) = (Side::new(Role::Client), Side::new(Role::Server));
    let long = "v".repeat(20_000);
    let sent = [("X-Mine", "Value"), ("connection", "close"), ("transfer-encoding", "chunked"), ("x-long", &long)];
    let mut stream = Stream::new();
    let mut out = Vec::new();
    let head =
        RequestHead { method: b"PUT", scheme: b"http", authority: b"b.example:8080", path: b"/p", protocol: None };
    client.connection.write_request(&mut stream, 0, &head, fields(&sent), &mut out);
    data_header(3, &mut out);
    out.extend_from_slice(b"abc");
    client.connection.write_trailers(0, fields(&[("x-sum", "9")]), &mut out);
    let run = server.stream(0, &out, true);
    let text = format!("PUT b.example:8080 /p\nx-mine: Value\nx-long: {long}");
    assert_eq!(run.seen, [Seen::Head(text), Seen::Data(b"abc".to_vec()), Seen::Trailers("  \nx-sum: 9".into())]);
    assert_eq!(server.connection.scheme(), Scheme::Http);

    let mut out = Vec::new();
    server.connection.write_response(0, 103, fields(&[("link", "</a>")]), &mut out);
    server.connection.write_response(0, 418, fields(&[("Server", "edge"), ("Upgrade", "x")]), &mut out);
    let run = client.go_on(&mut stream, 0, &out, true);
    assert_eq!(run.seen, [Seen::Head("103\nlink: </a>".into()), Seen::Head("418\nserver: edge".into()), Seen::End]);
}

#[test]
fn a_connect_is_written_without_what_it_may_not_have() {
    let (mut client, mut server) = (Side::new(Role::Client), Side::new(Role::Server));
    let mut out = Vec::new();
    let head = RequestHead { method: b"CONNECT", scheme: b"https", authority: b"b:1", path: b"/", protocol: None };
    client.connection.write_request(&mut Stream::new(), 0, &head, std::iter::empty(), &mut out);
    assert_eq!(server.stream(0, &out, false).seen, [Seen::Head("CONNECT b:1 ".into())]);
}
