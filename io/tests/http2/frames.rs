//! Frames as such: preface, header, sizes, padding, flags, unknown types (RFC 9113, sections 3.4, 4, 5.5, 6).
use crate::support::*;
use edge_io::http2::{ErrorCode, Event, Limits, PREFACE, Role};

#[test]
fn a_server_begins_with_settings_and_its_window() {
    let mut side = Side::new(Role::Server, &Limits { connect_protocol: true, ..Limits::default() });
    let out = side.take_out();
    assert_eq!((out[0].kind, out[0].flags, out[0].stream), (SETTINGS, 0, 0));
    let said: Vec<(u16, u32)> = out[0]
        .payload
        .chunks(6)
        .map(|c| (u16::from_be_bytes([c[0], c[1]]), u32::from_be_bytes([c[2], c[3], c[4], c[5]])))
        .collect();
    assert_eq!(said, [(3, 128), (4, 262_144), (6, 32_768), (8, 1), (9, 1)]);
    assert_eq!((out[1].kind, out[1].stream, out[1].word(0)), (WINDOW_UPDATE, 0, 1_048_576 - 65_535));
    assert_eq!(out.len(), 2);
}

#[test]
fn a_client_begins_with_the_preface_and_without_push() {
    let mut side = Side::new(Role::Client, &Limits::default());
    assert!(side.conn.out().starts_with(PREFACE));
    let out = side.take_out();
    assert_eq!(&out[0].payload[..6], [0, 2, 0, 0, 0, 0]);
}

#[test]
fn the_preface_may_come_in_pieces_and_must_be_right() {
    let mut side = Side::new(Role::Server, &Limits::default());
    for byte in PREFACE {
        side.feed(&[*byte]);
    }
    side.feed(&settings(&[]));
    assert_eq!(side.take_events(), [Event::Settings]);
    for at in [0, 5, 23] {
        let mut preface = *PREFACE;
        preface[at] ^= 0x20;
        let mut side = Side::new(Role::Server, &Limits::default());
        side.feed(&preface[..=at]);
        side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn settings_come_first() {
    for first in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, ACK, 0, &[]), get(1), frame(0xbb, 0, 0, &[])] {
        let mut side = Side::new(Role::Server, &Limits::default());
        side.feed(&[&PREFACE[..], &first].concat());
        side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
        let mut side = Side::new(Role::Client, &Limits::default());
        side.feed(&first);
        side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn frames_above_the_size_that_we_allow_end_the_connection() {
    for kind in [DATA, HEADERS, SETTINGS, PING, CONTINUATION, 0xee] {
        let mut side = Side::server();
        side.feed(&post(1));
        side.feed(&frame(kind, 0, 1, &[0; 16_385])[..9]);
        side.assert_fatal(ErrorCode::FRAME_SIZE_ERROR);
    }
    let mut side = Side::server();
    side.feed(&[post(1), data(1, true, &[7; 16_384])].concat());
    assert_eq!(side.data, [(1, vec![7; 16_384])]);
    let mut side = Side::server_with(&Limits { frame_bytes: 20_000, ..Limits::default() });
    side.feed(&[post(1), data(1, true, &[7; 20_000])].concat());
    assert_eq!(side.data, [(1, vec![7; 20_000])]);
}

#[test]
fn frames_of_fixed_size_have_it() {
    for (kind, stream, right) in
        [(PING, 0, 8), (RST_STREAM, 1, 4), (WINDOW_UPDATE, 0, 4), (WINDOW_UPDATE, 1, 4), (GOAWAY, 0, 8)]
    {
        for wrong in [0, right - 1, right + 1] {
            if kind == GOAWAY && wrong > right {
                continue;
            }
            let mut side = Side::server();
            side.feed(&post(1));
            side.feed(&frame(kind, 0, stream, &vec![0; wrong]));
            side.assert_fatal(ErrorCode::FRAME_SIZE_ERROR);
        }
    }
    for wrong in [1, 5, 7, 11] {
        let mut side = Side::server();
        side.feed(&frame(SETTINGS, 0, 0, &vec![0; wrong]));
        side.assert_fatal(ErrorCode::FRAME_SIZE_ERROR);
    }
    let mut side = Side::server();
    side.feed(&frame(SETTINGS, ACK, 0, &[0; 6]));
    side.assert_fatal(ErrorCode::FRAME_SIZE_ERROR);
    let mut side = Side::server();
    side.feed(&frame(PRIORITY_UPDATE, 0, 0, &[0; 3]));
    side.assert_fatal(ErrorCode::FRAME_SIZE_ERROR);
}

#[test]
fn priority_of_a_wrong_size_is_a_stream_error() {
    let mut side = Side::server();
    side.feed(&[post(1), frame(PRIORITY, 0, 1, &[0; 4])].concat());
    side.assert_reset(1, ErrorCode::FRAME_SIZE_ERROR);
    assert!(side.take_events().contains(&Event::Reset {
        stream: 1,
        code: ErrorCode::FRAME_SIZE_ERROR,
        by_peer: false,
        unprocessed: false
    }));
    let mut side = Side::server();
    side.feed(&frame(PRIORITY, 0, 1, &[0; 6]));
    side.assert_fatal(ErrorCode::FRAME_SIZE_ERROR);
}

#[test]
fn frames_stand_on_the_streams_where_they_may() {
    for (kind, payload) in [(DATA, 0), (HEADERS, 0), (PRIORITY, 5), (RST_STREAM, 4), (CONTINUATION, 0)] {
        let mut side = Side::server();
        side.feed(&frame(kind, END_HEADERS, 0, &vec![0; payload]));
        side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
    }
    for (kind, payload) in [(SETTINGS, 0), (PING, 8), (GOAWAY, 8), (PRIORITY_UPDATE, 4)] {
        let mut side = Side::server();
        side.feed(&post(1));
        side.feed(&frame(kind, 0, 1, &vec![0; payload]));
        side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn unknown_frames_flags_and_the_reserved_bit_are_ignored() {
    let mut side = Side::server();
    side.feed(&frame(0x16, 0xff, 0, b"what"));
    side.feed(&frame(0xff, 0xff, 77, &[0; 16_384]));
    side.feed(&frame(PING, 0xfe & !ACK, 0x8000_0000, b"reserved"));
    let out = side.take_out();
    assert_eq!((out[0].kind, out[0].flags, &out[0].payload[..]), (PING, ACK, &b"reserved"[..]));
    let mut request = get(1);
    request[5] |= 0x80;
    request[4] |= 0xc2;
    side.feed(&request);
    assert_eq!(side.take_events(), [Event::Head { stream: 1, end: true }]);
}

#[test]
fn padding_is_taken_off_and_counted() {
    let mut side = Side::server();
    side.consume = false;
    let headers = [&[3][..], &block(&POST), &[9; 3]].concat();
    side.feed(&frame(HEADERS, END_HEADERS | PADDED, 1, &headers));
    side.feed(&frame(DATA, PADDED, 1, &[&[4][..], b"body", &[0; 4]].concat()));
    side.feed(&frame(DATA, PADDED | END_STREAM, 1, &[0]));
    assert_eq!(
        side.take_events(),
        [
            Event::Head { stream: 1, end: false },
            Event::Data { stream: 1, range: 10..14, end: false },
            Event::Data { stream: 1, range: 10..10, end: true },
        ]
    );
    assert_eq!(side.data, [(1, b"body".to_vec())]);
}

#[test]
fn padding_as_long_as_the_payload_ends_the_connection() {
    for (kind, flags, payload) in [
        (DATA, PADDED, vec![1]),
        (DATA, PADDED, vec![5, 0, 0, 0, 0]),
        (HEADERS, PADDED | END_HEADERS, vec![1]),
        (HEADERS, PADDED | END_HEADERS, vec![4, 0, 0, 0]),
        (HEADERS, PADDED | PRIORITIZED | END_HEADERS, vec![1, 0, 0, 0, 0, 0]),
    ] {
        let mut side = Side::server();
        side.feed(&post(1));
        let stream = if kind == DATA { 1 } else { 3 };
        side.feed(&frame(kind, flags, stream, &payload));
        side.assert_fatal(ErrorCode::PROTOCOL_ERROR);
    }
    for (kind, flags) in [(DATA, PADDED), (HEADERS, PADDED), (HEADERS, PRIORITIZED)] {
        let mut side = Side::server();
        side.feed(&post(1));
        side.feed(&frame(kind, flags, if kind == DATA { 1 } else { 3 }, &[]));
        side.assert_fatal(ErrorCode::FRAME_SIZE_ERROR);
    }
}

#[test]
fn every_cut_of_the_input_gives_the_same() {
    let bytes = [
        get(1),
        frame(HEADERS, PADDED | PRIORITIZED, 3, &[&[2, 0, 0, 0, 0, 9][..], &block(&POST)[..10], &[0, 0]].concat()),
        frame(CONTINUATION, 0, 3, &block(&POST)[10..20]),
        frame(CONTINUATION, 0, 3, &[]),
        frame(CONTINUATION, END_HEADERS, 3, &block(&POST)[20..]),
        frame(DATA, PADDED, 3, b"\x02hello\0\0"),
        frame(PING, 0, 0, b"12345678"),
        settings(&[(4, 5), (1, 0)]),
        number(WINDOW_UPDATE, 3, 9),
        frame(0x77, 0, 9, b"unknown"),
        frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x03u=1"),
        data(3, false, b" and more"),
        frame(HEADERS, END, 3, &block(&[("x-t", "1")])),
    ]
    .concat();
    let shape = |side: &mut Side| {
        let mut events = side.take_events();
        events.retain(|e| !matches!(e, Event::Data { .. }));
        (events, format!("{:?}", side.heads), std::mem::take(&mut side.data), side.take_out())
    };
    let mut whole = Side::server();
    let expected = shape(whole.feed(&bytes));
    assert_eq!(expected.2, [(3, b"hello and more".to_vec())]);
    for cut in 0..bytes.len() {
        let mut side = Side::server();
        side.feed(&bytes[..cut]);
        side.feed(&bytes[cut..]);
        assert_eq!(shape(&mut side), expected, "cut at {cut}");
    }
    for size in 1..9 {
        let mut side = Side::server();
        for piece in bytes.chunks(size) {
            side.feed(piece);
        }
        assert_eq!(shape(&mut side), expected, "pieces of {size}");
    }
}
