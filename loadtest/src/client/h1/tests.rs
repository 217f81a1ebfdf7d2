//! HTTP/1.1 against servers that do what servers should not.
use crate::{
    client::testing::{Server, head, plan},
    plan::{Arrivals, Load, Plan},
    record::{Fault, Outcome},
};
use std::{
    io::{Read, Write},
    net::Shutdown,
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, Instant},
};

/// Runs `n` requests.
fn run(mut plan: Plan, n: u64) -> Outcome {
    plan.requests = NonZeroU64::new(n);
    crate::run::run(plan, &mut |_| (), &Arc::default()).expect("it runs")
}

fn faults(outcome: &Outcome) -> Vec<(Fault, u64)> {
    outcome.counts.faults.iter().map(|(fault, n)| (*fault, *n)).collect()
}

#[test]
fn answers_of_every_framing_are_read_to_their_end() {
    let cases: &[(&str, &str, u64)] = &[
        ("content-length", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 5),
        ("nothing", "HTTP/1.1 204 No Content\r\n\r\n", 0),
        (
            "chunked",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: 1\r\n\r\n",
            5,
        ),
        ("interim", "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", 1),
        ("close", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nab", 2),
    ];
    for (name, answer, body) in cases {
        let server = Server::answering(*answer);
        let outcome = run(plan(server.address), 20);
        assert_eq!((outcome.counts.answered, outcome.counts.sent), (20, 20), "{name}: {:?}", outcome.counts);
        assert_eq!(outcome.counts.body_bytes, 20 * body, "{name}");
        assert!(faults(&outcome).is_empty(), "{name}: {:?}", faults(&outcome));
        let connections = if *name == "close" { 20 } else { 1 };
        assert_eq!(outcome.counts.connections, connections, "{name}");
    }
}

#[test]
fn a_body_that_lasts_until_the_close_is_whole() {
    let server = Server::new(|mut socket, _| {
        head(&mut socket);
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n12345");
    });
    let outcome = run(plan(server.address), 5);
    assert_eq!((outcome.counts.answered, outcome.counts.body_bytes, outcome.counts.connections), (5, 25, 5));
    assert!(faults(&outcome).is_empty());
}

#[test]
fn a_head_answer_has_no_body_whatever_it_announces() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n");
    let mut plan = plan(server.address);
    plan.origins[0].requests[0].method = "HEAD".into();
    let outcome = run(plan, 10);
    assert_eq!((outcome.counts.answered, outcome.counts.body_bytes), (10, 0), "{:?}", outcome.counts);
}

#[test]
fn what_servers_do_wrong_is_counted_by_kind() {
    let cases: &[(Fault, &str)] = &[
        (Fault::Closed, ""),
        (Fault::Truncated, "HTTP/1.1 200 OK\r\ncontent-le"),
        (Fault::Truncated, "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf"),
        (Fault::Truncated, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab"),
        (Fault::Protocol, "SSH-2.0-OpenSSH\r\n\r\n"),
        (Fault::Protocol, "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"),
        (Fault::Protocol, "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"),
        (Fault::TooLarge, "HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n"),
    ];
    for (fault, answer) in cases {
        let server = Server::new(move |mut socket, _| {
            head(&mut socket);
            let _ = socket.write_all(answer.as_bytes());
            let _ = socket.shutdown(Shutdown::Write);
            let _ = socket.read(&mut [0; 64]);
        });
        let outcome = run(plan(server.address), 2);
        assert_eq!(faults(&outcome), [(*fault, 2)], "{answer:?}");
        assert_eq!((outcome.counts.answered, outcome.counts.sent), (0, 2), "{answer:?}");
    }
}

#[test]
fn bytes_behind_the_last_answer_are_garbage() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n");
    let outcome = run(plan(server.address), 3);
    assert_eq!(outcome.counts.answered, 3);
    assert!(faults(&outcome).iter().all(|(fault, n)| *fault == Fault::Protocol && *n >= 2), "{:?}", faults(&outcome));
}

#[test]
fn a_reset_is_known_as_one() {
    let server = Server::new(|mut socket, _| {
        head(&mut socket);
        let _ = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
    });
    assert_eq!(faults(&run(plan(server.address), 2)), [(Fault::Reset, 2)]);
}

#[test]
fn a_silent_server_is_a_timeout_and_does_not_look_quick() {
    let server = Server::new(|mut socket, _| while head(&mut socket).is_some() {});
    let mut plan = plan(server.address);
    plan.timeout = Duration::from_millis(100);
    plan.streams = 3;
    let outcome = run(plan, 3);
    assert_eq!(faults(&outcome), [(Fault::Timeout, 3)]);
    assert!(outcome.times.response.min >= 99_000, "{:?}", outcome.times.response);
}

#[test]
fn who_is_cut_off_by_anothers_timeout_has_not_waited_so_long() {
    let server = Server::new(|mut socket, _| while head(&mut socket).is_some() {});
    let mut plan = plan(server.address);
    // At 0 and 200 ms; at 400 the connection is given up.
    plan.load = Load::Open { rate: 5.0, arrivals: Arrivals::Constant };
    (plan.timeout, plan.streams) = (Duration::from_millis(400), 2);
    let outcome = run(plan, 2);
    assert_eq!(outcome.counts.faults.get(&Fault::Timeout), Some(&1), "{:?}", faults(&outcome));
    assert_eq!(outcome.counts.faults.get(&Fault::Closed), Some(&1), "{:?}", faults(&outcome));
    assert!(outcome.times.response.min >= 399_000, "{:?}", outcome.times.response);
}

#[test]
fn nobody_who_listens_is_not_asked_in_a_hot_loop() {
    let address = {
        let server = Server::answering("");
        server.address
    };
    let mut plan = plan(address);
    plan.duration = Duration::from_millis(500);
    let outcome = crate::run::run(plan, &mut |_| (), &Arc::default()).expect("it runs");
    let refused = outcome.counts.faults.get(&Fault::ConnectRefused).copied().unwrap_or(0);
    assert!((2..=8).contains(&refused), "{refused}: 10, 20, 40, 80, 160, 320 ms apart");
    assert_eq!(outcome.counts.connections, 0);
}

#[test]
fn pipelined_requests_leave_together_and_each_is_counted_when_the_connection_dies() {
    let server = Server::new(|mut socket, _| {
        // All of them, before the first answer.
        for _ in 0..8 {
            head(&mut socket);
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc".repeat(5);
        let _ = socket.write_all(&answer);
        let _ = socket.shutdown(Shutdown::Write);
        let _ = socket.read(&mut [0; 4096]);
    });
    let mut plan = plan(server.address);
    plan.streams = 8;
    let outcome = run(plan, 8);
    assert_eq!((outcome.counts.answered, outcome.counts.sent), (5, 8));
    assert_eq!(faults(&outcome), [(Fault::Closed, 3)]);
}

#[test]
fn pieces_of_answers_are_put_together() {
    let server = Server::new(|mut socket, _| {
        let _ = socket.set_nodelay(true);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd";
        while head(&mut socket).is_some() && head(&mut socket).is_some() {
            // Two answers, cut where it hurts.
            let both = [answer.as_slice(), answer].concat();
            for piece in both.chunks(7) {
                let _ = socket.write_all(piece);
            }
        }
    });
    let mut plan = plan(server.address);
    plan.streams = 2;
    let outcome = run(plan, 40);
    assert_eq!((outcome.counts.answered, outcome.counts.body_bytes), (40, 160), "{:?}", outcome.counts);
}

#[test]
fn a_large_body_both_ways_does_not_lock_up() {
    const SIZE: usize = 8 << 20;
    let server = Server::new(|mut socket, _| {
        while head(&mut socket).is_some() {
            // Echoes as it reads: a client that only writes would stop it, and itself.
            let _ = write!(socket, "HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n");
            let (mut left, mut room) = (SIZE, vec![0; 1 << 16]);
            while left > 0 {
                let n = socket.read(&mut room).unwrap_or(0);
                if n == 0 || socket.write_all(&room[..n]).is_err() {
                    return;
                }
                left -= n;
            }
        }
    });
    let mut plan = plan(server.address);
    plan.body_max = SIZE as u64;
    plan.origins[0].requests[0].method = "POST".into();
    plan.origins[0].requests[0].body = vec![b'x'; SIZE].into();
    let outcome = run(plan, 2);
    assert_eq!((outcome.counts.answered, outcome.counts.body_bytes), (2, 2 * SIZE as u64), "{:?}", outcome.counts);
}

#[test]
fn statuses_and_bodies_are_expected() {
    let server = Server::answering("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno");
    let outcome = run(plan(server.address), 4);
    assert_eq!((outcome.counts.answered, faults(&outcome)), (4, vec![(Fault::Status, 4)]));
    assert_eq!(outcome.counts.status.get(&503), Some(&4));
    let server =
        Server::answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
    for (expected, faulty) in [("abc", 0), ("abd", 3)] {
        let mut plan = plan(server.address);
        plan.expect.body = Some(regex::bytes::Regex::new(expected).unwrap());
        let outcome = run(plan, 3);
        assert_eq!(outcome.counts.faults.get(&Fault::Body).copied().unwrap_or(0), faulty, "{expected}");
    }
}

#[test]
fn a_connection_carries_as_many_requests_as_asked() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let mut plan = plan(server.address);
    plan.requests_per_connection = NonZeroU64::new(4);
    let begun = Instant::now();
    let outcome = run(plan, 20);
    assert_eq!((outcome.counts.answered, outcome.counts.connections), (20, 5), "{:?}", outcome.counts);
    assert!(begun.elapsed() < Duration::from_secs(15));
}
