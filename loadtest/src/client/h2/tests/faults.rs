//! Servers that stall, break off, reset or answer what is no HTTP/2.
use super::{against, requests, whys};
use crate::{
    client::{
        Why,
        h2::raw::*,
        harness::{plan, read_to_end, run, say, server},
    },
    plan::Plan,
    record::Fault,
};
use std::{
    net::{TcpListener, TcpStream},
    num::NonZeroU64,
    time::Duration,
};

#[test]
fn a_goaway_lets_finish_what_was_taken() {
    let (address, thread) = server(2, |n, socket| {
        let mut peer = Peer::new(socket, &[]);
        if n == 1 {
            while let Some(stream) = peer.request() {
                peer.answer(stream, b"");
            }
            return;
        }
        let first = peer.request().unwrap();
        peer.answer(first, b"");
        let taken = peer.request().unwrap();
        peer.request().unwrap();
        peer.request().unwrap();
        let mut payload = taken.to_be_bytes().to_vec();
        payload.extend([0; 4]);
        peer.send(GOAWAY, 0, 0, &payload);
        peer.answer(taken, b"");
        peer.read_to_end();
    });
    let mut plan = requests(address, 10);
    plan.streams = 3;
    let came = run(plan, 2);
    thread.join().unwrap();
    assert_eq!((came.all_faults(), came.answered()), (vec![(Fault::Refused, 2)], 8));
    assert_eq!(came.ends[0].answered, 2);
}

#[test]
fn reset_streams_are_counted_by_kind_and_the_connection_goes_on() {
    let came = against(
        &[],
        |plan| (plan.streams, plan.requests) = (4, NonZeroU64::new(600)),
        |peer| {
            for n in 0..600u32 {
                let stream = peer.request().unwrap();
                match n % 3 {
                    0 => peer.answer(stream, b""),
                    1 => peer.send(RST_STREAM, 0, stream, &8u32.to_be_bytes()),
                    _ => peer.send(RST_STREAM, 0, stream, &7u32.to_be_bytes()),
                }
            }
        },
    );
    assert_eq!(came.all_faults(), [(Fault::StreamReset, 200), (Fault::Refused, 200)]);
    assert_eq!(came.answered(), 200);
}

#[test]
fn a_server_that_stalls_is_left_waiting() {
    let came = against(
        &[],
        |plan| (plan.requests, plan.streams, plan.timeout) = (NonZeroU64::new(7), 3, Duration::from_millis(60)),
        |peer| {
            let first = peer.request().unwrap();
            peer.answer(first, b"");
            for _ in 0..6 {
                let cancelled = peer.wait(RST_STREAM).unwrap();
                assert_eq!(cancelled.payload, 8u32.to_be_bytes());
                peer.answer(cancelled.stream, b"too late");
            }
        },
    );
    assert_eq!((came.all_faults(), came.answered()), (vec![(Fault::Timeout, 6)], 1));
    assert!(came.record.response.max() >= 60_000);
}

#[test]
fn a_server_that_says_nothing_at_all_is_left_waiting() {
    let (address, thread) = server(1, |_, mut socket| read_to_end(&mut socket));
    let mut plan = requests(address, 3);
    plan.timeout = Duration::from_millis(30);
    let came = run(plan, 1);
    thread.join().unwrap();
    assert_eq!((came.all_faults(), came.answered()), (vec![(Fault::Timeout, 3)], 0));
}

#[test]
fn a_server_that_takes_no_streams_is_given_up() {
    let came = against(
        &[(3, 0)],
        |plan| plan.timeout = Duration::from_millis(50),
        |peer| {
            // What came before the settings could.
            let stream = peer.request().unwrap();
            peer.send(RST_STREAM, 0, stream, &7u32.to_be_bytes());
        },
    );
    assert_eq!(came.all_faults(), [(Fault::Refused, 2)]);
    assert_eq!(whys(&came), [Why::Failed(Fault::Refused)]);
}

/// What ends the connection when it is the answer to the second of two requests at once, after the first was answered.
fn after_one_answer(
    change: impl FnOnce(&mut Plan),
    script: impl FnOnce(&mut Peer, u32) + Send + 'static,
) -> Vec<(Fault, u64)> {
    let came = against(
        &[],
        |plan| {
            plan.streams = 2;
            change(plan);
        },
        |peer| {
            let first = peer.request().unwrap();
            peer.answer(first, b"");
            let (second, third) = (peer.request().unwrap(), peer.request().unwrap());
            assert_eq!(third, second + 2);
            script(peer, second);
        },
    );
    assert_eq!(came.answered(), 1);
    assert!(matches!(whys(&came)[..], [Why::Failed(_)]), "{:?}", came.ends);
    came.all_faults()
}

fn close(peer: &mut Peer) {
    peer.socket.shutdown(std::net::Shutdown::Both).unwrap();
}

#[test]
fn what_breaks_a_connection_is_counted_by_kind() {
    let same = |_: &mut Plan| {};
    assert_eq!(after_one_answer(same, |peer, _| say(&mut peer.socket, &[0xff; 64])), [(Fault::Protocol, 2)]);
    assert_eq!(
        after_one_answer(same, |peer, id| peer.send(PUSH_PROMISE, END_HEADERS, id, &[0, 0, 0, 2, 0x82])),
        [(Fault::Protocol, 2)]
    );
    assert_eq!(after_one_answer(same, |peer, id| peer.send(HEADERS, 4, id, &[0xff; 9])), [(Fault::Protocol, 2)]);
    assert_eq!(after_one_answer(same, |peer, _| close(peer)), [(Fault::Closed, 2)]);
    let begun = after_one_answer(same, |peer, id| {
        peer.send(HEADERS, END_HEADERS, id, OK);
        peer.send(DATA, 0, id, b"half");
        close(peer);
    });
    assert_eq!(begun, [(Fault::Closed, 1), (Fault::Truncated, 1)]);
    let reset = after_one_answer(same, |peer, _| {
        socket2::SockRef::from(&peer.socket).set_linger(Some(Duration::ZERO)).unwrap();
        // Dropping it sends the reset. What takes its place is at its end, too.
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
        peer.socket = TcpStream::connect(nobody.local_addr().unwrap()).unwrap();
    });
    assert_eq!(reset, [(Fault::Reset, 2)]);
    let endless = after_one_answer(same, |peer, id| {
        peer.send(HEADERS, 0, id, OK);
        for _ in 0..100 {
            peer.send(CONTINUATION, 0, id, &[0; 16_000]);
        }
    });
    assert_eq!(endless, [(Fault::TooLarge, 2)]);
}

#[test]
fn no_http_2_at_all_is_a_fault() {
    let (address, thread) = server(1, |_, mut socket| {
        say(&mut socket, b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
        read_to_end(&mut socket);
    });
    let came = run(plan(address), 1);
    thread.join().unwrap();
    assert_eq!(whys(&came), [Why::Failed(Fault::Protocol)]);
    assert_eq!(came.faults(Fault::Protocol), 1);
}

#[test]
fn a_bad_answer_ends_its_stream_alone() {
    let came = against(
        &[],
        |plan| (plan.requests, plan.body_max) = (NonZeroU64::new(5), 10),
        |peer| {
            let mut next = || peer.request().unwrap();
            let first = next();
            peer.answer(first, b"0123456789");
            // A name in capitals.
            let id = peer.request().unwrap();
            peer.send(HEADERS, END_HEADERS, id, &[0x88, 0x00, 1, b'X', 1, b'y']);
            // One byte where two are announced.
            let id = peer.request().unwrap();
            peer.send(HEADERS, END_HEADERS, id, &[0x88, 0x0f, 0x0d, 1, b'2']);
            peer.send(DATA, END_STREAM, id, b"1");
            // More than is read.
            let id = peer.request().unwrap();
            peer.send(HEADERS, END_HEADERS, id, OK);
            peer.send(DATA, 0, id, b"01234567890");
            // Larger than a head may be, and than one is told of.
            let id = peer.request().unwrap();
            let mut long = vec![0x88];
            for name in b'a'..=b'f' {
                long.extend([0x00, 1, name, 0x7f, 0xe1, 0x5c]); // 12,000 bytes
                long.extend([b'x'; 12_000]);
            }
            let mut parts = long.chunks(16_000).enumerate().peekable();
            while let Some((n, part)) = parts.next() {
                let last = if parts.peek().is_none() { END_HEADERS } else { 0 };
                peer.send(if n == 0 { HEADERS } else { CONTINUATION }, last, id, part);
            }
        },
    );
    assert_eq!(came.answered(), 1);
    assert_eq!(came.all_faults(), [(Fault::Protocol, 2), (Fault::TooLarge, 2)]);
}

#[test]
fn a_flood_of_frames_does_not_stop_the_clock() {
    /// A PING's answer that nobody asked for: it needs none itself.
    const PONG: [u8; 17] = [0, 0, 8, 6, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let came = against(
        &[],
        |plan| (plan.timeout, plan.requests) = (Duration::from_millis(100), NonZeroU64::new(1)),
        |peer| {
            peer.request().unwrap();
            let flood = PONG.repeat(4096);
            while std::io::Write::write_all(&mut peer.socket, &flood).is_ok() {}
        },
    );
    assert_eq!(came.all_faults(), [(Fault::Timeout, 1)]);
}
