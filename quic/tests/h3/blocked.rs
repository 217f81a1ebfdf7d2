//! Field sections that wait for the encoder stream (RFC 9204, section 2.1.2).
use crate::support::*;
use edge_quic::h3::{Abuse, Connection, ErrorCode, Event, Limits, Own, Role, Stream, Uni};

/// A capacity, and the entry `a: b`.
const ENTRY: [u8; 7] = [0x3f, 0xe1, 0x1f, 0x41, b'a', 1, b'b'];

/// A field section that needs one entry, and names it.
fn waiting(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, &[&[2, 0][..], &section(fields)[2..], &[0x80]].concat())
}

fn open_encoder(side: &mut Side) -> Uni {
    let mut encoder = Uni::new();
    side.uni(&mut encoder, &[2]).expect("an encoder stream");
    encoder
}

#[test]
fn a_head_waits_for_its_entry() {
    for fin in ["with the head", "behind the head", "after the entry"] {
        let mut side = Side::new(Role::Server);
        let mut encoder = open_encoder(&mut side);
        let mut stream = Stream::new();
        let input = waiting(&GET);
        let (n, event) = side
            .connection
            .receive(&mut stream, 0, &input, fin == "with the head", 0, &mut side.head)
            .expect("blocked");
        assert_eq!((n, event), (input.len(), Some(Event::Blocked)));
        assert!(stream.is_blocked() && !stream.has_head());
        if fin == "behind the head" {
            let step = side.connection.receive(&mut stream, 0, &[], true, 0, &mut side.head);
            assert_eq!(step, Ok((0, None)));
        }
        // Nothing is taken while it waits.
        assert_eq!(side.connection.receive(&mut stream, 0, b"\0\x01x", false, 0, &mut side.head), Ok((0, None)));
        assert_eq!(side.connection.next_unblocked(), None);
        side.uni(&mut encoder, &ENTRY).expect("an entry");
        assert_eq!(side.connection.next_unblocked(), Some(0));
        assert_eq!(side.connection.next_unblocked(), None);
        let event = side.connection.resume(&mut stream, 0, &mut side.head).expect("a head");
        assert_eq!(event, Some(Event::Head { end: fin != "after the entry" }));
        assert_eq!(text(&side.head), "GET a.example /x?y\na: b");
        assert_eq!(side.connection.resume(&mut stream, 0, &mut side.head), Ok(None));
        if fin == "after the entry" {
            let step = side.connection.receive(&mut stream, 0, &[], true, 0, &mut side.head);
            assert_eq!(step, Ok((0, Some(Event::End))));
        }
        assert_eq!(*side.connection.out(Own::Decoder), [3, 0x80], "the section is acknowledged");
    }
}

#[test]
fn trailers_wait_too_and_others_do_not() {
    let mut side = Side::new(Role::Client);
    let mut encoder = open_encoder(&mut side);
    let (mut first, mut second) = (side.ask(0, "GET"), side.ask(4, "GET"));
    let run = side.go_on(&mut first, 0, &[response("200", &[]), data(b"x"), waiting(&[])].concat(), false);
    assert_eq!(run.seen, [Seen::Head("200".into()), Seen::Data(b"x".to_vec()), Seen::Blocked]);
    let run = side.go_on(&mut second, 4, &response("200", &[]), true);
    assert_eq!(run.seen, [Seen::Head("200".into()), Seen::End]);
    side.uni(&mut encoder, &ENTRY).expect("an entry");
    assert_eq!(side.connection.next_unblocked(), Some(0));
    let event = side.connection.resume(&mut first, 0, &mut side.head).expect("trailers");
    assert_eq!(event, Some(Event::Trailers));
    assert_eq!(text(&side.head), "  \na: b");
}

#[test]
fn a_malformed_head_is_found_when_it_can_be_read() {
    let mut side = Side::new(Role::Server);
    let mut encoder = open_encoder(&mut side);
    let mut stream = Stream::new();
    assert_eq!(side.go_on(&mut stream, 0, &waiting(&[]), false).seen, [Seen::Blocked]);
    side.uni(&mut encoder, &ENTRY).expect("an entry");
    let error = side.connection.resume(&mut stream, 0, &mut side.head).expect_err("no pseudo-header fields");
    assert_eq!(code(error), (ErrorCode::H3_MESSAGE_ERROR, false));
    assert!(stream.is_done());
}

#[test]
fn only_so_many_may_wait() {
    for blocked_streams in [0, 1, 16] {
        let limits = Limits { blocked_streams, ..Limits::default() };
        let mut side = Side::with(Role::Server, &limits);
        for id in 0..u64::from(blocked_streams) {
            assert_eq!(side.stream(id * 4, &waiting(&GET), false).seen, [Seen::Blocked]);
        }
        let run = side.stream(400, &waiting(&GET), false);
        assert_eq!(run.code(), Some((ErrorCode::QPACK_DECOMPRESSION_FAILED, true)));
        assert_eq!(side.connection.limits_hit()[Abuse::BlockedStreams as usize], 1);
    }
}

#[test]
fn a_stream_that_is_reset_while_it_waits_leaves_nothing() {
    let mut side = Side::with(Role::Server, &Limits { blocked_streams: 1, ..Limits::default() });
    let mut encoder = open_encoder(&mut side);
    for id in 0..20 {
        let mut stream = Stream::new();
        assert_eq!(side.go_on(&mut stream, id * 4, &waiting(&GET), false).seen, [Seen::Blocked]);
        side.connection.cancelled(&mut stream, id * 4);
        let out = std::mem::take(side.connection.out(Own::Decoder));
        assert!(out.contains(&(0x40 | (id as u8 * 4).min(0x3f))), "the encoder is told: {out:x?}");
    }
    side.uni(&mut encoder, &ENTRY).expect("an entry");
    assert_eq!(side.connection.next_unblocked(), None);
    assert!(side.connection.memory() < size_of::<Connection>() + 16 * 1024);
}

#[test]
fn sections_that_wait_share_the_memory_of_incomplete_heads() {
    let limits = Limits { head_bytes: 4000, memory_bytes: 4000, ..Limits::default() };
    let mut side = Side::with(Role::Server, &limits);
    let long = "v".repeat(2000);
    let input = waiting(&[&GET[..], &[("x", &long[..])]].concat());
    assert_eq!(side.stream(0, &input, false).seen, [Seen::Blocked]);
    assert_eq!(side.stream(4, &input, false).code(), Some((ErrorCode::H3_REQUEST_REJECTED, false)));
    assert_eq!(side.connection.limits_hit()[Abuse::Memory as usize], 1);
}
