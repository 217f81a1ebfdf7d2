//! The client's side: responses, interim ones, bodies that may not be, resets (RFC 9113, sections 8.1, 8.3.2, 8.7).
use crate::support::*;
use edge_io::http2::{ErrorCode, Event, Limits, RequestHead};

#[track_caller]
fn one(method: &str, input: &[Vec<u8>]) -> (Side, Vec<Event>) {
    let mut side = Side::client();
    side.request(method, true);
    side.feed(&input.concat());
    let events = side.take_events();
    (side, events)
}

#[track_caller]
fn malformed(method: &str, input: &[Vec<u8>]) {
    let (mut side, events) = one(method, input);
    let reset = Event::Reset { stream: 1, code: ErrorCode::PROTOCOL_ERROR, by_peer: false, unprocessed: false };
    assert_eq!(events.last(), Some(&reset));
    side.assert_reset(1, ErrorCode::PROTOCOL_ERROR);
    assert_eq!(side.conn.open_streams(), 0);
}

fn head(flags: u8, more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags, 1, &block(more))
}

#[test]
fn interim_responses_come_before_the_final_one() {
    let (side, events) = one(
        "GET",
        &[
            head(END_HEADERS, &[(":status", "100")]),
            head(END_HEADERS, &[(":status", "103"), ("link", "</a>")]),
            head(END_HEADERS, &[(":status", "200"), ("content-length", "2"), ("x_y", "1")]),
            data(1, false, b"ok"),
            head(END, &[("x-t", "1")]),
        ],
    );
    assert_eq!(side.heads.iter().map(|h| h.status()).collect::<Vec<_>>(), [100, 103, 200, 0]);
    assert_eq!(events.last(), Some(&Event::Trailers { stream: 1 }));
    assert_eq!(side.heads[2].get_name(b"x_y"), Some(&b"1"[..]));
    assert_eq!(side.conn.open_streams(), 0);
}

#[test]
fn malformed_responses_are_stream_errors() {
    malformed("GET", &[head(END, &[])]);
    malformed("GET", &[head(END, &[("server", "x")])]);
    malformed("GET", &[head(END, &[(":status", "100")])]);
    for status in ["", "20", "2000", "abc", "099", "600", "101", "2 0", "+20"] {
        malformed("GET", &[head(END_HEADERS, &[(":status", status)])]);
    }
    malformed("GET", &[head(END, &[(":status", "200"), (":status", "200")])]);
    malformed("GET", &[head(END, &[("a", "b"), (":status", "200")])]);
    malformed("GET", &[head(END, &[(":status", "200"), (":path", "/")])]);
    malformed("GET", &[head(END, &[(":status", "200"), ("Server", "x")])]);
    malformed("GET", &[head(END, &[(":status", "200"), ("connection", "close")])]);
    malformed("GET", &[head(END, &[(":status", "200"), ("x", "a\r\nb: c")])]);
    malformed("GET", &[data(1, true, b"x")]);
    malformed("GET", &[head(END_HEADERS, &[(":status", "100")]), data(1, true, b"x")]);
    malformed("GET", &[response(1, "200", false), response(1, "200", false)]);
}

#[test]
fn lengths_are_held_to() {
    let length =
        |n: &'static str, status: &'static str| head(END_HEADERS, &[(":status", status), ("content-length", n)]);
    malformed("GET", &[length("3", "200"), data(1, true, b"ab")]);
    malformed("GET", &[length("3", "200"), data(1, false, b"abcd")]);
    malformed("GET", &[head(END, &[(":status", "200"), ("content-length", "3")])]);
    malformed("GET", &[length("x", "200")]);
    malformed("HEAD", &[length("3", "200"), data(1, true, b"abc")]);
    malformed("GET", &[length("3", "304"), data(1, true, b"abc")]);
    malformed("GET", &[response(1, "204", false), data(1, true, b"abc")]);
    malformed("GET", &[length("3", "204")]);
    for (method, input) in [
        ("HEAD", vec![head(END, &[(":status", "200"), ("content-length", "3")])]),
        ("HEAD", vec![length("3", "200"), data(1, true, b"")]),
        ("GET", vec![head(END, &[(":status", "304"), ("content-length", "3")])]),
        ("GET", vec![response(1, "204", false), data(1, true, b"")]),
        ("GET", vec![length("0", "204"), data(1, true, b"")]),
        ("GET", vec![length("3", "200"), data(1, true, b"abc")]),
    ] {
        let (side, events) = one(method, &input);
        assert!(!events.iter().any(|e| matches!(e, Event::Reset { .. })), "{method} {events:?}");
        assert_eq!(side.conn.open_streams(), 0);
    }
}

#[test]
fn refusals_can_be_repeated_elsewhere() {
    let mut side = Side::client();
    side.request("POST", false);
    side.request("GET", true);
    side.feed(&[number(RST_STREAM, 1, 7), number(RST_STREAM, 3, 2)].concat());
    assert_eq!(
        side.take_events(),
        [
            Event::Reset { stream: 1, code: ErrorCode::REFUSED_STREAM, by_peer: true, unprocessed: true },
            Event::Reset { stream: 3, code: ErrorCode::INTERNAL_ERROR, by_peer: true, unprocessed: false },
        ]
    );
    assert!(side.conn.send_data(1, b"x", false).is_err());
}

#[test]
fn an_early_response_leaves_the_request_open() {
    let mut side = Side::client();
    side.request("POST", false);
    side.feed(&response(1, "413", true));
    assert_eq!(side.conn.open_streams(), 1);
    assert_eq!(side.conn.send_data(1, b"more", false), Ok(4));
    side.feed(&number(RST_STREAM, 1, 0));
    assert!(matches!(side.take_events()[1], Event::Reset { code: ErrorCode::NO_ERROR, .. }));
    assert_eq!(side.conn.open_streams(), 0);
}

#[test]
fn servers_open_no_streams() {
    for bad in [response(2, "200", true), response(3, "200", true), data(3, false, b"x"), number(WINDOW_UPDATE, 3, 1)] {
        let mut side = Side::client();
        side.request("GET", true);
        side.feed(&bad);
        side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
    }
    let mut side = Side::client();
    side.feed(&frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=1"));
    side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
    let mut side = Side::client();
    side.request("GET", true);
    side.feed(&[response(1, "200", true), response(1, "200", true)].concat());
    side.assert_fatal(ErrorCode::STREAM_CLOSED);
}

#[test]
fn responses_that_are_too_large_end_their_stream() {
    let mut side = Side::client_with(&Limits { head_bytes: 1000, fields: 5, ..Limits::default() });
    side.request("GET", true);
    side.request("GET", true);
    let long = "x".repeat(990);
    side.feed(&head(END, &[(":status", "200"), ("a", &long)]));
    side.assert_reset(1, ErrorCode::ENHANCE_YOUR_CALM);
    let many = [(":status", "200"), ("a", "b"), ("a", "b"), ("a", "b"), ("a", "b"), ("a", "b"), ("a", "b")];
    side.feed(&frame(HEADERS, END, 3, &block(&many)));
    side.assert_reset(3, ErrorCode::ENHANCE_YOUR_CALM);
}

#[test]
fn tunnels_have_no_length() {
    let mut side = Side::client();
    side.feed(&settings(&[(8, 1)]));
    let request = RequestHead {
        method: b"CONNECT",
        scheme: b"https",
        authority: b"a.test",
        path: b"/chat",
        protocol: Some(b"websocket"),
    };
    let stream = side.conn.send_request(&request, fields(&[]), false).unwrap();
    let mut server = Side::server_with(&Limits { connect_protocol: true, ..Limits::default() });
    side.conn.sent(9);
    server.feed(side.conn.out());
    assert_eq!(server.take_events(), [Event::Head { stream, end: false }]);
    let length = side.conn.out().len();
    side.conn.sent(length);
    side.feed(&head(END_HEADERS, &[(":status", "200"), ("content-length", "0")]));
    side.feed(&data(1, false, b"frames"));
    assert_eq!(side.data, [(1, b"frames".to_vec())]);
}
