//! Every abuse has a limit, a kind and an end; and what is no abuse has not.
use crate::support::*;
use edge_io::http2::{Abuse, ErrorCode, Event, Limits};

/// Feeds `frames(n)` until the connection ends; how many were taken and for which abuse.
#[track_caller]
fn flood(mut side: Side, mut next: impl FnMut(u32, &mut Side) -> Vec<u8>) -> (u32, Abuse) {
    for n in 0..50_000 {
        let bytes = next(n, &mut side);
        side.feed(&bytes);
        side.events.clear();
        side.heads.clear();
        assert!(side.conn.memory() < 1 << 20, "{}", side.conn.memory());
        if let Some(fatal) = side.fatal {
            assert_eq!(fatal.code, ErrorCode::ENHANCE_YOUR_CALM);
            let abuse = fatal.abuse.unwrap();
            assert_eq!(side.conn.limits_hit()[abuse as usize], 1);
            return (n, abuse);
        }
        side.take_out();
    }
    panic!("never ended");
}

/// The frames of turn `n`, or for stream `n`.
type Frames = fn(u32) -> Vec<u8>;

fn id(n: u32) -> u32 {
    2 * n + 1
}

#[test]
fn rapid_reset() {
    let ended = flood(Side::server(), |n, _| [get(id(n)), number(RST_STREAM, id(n), 8)].concat());
    assert_eq!(ended, (100, Abuse::RapidReset));
}

#[test]
fn resets_that_we_are_made_to_send() {
    let provocations: [(&str, Frames); 8] = [
        ("window update of 0", |s| [post(s), number(WINDOW_UPDATE, s, 0)].concat()),
        ("window overflow", |s| [post(s), number(WINDOW_UPDATE, s, 0x7fff_ffff)].concat()),
        ("data after the end", |s| [get(s), data(s, false, b"x")].concat()),
        ("head after the end", |s| [get(s), get(s)].concat()),
        ("priority of a wrong size", |s| [get(s), frame(PRIORITY, 0, s, &[0; 4])].concat()),
        ("malformed", |s| frame(HEADERS, END, s, &block(&[("x", "y")]))),
        ("length", |s| {
            [frame(HEADERS, END_HEADERS, s, &with(&POST, &[("content-length", "1")])), data(s, true, b"")].concat()
        }),
        ("depends on itself", |s| {
            frame(HEADERS, END | PRIORITIZED, s, &[&s.to_be_bytes()[..], &[0], &block(&GET)].concat())
        }),
    ];
    for (name, provoke) in provocations {
        let ended = flood(Side::server(), |n, _| provoke(id(n)));
        assert_eq!(ended, (100, Abuse::ProvokedReset), "{name}");
    }
}

#[test]
fn resets_below_the_rate_are_fine() {
    let mut side = Side::server();
    for n in 0..1000 {
        side.now_ms += 105;
        side.feed(&[get(id(n)), number(RST_STREAM, id(n), 8)].concat());
        assert_eq!(side.fatal, None, "{n}");
    }
}

#[test]
fn control_frames() {
    let kinds: [(Abuse, Frames); 8] = [
        (Abuse::Ping, |_| frame(PING, 0, 0, &[0; 8])),
        (Abuse::Ping, |_| frame(PING, ACK, 0, &[0; 8])),
        (Abuse::Settings, |n| settings(&[(4, n)])),
        (Abuse::Settings, |_| frame(SETTINGS, ACK, 0, &[])),
        (Abuse::Priority, |n| frame(PRIORITY, 0, id(n), &[0, 0, 0, 0, 1])),
        (Abuse::PriorityUpdate, |n| frame(PRIORITY_UPDATE, 0, 0, &[&id(n).to_be_bytes()[..], b"u=1"].concat())),
        (Abuse::WindowUpdate, |_| number(WINDOW_UPDATE, 0, 1)),
        (Abuse::Unknown, |n| frame(0x50 + n as u8 % 100, 0, n, b"x")),
    ];
    for (abuse, make) in kinds {
        let (n, met) = flood(Side::server(), |n, _| make(n));
        assert_eq!(met, abuse);
        assert!((995..=1000).contains(&n), "{abuse:?}: {n}");
    }
    for (abuse, make) in kinds {
        let mut side = Side::server();
        for n in 0..5000 {
            side.now_ms += 2;
            side.feed(&make(n));
            side.take_out();
        }
        assert_eq!(side.fatal, None, "{abuse:?} at half the rate");
    }
    assert_eq!(flood(Side::client(), |_, _| frame(GOAWAY, 0, 0, &[0; 8])).1, Abuse::GoAway);
}

#[test]
fn settings_that_change_every_window_many_times() {
    let mut side = Side::server();
    side.feed(&post(1));
    let many: Vec<(u16, u32)> = (0..60).map(|n| (4, n)).collect();
    let (n, abuse) = flood(side, |_, _| settings(&many));
    assert_eq!(abuse, Abuse::Settings);
    assert!(n < 20, "{n}");
}

#[test]
fn frames_without_content_on_streams() {
    let mut open = Side::server();
    open.feed(&post(1));
    assert_eq!(flood(open, |_, _| data(1, false, b"")).1, Abuse::Empty);
    let mut open = Side::server();
    open.feed(&post(1));
    let padded = frame(DATA, PADDED, 1, &[&[9][..], &[0; 9]].concat());
    assert_eq!(flood(open, |_, _| padded.clone()).1, Abuse::Empty);
    let mut open = Side::server();
    open.feed(&post(1));
    assert_eq!(flood(open, |_, _| number(WINDOW_UPDATE, 1, 1)).1, Abuse::WindowUpdate);
    let mut over = Side::server();
    over.feed(&get(1));
    over.conn.send_response(1, 200, fields(&[]), true).unwrap();
    assert_eq!(flood(over, |_, _| number(RST_STREAM, 1, 8)).1, Abuse::Stray);
    let mut reset = Side::server();
    reset.feed(&post(1));
    reset.conn.reset(1, ErrorCode::CANCEL);
    assert_eq!(flood(reset, |_, _| data(1, false, b"")).1, Abuse::Stray);
    let mut reset = Side::server();
    reset.feed(&post(1));
    reset.conn.reset(1, ErrorCode::CANCEL);
    assert_eq!(flood(reset, |_, _| frame(HEADERS, END, 1, &block(&[("a", "b")]))).1, Abuse::Stray);
    let mut waiting = Side::client();
    waiting.request("GET", true);
    assert_eq!(flood(waiting, |_, _| response(1, "103", false)).1, Abuse::Stray);
    let mut gone = Side::server();
    gone.conn.go_away(ErrorCode::NO_ERROR);
    assert_eq!(flood(gone, |n, _| get(id(n))).1, Abuse::Stray);
}

#[test]
fn window_updates_that_data_explain_are_free() {
    let mut side = Side::server();
    side.feed(&get(1));
    side.conn.send_response(1, 200, fields(&[]), false).unwrap();
    for _ in 0..5000 {
        assert_eq!(side.conn.send_data(1, b"event", false), Ok(5));
        side.take_out();
        side.feed(&[number(WINDOW_UPDATE, 1, 5), number(WINDOW_UPDATE, 0, 5)].concat());
        assert_eq!(side.fatal, None);
    }
    // One byte at a time, against a response that has more, explains nothing.
    let mut side = Side::server();
    side.feed(&settings(&[(4, 0)]));
    side.feed(&get(1));
    side.conn.send_response(1, 200, fields(&[]), false).unwrap();
    let ended = flood(side, |_, side| {
        if side.conn.send_data(1, &[0; 5000], true).is_ok() {
            side.take_out();
        }
        number(WINDOW_UPDATE, 1, 1)
    });
    assert_eq!(ended.1, Abuse::WindowUpdate);
}

#[test]
fn continuations() {
    let mut side = Side::server();
    side.feed(&frame(HEADERS, END_STREAM, 1, &[]));
    assert_eq!(flood(side, |_, _| frame(CONTINUATION, 0, 1, &[])), (8, Abuse::Continuation));
    let mut side = Side::server();
    side.feed(&frame(HEADERS, END_STREAM, 1, &[0; 16_000]));
    assert_eq!(flood(side, |_, _| frame(CONTINUATION, 0, 1, &[0; 16_000])), (1, Abuse::HeadBytes));
}

#[test]
fn large_heads_are_answered_and_huge_ones_end_the_connection() {
    let long = "v".repeat(1000);
    for (count, value, abuse) in
        [(40, &long[..], Abuse::HeadBytes), (101, "", Abuse::HeadFields), (399, "", Abuse::HeadFields)]
    {
        for (name, end) in [("x-mine", true), ("cookie", false)] {
            let mut side = Side::server_with(&Limits { head_bytes: 32_768, ..Limits::default() });
            let more: Vec<_> = std::iter::repeat_n((name, value), count).collect();
            // One entry in the table, then one byte each.
            let mut bytes = block(&GET);
            bytes.push(0x40);
            bytes.extend(&block(&more[..1])[1..]);
            bytes.extend(std::iter::repeat_n(0xbe, count - 1));
            side.feed(&frame(HEADERS, if end { END } else { END_HEADERS }, 1, &bytes));
            assert_eq!(side.take_events(), []);
            let out = side.take_out();
            assert_eq!((out[0].kind, out[0].flags, out[0].stream), (HEADERS, END, 1));
            let mut client = Side::client();
            client.request("GET", true);
            client.feed(&frame(HEADERS, END, 1, &out[0].payload));
            assert_eq!(client.heads[0].status(), 431);
            assert_eq!(out.len(), if end { 1 } else { 2 });
            if !end {
                assert_eq!((out[1].kind, out[1].word(0)), (RST_STREAM, 0));
                side.feed(&data(1, true, b"on its way"));
            }
            assert_eq!(side.conn.limits_hit()[abuse as usize], 1);
            assert_eq!(side.conn.open_streams(), 0);
            side.feed(&get(3));
            assert_eq!(side.take_events(), [Event::Head { stream: 3, end: true }]);
        }
    }
    for (count, value, abuse) in [(401, "", Abuse::HeadFields), (130, &long[..], Abuse::HeadBytes)] {
        let mut bytes = block(&GET);
        bytes.push(0x40);
        bytes.extend(&block(&[("cookie", value)])[1..]);
        bytes.extend(std::iter::repeat_n(0xbe, count - 1));
        let mut side = Side::server();
        side.feed(&frame(HEADERS, END, 1, &bytes));
        assert_eq!(side.assert_fatal(ErrorCode::ENHANCE_YOUR_CALM).abuse, Some(abuse));
    }
}

#[test]
fn heads_that_are_too_large_count_as_resets() {
    let more: Vec<_> = std::iter::repeat_n(("a", "b"), 101).collect();
    let bytes = with(&GET, &more);
    for flags in [END, END_HEADERS] {
        let ended = flood(Side::server(), |n, _| frame(HEADERS, flags, id(n), &bytes));
        assert_eq!(ended, (100, Abuse::ProvokedReset));
    }
}

#[test]
fn heads_of_open_streams_share_a_budget() {
    let mut side = Side::server_with(&Limits { memory_bytes: 100_000, ..Limits::default() });
    let long = "v".repeat(9000);
    let bytes = with(&GET, &[("x", &long)]);
    for n in 0..11 {
        side.feed(&frame(HEADERS, END, id(n), &bytes));
    }
    assert_eq!(side.conn.open_streams(), 10);
    side.assert_reset(id(10), ErrorCode::REFUSED_STREAM);
    assert_eq!(side.conn.limits_hit()[Abuse::Memory as usize], 1);
    for n in 0..10 {
        side.conn.send_response(id(n), 200, fields(&[]), true).unwrap();
    }
    side.take_out();
    side.events.clear();
    side.feed(&frame(HEADERS, END, 99, &bytes));
    assert_eq!(side.conn.open_streams(), 1);
}

#[test]
fn replies_that_nobody_reads() {
    let mut side = Side::server_with(&Limits { control_frames: 1_000_000, ..Limits::default() });
    let mut n = 0;
    while side.fatal.is_none() {
        side.feed(&frame(PING, 0, 0, &[0; 8]));
        n += 1;
    }
    assert_eq!(side.fatal.unwrap().abuse, Some(Abuse::ControlOutput));
    assert_eq!(n, 16 * 1024 / 17 + 1);
    // Behind a response that is always being written, replies that do leave are no abuse.
    let mut side = Side::server_with(&Limits { control_frames: 1_000_000, ..Limits::default() });
    side.feed(&[settings(&[(4, 0x7fff_ffff)]), number(WINDOW_UPDATE, 0, 0x7000_0000), get(1)].concat());
    side.conn.send_response(1, 200, fields(&[]), false).unwrap();
    for _ in 0..20_000 {
        side.conn.send_data(1, &[0; 4000], false).unwrap();
        while side.conn.next_writable().is_some() {}
        side.feed(&frame(PING, 0, 0, &[0; 8]));
        assert_eq!(side.fatal, None);
        if side.conn.out().len() > 60_000 {
            side.conn.sent(9000);
        }
    }
}

#[test]
fn requests_wait_while_nobody_reads_the_responses() {
    let mut side = Side::server();
    let long = "v".repeat(1000);
    let mut answered = 0;
    for n in 0..1000 {
        side.feed(&get(id(n)));
        for event in std::mem::take(&mut side.events) {
            if let Event::Head { stream, .. } = event {
                side.conn.send_response(stream, 200, fields(&[("x-request-id", &long)]), true).unwrap();
                answered += 1;
            }
        }
    }
    assert!(side.conn.is_stalled());
    assert!((100..200).contains(&answered), "{answered}");
    assert!(side.conn.out().len() < 2 * 65_536 + 2000);
    let length = side.conn.out().len();
    side.conn.sent(length);
    side.feed(&[]);
    assert_eq!(side.events.len(), 128);
}

#[test]
fn a_block_of_copied_names_ends_the_connection() {
    // One long name in the table, then entries that copy it.
    let name = "n".repeat(3000);
    let mut bytes = block(&GET);
    bytes.push(0x40);
    bytes.extend(&block(&[(&name[..], "")])[1..]);
    for _ in 0..2000 {
        bytes.extend([0x7e, 0]);
    }
    let mut side = Side::server();
    side.feed(&frame(HEADERS, END, 1, &bytes));
    let abuse = side.assert_fatal(ErrorCode::ENHANCE_YOUR_CALM).abuse;
    assert!(matches!(abuse, Some(Abuse::NameCopies | Abuse::HeadBytes | Abuse::HeadFields)), "{abuse:?}");
}
