//! Stream states and identifiers (RFC 9113, sections 5.1, 5.3, 5.4, 6.2, 6.4, 6.6, 6.10).
use crate::support::*;
use edge_io::http2::{ErrorCode, Event, Limits};

fn reset(stream: u32, code: ErrorCode, by_peer: bool) -> Event {
    Event::Reset { stream, code, by_peer, unprocessed: code == ErrorCode::REFUSED_STREAM }
}

/// Answers a request with a head and no body.
fn answer(side: &mut Side, stream: u32) {
    side.conn.send_response(stream, 200, fields(&[]), true).unwrap();
}

#[test]
fn frames_on_idle_streams_end_the_connection() {
    for bad in [
        data(1, false, b"x"),
        number(RST_STREAM, 1, 8),
        number(WINDOW_UPDATE, 1, 100),
        frame(CONTINUATION, END_HEADERS, 1, &block(&GET)),
        data(2, false, b"x"),
        number(WINDOW_UPDATE, 2, 100),
    ] {
        let mut side = Side::server();
        side.feed(&bad);
        side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
    }
    let mut side = Side::server();
    side.feed(&frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 7]));
    side.feed(&get(1));
    assert_eq!(side.take_events(), [Event::Head { stream: 1, end: true }]);
}

#[test]
fn half_closed_streams_take_no_more_of_the_message() {
    for late in [data(1, false, b"x"), get(1), frame(HEADERS, END, 1, &block(&[("x", "y")]))] {
        let mut side = Side::server();
        side.feed(&[get(1), late].concat());
        side.assert_reset(1, ErrorCode::STREAM_CLOSED);
        assert_eq!(
            side.take_events(),
            [Event::Head { stream: 1, end: true }, reset(1, ErrorCode::STREAM_CLOSED, false)]
        );
        assert!(side.conn.send_response(1, 200, fields(&[]), true).is_err());
    }
    let mut side = Side::server();
    side.feed(&[get(1), frame(CONTINUATION, END_HEADERS, 1, &[])].concat());
    side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
    let mut side = Side::server();
    side.feed(&[get(1), number(WINDOW_UPDATE, 1, 5), frame(PRIORITY, 0, 1, &[0; 5])].concat());
    side.assert_alive();
    assert_eq!(side.conn.open_streams(), 1);
    side.feed(&number(RST_STREAM, 1, 8));
    assert_eq!(side.take_events()[1], reset(1, ErrorCode::CANCEL, true));
    assert_eq!(side.conn.open_streams(), 0);
}

#[test]
fn frames_on_closed_streams() {
    let closed = || {
        let mut side = Side::server();
        side.feed(&get(1));
        answer(&mut side, 1);
        assert_eq!(side.conn.open_streams(), 0);
        side.take_out();
        side
    };
    for bad in [data(1, false, b"x"), get(1), data(1, true, b"")] {
        let mut side = closed();
        side.feed(&bad);
        side.assert_fatal(ErrorCode::STREAM_CLOSED);
    }
    let mut side = closed();
    side.feed(&frame(CONTINUATION, END_HEADERS, 1, &[]));
    side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
    // These may have crossed our END_STREAM.
    let mut side = closed();
    side.feed(&[number(WINDOW_UPDATE, 1, 5), number(RST_STREAM, 1, 8), frame(PRIORITY, 0, 1, &[0; 5])].concat());
    side.assert_alive();
    // After the peer's own RST_STREAM.
    for bad in [data(1, false, b"x"), get(1)] {
        let mut side = Side::server();
        side.feed(&[post(1), number(RST_STREAM, 1, 8), bad].concat());
        side.assert_fatal(ErrorCode::STREAM_CLOSED);
    }
}

#[test]
fn what_was_in_flight_when_we_reset_is_taken() {
    let mut side = Side::server();
    side.feed(&post(1));
    side.conn.reset(1, ErrorCode::CANCEL);
    side.assert_reset(1, ErrorCode::CANCEL);
    side.take_events();
    for _ in 0..15 {
        side.feed(&data(1, false, &[0; 16_384]));
    }
    // It updates the compression table all the same: 62 is an index of an entry that this block makes.
    let mut indexed = vec![0x40];
    indexed.extend(&block(&[("x-t", "v")])[1..]);
    side.feed(&frame(HEADERS, END, 1, &indexed));
    side.feed(&[number(WINDOW_UPDATE, 1, 1), number(RST_STREAM, 1, 8)].concat());
    assert_eq!(side.take_events(), []);
    let given_back: u32 =
        side.take_out().iter().filter(|f| (f.kind, f.stream) == (WINDOW_UPDATE, 0)).map(|f| f.word(0)).sum();
    assert_eq!(given_back, 0, "less than half the window");
    side.feed(&frame(HEADERS, END, 3, &[&block(&GET)[..], &[0x80 | 62]].concat()));
    assert_eq!(side.heads.last().unwrap().get_name(b"x-t"), Some(&b"v"[..]));
    side.feed(&data(1, false, &[0; 16_384]));
    side.feed(&data(1, false, &[0; 1]));
    side.assert_fatal(ErrorCode::FLOW_CONTROL_ERROR);

    // Not for ever.
    let mut side = Side::server();
    side.feed(&post(1));
    side.conn.reset(1, ErrorCode::CANCEL);
    side.now_ms = 60_000;
    side.feed(&data(1, false, b"x"));
    side.assert_fatal(ErrorCode::STREAM_CLOSED);
}

#[test]
fn data_for_reset_streams_returns_to_the_connection() {
    let mut side = Side::server();
    let mut given_back = 0;
    for n in 0..200 {
        let stream = 1 + 2 * n;
        side.feed(&post(stream));
        side.conn.reset(stream, ErrorCode::NO_ERROR);
        side.feed(&data(stream, false, &[0; 16_384]));
        given_back +=
            side.take_out().iter().filter(|f| (f.kind, f.stream) == (WINDOW_UPDATE, 0)).map(|f| f.word(0)).sum::<u32>();
    }
    assert_eq!(side.fatal, None);
    assert!(given_back > 200 * 16_384 - 600_000);
    assert!(side.conn.memory() < 32 * 1024, "{}", side.conn.memory());
}

#[test]
fn a_reset_in_the_middle_of_a_frame_drops_the_rest_of_it() {
    let mut side = Side::server();
    side.consume = false;
    let piece = data(1, false, &[1; 1000]);
    side.feed(&[post(1), piece[..509].to_vec()].concat());
    side.conn.reset(1, ErrorCode::CANCEL);
    side.feed(&piece[509..]);
    side.feed(&get(3));
    assert_eq!(side.data, [(1, vec![1; 500])]);
    assert_eq!(side.take_events().last(), Some(&Event::Head { stream: 3, end: true }));
}

#[test]
fn stream_ids_are_odd_and_grow() {
    for (first, second, code) in [
        (get(2), vec![], ErrorCode::PROTOCOL_ERROR),
        (get(5), get(3), ErrorCode::PROTOCOL_ERROR),
        (get(5), get(4), ErrorCode::PROTOCOL_ERROR),
    ] {
        let mut side = Side::server();
        side.feed(&[first, second].concat());
        side.assert_fatal(code);
    }
    let mut side = Side::server();
    side.feed(&[get(1), get(9), get(0x7fff_ffff)].concat());
    assert_eq!(side.take_events().len(), 3);
}

#[test]
fn more_streams_than_allowed_are_refused() {
    let mut side = Side::server_with(&Limits { streams: 3, ..Limits::default() });
    side.feed(&[post(1), post(3), post(5), post(7)].concat());
    assert_eq!(side.take_events().len(), 3);
    side.assert_reset(7, ErrorCode::REFUSED_STREAM);
    // Its data was on the way; its header block was read.
    side.feed(&data(7, true, b"x"));
    side.feed(&number(RST_STREAM, 3, 8));
    side.feed(&post(9));
    assert_eq!(side.take_events().last(), Some(&Event::Head { stream: 9, end: false }));
}

#[test]
fn header_blocks_continue() {
    let mut side = Side::server();
    let start = frame(HEADERS, END_STREAM, 1, &block(&GET)[..9]);
    side.feed(&[start, frame(CONTINUATION, END_HEADERS, 1, &block(&GET)[9..])].concat());
    assert_eq!(side.take_events(), [Event::Head { stream: 1, end: true }]);
    side.feed(&frame(CONTINUATION, END_HEADERS, 1, &[]));
    side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn header_blocks_are_not_interrupted() {
    for bad in [
        data(1, false, b"x"),
        get(3),
        get(1),
        frame(PING, 0, 0, &[0; 8]),
        settings(&[]),
        frame(PRIORITY, 0, 1, &[0; 5]),
        frame(0xf0, 0, 0, &[]),
        frame(CONTINUATION, END_HEADERS, 3, &block(&GET)[9..]),
        number(WINDOW_UPDATE, 0, 1),
        number(RST_STREAM, 1, 8),
    ] {
        let mut side = Side::server();
        side.feed(&[frame(HEADERS, END_STREAM, 1, &block(&GET)[..9]), bad].concat());
        side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn a_stream_cannot_depend_on_itself() {
    let mut side = Side::server();
    let payload = [&[0, 0, 0, 1, 7][..], &block(&GET)].concat();
    side.feed(&frame(HEADERS, END | PRIORITIZED, 1, &payload));
    assert_eq!(side.take_events(), []);
    side.assert_reset(1, ErrorCode::PROTOCOL_ERROR);
    side.feed(&post(3));
    side.feed(&frame(PRIORITY, 0, 3, &[0x80, 0, 0, 3, 7]));
    side.assert_reset(3, ErrorCode::PROTOCOL_ERROR);
    side.feed(&frame(PRIORITY, 0, 5, &[0, 0, 0, 5, 7]));
    side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn push_promises_are_refused_by_both() {
    for mut side in [Side::server(), Side::client()] {
        side.feed(&frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]));
        side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn responses_end_streams() {
    let mut side = Side::server();
    side.feed(&[post(1), get(3)].concat());
    assert!(side.conn.send_data(1, b"x", false).is_err(), "no head yet");
    assert!(side.conn.send_trailers(1, fields(&[])).is_err(), "no head yet");
    side.conn.send_response(1, 103, fields(&[("link", "x")]), true).unwrap();
    side.conn.send_response(1, 200, fields(&[("Connection", "close"), ("X-Y", "z")]), false).unwrap();
    assert!(side.conn.send_response(1, 200, fields(&[]), false).is_err(), "twice");
    assert_eq!(side.conn.send_data(1, b"", false), Ok(0));
    assert_eq!(side.conn.send_data(1, b"body", true), Ok(4));
    assert!(side.conn.send_data(1, b"x", false).is_err());
    assert!(side.conn.send_trailers(1, fields(&[])).is_err());
    assert_eq!(side.conn.open_streams(), 2);
    let out = side.take_out();
    let kinds: Vec<_> = out.iter().map(|f| (f.kind, f.flags, f.stream)).collect();
    assert_eq!(kinds, [(HEADERS, END_HEADERS, 1), (HEADERS, END_HEADERS, 1), (DATA, END_STREAM, 1)]);
    side.feed(&data(1, true, b"end"));
    assert_eq!(side.conn.open_streams(), 1);
    answer(&mut side, 3);
    assert_eq!(side.conn.open_streams(), 0);
    assert!(side.conn.send_response(3, 200, fields(&[]), true).is_err());
    side.conn.reset(3, ErrorCode::CANCEL);
    side.conn.consumed(3, 100);
    assert_eq!(side.take_out().len(), 1);
}
