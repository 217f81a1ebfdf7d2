//! Batches, ECN, local addresses, and errors that end nothing.
use crate::support::{Got, Noise, Shard, V4, group, loopbacks, peer};
use edge_io::ring::Driver;
use edge_quic::{
    group::{Buffers, Group, Wanted},
    socket::Transmit,
};
use quinn_proto::EcnCodepoint;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd,
};

fn to(remote: SocketAddr, data: &[u8]) -> Transmit<'_> {
    Transmit { remote, local_ip: None, ecn: None, segment: None, data }
}

/// What `data` is in segments of `segment` bytes.
fn assert_complete(got: &[Got], data: &[u8], segment: usize) {
    let expected: Vec<_> = data.chunks(segment).collect();
    assert!(got.iter().map(|g| &g.data[..]).eq(expected.iter().copied()), "{} datagrams", got.len());
}

#[test]
fn a_batch_goes_out_in_one_call_and_arrives_complete() {
    for ip in loopbacks() {
        let (sender, mut receiver) = (Shard::on(ip), Shard::on(ip));
        let socket = &sender.sockets[0];
        for (segments, segment, last) in [(10, 1200, 77), (10, 1452, 1452), (2, 1200, 1), (44, 1452, 9)] {
            let data = Noise(7).bytes((segments - 1) * segment + last);
            let batch =
                Transmit { segment: Some(segment), ecn: Some(EcnCodepoint::Ect0), ..to(receiver.addr(), &data) };
            socket.try_send(&batch).unwrap();
            receiver.messages = 0;
            let got = receiver.wait_for(segments);
            assert_complete(&got, &data, segment);
            assert!(got.iter().all(|g| g.remote == sender.addr() && g.ecn == Some(EcnCodepoint::Ect0)));
            if socket.max_gso_segments() > 1 {
                // Over loopback nobody cuts what one call sent, and nobody joins what several calls sent.
                assert_eq!(receiver.messages, 1);
            }
        }
        assert_eq!(socket.send_errors(), 0);
    }
}

#[test]
fn single_datagrams_of_all_lengths() {
    let (sender, mut receiver) = (Shard::on(V4), Shard::on(V4));
    for (len, segment) in
        [(1, None), (1200, None), (1200, Some(1200)), (1200, Some(1201)), (9, Some(0)), (65_507, None)]
    {
        let data = Noise(3).bytes(len);
        sender.sockets[0].try_send(&Transmit { segment, ..to(receiver.addr(), &data) }).unwrap();
        assert_complete(&receiver.wait_for(1), &data, len);
    }
    assert_eq!(sender.sockets[0].send_errors(), 0);
}

#[test]
fn ecn_bits_arrive() {
    for ip in loopbacks() {
        let (sender, mut receiver) = (Shard::on(ip), Shard::on(ip));
        let all = [None, Some(EcnCodepoint::Ect0), Some(EcnCodepoint::Ect1), Some(EcnCodepoint::Ce)];
        for ecn in all {
            sender.sockets[0].try_send(&Transmit { ecn, ..to(receiver.addr(), b"x") }).unwrap();
        }
        assert!(receiver.wait_for(4).iter().map(|g| g.ecn).eq(all));
    }
}

#[test]
fn wildcard_sockets_know_the_local_address_and_answer_from_it() {
    let second = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    for ip in loopbacks() {
        let any = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
        let mut wild = Shard::of(&group(any, 1, Wanted::Auto), Driver::Epoll).unwrap();
        let port = wild.addr().port();
        for local in if ip.is_ipv4() { vec![ip, second] } else { vec![ip] } {
            let peer = peer(ip);
            peer.send_to(b"?", (local, port)).unwrap();
            let got = wild.wait_for(1).remove(0);
            assert_eq!(got.local_ip, Some(local));
            for segment in [None, Some(1)] {
                let answer = Transmit { local_ip: got.local_ip, segment, ..to(got.remote, b"!!") };
                wild.sockets[0].try_send(&answer).unwrap();
                let (_, from) = peer.recv_from(&mut [0; 8]).unwrap();
                assert_eq!(from, SocketAddr::new(local, port));
            }
        }
        assert_eq!(wild.sockets[0].send_errors(), 0);
    }
}

#[test]
fn a_socket_with_an_address_needs_not_be_told_of_it() {
    for ip in loopbacks() {
        let mut shard = Shard::on(ip);
        peer(ip).send_to(b"?", shard.addr()).unwrap();
        assert_eq!(shard.wait_for(1)[0].local_ip, None);
    }
}

#[test]
fn errors_of_single_datagrams_are_counted_and_end_nothing() {
    for ip in loopbacks() {
        let (mut sender, mut receiver) = (Shard::on(ip), Shard::on(ip));
        let closed = peer(ip).local_addr().unwrap(); // gone at once: answered by ICMP
        for _ in 0..3 {
            sender.sockets[0].try_send(&to(closed, b"anybody?")).unwrap();
            sender.take(&mut Vec::new());
        }
        let before = sender.sockets[0].send_errors();
        let long = vec![0; 70_000]; // EMSGSIZE
        sender.sockets[0].try_send(&to(receiver.addr(), &long)).unwrap();
        sender.sockets[0].try_send(&to(SocketAddr::new(ip, 0), b"x")).unwrap();
        sender.sockets[0].try_send(&to((Ipv4Addr::UNSPECIFIED, 9).into(), b"x")).unwrap();
        assert_eq!(sender.sockets[0].send_errors(), before + 3);
        sender.sockets[0].try_send(&to(receiver.addr(), b"still here")).unwrap();
        assert_eq!(receiver.wait_for(1)[0].data, b"still here");
        receiver.sockets[0].try_send(&to(sender.addr(), b"and I")).unwrap();
        assert_eq!(sender.wait_for(1)[0].data, b"and I");
        assert!(sender.sockets[0].max_gso_segments() > 1 || Shard::on(ip).sockets[0].max_gso_segments() == 1);
    }
}

#[test]
fn refused_batches_go_as_single_datagrams_until_offloads_are_tried_again() {
    let (sender, mut receiver) = (Shard::on(V4), Shard::on(V4));
    let socket = &sender.sockets[0];
    let supported = socket.max_gso_segments();
    let data = Noise(5).bytes(10 * 1200 - 1);
    let batch = Transmit { segment: Some(1200), ecn: Some(EcnCodepoint::Ect0), ..to(receiver.addr(), &data) };
    // Nobody can send from there: EINVAL, as a device says that does not cut segments.
    let refused = Transmit { local_ip: Some(Ipv4Addr::new(224, 0, 0, 1).into()), ..batch };
    socket.try_send(&refused).unwrap();
    assert_eq!(socket.send_errors(), 10, "each segment was tried alone");
    assert_eq!(socket.max_gso_segments(), 1);
    socket.try_send(&batch).unwrap();
    assert_complete(&receiver.wait_for(10), &data, 1200);
    assert_eq!(receiver.messages, 10);
    for _ in 0..10_000 {
        socket.try_send(&to(receiver.addr(), b"x")).unwrap();
        receiver.take(&mut Vec::new());
    }
    assert_eq!(socket.max_gso_segments(), supported);
    receiver.take(&mut Vec::new());
    socket.try_send(&batch).unwrap();
    let got = receiver.wait_for(10);
    assert_complete(&got, &data, 1200);
    assert!(got.iter().all(|g| g.ecn == batch.ecn), "given up as well, and back");
    assert_eq!(socket.send_errors(), 10);
}

#[test]
fn more_segments_than_the_kernel_takes_arrive_one_by_one() {
    let (sender, mut receiver) = (Shard::on(V4), Shard::on(V4));
    let data = Noise(6).bytes(200 * 100);
    let batch = Transmit { segment: Some(100), ..to(receiver.addr(), &data) };
    sender.sockets[0].try_send(&batch).unwrap();
    assert_complete(&receiver.wait_for(200), &data, 100);
    assert_eq!(sender.sockets[0].send_errors(), 0);
}

#[test]
fn what_cannot_be_answered_is_dropped() {
    let mut receiver = Shard::on(V4);
    // A packet of source port 0 takes a raw socket to send, which takes a privilege.
    let raw = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, Some(socket2::Protocol::UDP));
    let port = receiver.addr().port().to_be_bytes();
    let datagram = [0, 0, port[0], port[1], 0, 12, 0, 0, b'e', b'v', b'i', b'l']; // no checksum
    let sent = raw.is_ok_and(|raw| raw.send_to(&datagram, &receiver.addr().into()).is_ok());
    peer(V4).send_to(b"", receiver.addr()).unwrap();
    peer(V4).send_to(b"good", receiver.addr()).unwrap();
    let got = receiver.wait_for(1);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].data, b"good");
    assert_eq!(receiver.sockets[0].receive_errors(), 1 + u64::from(sent));
}

#[test]
fn datagrams_are_never_fragmented() {
    for ip in loopbacks() {
        let group = Group::bind(SocketAddr::new(ip, 0), 1, Wanted::Auto, Buffers::default()).unwrap();
        let fd = group.fd(0).unwrap();
        let (level, name, probe) = match ip {
            IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
            IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
        };
        let (mut value, mut len) = (0i32, 4);
        // SAFETY: `value` and `len` are valid for the call and of the sizes told.
        let done = unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) };
        assert_eq!((done, value), (0, probe));
    }
}
