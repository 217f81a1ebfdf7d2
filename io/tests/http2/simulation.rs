//! Both roles against each other, seeded: whatever the pieces in which bytes arrive, messages arrive whole, windows hold,
//! and nothing is left behind.
use crate::support::*;
use edge_io::{
    head::FieldRef,
    http2::{ErrorCode, Event, Limits, RequestHead, Role},
};
use proptest::prelude::*;
use std::collections::HashMap;

/// A small generator of pseudo-random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }
}

/// What of a message is still to be sent.
struct Sending {
    body: Vec<u8>,
    at: usize,
    trailers: bool,
}

impl Sending {
    fn new(random: &mut Random) -> Sending {
        let size = [0, 1, 100, 5000, 100_000, 400_000][random.below(6)];
        let first = random.below(256) as u8;
        let body = (0..size).map(|n: usize| (n as u8).wrapping_mul(31).wrapping_add(first)).collect();
        Sending { body, at: 0, trailers: random.below(3) == 0 }
    }

    /// Sends on, until it is blocked or over; whether it is over.
    fn go_on(&mut self, side: &mut Side, stream: u32) -> bool {
        while self.at < self.body.len() {
            let n = side.conn.send_data(stream, &self.body[self.at..], !self.trailers).unwrap();
            self.at += n;
            if self.at < self.body.len() {
                return false;
            }
            if !self.trailers {
                return true;
            }
        }
        if self.trailers {
            side.conn.send_trailers(stream, fields(&[("x-trailer", "t")])).unwrap();
        } else {
            side.conn.send_data(stream, b"", true).unwrap();
        }
        true
    }
}

/// One run: so many requests with bodies, trailers and resets.
fn run(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let limits = |random: &mut Random| Limits {
        streams: 1 + random.below(20) as u32,
        stream_window: [300, 5000, 65_535, 262_144][random.below(4)],
        connection_window: [65_535, 200_000, 1 << 20][random.below(3)],
        out_bytes: [1024, 10_000, 65_536][random.below(3)],
        resets: 1_000_000,
        control_frames: 1_000_000,
        ..Limits::default()
    };
    let (client_limits, server_limits) = (limits(&mut random), limits(&mut random));
    let mut client = Side::new(Role::Client, &client_limits);
    let mut server = Side::new(Role::Server, &server_limits);
    let mut requests: HashMap<u32, Sending> = HashMap::new();
    let mut responses: HashMap<u32, Sending> = HashMap::new();
    let mut expected: Vec<(u32, Vec<u8>)> = Vec::new();
    let mut reset = Vec::new();
    let (mut opened, mut answered) = (0, 0);
    for turn in 0.. {
        assert!(turn < 2_000_000, "seed {seed} does not end");
        if opened < 30 && client.conn.can_open() && random.below(4) == 0 {
            let request =
                RequestHead { method: b"POST", scheme: b"https", authority: b"a.test", path: b"/sim", protocol: None };
            let urgency = format!("u={}{}", random.below(8), if random.below(2) == 0 { ", i" } else { "" });
            let sent = [("user-agent", "sim"), ("priority", &urgency), ("x-n", &urgency)];
            let stream = client.conn.send_request(&request, fields(&sent), false).unwrap();
            let mut sending = Sending::new(&mut random);
            expected.push((stream, sending.body.clone()));
            opened += 1;
            if !sending.go_on(&mut client, stream) {
                requests.insert(stream, sending);
            }
        }
        for flip in [false, true] {
            let (from, to) = if flip { (&mut server, &mut client) } else { (&mut client, &mut server) };
            let n = match random.below(8) {
                0 => 0,
                1..5 => random.below(20),
                _ => random.below(40_000),
            };
            let n = n.min(from.conn.out().len());
            let bytes = from.conn.out()[..n].to_vec();
            from.conn.sent(n);
            to.feed(&bytes);
            assert_eq!((to.fatal, from.fatal), (None, None), "seed {seed}");
        }
        for event in std::mem::take(&mut server.events) {
            let over = match event {
                Event::Head { stream, end } => end.then_some(stream),
                Event::Data { stream, end, .. } => end.then_some(stream),
                Event::Trailers { stream } => Some(stream),
                Event::Reset { stream, .. } => {
                    responses.remove(&stream);
                    None
                }
                _ => None,
            };
            if let Some(stream) = over {
                answered += 1;
                server.conn.send_response(stream, 200, fields(&[("server", "sim")]), false).unwrap();
                let mut sending = Sending::new(&mut random);
                if !sending.go_on(&mut server, stream) {
                    responses.insert(stream, sending);
                }
            }
        }
        client.events.clear();
        for (side, sendings) in [(&mut client, &mut requests), (&mut server, &mut responses)] {
            while let Some(stream) = side.conn.next_writable() {
                let sending = sendings.get_mut(&stream).expect("only blocked streams are listed");
                if sending.go_on(side, stream) {
                    sendings.remove(&stream);
                }
            }
        }
        if random.below(3000) == 0
            && let Some((&stream, _)) = requests.iter().next()
        {
            requests.remove(&stream);
            client.conn.reset(stream, ErrorCode::CANCEL);
            reset.push(stream);
        }
        let quiet = client.conn.out().is_empty() && server.conn.out().is_empty();
        if opened == 30 && quiet && client.conn.open_streams() == 0 && server.conn.open_streams() == 0 {
            break;
        }
    }
    assert_eq!(answered + reset.len(), 30);
    for (stream, body) in expected.iter().filter(|(stream, _)| !reset.contains(stream)) {
        let got = server.data.iter().find(|(id, _)| id == stream).map_or(&[][..], |(_, data)| data);
        assert!(got == body, "seed {seed}, stream {stream}");
    }
    client.conn.release_memory();
    server.conn.release_memory();
    let held = [client.conn.memory(), server.conn.memory()];
    assert!(held.iter().all(|n| *n < 20_000), "{held:?}");
}

#[test]
fn messages_arrive_whole_whatever_the_seed() {
    for seed in 1..=20 {
        run(seed);
    }
}

#[test]
fn bodies_go_both_ways_through_small_pieces() {
    let mut client = Side::new(Role::Client, &Limits::default());
    let mut server = Side::new(Role::Server, &Limits::default());
    exchange(&mut client, &mut server, || 1);
    assert_eq!(client.take_events(), [Event::Settings]);
    let request = RequestHead { method: b"POST", scheme: b"https", authority: b"a.test", path: b"/up", protocol: None };
    let stream = client.conn.send_request(&request, fields(&[("User-Agent", "x")]), false).unwrap();
    let body: Vec<u8> = (0..2_000_000u32).map(|n| (n * 7) as u8).collect();
    let mut sent = client.conn.send_data(stream, &body, true).unwrap();
    exchange(&mut client, &mut server, || usize::MAX);
    while let Some(next) = client.conn.next_writable() {
        assert_eq!(next, stream);
        sent += client.conn.send_data(stream, &body[sent..], true).unwrap();
        exchange(&mut client, &mut server, || 1000);
    }
    assert_eq!(sent, body.len());
    assert!(server.data[0].1 == body);
    server.conn.send_response(stream, 200, fields(&[("server", "x")]), false).unwrap();
    assert_eq!(server.conn.send_data(stream, b"done", false), Ok(4));
    server.conn.send_trailers(stream, fields(&[("x-t", "1")])).unwrap();
    exchange(&mut client, &mut server, || 3);
    assert_eq!(client.data[0].1, b"done");
    assert_eq!(client.heads[0].status(), 200);
    assert_eq!(client.heads[1].get_name(b"x-t"), Some(&b"1"[..]));
    assert_eq!((client.conn.open_streams(), server.conn.open_streams()), (0, 0));
}

/// Frames that are mostly right: what random bytes would never get to.
pub fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(DATA), Just(HEADERS), 0u8..11, Just(PRIORITY_UPDATE)];
    let flags = prop_oneof![Just(0u8), Just(END), Just(END_HEADERS), any::<u8>()];
    let stream = prop_oneof![Just(0u32), (0u32..12).prop_map(|n| 2 * n + 1), 0u32..24];
    let payload = prop_oneof![
        Just(block(&GET)),
        Just(with(&POST, &[("content-length", "5"), ("cookie", "a"), ("priority", "u=1, i")])),
        Just(block(&[(":status", "200")])),
        Just(block(&[("x", "y")])),
        (0usize..6).prop_map(|n| vec![0; n]),
        (0usize..40_000).prop_map(|n| vec![1; n.min(16_384)]),
        Just(vec![0, 0, 1, 0]),
        Just(vec![0, 4, 0, 0, 0, 9]),
        Just(vec![0; 8]),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    (kind, flags, stream, payload).prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// A hostile peer: nothing panics, memory stays in its budget, the answers are whole frames, and the events make sense.
    #[test]
    fn a_hostile_peer_gets_nowhere(
        frames_in in proptest::collection::vec(any_frame(), 0..60),
        server in any::<bool>(),
        cuts in proptest::collection::vec(1usize..500, 1..20),
        answer in any::<bool>(),
    ) {
        let limits = Limits { streams: 8, memory_bytes: 64 * 1024, out_bytes: 8192, ..Limits::default() };
        let mut side = if server { Side::server_with(&limits) } else { Side::client_with(&limits) };
        if !server {
            for end in [true, false, true] {
                side.request("GET", end);
            }
        }
        let mut bytes = &frames_in.concat()[..];
        let mut open: Vec<u32> = if server { Vec::new() } else { vec![1, 3, 5] };
        let mut cuts = cuts.into_iter().cycle();
        while !bytes.is_empty() && side.fatal.is_none() {
            let (piece, rest) = bytes.split_at(cuts.next().unwrap_or(1).min(bytes.len()));
            bytes = rest;
            side.feed(piece);
            for event in std::mem::take(&mut side.events) {
                match event {
                    Event::Head { stream, .. } if server => {
                        prop_assert!(!open.contains(&stream));
                        open.push(stream);
                        if answer {
                            let _ = side.conn.send_response(stream, 200, fields(&[("server", "x")]), false);
                            let _ = side.conn.send_data(stream, &[0; 20_000], true);
                        }
                    }
                    Event::Head { stream, .. } | Event::Data { stream, .. } | Event::Trailers { stream } => {
                        prop_assert!(open.contains(&stream));
                    }
                    Event::Reset { stream, .. } => {
                        prop_assert!(open.contains(&stream));
                        prop_assert!(side.conn.send_data(stream, b"x", true).is_err());
                    }
                    _ => {}
                }
            }
            while side.conn.next_writable().is_some() {}
            prop_assert!(side.conn.open_streams() <= 8);
            prop_assert!(side.conn.memory() < 160 * 1024, "{}", side.conn.memory());
            if side.conn.out().len() > 10_000 {
                side.take_out();
            }
        }
        side.take_out();
    }
}

#[test]
fn heads_read_back_as_they_were_sent() {
    let mut client = Side::client();
    let mut server = Side::server();
    client.conn.ping(*b"settled?");
    server.feed(client.conn.out());
    let n = client.conn.out().len();
    client.conn.sent(n);
    let mut random = Random(7);
    for _ in 0..300 {
        let count = random.below(20);
        let names = ["Accept", "user-agent", "X-One", "x-two", "etag", "authorization", "range", "via"];
        let sent: Vec<(String, String)> = (0..count)
            .map(|_| (names[random.below(8)].to_owned(), "v".repeat(random.below(60)) + &random.below(3).to_string()))
            .collect();
        let refs = sent.iter().map(|(name, value)| FieldRef {
            id: edge_io::head::FieldId::of(name.as_bytes()),
            name: name.as_bytes(),
            value: value.as_bytes(),
        });
        let request =
            RequestHead { method: b"GET", scheme: b"https", authority: b"a.test", path: b"/", protocol: None };
        let stream = client.conn.send_request(&request, refs, true).unwrap();
        exchange(&mut client, &mut server, || 50 + random.below(500));
        let head = server.heads.pop().unwrap();
        let got: Vec<_> = head
            .fields()
            .map(|f| (String::from_utf8(f.name.to_vec()).unwrap(), String::from_utf8(f.value.to_vec()).unwrap()))
            .collect();
        let lower: Vec<_> = sent.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
        assert_eq!(got, lower);
        server.conn.send_response(stream, 204, fields(&[]), true).unwrap();
        exchange(&mut client, &mut server, || usize::MAX);
    }
    assert_eq!(client.conn.open_streams(), 0);
}
