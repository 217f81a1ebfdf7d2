//! Flow control (RFC 9113, sections 5.2, 6.9).
use crate::support::*;
use edge_io::http2::{ErrorCode, Event, Limits};

/// A server with a request whose response's head is sent.
fn answering(initial: u32) -> Side {
    let mut side = Side::server();
    side.feed(&settings(&[(4, initial)]));
    side.feed(&get(1));
    side.conn.send_response(1, 200, fields(&[]), false).unwrap();
    side.take_out();
    side.take_events();
    side
}

fn sent_data(side: &mut Side) -> Vec<usize> {
    side.take_out().iter().filter(|f| f.kind == DATA).map(|f| f.payload.len()).collect()
}

#[test]
fn zero_increments_are_errors() {
    let mut side = Side::server();
    side.feed(&number(WINDOW_UPDATE, 0, 0));
    side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
    let mut side = Side::server();
    side.feed(&[get(1), number(WINDOW_UPDATE, 1, 0)].concat());
    side.assert_reset(1, ErrorCode::PROTOCOL_ERROR);
    let mut side = Side::server();
    side.feed(&number(WINDOW_UPDATE, 0, 0x8000_0000));
    side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
}

#[test]
fn windows_do_not_grow_beyond_their_maximum() {
    let mut side = Side::server();
    side.feed(&number(WINDOW_UPDATE, 0, 0x7fff_ffff - 65_535));
    side.assert_alive();
    side.feed(&number(WINDOW_UPDATE, 0, 1));
    side.assert_fatal(ErrorCode::FLOW_CONTROL_ERROR);
    let mut side = Side::server();
    side.feed(&[get(1), number(WINDOW_UPDATE, 1, 0x7fff_ffff - 65_535)].concat());
    side.assert_alive();
    side.feed(&number(WINDOW_UPDATE, 1, 1));
    side.assert_reset(1, ErrorCode::FLOW_CONTROL_ERROR);
    let mut side = Side::server();
    side.feed(&[get(1), number(WINDOW_UPDATE, 1, 1), settings(&[(4, 0x7fff_ffff)])].concat());
    side.assert_fatal(ErrorCode::FLOW_CONTROL_ERROR);
}

#[test]
fn data_keep_to_the_streams_window() {
    let mut side = answering(1);
    assert_eq!(side.conn.send_data(1, b"hello", true), Ok(1));
    assert_eq!(sent_data(&mut side), [1]);
    assert_eq!(side.conn.next_writable(), None);
    assert_eq!(side.conn.send_data(1, b"ello", true), Ok(0));
    side.feed(&number(WINDOW_UPDATE, 1, 3));
    assert_eq!(side.take_events(), [Event::Writable]);
    assert_eq!(side.conn.next_writable(), Some(1));
    assert_eq!(side.conn.next_writable(), None);
    assert_eq!(side.conn.send_data(1, b"ello", true), Ok(3));
    side.feed(&number(WINDOW_UPDATE, 1, 100));
    assert_eq!(side.conn.next_writable(), Some(1));
    assert_eq!(side.conn.send_data(1, b"o", true), Ok(1));
    let out = side.take_out();
    assert_eq!(out.last().unwrap().flags, END_STREAM);
    assert_eq!(side.conn.open_streams(), 0);
}

#[test]
fn windows_become_negative_and_recover() {
    let mut side = answering(10);
    assert_eq!(side.conn.send_data(1, &[0; 100], true), Ok(10));
    side.feed(&settings(&[(4, 3)]));
    // -7 now.
    side.feed(&number(WINDOW_UPDATE, 1, 7));
    assert_eq!(side.conn.next_writable(), None);
    assert_eq!(side.conn.send_data(1, &[0; 90], true), Ok(0));
    assert_eq!(side.take_events(), [Event::Settings]);
    side.feed(&number(WINDOW_UPDATE, 1, 1));
    assert_eq!(side.take_events(), [Event::Writable]);
    assert_eq!(side.conn.next_writable(), Some(1));
    assert_eq!(side.conn.send_data(1, &[0; 90], true), Ok(1));
    side.feed(&settings(&[(4, 5)]));
    assert_eq!(side.conn.next_writable(), Some(1));
    assert_eq!(side.conn.send_data(1, &[0; 89], true), Ok(2));
    assert_eq!(sent_data(&mut side), [10, 1, 2]);
    // Listed, and then without a window again.
    side.feed(&settings(&[(4, 50)]));
    side.feed(&settings(&[(4, 0)]));
    assert_eq!(side.conn.next_writable(), None);
}

#[test]
fn data_keep_to_the_connections_window() {
    let mut side = Side::server_with(&Limits { out_bytes: 1 << 20, ..Limits::default() });
    side.feed(&settings(&[(4, 1 << 20)]));
    side.feed(&[get(1), get(3)].concat());
    for stream in [1, 3] {
        side.conn.send_response(stream, 200, fields(&[]), false).unwrap();
    }
    assert_eq!(side.conn.send_data(1, &[0; 100_000], false), Ok(65_535));
    assert_eq!(side.conn.send_data(3, &[0; 10], true), Ok(0));
    assert_eq!(sent_data(&mut side), [16_384, 16_384, 16_384, 16_383]);
    side.take_events();
    side.feed(&number(WINDOW_UPDATE, 3, 100));
    assert_eq!(side.take_events(), [], "the connection's window is what blocks");
    side.feed(&number(WINDOW_UPDATE, 0, 50_000));
    assert_eq!(side.take_events(), [Event::Writable]);
    assert_eq!(side.conn.next_writable(), Some(1));
    assert_eq!(side.conn.send_data(1, &[0; 34_465], true), Ok(34_465));
    assert_eq!(side.conn.next_writable(), Some(3));
    assert_eq!(side.conn.send_data(3, &[0; 10], true), Ok(10));
    assert_eq!(side.conn.next_writable(), None);
}

#[test]
fn queued_output_blocks_data() {
    let mut side = answering(1 << 20);
    side.feed(&number(WINDOW_UPDATE, 0, 1 << 20));
    let taken = side.conn.send_data(1, &vec![0; 200_000], true).unwrap();
    let queued = side.conn.out().len();
    assert!(taken > 60_000 && queued <= 65_536 + 64, "{taken} {queued}");
    assert_eq!(side.conn.next_writable(), None);
    side.conn.sent(500);
    assert_eq!(side.conn.next_writable(), None, "no slivers");
    side.conn.sent(20_000);
    assert_eq!(side.conn.next_writable(), Some(1));
}

#[test]
fn peers_keep_to_our_windows() {
    let limits = Limits { stream_window: 100_000, connection_window: 150_000, ..Limits::default() };
    let mut side = Side::server_with(&limits);
    side.consume = false;
    side.feed(&[post(1), post(3)].concat());
    for _ in 0..10 {
        side.feed(&data(1, false, &[0; 10_000]));
    }
    side.assert_alive();
    side.feed(&data(1, false, &[0]));
    side.assert_reset(1, ErrorCode::FLOW_CONTROL_ERROR);
    // What stream 1 held is the connection's again.
    for _ in 0..10 {
        side.feed(&data(3, false, &[0; 10_000]));
    }
    side.assert_alive();
    side.feed(&post(5));
    for _ in 0..10 {
        side.feed(&data(5, false, &[0; 10_000]));
    }
    side.assert_fatal(ErrorCode::FLOW_CONTROL_ERROR);
}

#[test]
fn what_is_consumed_is_announced_in_halves() {
    let limits = Limits { stream_window: 100_000, connection_window: 200_000, ..Limits::default() };
    let mut side = Side::server_with(&limits);
    side.consume = false;
    side.feed(&post(1));
    let updates = |side: &mut Side| -> Vec<(u32, u32)> {
        side.take_out().iter().filter(|f| f.kind == WINDOW_UPDATE).map(|f| (f.stream, f.word(0))).collect()
    };
    for _ in 0..10 {
        side.feed(&data(1, false, &[0; 10_000]));
    }
    side.conn.consumed(1, 49_999);
    assert_eq!(updates(&mut side), []);
    side.conn.consumed(1, 1);
    assert_eq!(updates(&mut side), [(1, 50_000)]);
    side.conn.consumed(1, 1_000_000);
    assert_eq!(updates(&mut side), [(1, 50_000), (0, 100_000)], "no more than came");
    side.feed(&frame(DATA, PADDED, 1, &[&[255][..], &[0; 255]].concat()));
    for _ in 0..195 {
        side.feed(&frame(DATA, PADDED | u8::from(false), 1, &[&[255][..], b"x", &[0; 255]].concat()));
    }
    assert_eq!(updates(&mut side), [(1, 50_176)], "padding is consumed at once");
}

#[test]
fn no_update_for_streams_that_need_none() {
    let limits = Limits { stream_window: 100_000, connection_window: 200_000, ..Limits::default() };
    let mut side = Side::server_with(&limits);
    side.feed(&frame(HEADERS, END_HEADERS, 1, &with(&POST, &[("content-length", "90000")])));
    for n in 1..=9 {
        side.feed(&data(1, n == 9, &[0; 10_000]));
    }
    assert_eq!(side.take_out(), [], "all of the body fits the window from the start");
    side.feed(&frame(HEADERS, END_HEADERS, 3, &with(&POST, &[("content-length", "300000")])));
    for n in 1..=30 {
        side.feed(&data(3, n == 30, &[0; 10_000]));
    }
    let streams: Vec<u32> = side.take_out().iter().map(|f| f.stream).collect();
    assert_eq!(side.fatal, None);
    assert_eq!(streams.iter().filter(|s| **s == 3).count(), 4);
}

#[test]
fn small_windows_of_ours_hold_from_the_acknowledgement_on() {
    let limits = Limits { stream_window: 1000, ..Limits::default() };
    let mut side = Side::new(edge_io::http2::Role::Server, &limits);
    side.consume = false;
    side.feed(&[&edge_io::http2::PREFACE[..], &settings(&[]), &post(1), &post(3)].concat());
    side.feed(&data(1, false, &[0; 16_000]));
    side.feed(&frame(SETTINGS, ACK, 0, &[]));
    assert_eq!(side.fatal, None);
    side.feed(&data(3, false, &[0; 1000]));
    side.assert_alive();
    side.feed(&data(3, false, &[0; 1]));
    side.assert_reset(3, ErrorCode::FLOW_CONTROL_ERROR);
    side.feed(&data(1, false, &[0; 1]));
    side.assert_reset(1, ErrorCode::FLOW_CONTROL_ERROR);
}
