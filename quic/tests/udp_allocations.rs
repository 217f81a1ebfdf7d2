//! A warm socket receives and sends without allocating.
use edge_io::{
    count_alloc::{self, CountingAllocator},
    reactor::Reactor,
    ring::Driver,
};
use edge_quic::{
    group::{Buffers, Group, Wanted},
    socket::{Inbox, Socket, Transmit},
};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: CountingAllocator<System> = CountingAllocator(System);

/// Allocations of this thread so far.
fn allocations() -> u64 {
    // SAFETY: gettid(2) takes nothing and cannot fail.
    let tid = unsafe { libc::gettid() };
    count_alloc::counts().iter().filter(|c| c.tid == tid).map(|c| c.allocations).sum()
}

fn socket(ip: [u8; 4]) -> Socket {
    let group = Group::bind((ip, 0).into(), 1, Wanted::Auto, Buffers::default()).unwrap();
    Socket::from_fd(&Reactor::new(Driver::Epoll).unwrap(), group.fd(0).unwrap()).unwrap()
}

#[test]
fn datagrams_cost_no_allocation() {
    let (sender, receiver) = (socket([127, 0, 0, 1]), socket([0, 0, 0, 0]));
    let to = ([127, 0, 0, 1], receiver.local_addr().port()).into();
    let mut inbox = Inbox::new();
    let data = [1; 12_000];
    let mut bytes = 0;
    let mut round = || {
        for segment in [None, Some(1200)] {
            for ecn in [None, Some(quinn_proto::EcnCodepoint::Ect0)] {
                let t = Transmit { remote: to, local_ip: None, ecn, segment, data: &data };
                sender.try_send(&t).unwrap();
            }
        }
        while receiver.try_recv(&mut inbox, |m| bytes += m.datagrams().map(<[u8]>::len).sum::<usize>()).is_ok() {}
    };
    round();
    // Looking allocates a little by itself, the same each time.
    let look = (allocations(), allocations());
    let before = allocations();
    (0..100).for_each(|_| round());
    assert_eq!(allocations() - before, look.1 - look.0);
    assert!(bytes >= 100 * 4 * data.len(), "{bytes} bytes came");
    assert_eq!(sender.send_errors(), 0);
}
