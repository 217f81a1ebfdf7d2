//! The mesh between shards: order, bounds, wake-ups that are few and never missing, and ends that go.
use crate::support::{Noise, PATIENCE, readable};
use bytes::BytesMut;
use edge_quic::forward::{Full, Packet, Port, mesh};
use quinn_proto::EcnCodepoint;
use std::{
    os::fd::{AsFd, AsRawFd},
    thread,
    time::Instant,
};

fn packet(from: usize, n: u64) -> Packet {
    Packet {
        group: from as u64,
        remote: ([192, 0, 2, 1], 443).into(),
        local_ip: Some([192, 0, 2, 2].into()),
        ecn: Some(EcnCodepoint::Ce),
        stride: 8,
        data: BytesMut::from(&n.to_be_bytes()[..]),
    }
}

fn number(packet: &Packet) -> u64 {
    u64::from_be_bytes(packet.data[..].try_into().unwrap())
}

fn drained(port: &Port) -> Vec<u64> {
    let mut got = Vec::new();
    port.drain(|p| got.push(number(&p)));
    got
}

fn ringing(port: &Port) -> bool {
    readable(port.as_fd().as_raw_fd(), 0)
}

#[test]
fn packets_arrive_whole_and_in_order() {
    let ports = mesh(3, 8).unwrap();
    for n in 0..5 {
        ports[0].send(2, packet(0, n)).unwrap();
    }
    let mut got = Vec::new();
    ports[2].drain(|p| got.push(p));
    assert_eq!(got, (0..5).map(|n| packet(0, n)).collect::<Vec<_>>());
    assert_eq!((drained(&ports[0]), drained(&ports[1]), drained(&ports[2])), (vec![], vec![], vec![]));
}

#[test]
fn a_full_ring_loses_the_packet_and_no_other() {
    let ports = mesh(3, 2).unwrap();
    ports[0].send(1, packet(0, 1)).unwrap();
    ports[0].send(1, packet(0, 2)).unwrap();
    assert_eq!(ports[0].send(1, packet(0, 3)), Err(Full));
    ports[2].send(1, packet(2, 4)).unwrap(); // has a ring of its own
    ports[0].send(2, packet(0, 5)).unwrap();
    assert_eq!(drained(&ports[1]), [1, 2, 4]);
    ports[0].send(1, packet(0, 6)).unwrap();
    assert_eq!(drained(&ports[1]), [6]);
    assert_eq!(drained(&ports[2]), [5]);
}

#[test]
fn there_is_no_way_to_oneself_or_to_nobody() {
    let ports = mesh(2, 2).unwrap();
    assert_eq!(ports[0].send(0, packet(0, 0)), Err(Full));
    assert_eq!(ports[0].send(2, packet(0, 0)), Err(Full));
    assert_eq!(mesh(1, 0).unwrap()[0].send(0, packet(0, 0)), Err(Full));
    assert!(mesh(0, 1).unwrap().is_empty());
}

#[test]
fn many_packets_ring_once() {
    let ports = mesh(3, 64).unwrap();
    assert!(!ringing(&ports[0]));
    for n in 0..10 {
        ports[1].send(0, packet(1, n)).unwrap();
        ports[2].send(0, packet(2, n)).unwrap();
    }
    let mut count = [0; 8];
    // SAFETY: the kernel writes 8 bytes into `count`, which has as many.
    let n = unsafe { libc::read(ports[0].as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    assert_eq!((n, u64::from_ne_bytes(count)), (8, 1), "the eventfd counts the rings");
    ports[0].clear_wake(); // nothing to read any more; must not block
    assert_eq!(drained(&ports[0]).len(), 20);
    assert!(!ringing(&ports[0]));
    ports[1].send(0, packet(1, 0)).unwrap();
    assert!(ringing(&ports[0]));
    ports[0].clear_wake();
    assert!(!ringing(&ports[0]));
}

#[test]
fn a_packet_may_be_answered_while_draining() {
    let ports = mesh(2, 4).unwrap();
    ports[0].send(1, packet(0, 1)).unwrap();
    ports[1].drain(|p| ports[1].send(0, p).unwrap());
    assert_eq!(drained(&ports[0]), [1]);
}

#[test]
fn draining_ends_while_others_send() {
    let ports = mesh(2, 4).unwrap();
    ports[0].send(1, packet(0, 0)).unwrap();
    let mut got = 0;
    ports[1].drain(|p| {
        got += 1;
        ports[0].send(1, p).unwrap();
    });
    assert_eq!(got, 1);
}

#[test]
fn the_end_of_a_shard_frees_what_it_did_not_take_and_refuses_more() {
    let mut ports = mesh(2, 4).unwrap();
    let mut data = BytesMut::from(&b"12345678"[..]);
    let kept = data.split_to(4);
    // Reclaiming in place is possible only when nobody else holds a part of the buffer.
    ports[0].send(1, Packet { data, ..packet(0, 0) }).unwrap();
    drop(ports.pop());
    let mut kept = kept;
    assert!(kept.try_reclaim(4), "its packets are gone");
    assert_eq!(ports[0].send(1, packet(0, 0)), Err(Full));
    ports[0].drain(|_| panic!("nothing can come"));
}

#[test]
fn what_a_shard_sent_before_its_end_still_arrives() {
    let mut ports = mesh(2, 4).unwrap();
    ports[1].send(0, packet(1, 7)).unwrap();
    drop(ports.pop());
    assert!(ringing(&ports[0]));
    assert_eq!(drained(&ports[0]), [7]);
}

/// Every shard sends to every other, sleeping only on its descriptor: a wake-up that went missing would leave a full
/// ring or an unread end behind, and time would run out.
#[test]
fn no_wake_up_is_lost_between_threads() {
    const SHARDS: usize = 4;
    const EACH: u64 = 20_000;
    let run = |me: usize, port: Port| {
        let end = Instant::now() + PATIENCE;
        let mut next_in = [0u64; SHARDS];
        let mut next_out = [0u64; SHARDS];
        next_in[me] = EACH;
        next_out[me] = EACH;
        while next_in != [EACH; SHARDS] || next_out != [EACH; SHARDS] {
            assert!(Instant::now() < end, "shard {me} sleeps with work left: {next_in:?} {next_out:?}");
            for (to, next) in next_out.iter_mut().enumerate() {
                // A few at a time, so that rings run empty as often as full.
                for _ in 0..7 {
                    if *next < EACH && port.send(to, packet(me, *next)).is_ok() {
                        *next += 1;
                    }
                }
            }
            thread::yield_now();
            // Only who has nothing to send and something to get may sleep.
            let sleeps = next_out == [EACH; SHARDS] && next_in != [EACH; SHARDS];
            let woken = readable(port.as_raw_fd(), if sleeps { 10_000 } else { 0 });
            assert!(woken || !sleeps, "shard {me} was not woken: {next_in:?}");
            if woken {
                port.clear_wake();
                port.drain(|p| {
                    let from = p.group as usize;
                    assert_eq!(number(&p), next_in[from], "in order");
                    next_in[from] += 1;
                });
            }
        }
        port // kept until all are done: its end would refuse the others' last packets
    };
    let threads: Vec<_> =
        mesh(SHARDS, 16).unwrap().into_iter().enumerate().map(|(n, p)| thread::spawn(move || run(n, p))).collect();
    let ports: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert!(ports.iter().all(|p| drained(p).is_empty()));
}

/// One packet at a time between two sleepers: each step needs its wake-up.
#[test]
fn ping_pong_never_sleeps_for_ever() {
    const ROUNDS: u64 = 20_000;
    let mut ports = mesh(2, 1).unwrap();
    let wait = |port: &Port| {
        assert!(readable(port.as_raw_fd(), 10_000), "woken within 10 s");
        port.clear_wake();
        drained(port)
    };
    let echo = ports.pop().unwrap();
    let other = thread::spawn(move || {
        let mut seen = 0;
        while seen < ROUNDS {
            for n in wait(&echo) {
                assert_eq!(n, seen);
                seen += 1;
                echo.send(0, packet(1, n)).unwrap();
            }
        }
        echo
    });
    for n in 0..ROUNDS {
        ports[0].send(1, packet(0, n)).unwrap();
        let mut got = Vec::new();
        while got.is_empty() {
            got = wait(&ports[0]);
        }
        assert_eq!(got, [n]);
    }
    drop(other.join().unwrap());
}

/// A receiver that sleeps as often as it can, and a sender whose packets fall anywhere into its steps of waking up.
#[test]
fn a_packet_that_comes_while_waking_up_wakes_again() {
    const PACKETS: u64 = 100_000;
    let mut ports = mesh(2, 8).unwrap();
    let receiver = ports.pop().unwrap();
    let other = thread::spawn(move || {
        let mut next = 0;
        while next < PACKETS {
            assert!(readable(receiver.as_raw_fd(), 10_000), "not woken after {next} packets");
            receiver.clear_wake();
            receiver.drain(|p| {
                assert_eq!(number(&p), next);
                next += 1;
            });
        }
        receiver
    });
    let mut noise = Noise(1);
    for n in 0..PACKETS {
        while ports[0].send(1, packet(0, n)).is_err() {
            assert!(!other.is_finished());
            thread::yield_now();
        }
        (0..noise.below(256)).for_each(|_| std::hint::spin_loop());
    }
    drop(other.join().unwrap());
}
