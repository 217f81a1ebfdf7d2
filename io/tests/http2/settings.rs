//! SETTINGS, PING and their answers (RFC 9113, sections 6.5, 6.7; RFC 8441, section 3; RFC 9218, section 2.1).
use crate::support::*;
use edge_io::http2::{ErrorCode, Event, Limits, Refused, Role};

#[test]
fn settings_are_acknowledged_and_pings_answered_in_order() {
    let mut side = Side::server();
    side.feed(&[settings(&[(3, 7)]), frame(PING, 0, 0, b"01234567"), settings(&[])].concat());
    let out: Vec<_> = side.take_out().iter().map(|f| (f.kind, f.flags, f.payload.len())).collect();
    assert_eq!(out, [(SETTINGS, ACK, 0), (PING, ACK, 8), (SETTINGS, ACK, 0)]);
    side.feed(&frame(PING, ACK, 0, b"unasked!"));
    assert!(side.take_out().is_empty());
    assert_eq!(side.take_events().last(), Some(&Event::Pong(*b"unasked!")));
    side.conn.ping(*b"question");
    assert_eq!(side.take_out()[0].payload, b"question");
}

#[test]
fn values_are_in_range() {
    for (id, value, code) in [
        (2, 2, ErrorCode::PROTOCOL_ERROR),
        (4, 0x8000_0000, ErrorCode::FLOW_CONTROL_ERROR),
        (5, 16_383, ErrorCode::PROTOCOL_ERROR),
        (5, 1 << 24, ErrorCode::PROTOCOL_ERROR),
        (8, 2, ErrorCode::PROTOCOL_ERROR),
        (9, 2, ErrorCode::PROTOCOL_ERROR),
    ] {
        let mut side = Side::server();
        side.feed(&settings(&[(id, value)]));
        side.assert_fatal(code);
    }
    for (id, value) in
        [(1, 0), (1, u32::MAX), (2, 0), (2, 1), (3, 0), (4, 0x7fff_ffff), (5, (1 << 24) - 1), (6, 0), (0x77, 9)]
    {
        let mut side = Side::server();
        side.feed(&settings(&[(id, value)]));
        assert_eq!(side.take_events(), [Event::Settings], "{id}={value}");
    }
    let mut side = Side::client();
    side.feed(&settings(&[(2, 1)]));
    side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn extended_connect_is_not_taken_back() {
    let mut side = Side::client();
    assert!(!side.conn.peer_allows_connect_protocol());
    side.feed(&settings(&[(8, 1)]));
    assert!(side.conn.peer_allows_connect_protocol());
    side.feed(&settings(&[(8, 0)]));
    side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn the_scheme_of_priorities_does_not_change() {
    let mut side = Side::server();
    side.feed(&settings(&[(9, 0)]));
    assert_eq!(side.fatal, None);
    side.feed(&settings(&[(9, 1)]));
    side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn acknowledgements_are_seen() {
    let mut side = Side::new(Role::Client, &Limits::default());
    assert!(!side.conn.is_acknowledged() && !side.conn.has_peer_settings());
    side.feed(&settings(&[]));
    assert!(!side.conn.is_acknowledged() && side.conn.has_peer_settings());
    side.feed(&frame(SETTINGS, ACK, 0, &[]));
    assert!(side.conn.is_acknowledged());
}

#[test]
fn clients_open_as_many_streams_as_both_allow() {
    let mut side = Side::client_with(&Limits { streams: 5, ..Limits::default() });
    assert_eq!(side.conn.streams_max(), 5);
    side.feed(&settings(&[(3, 2)]));
    side.request("GET", true);
    side.request("GET", true);
    let request =
        edge_io::http2::RequestHead { method: b"GET", scheme: b"http", authority: b"a", path: b"/", protocol: None };
    assert!(!side.conn.can_open());
    assert_eq!(side.conn.send_request(&request, fields(&[]), true), Err(Refused::Streams));
    side.feed(&response(1, "200", true));
    assert!(side.conn.can_open());
    side.feed(&settings(&[(3, 0)]));
    assert_eq!(side.conn.send_request(&request, fields(&[]), true), Err(Refused::Streams));
}

#[test]
fn a_smaller_compression_table_is_kept_to_and_told() {
    let mut side = Side::server();
    side.feed(&settings(&[(1, 0)]));
    side.feed(&get(1));
    side.take_out();
    side.conn.send_response(1, 200, fields(&[("server", "edge")]), true).unwrap();
    let out = side.take_out();
    assert_eq!(out[0].payload[0], 0x20, "a size update to 0 comes first");
    let mut ours = Side::server_with(&Limits { table_bytes: 0, ..Limits::default() });
    let indexed = [&block(&GET)[..], &[0x40], &block(&[("x", "y")])[1..]].concat();
    ours.feed(&frame(HEADERS, END, 1, &[&[0x20][..], &indexed, &[0xbe]].concat()));
    ours.assert_fatal(ErrorCode::COMPRESSION_ERROR);
}
