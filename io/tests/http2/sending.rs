//! What is sent, and in which order: long heads, priorities (RFC 9113, section 4.3; RFC 9218).
use crate::support::*;
use edge_io::http2::{Limits, Priority};

/// A server whose peer gives large windows, with answered requests of these priorities.
fn answering(priorities: &[&str]) -> Side {
    let mut side = Side::server();
    side.feed(&[settings(&[(4, 1 << 20)]), number(WINDOW_UPDATE, 0, 1 << 24)].concat());
    for (n, priority) in priorities.iter().enumerate() {
        let stream = 1 + 2 * n as u32;
        side.feed(&frame(HEADERS, END, stream, &with(&GET, &[("priority", priority)])));
        side.conn.send_response(stream, 200, fields(&[]), false).unwrap();
    }
    side.take_out();
    side.take_events();
    side
}

/// Lets every stream send without end, for as many turns; in which order their frames go out.
fn order(side: &mut Side, streams: usize, turns: usize) -> Vec<u32> {
    for n in 0..streams {
        side.conn.send_data(1 + 2 * n as u32, &[0; 200_000], false).unwrap();
    }
    let mut order = Vec::new();
    for _ in 0..turns {
        order.extend(side.take_out().iter().filter(|f| f.payload.len() > 9000).map(|f| f.stream));
        while let Some(stream) = side.conn.next_writable() {
            side.conn.send_data(stream, &[0; 200_000], false).unwrap();
        }
    }
    order
}

#[test]
fn long_heads_are_continued() {
    let mut side = Side::server();
    side.feed(&get(1));
    let long = "~".repeat(40_000);
    side.conn.send_response(1, 200, fields(&[("x-long", &long)]), true).unwrap();
    let out = side.take_out();
    let kinds: Vec<_> = out.iter().map(|f| (f.kind, f.flags)).collect();
    assert_eq!(kinds, [(HEADERS, END_STREAM), (CONTINUATION, 0), (CONTINUATION, END_HEADERS)]);
    assert!(out.iter().all(|f| f.payload.len() <= 16_384));
}

#[test]
fn fields_of_the_connection_are_not_sent() {
    let mut side = Side::server();
    side.feed(&get(1));
    let more = [
        ("Connection", "close"),
        ("keep-alive", "1"),
        ("proxy-connection", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("HTTP2-Settings", "x"),
        ("X-Kept", "1"),
    ];
    side.conn.send_response(1, 200, fields(&more), true).unwrap();
    let sent = side.conn.out().to_vec();
    let mut client = Side::client();
    client.request("GET", true);
    client.feed(&sent);
    assert_eq!(client.heads[0].len(), 1);
    assert_eq!(client.heads[0].get_name(b"x-kept"), Some(&b"1"[..]));
}

#[test]
fn urgent_streams_go_first() {
    let mut side = answering(&["u=5", "u=1", "", "u=1"]);
    // The first fills the queue before the others are there.
    let sent = order(&mut side, 4, 30);
    let mut turns = sent.clone();
    turns.dedup();
    assert_eq!(turns, [1, 3, 7], "each goes on until its window is used up: {sent:?}");
}

#[test]
fn incremental_streams_take_turns() {
    let mut side = answering(&["i", "i", "i"]);
    let sent = order(&mut side, 3, 60);
    for stream in [1, 3, 5] {
        let share = sent.iter().filter(|s| **s == stream).count() * 3;
        assert!(share.abs_diff(sent.len()) <= sent.len() / 4, "{stream}: {sent:?}");
    }
}

#[test]
fn priority_updates_win_over_the_field_also_ahead_of_the_stream() {
    let mut side = Side::server();
    side.feed(&frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x03u=0, i"));
    side.feed(&[get(1), frame(HEADERS, END, 3, &with(&GET, &[("priority", "u=6")]))].concat());
    assert_eq!(side.conn.priority(1), Some(Priority::default()));
    assert_eq!(side.conn.priority(3), Some(Priority { urgency: 0, incremental: true }));
    side.feed(&frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=7"));
    assert_eq!(side.conn.priority(1), Some(Priority { urgency: 7, incremental: false }));
    side.conn.set_priority(1, Priority { urgency: 2, incremental: true });
    assert_eq!(side.conn.priority(1), Some(Priority { urgency: 2, incremental: true }));
    assert_eq!(side.conn.priority(5), None);
    // Long ones are passed over, and so are those for streams that ended.
    side.feed(&frame(PRIORITY_UPDATE, 0, 0, &[&[0, 0, 0, 1][..], &[b' '; 5000]].concat()));
    side.conn.send_response(1, 200, fields(&[]), true).unwrap();
    side.feed(&frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=7"));
    side.assert_alive();
    for bad in [0u32, 2] {
        let mut side = Side::server();
        side.feed(&frame(PRIORITY_UPDATE, 0, 0, &[&bad.to_be_bytes()[..], b"u=1"].concat()));
        side.assert_fatal(edge_io::http2::ErrorCode::PROTOCOL_ERROR);
    }
}

#[test]
fn few_priorities_are_kept_ahead() {
    let mut side = Side::server();
    for n in 0..100u32 {
        side.feed(&frame(PRIORITY_UPDATE, 0, 0, &[&(2 * n + 1).to_be_bytes()[..], b"u=1"].concat()));
    }
    side.feed(&[get(1), get(199)].concat());
    assert_eq!(side.conn.priority(1), Some(Priority::default()));
    assert_eq!(side.conn.priority(199).map(|p| p.urgency), Some(1));
}

#[test]
fn idle_connections_hold_little() {
    let mut side = Side::server_with(&Limits::default());
    side.feed(&[post(1), data(1, true, &[0; 10_000])].concat());
    side.conn.send_response(1, 200, fields(&[("server", "edge")]), false).unwrap();
    side.conn.send_data(1, &[0; 50_000], true).unwrap();
    side.take_out();
    assert_eq!(side.conn.open_streams(), 0);
    let before = side.conn.memory();
    side.conn.release_memory();
    let after = side.conn.memory();
    assert!(before > 50_000 && after < 4000, "{before} {after}");
    side.feed(&post(3));
    assert_eq!(side.conn.open_streams(), 1);
    side.conn.release_memory();
    side.feed(&data(3, true, b"still here"));
    assert_eq!(side.data[1].1, b"still here");
}
