//! Readiness of edge-triggered sockets: no datagram waits unnoticed, and an empty socket is not asked twice.
use crate::support::{Noise, PATIENCE, Shard, V4, group, peer, readable};
use edge_io::ring::Driver;
use edge_quic::group::Wanted;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

/// A task that counts how often it was woken.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A shard with one socket for each driver that this kernel allows.
fn shards() -> Vec<Shard> {
    [Driver::Epoll, Driver::IoUringPoll]
        .into_iter()
        .filter_map(|driver| Shard::of(&group(V4, 1, Wanted::Auto), driver).ok())
        .collect()
}

#[test]
fn waits_until_a_datagram_comes() {
    for mut shard in shards() {
        let task = Arc::new(Task::default());
        let waker = Waker::from(task.clone());
        let mut cx = Context::from_waker(&waker);
        let peer = peer(V4);
        for round in 1..=3 {
            shard.take(&mut Vec::new());
            assert!(shard.sockets[0].poll_readable(&mut cx).is_pending());
            peer.send_to(b"x", shard.addr()).unwrap();
            let end = Instant::now() + PATIENCE;
            while task.0.load(Ordering::Relaxed) < round {
                assert!(Instant::now() < end);
                readable(shard.reactor.as_raw_fd(), 100);
                shard.reactor.drain();
            }
            assert!(shard.sockets[0].poll_readable(&mut cx).is_ready());
            // Less than was asked for: that was all, and the next question is spared.
            assert_eq!(shard.sockets[0].try_recv(&mut shard.inbox, |_| {}).unwrap(), 1);
            assert!(shard.sockets[0].poll_readable(&mut cx).is_pending());
        }
    }
}

#[test]
fn stays_ready_while_more_may_wait() {
    let mut shard = Shard::on(V4);
    let peer = peer(V4);
    for n in 0..100u8 {
        peer.send_to(&[n], shard.addr()).unwrap();
    }
    let mut cx = Context::from_waker(Waker::noop());
    while !shard.sockets[0].poll_readable(&mut cx).is_ready() {
        readable(shard.reactor.as_raw_fd(), 100);
        shard.reactor.drain();
    }
    let mut got = Vec::new();
    while let Poll::Ready(()) = shard.sockets[0].poll_readable(&mut cx) {
        match shard.sockets[0].try_recv(&mut shard.inbox, |m| got.extend_from_slice(m.data)) {
            Ok(_) => {}
            Err(e) => assert_eq!(e.kind(), io::ErrorKind::WouldBlock),
        }
    }
    assert_eq!(got, (0..100).collect::<Vec<_>>());
}

/// Bursts of random lengths; each must be seen without the next one's help.
#[test]
fn no_edge_is_lost() {
    const BURSTS: usize = 3_000;
    for mut shard in shards() {
        let addr = shard.addr();
        let (done, seen) = mpsc::sync_channel(1);
        let sender = std::thread::spawn(move || {
            let peer = peer(V4);
            let mut noise = Noise(42);
            for _ in 0..BURSTS {
                let burst = 1 + noise.below(40);
                for n in 0..burst {
                    peer.send_to(&[(n + 1 == burst).into()], addr).unwrap();
                }
                seen.recv_timeout(PATIENCE).unwrap();
            }
        });
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..BURSTS {
            let end = Instant::now() + PATIENCE;
            let mut last = false;
            while !last {
                if shard.sockets[0].poll_readable(&mut cx).is_ready() {
                    let _ = shard.sockets[0].try_recv(&mut shard.inbox, |m| last |= m.data.contains(&1));
                } else {
                    assert!(Instant::now() < end, "a datagram waits unnoticed");
                    readable(shard.reactor.as_raw_fd(), 100);
                    shard.reactor.drain();
                }
            }
            done.send(()).unwrap();
        }
        sender.join().unwrap();
    }
}
