//! Limits: each is held, counted by its name, and spares what good peers do.
use crate::support::*;
use edge_quic::h3::{Abuse, Connection, Error, ErrorCode, Fatal, Limits, Role, Stream, Uni, UniNext};

fn few() -> Limits {
    Limits { control_frames: 10, resets: 3, ..Limits::default() }
}

/// What ended the connection, and that it is counted.
fn assert_abuse(side: &mut Side, error: Option<Fatal>, abuse: Abuse) {
    let fatal = error.expect("an end");
    assert_eq!((fatal.code, fatal.abuse), (ErrorCode::H3_EXCESSIVE_LOAD, Some(abuse)), "{fatal:?}");
    let counts = side.connection.limits_hit();
    assert_eq!(counts[abuse as usize], 1);
    assert_eq!(side.connection.limits_hit().iter().sum::<u32>(), 0);
}

fn fatal(error: Option<Error>) -> Option<Fatal> {
    match error? {
        Error::Connection(fatal) => Some(fatal),
        error => panic!("{error:?}"),
    }
}

#[test]
fn frames_on_the_control_stream_are_counted_by_the_second() {
    let update = |i: u64| frame(PRIORITY_UPDATE, &[&varint(i * 4)[..], b"u=1"].concat());
    type Make = Box<dyn Fn(u64) -> Vec<u8>>;
    let cases: [(Abuse, Make); 4] = [
        (Abuse::PriorityUpdate, Box::new(update)),
        (Abuse::Unknown, Box::new(|_| frame(GREASE, b""))),
        (Abuse::GoAway, Box::new(|_| frame(GOAWAY, &[4]))),
        (Abuse::MaxPushId, Box::new(|i| frame(MAX_PUSH_ID, &varint(i)))),
    ];
    for (abuse, make) in cases {
        let mut side = Side::with(Role::Server, &few());
        let mut uni = Uni::new();
        side.uni(&mut uni, &control(&[])).expect("settings");
        for i in 0..30 {
            side.now_ms = i / 10 * 1000;
            assert_eq!(side.uni(&mut uni, &make(i)), Ok(UniNext::More), "{abuse:?}");
        }
        let error = side.uni(&mut uni, &make(30)).err();
        assert_abuse(&mut side, error, abuse);
    }
}

#[test]
fn events_that_nobody_takes_are_bounded() {
    let limits = Limits { control_frames: u32::MAX, ..Limits::default() };
    let mut side = Side::with(Role::Server, &limits);
    let mut uni = Uni::new();
    side.uni(&mut uni, &control(&[])).expect("settings");
    for i in 0..10_000u64 {
        side.uni(&mut uni, &frame(PRIORITY_UPDATE, &[&varint(i * 4)[..], b"u=1"].concat())).expect("no limit");
        side.uni(&mut uni, &frame(GOAWAY, &varint(40_000 - i))).expect("no limit");
    }
    assert!(side.connection.memory() < size_of::<Connection>() + 4096, "{}", side.connection.memory());
    assert!(std::iter::from_fn(|| side.connection.next_control()).count() <= 64);
}

#[test]
fn frames_that_carry_nothing_are_counted_beyond_the_first_two_of_a_stream() {
    for (abuse, nothing) in [(Abuse::Empty, data(b"")), (Abuse::Unknown, frame(GREASE, b"x"))] {
        let mut side = Side::with(Role::Server, &few());
        for id in 0..200 {
            let run = side.stream(id * 4, &[request(&[]), nothing.repeat(2)].concat(), true);
            assert_eq!(run.error, None);
        }
        let run = side.stream(800, &[request(&[]), nothing.repeat(12)].concat(), false);
        assert_eq!(run.error, None);
        let run = side.stream(804, &[request(&[]), nothing.repeat(3)].concat(), false);
        assert_abuse(&mut side, fatal(run.error), abuse);
    }
}

#[test]
fn interim_responses_are_counted() {
    let mut side = Side::with(Role::Client, &few());
    let mut stream = side.ask(0, "GET");
    let run = side.go_on(&mut stream, 0, &response("103", &[]).repeat(12), false);
    assert_eq!(run.error, None);
    let run = side.go_on(&mut stream, 0, &response("103", &[]), false);
    assert_abuse(&mut side, fatal(run.error), Abuse::Interim);
}

#[test]
fn streams_of_unknown_types_are_counted() {
    for end in ["stop", "fin", "reset"] {
        let mut side = Side::with(Role::Server, &few());
        let mut open = || match end {
            "stop" => side.uni(&mut Uni::new(), &[0x21]).map(|_| ()),
            "fin" => side.connection.receive_uni(&mut Uni::new(), &[], true, 0).map(|_| ()),
            _ => side.connection.uni_was_reset(&Uni::new()),
        };
        for _ in 0..10 {
            assert_eq!(open(), Ok(()), "{end}");
        }
        let error = open().err();
        assert_abuse(&mut side, error, Abuse::UnknownStream);
    }
}

#[test]
fn instructions_need_messages() {
    for most in [usize::MAX, 1] {
        let mut side = Side::with(Role::Server, &few());
        let (mut encoder, mut piece) = (Uni::new(), pieces(1, most));
        side.uni(&mut encoder, &[2, 0x3f, 0xe1, 0x1f]).expect("a capacity of 4096");
        let mut insert = |side: &mut Side| {
            let mut rest: &[u8] = &[0x41, b'a', 1, b'b'];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(piece().min(rest.len()));
                side.uni(&mut encoder, now)?;
                rest = later;
            }
            Ok::<_, Fatal>(())
        };
        let mut sent = 0;
        // With a request now and then, any number may come.
        for i in 0..20_000 {
            if i % 1000 == 0 {
                assert_eq!(side.stream(i * 4, &request(&[]), true).error, None);
            }
            insert(&mut side).expect("explained");
        }
        let error = loop {
            match insert(&mut side) {
                Ok(()) => sent += 4,
                Err(error) => break error,
            }
            assert!(sent < 80_000);
        };
        assert_abuse(&mut side, Some(error), Abuse::Instructions);
    }
}

#[test]
fn resets_are_counted_in_ten_seconds() {
    let mut side = Side::with(Role::Server, &few());
    for i in 0..9 {
        assert_eq!(side.connection.reset_by_peer(i / 3 * 10_000), Ok(()));
    }
    let error = side.connection.reset_by_peer(20_000).err();
    assert_abuse(&mut side, error, Abuse::RapidReset);

    let mut side = Side::with(Role::Server, &few());
    for id in 0..3 {
        assert!(matches!(side.stream(id * 4, &headers(&[]), false).error, Some(Error::Stream { .. })));
    }
    let run = side.stream(12, &headers(&[]), false);
    assert_abuse(&mut side, fatal(run.error), Abuse::ProvokedReset);
}

#[test]
fn heads_that_are_too_large_are_answered() {
    let limits = Limits { head_bytes: 2000, fields: 10, ..Limits::default() };
    let huge = "v".repeat(1900);
    for (abuse, input) in [
        (Abuse::HeadBytes, request(&[("a", &huge)])),
        (Abuse::HeadFields, request(&[("a", "b"); 11])),
        (Abuse::HeadFields, request(&[("cookie", "b"); 11])),
        // Not one byte of it has come.
        (Abuse::HeadBytes, varints(&[HEADERS, 2001])),
        (Abuse::HeadBytes, varints(&[HEADERS, (1 << 62) - 1])),
    ] {
        for most in [usize::MAX, 1] {
            let mut side = Side::with(Role::Server, &limits);
            let mut stream = Stream::new();
            let run = side.feed(&mut stream, 0, &input, false, pieces(1, most));
            let Some(Error::Stream { code, respond, .. }) = run.error else { panic!("{run:?}") };
            assert_eq!((code, respond), (ErrorCode::H3_NO_ERROR, Some(431)));
            assert_eq!(side.connection.limits_hit()[abuse as usize], 1);
            // Others are not disturbed.
            assert_eq!(side.stream(4, &request(&[]), true).error, None);
        }
    }
    // Trailers, and responses, have no answer.
    let mut side = Side::with(Role::Server, &limits);
    let run = side.stream(0, &[request(&[]), headers(&[("a", "b"); 11])].concat(), false);
    assert_eq!(run.code(), Some((ErrorCode::H3_EXCESSIVE_LOAD, false)));
    let mut side = Side::with(Role::Client, &limits);
    let mut stream = side.ask(0, "GET");
    let run = side.go_on(&mut stream, 0, &response("200", &[("a", "b"); 11]), false);
    assert_eq!(run.code(), Some((ErrorCode::H3_EXCESSIVE_LOAD, false)));
}

#[test]
fn heads_that_are_far_too_large_end_the_connection() {
    let mut side = Side::with(Role::Server, &Limits { head_bytes: 2000, fields: 10, ..Limits::default() });
    let run = side.stream(0, &request(&[("a", ""); 41]), false);
    assert_abuse(&mut side, fatal(run.error), Abuse::HeadFields);
}

#[test]
fn incomplete_heads_share_their_memory() {
    let limits = Limits { head_bytes: 8000, memory_bytes: 16_000, resets: 1000, ..Limits::default() };
    let mut side = Side::with(Role::Server, &limits);
    let start = [varints(&[HEADERS, 8000]), vec![0; 3999]].concat();
    let mut streams: Vec<_> = (0..4).map(|_| Stream::new()).collect();
    for (id, stream) in streams.iter_mut().enumerate() {
        assert_eq!(side.go_on(stream, id as u64 * 4, &start, false).error, None);
    }
    assert!(side.connection.memory() > 15_000);
    let run = side.stream(16, &start, false);
    assert_eq!(run.code(), Some((ErrorCode::H3_REQUEST_REJECTED, false)));
    assert_eq!(side.connection.limits_hit()[Abuse::Memory as usize], 1);
    // A request that comes in one piece needs no memory.
    assert_eq!(side.stream(20, &request(&[]), true).error, None);
    // One that goes makes room for one that comes.
    side.connection.cancelled(&mut streams[0], 0);
    assert_eq!(side.stream(24, &start, false).error, None);
    for (id, stream) in streams.iter_mut().enumerate() {
        side.connection.cancelled(stream, id as u64 * 4);
        side.connection.cancelled(stream, id as u64 * 4);
    }
    assert!(side.connection.memory() < 6000 + size_of::<Connection>());
}

#[test]
fn a_peer_that_does_not_read_the_decoder_stream_is_left() {
    let limits = Limits { control_frames: u32::MAX, ..Limits::default() };
    let mut side = Side::with(Role::Server, &limits);
    side.uni(&mut Uni::new(), &[2, 0x3f, 0xe1, 0x1f, 0x41, b'a', 1, b'b']).expect("an entry");
    // The static entries of a GET, and the entry.
    let section = [&[2, 0][..], &section(&GET)[2..], &[0x80]].concat();
    let error = (0..200_000u64).find_map(|i| side.stream(i * 4, &frame(HEADERS, &section), true).error);
    assert_abuse(&mut side, fatal(error), Abuse::ControlOutput);
    assert!(side.connection.memory() < 200 * 1024);
}
