//! Where the input is cut changes nothing; no bytes make it panic.
use crate::support::*;
use edge_quic::h3::{Connection, Limits, Role, Uni};
use proptest::prelude::*;

fn some_frame() -> impl Strategy<Value = Vec<u8>> {
    let value = "[a-z ]{0,40}";
    prop_oneof![
        4 => proptest::collection::vec(("[a-z-]{1,12}", value), 0..6).prop_map(|fields| {
            let fields: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.trim())).collect();
            request(&fields)
        }),
        3 => proptest::collection::vec(any::<u8>(), 0..60).prop_map(|bytes| data(&bytes)),
        2 => proptest::collection::vec(("[a-z-]{1,12}", value), 0..4).prop_map(|fields| {
            let fields: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.trim())).collect();
            headers(&fields)
        }),
        2 => (100u16..1000).prop_map(|status| response(&status.to_string(), &[])),
        2 => (0u64..80, proptest::collection::vec(any::<u8>(), 0..30)).prop_map(|(kind, bytes)| frame(kind, &bytes)),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
        1 => proptest::collection::vec(any::<u8>(), 2..40).prop_map(|bytes| frame(HEADERS, &bytes)),
    ]
}

fn some_stream() -> impl Strategy<Value = Vec<u8>> {
    let frames = || proptest::collection::vec(some_frame(), 0..8).prop_map(|frames| frames.concat());
    prop_oneof![
        2 => frames().prop_map(|rest| [request(&[]), rest].concat()),
        1 => frames().prop_map(|rest| [response("200", &[]), rest].concat()),
        1 => frames(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn request_streams(input in some_stream(), seed: u64, most in 1usize..9, server: bool, method in 0usize..3) {
        let run = |most: usize| {
            let mut side = Side::new(if server { Role::Server } else { Role::Client });
            let mut stream = match server {
                true => edge_quic::h3::Stream::new(),
                false => side.ask(0, ["GET", "HEAD", "CONNECT"][method]),
            };
            let mut run = side.feed(&mut stream, 0, &input, false, pieces(seed, most));
            if run.error.is_none() && !stream.is_blocked() {
                run.error = side.give(&mut stream, 0, &[], true, &mut run).err();
            }
            side.connection.cancelled(&mut stream, 0);
            assert!(side.connection.memory() < size_of::<Connection>() + 20_000);
            run
        };
        let whole = run(usize::MAX);
        prop_assert_eq!(&whole, &run(most));
        prop_assert_eq!(&whole, &run(1));
    }

    #[test]
    fn unidirectional_streams(
        kind in 0u8..5,
        settings in any::<bool>(),
        frames in proptest::collection::vec(some_frame(), 0..8),
        noise in proptest::collection::vec(any::<u8>(), 0..50),
        seed: u64,
        most in 1usize..9,
        server: bool,
    ) {
        let start = if kind == 0 && settings { control(&[6, 100]) } else { vec![kind] };
        let input = [start, frames.concat(), noise].concat();
        let run = |most: usize| {
            let mut side = Side::new(if server { Role::Server } else { Role::Client });
            let (mut uni, mut piece, mut rest) = (Uni::new(), pieces(seed, most), &input[..]);
            let mut error = None;
            while !rest.is_empty() && error.is_none() {
                let (now, later) = rest.split_at(piece().min(rest.len()));
                rest = later;
                error = side.uni(&mut uni, now).err();
            }
            assert!(side.connection.memory() < size_of::<Connection>() + 64 * 1024);
            let told: Vec<_> = std::iter::from_fn(|| side.connection.next_control()).collect();
            (told, error)
        };
        let whole = run(usize::MAX);
        prop_assert_eq!(&whole, &run(most));
        prop_assert_eq!(&whole, &run(1));
    }

    /// Any bytes on any streams, in any order, with ends and resets between them.
    #[test]
    fn bytes_of_any_kind(
        steps in proptest::collection::vec((0usize..10, proptest::collection::vec(any::<u8>(), 0..40), 0u8..20), 0..60),
        server: bool,
    ) {
        let limits = Limits { resets: 1000, control_frames: 10_000, ..Limits::default() };
        let mut side = Side::with(if server { Role::Server } else { Role::Client }, &limits);
        let mut requests: Vec<_> = (0..5).map(|i| if server { Default::default() } else { side.ask(i * 4, "GET") }).collect();
        let mut unis: Vec<Uni> = (0..5).map(|_| Uni::new()).collect();
        for (which, bytes, what) in steps {
            let dead = match (which, what) {
                (0..5, 0) => {
                    side.connection.cancelled(&mut requests[which], which as u64 * 4);
                    side.connection.reset_by_peer(0).is_err()
                }
                (0..5, _) => {
                    let mut run = Run::default();
                    let error = side.give(&mut requests[which], which as u64 * 4, &bytes, what == 1, &mut run).err();
                    error.is_some_and(|e| code(e).1)
                }
                (_, 0) => side.connection.uni_was_reset(&unis[which - 5]).is_err(),
                _ => side.connection.receive_uni(&mut unis[which - 5], &bytes, what == 1, 0).is_err(),
            };
            while let Some(id) = side.connection.next_unblocked() {
                let stream = &mut requests[id as usize / 4];
                let _ = side.connection.resume(stream, id, &mut side.head);
            }
            assert!(side.connection.memory() < size_of::<Connection>() + 300 * 1024);
            if dead {
                break;
            }
        }
    }
}
