//! GOAWAY, both ways (RFC 9113, section 6.8).
use crate::support::*;
use edge_io::http2::{ErrorCode, Event, Refused, RequestHead};

const REQUEST: RequestHead<'static> =
    RequestHead { method: b"GET", scheme: b"http", authority: b"a", path: b"/", protocol: None };

#[test]
fn a_server_goes_in_two_steps() {
    let mut side = Side::server();
    side.feed(&get(1));
    side.take_out();
    side.conn.go_away_gracefully();
    let out = side.take_out();
    assert_eq!((out[0].kind, out[0].word(0), out[0].word(4)), (GOAWAY, 0x7fff_ffff, 0));
    assert_eq!(out[1].kind, PING);
    assert!(!side.conn.is_drained() && side.conn.is_going_away());
    // On its way before the client knew.
    side.feed(&post(3));
    assert_eq!(side.take_events().last(), Some(&Event::Head { stream: 3, end: false }));
    side.feed(&frame(PING, ACK, 0, &out[1].payload));
    assert_eq!(side.take_events(), []);
    let out = side.take_out();
    assert_eq!((out[0].kind, out[0].word(0), out[0].word(4)), (GOAWAY, 3, 0));
    // Too late: ignored, but for the compression table and the window.
    let indexed = [&block(&POST)[..], &[0x40], &block(&[("x-t", "v")])[1..]].concat();
    side.feed(&[frame(HEADERS, END_HEADERS, 5, &indexed), data(5, true, b"x")].concat());
    side.feed(&frame(HEADERS, END, 3, &[0xbe]));
    assert_eq!(side.take_events(), [Event::Trailers { stream: 3 }]);
    assert_eq!(side.heads.last().unwrap().get_name(b"x-t"), Some(&b"v"[..]));
    side.conn.go_away_gracefully();
    assert!(side.take_out().is_empty());
    for stream in [1, 3] {
        assert!(!side.conn.is_drained());
        side.conn.send_response(stream, 200, fields(&[]), true).unwrap();
    }
    assert!(side.conn.is_drained());
    side.take_out();
    side.conn.go_away(ErrorCode::NO_ERROR);
    assert_eq!(side.take_out()[0].word(0), 3, "the last stream does not grow");
}

#[test]
fn the_second_step_can_be_forced() {
    let mut side = Side::server();
    side.conn.go_away_gracefully();
    side.conn.go_away_gracefully();
    let out = side.take_out();
    assert_eq!((out[2].kind, out[2].word(0)), (GOAWAY, 0));
    assert!(side.conn.is_drained());
}

#[test]
fn a_client_goes_at_once() {
    let mut side = Side::client();
    side.request("GET", true);
    side.conn.go_away_gracefully();
    assert_eq!(side.take_out()[0].word(0), 0);
    assert_eq!(side.conn.send_request(&REQUEST, fields(&[]), true), Err(Refused::GoingAway));
    side.feed(&response(1, "200", true));
    assert!(side.conn.is_drained());
}

#[test]
fn streams_above_the_last_were_not_processed() {
    let mut side = Side::client();
    for _ in 0..4 {
        side.request("GET", true);
    }
    side.feed(&frame(GOAWAY, 0, 0, &[&3u32.to_be_bytes()[..], &0u32.to_be_bytes(), b"bye"].concat()));
    let events = side.take_events();
    assert_eq!(events[0], Event::GoAway { last_stream: 3, code: ErrorCode::NO_ERROR });
    let mut unprocessed: Vec<u32> = events[1..]
        .iter()
        .map(|e| match e {
            Event::Reset { stream, by_peer: true, unprocessed: true, .. } => *stream,
            other => panic!("{other:?}"),
        })
        .collect();
    unprocessed.sort();
    assert_eq!(unprocessed, [5, 7]);
    assert!(!side.conn.can_open());
    assert_eq!(side.conn.send_request(&REQUEST, fields(&[]), true), Err(Refused::GoingAway));
    side.feed(&[response(1, "200", true), response(3, "200", true)].concat());
    assert_eq!(side.take_events().len(), 2);
    // Strange, but harmless.
    side.feed(&response(5, "200", true));
    side.assert_alive();
}

#[test]
fn a_later_goaway_may_only_lower_the_last() {
    let mut side = Side::client();
    for _ in 0..3 {
        side.request("GET", true);
    }
    let go_away = |last: u32| frame(GOAWAY, 0, 0, &[last.to_be_bytes(), 0u32.to_be_bytes()].concat());
    side.feed(&go_away(0x7fff_ffff));
    assert_eq!(side.take_events().len(), 1);
    side.feed(&go_away(1));
    assert_eq!(side.take_events().len(), 3);
    side.feed(&go_away(5));
    assert_eq!(side.take_events(), [Event::GoAway { last_stream: 1, code: ErrorCode::NO_ERROR }]);
    assert_eq!(side.conn.open_streams(), 1);
}

#[test]
fn a_client_that_goes_is_told() {
    let mut side = Side::server();
    side.feed(&post(1));
    side.feed(&frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 2]));
    assert_eq!(side.take_events()[1..], [Event::GoAway { last_stream: 0, code: ErrorCode::INTERNAL_ERROR }]);
    assert_eq!(side.conn.open_streams(), 1);
}
