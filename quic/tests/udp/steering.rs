//! The kernel's filter and `shard_of` are one rule: in an interpreter for all numbers of shards, and in the kernel.
use crate::support::{Noise, Shard, group, loopbacks, peer, unprivileged};
use edge_io::ring::Driver;
use edge_quic::{
    cid::Generator,
    group::{Steering, Wanted},
    steer::{MAX_SHARDS, filter, shard_of},
};
use proptest::prelude::*;
use quinn_proto::ConnectionIdGenerator;
use std::{collections::HashMap, net::IpAddr};

/// Runs the instructions that `filter` uses, as the kernel does: a load beyond the end answers 0.
fn interpret(program: &[libc::sock_filter], packet: &[u8]) -> u32 {
    let (mut a, mut at) = (0u32, 0usize);
    loop {
        let op = program[at];
        let k = op.k as usize;
        at += 1;
        match u32::from(op.code) {
            0x80 => a = packet.len() as u32, // ld len
            0x30 => match packet.get(k) {
                Some(byte) => a = u32::from(*byte), // ldb [k]
                None => return 0,
            },
            0x28 => match packet.get(k..k + 2) {
                Some(word) => a = u32::from(u16::from_be_bytes([word[0], word[1]])), // ldh [k]
                None => return 0,
            },
            0x35 => at += usize::from(if a >= op.k { op.jt } else { op.jf }), // jge
            0x45 => at += usize::from(if a & op.k != 0 { op.jt } else { op.jf }), // jset
            0x05 => at += k,                                                  // ja
            0x94 => a %= op.k,                                                // mod
            0x16 => return a,                                                 // ret a
            0x06 => return op.k,                                              // ret k
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}

fn check(packet: &[u8], shards: usize) {
    let answer = interpret(&filter(shards), packet);
    match shard_of(packet, shards) {
        Some(shard) => assert_eq!(answer as usize, shard, "{packet:02x?} of {shards}"),
        None => assert!(answer as usize >= shards, "{packet:02x?} of {shards}: {answer}"),
    }
}

proptest! {
    #[test]
    fn filter_and_function_agree(packet in prop::collection::vec(any::<u8>(), 0..40)) {
        (1..=MAX_SHARDS).for_each(|shards| check(&packet, shards));
    }
}

#[test]
fn short_packets_have_no_shard() {
    for shards in [1, 2, 3, 255, 256] {
        for first in [0x00, 0x40, 0x7f, 0x80, 0xc0, 0xff] {
            for len in 0..12 {
                let packet = &[first, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11][..len];
                check(packet, shards);
                let least = if first & 0x80 != 0 { 8 } else { 3 };
                assert_eq!(shard_of(packet, shards).is_some(), len >= least);
            }
        }
    }
    assert_eq!(shard_of(&[0x40, 1, 2], 0), None);
}

fn short_header(cid: &[u8], rest: &[u8]) -> Vec<u8> {
    [&[0x40], cid, rest].concat()
}

fn long_header(cid: &[u8], rest: &[u8]) -> Vec<u8> {
    [&[0xc0, 0, 0, 0, 1, cid.len() as u8], cid, rest].concat()
}

#[test]
fn connection_ids_lead_to_their_shard() {
    for shards in 1..=MAX_SHARDS {
        let program = filter(shards);
        for shard in 0..shards {
            let cid = Generator::new(shard, shards, [7; 16], None).generate_cid();
            for packet in [short_header(&cid, b"x"), long_header(&cid, b"x")] {
                assert_eq!(shard_of(&packet, shards), Some(shard));
                assert_eq!(interpret(&program, &packet) as usize, shard);
            }
        }
    }
}

/// Sends packets from many ports and looks where each arrives.
fn all_arrive_at_their_shard(ip: IpAddr, shards: usize, peers: usize, each: usize) {
    let group = group(ip, shards, Wanted::Kernel);
    assert_eq!(group.steering(), Steering::Kernel);
    let mut shard = Shard::of(&group, Driver::Epoll).unwrap();
    let mut generators: Vec<_> = (0..shards).map(|n| Generator::new(n, shards, [1; 16], None)).collect();
    let mut noise = Noise(0x1234_5678 + shards as u64);
    let mut arrived = vec![0; shards];
    for _ in 0..peers {
        let peer = peer(ip);
        let mut sent = HashMap::new();
        for n in 0..each {
            let number = (n as u32).to_be_bytes();
            let to = noise.below(shards);
            let (packet, to) = match n % 4 {
                0 => (short_header(&generators[to].generate_cid(), &number), to),
                1 => (long_header(&generators[to].generate_cid(), &number), to),
                // As a client does that does not know us yet.
                2 => {
                    let len = 8 + noise.below(13);
                    let packet = long_header(&noise.bytes(len), &[&noise.bytes(1100)[..], &number].concat());
                    let to = shard_of(&packet, shards).unwrap();
                    (packet, to)
                }
                _ => {
                    let packet = short_header(&noise.bytes(20), &number);
                    let to = shard_of(&packet, shards).unwrap();
                    (packet, to)
                }
            };
            peer.send_to(&packet, group.local_addr()).unwrap();
            sent.insert(packet, to);
        }
        let from = peer.local_addr().unwrap();
        for got in shard.wait_for(each) {
            assert_eq!(got.remote, from);
            assert_eq!(sent.remove(&got.data), Some(got.socket), "misrouted");
            arrived[got.socket] += 1;
        }
        assert!(sent.is_empty());
    }
    assert!(arrived.iter().all(|n| *n > 0), "{arrived:?}");
}

#[test]
fn the_kernel_steers_by_connection_id_without_privileges() {
    unprivileged(|| {
        for ip in loopbacks() {
            all_arrive_at_their_shard(ip, 2, 40, 100);
            all_arrive_at_their_shard(ip, 3, 20, 100);
            all_arrive_at_their_shard(ip, 16, 20, 100);
        }
    });
}

#[test]
fn the_kernel_steers_among_the_most_shards() {
    for ip in loopbacks() {
        all_arrive_at_their_shard(ip, MAX_SHARDS, 50, 100);
    }
}

#[test]
fn packets_too_short_for_a_connection_id_are_not_lost_and_not_all_for_one() {
    for ip in loopbacks() {
        let group = group(ip, 4, Wanted::Kernel);
        let mut shard = Shard::of(&group, Driver::Epoll).unwrap();
        for len in [1, 2, 5, 7] {
            let mut arrived = [0; 4];
            for _ in 0..64 {
                peer(ip).send_to(&[0xc0; 7][..len], group.local_addr()).unwrap();
                for got in shard.wait_for(1) {
                    assert_eq!(got.data.len(), len);
                    arrived[got.socket] += 1;
                }
            }
            assert!(arrived.iter().all(|n| *n > 0), "{len}: {arrived:?}"); // spread by their ports
        }
    }
}

#[test]
fn without_the_filter_addresses_decide() {
    for ip in loopbacks() {
        let group = group(ip, 4, Wanted::Forward);
        assert_eq!(group.steering(), Steering::Forward);
        let mut shard = Shard::of(&group, Driver::Epoll).unwrap();
        let mut noise = Noise(99);
        let mut used = [false; 4];
        for _ in 0..64 {
            let peer = peer(ip);
            for _ in 0..8 {
                peer.send_to(&short_header(&noise.bytes(20), b""), group.local_addr()).unwrap();
            }
            let got = shard.wait_for(8);
            assert!(got.iter().all(|g| g.socket == got[0].socket), "one source, one socket");
            used[got[0].socket] = true;
        }
        assert_eq!(used, [true; 4]);
    }
}
