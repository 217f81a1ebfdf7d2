//! Unidirectional streams: their types, SETTINGS, and the frames of the control stream, with the codes of RFC 9114.
use crate::support::*;
use edge_quic::h3::{Control, ErrorCode, Own, Priority, Role, Uni, UniNext};

/// One unidirectional stream, at once and byte by byte: the code that ends the connection.
fn case(role: Role, name: &str, input: &[u8], want: Option<ErrorCode>) {
    for most in [usize::MAX, 1, 3] {
        let mut side = Side::new(role);
        let mut uni = Uni::new();
        let mut piece = pieces(5, most);
        let mut rest = input;
        let mut error = None;
        while !rest.is_empty() && error.is_none() {
            let (now, later) = rest.split_at(piece().min(rest.len()));
            rest = later;
            error = side.uni(&mut uni, now).err();
        }
        assert_eq!(error.map(|e| e.code), want, "{name}, {role:?}, pieces of {most}: {error:?}");
        if let Some(error) = error {
            assert_eq!(side.uni(&mut Uni::new(), &[]), Err(error), "it is told again");
        }
    }
}

/// A control stream with a frame behind empty settings.
fn behind(frames: &[Vec<u8>]) -> Vec<u8> {
    [control(&[]), frames.concat()].concat()
}

const BOTH: [Role; 2] = [Role::Server, Role::Client];

#[test]
fn settings() {
    let settings = Some(ErrorCode::H3_SETTINGS_ERROR);
    for role in BOTH {
        for (name, input, want) in [
            ("none", control(&[]), None),
            ("all that we know", control(&[1, 4096, 6, 70_000, 7, 16, 8, 1, 0x33, 1]), None),
            ("values as large as can be", control(&[1, (1 << 62) - 1, 6, (1 << 62) - 1, 7, (1 << 62) - 1]), None),
            ("reserved ones", control(&[0x21, 0, 0x40, 7, 0x1f * 99 + 0x21, 1 << 40]), None),
            ("unknown ones", control(&[0x2b60_3742, 1, 0xffff, 9]), None),
            ("one twice", control(&[6, 100, 6, 100]), settings),
            ("an unknown one twice", control(&[0x21, 0, 0x21, 1]), settings),
            ("0x0", control(&[0, 1]), settings),
            ("ENABLE_PUSH", control(&[2, 0]), settings),
            ("MAX_CONCURRENT_STREAMS", control(&[3, 100]), settings),
            ("INITIAL_WINDOW_SIZE", control(&[4, 100]), settings),
            ("MAX_FRAME_SIZE", control(&[5, 16_384]), settings),
            ("ENABLE_CONNECT_PROTOCOL out of range", control(&[8, 2]), settings),
            ("H3_DATAGRAM out of range", control(&[0x33, 2]), settings),
            ("half an entry", control(&[6]), Some(ErrorCode::H3_FRAME_ERROR)),
            ("half an integer", [vec![0], frame(SETTINGS, &[6, 0x40])].concat(), Some(ErrorCode::H3_FRAME_ERROR)),
            ("again", behind(&[frame(SETTINGS, &[])]), Some(ErrorCode::H3_FRAME_UNEXPECTED)),
            ("far too long", [vec![0], varints(&[SETTINGS, 1 << 30])].concat(), Some(ErrorCode::H3_EXCESSIVE_LOAD)),
            (
                "too many",
                control(&(0..65).flat_map(|i| [0x1000 + i, 0]).collect::<Vec<_>>()),
                Some(ErrorCode::H3_EXCESSIVE_LOAD),
            ),
        ] {
            case(role, name, &input, want);
        }
    }
}

#[test]
fn the_first_frame_is_settings() {
    for role in BOTH {
        for kind in [DATA, HEADERS, CANCEL_PUSH, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID, PRIORITY_UPDATE, GREASE, 0x6] {
            let input = [vec![0], frame(kind, &[0])].concat();
            case(role, "another first frame", &input, Some(ErrorCode::H3_MISSING_SETTINGS));
        }
    }
}

#[test]
fn frames_of_the_control_stream() {
    let unexpected = Some(ErrorCode::H3_FRAME_UNEXPECTED);
    let layout = Some(ErrorCode::H3_FRAME_ERROR);
    let id = Some(ErrorCode::H3_ID_ERROR);
    for role in BOTH {
        let server = role == Role::Server;
        let of_clients = |good: Option<ErrorCode>| if server { good } else { unexpected };
        for (name, input, want) in [
            ("DATA", vec![data(b"x")], unexpected),
            ("HEADERS", vec![request(&[])], unexpected),
            ("PUSH_PROMISE", vec![frame(PUSH_PROMISE, &[0, 0, 0])], unexpected),
            ("PRIORITY of HTTP/2", vec![frame(0x2, &[0; 5])], unexpected),
            ("PING of HTTP/2", vec![frame(0x6, &[0; 8])], unexpected),
            ("WINDOW_UPDATE of HTTP/2", vec![frame(0x8, &[0; 4])], unexpected),
            ("CONTINUATION of HTTP/2", vec![frame(0x9, &[])], unexpected),
            ("unknown frames", vec![frame(GREASE, b""), frame(GREASE, b"xyz"), frame(0x41, &[0; 300])], None),
            ("MAX_PUSH_ID", vec![frame(MAX_PUSH_ID, &[3])], of_clients(None)),
            ("MAX_PUSH_ID higher", vec![frame(MAX_PUSH_ID, &[3]), frame(MAX_PUSH_ID, &[9])], of_clients(None)),
            ("MAX_PUSH_ID lower", vec![frame(MAX_PUSH_ID, &[3]), frame(MAX_PUSH_ID, &[2])], of_clients(id)),
            ("MAX_PUSH_ID empty", vec![frame(MAX_PUSH_ID, &[])], of_clients(layout)),
            ("MAX_PUSH_ID too long", vec![frame(MAX_PUSH_ID, &[3, 3])], of_clients(layout)),
            ("MAX_PUSH_ID too short", vec![frame(MAX_PUSH_ID, &[0x40])], of_clients(layout)),
            ("CANCEL_PUSH", vec![frame(CANCEL_PUSH, &[0])], id),
            ("CANCEL_PUSH of one allowed", vec![frame(MAX_PUSH_ID, &[3]), frame(CANCEL_PUSH, &[0])], of_clients(id)),
            ("CANCEL_PUSH empty", vec![frame(CANCEL_PUSH, &[])], layout),
            ("CANCEL_PUSH too long", vec![frame(CANCEL_PUSH, &[0, 0])], layout),
            ("GOAWAY", vec![frame(GOAWAY, &[8])], None),
            ("GOAWAY lower", vec![frame(GOAWAY, &[8]), frame(GOAWAY, &[8]), frame(GOAWAY, &[4])], None),
            ("GOAWAY higher", vec![frame(GOAWAY, &[4]), frame(GOAWAY, &[8])], id),
            ("GOAWAY of a server's stream", vec![frame(GOAWAY, &[5])], if server { None } else { id }),
            ("GOAWAY empty", vec![frame(GOAWAY, &[])], layout),
            ("GOAWAY too long", vec![frame(GOAWAY, &[0, 0, 0])], layout),
            ("GOAWAY endless", vec![varints(&[GOAWAY, 1 << 61])], layout),
            ("PRIORITY_UPDATE", vec![frame(PRIORITY_UPDATE, b"\x04u=1")], of_clients(None)),
            ("PRIORITY_UPDATE of any length", vec![frame(PRIORITY_UPDATE, &[0; 900])], of_clients(None)),
            ("PRIORITY_UPDATE that is none", vec![frame(PRIORITY_UPDATE, b"\x04\xff\xfe")], of_clients(None)),
            ("PRIORITY_UPDATE of no request", vec![frame(PRIORITY_UPDATE, b"\x03u=1")], of_clients(id)),
            ("PRIORITY_UPDATE of a push", vec![frame(PRIORITY_UPDATE_PUSH, b"\0u=1")], of_clients(id)),
            ("PRIORITY_UPDATE empty", vec![frame(PRIORITY_UPDATE, &[])], of_clients(layout)),
            ("PRIORITY_UPDATE too short", vec![frame(PRIORITY_UPDATE, &[0x40])], of_clients(layout)),
        ] {
            case(role, name, &behind(&input), want);
        }
    }
}

#[test]
fn types_of_streams() {
    let creation = Some(ErrorCode::H3_STREAM_CREATION_ERROR);
    case(Role::Server, "a push stream", &[1, 0], creation);
    case(Role::Client, "a push stream", &[1, 0], Some(ErrorCode::H3_ID_ERROR));
    for role in BOTH {
        case(role, "half a type", &[0x40], None);
        case(role, "an encoder stream that is none", &[2, 0x80 | 0x3f], None);
        case(role, "a capacity above ours", &[2, 0x3f, 0xff, 0xff, 0x7f], Some(ErrorCode::QPACK_ENCODER_STREAM_ERROR));
        case(role, "an entry that is not there", &[2, 0x00], Some(ErrorCode::QPACK_ENCODER_STREAM_ERROR));
        case(role, "an increment of 0", &[3, 0x00], Some(ErrorCode::QPACK_DECODER_STREAM_ERROR));
        case(role, "an increment for nothing", &[3, 0x01], Some(ErrorCode::QPACK_DECODER_STREAM_ERROR));
        case(role, "an acknowledgement for nothing", &[3, 0x84], Some(ErrorCode::QPACK_DECODER_STREAM_ERROR));
        case(role, "a cancellation for nothing", &[3, 0x44], None);
        // Each only once.
        for (kind, first) in [(0u8, control(&[])), (2, vec![2]), (3, vec![3])] {
            let mut side = Side::new(role);
            assert_eq!(side.uni(&mut Uni::new(), &first), Ok(UniNext::More));
            let error = side.uni(&mut Uni::new(), &[kind]).expect_err("a second one");
            assert_eq!(error.code, ErrorCode::H3_STREAM_CREATION_ERROR);
        }
        // Of unknown types nothing is read, and they may end as they like.
        for kind in [0x21, 0x54, 0x40, 1 << 40] {
            let mut side = Side::new(role);
            let mut uni = Uni::new();
            let next = side.uni(&mut uni, &[varint(kind), vec![0xff; 100]].concat());
            assert_eq!(next, Ok(UniNext::Stop(ErrorCode::H3_STREAM_CREATION_ERROR)));
            assert_eq!(side.connection.receive_uni(&mut uni, &[0xff; 9], true, 0), Ok(UniNext::More));
            assert_eq!(side.connection.uni_was_reset(&uni), Ok(()));
        }
    }
}

#[test]
fn critical_streams_stay_open() {
    for role in BOTH {
        for first in [control(&[]), vec![0], vec![0, 4, 9, 1], vec![2], vec![3]] {
            for reset in [false, true] {
                let mut side = Side::new(role);
                let mut uni = Uni::new();
                assert_eq!(side.uni(&mut uni, &first), Ok(UniNext::More));
                assert!(uni.is_critical());
                let end = match reset {
                    true => side.connection.uni_was_reset(&uni),
                    false => side.connection.receive_uni(&mut uni, &[], true, 0).map(|_| ()),
                };
                assert_eq!(end.map_err(|e| e.code), Err(ErrorCode::H3_CLOSED_CRITICAL_STREAM));
            }
        }
        // Before its type is known, a stream is nothing special.
        for first in [&[][..], &[0x80, 0]] {
            let mut side = Side::new(role);
            assert_eq!(side.connection.receive_uni(&mut Uni::new(), first, true, 0), Ok(UniNext::More));
            let mut uni = Uni::new();
            assert_eq!(side.uni(&mut uni, first), Ok(UniNext::More));
            assert_eq!(side.connection.uni_was_reset(&uni), Ok(()));
        }
        let mut side = Side::new(role);
        assert_eq!(side.connection.own_was_stopped().code, ErrorCode::H3_CLOSED_CRITICAL_STREAM);
        assert!(side.uni(&mut Uni::new(), &[0x21]).is_err());
    }
}

#[test]
fn what_the_control_stream_says_is_told() {
    let mut side = Side::new(Role::Server);
    let mut uni = Uni::new();
    assert!(!side.connection.peer_settled());
    let update = |stream, value: &str| frame(PRIORITY_UPDATE, &[&varint(stream)[..], value.as_bytes()].concat());
    let input = [
        control(&[6, 5000, 8, 1]),
        update(4, "u=1"),
        update(8, "u=2, i"),
        update(4, "u=7"),
        frame(GOAWAY, &[9]),
        update(12, &"x".repeat(500)),
        frame(GOAWAY, &[7]),
    ]
    .concat();
    assert_eq!(side.uni(&mut uni, &input), Ok(UniNext::More));
    let of =
        |stream, urgency, incremental| Control::PriorityUpdate { stream, priority: Priority { urgency, incremental } };
    let told: Vec<_> = std::iter::from_fn(|| side.connection.next_control()).collect();
    assert_eq!(told, [Control::Settings, of(8, 2, true), of(4, 7, false), Control::GoAway(7)]);
    assert!(side.connection.peer_settled() && side.connection.peer_allows_connect_protocol());
    assert_eq!(side.connection.peer_head_bytes_max(), Some(5000));
}

#[test]
fn our_own_streams_begin_with_their_types() {
    let mut side = Side::new(Role::Server);
    assert!(side.connection.has_out());
    let ours = std::mem::take(side.connection.out(Own::Control));
    let mut peer = Side::new(Role::Client);
    assert_eq!(peer.uni(&mut Uni::new(), &ours), Ok(UniNext::More));
    assert_eq!(peer.connection.next_control(), Some(Control::Settings));
    assert!(side.connection.out(Own::Encoder).is_empty() && side.connection.out(Own::Decoder).is_empty());
    assert!(!side.connection.has_out());
    // An entry of the peer's is acknowledged: the decoder stream begins.
    let mut encoder = Uni::new();
    side.uni(&mut encoder, &[2, 0x3f, 0x45, 0x41, b'a', 1, b'b']).expect("a capacity and an entry");
    assert!(side.connection.has_out());
    assert_eq!(*side.connection.out(Own::Decoder), [3, 0x01]);
    side.connection.out(Own::Decoder).clear();
    side.uni(&mut encoder, &[0x00]).expect("a duplicate");
    assert_eq!(*side.connection.out(Own::Decoder), [0x01], "the type only once");
}
