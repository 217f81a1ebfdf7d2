//! The accept loop of one listener on one shard.
use super::{
    Shard,
    connection::{self, Counted},
    handshake,
    listener::Listener,
};
use crate::{message::Peer, observe::stats::Limit};
use edge_io::{buf::Buf, tcp, timer::Timer};
use std::{
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    rc::Rc,
    task::Poll,
    time::Duration,
};

/// Connections taken before other tasks get their turn.
const BATCH: u32 = 32;
/// Without free descriptors, accepting pauses for so long.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the listener is closed. Connections that the kernel has already completed by then are still taken:
/// closing the socket would reset them.
pub(super) async fn run(shard: Rc<Shard>, listener: Rc<Listener>, socket: tcp::Listener) {
    let place = listener.stop.enter();
    let paused = shard.accepting.place();
    let pause = Timer::new(&shard.flow.local.timers);
    let mut taken = 0;
    loop {
        let accepted = poll_fn(|cx| {
            if taken >= BATCH {
                taken = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if shard.flow.shedder.level().pause && !listener.closed.get() {
                listener.stop.wait(place, cx);
                paused.wait(cx);
                return Poll::Pending;
            }
            match socket.poll_accept(cx) {
                Poll::Pending if listener.closed.get() => Poll::Ready(None),
                Poll::Pending => {
                    listener.stop.wait(place, cx);
                    Poll::Pending
                }
                ready => ready.map(Some),
            }
        })
        .await;
        match accepted {
            None => return,
            Some(Ok((fd, from))) => {
                taken += 1;
                admit(&shard, &listener, fd, &from);
            }
            Some(Err(e)) => {
                if is_out_of_descriptors(&e) {
                    shard.flow.stats.limit_hit(Limit::Descriptors);
                }
                pause.set(PAUSE);
                pause.fired().await;
            }
        }
    }
}

fn admit(shard: &Rc<Shard>, listener: &Rc<Listener>, fd: OwnedFd, from: &socket2::SockAddr) {
    let stats = &shard.flow.stats;
    stats.accepts.inc();
    listener.stats.shard(shard.flow.index).accepts.inc();
    if shard.connections.open() >= shard.flow.pin().snapshot.server.max_connections {
        stats.limit_hit(Limit::Connections);
        return; // dropping the descriptor closes it
    }
    if listener.tcp {
        tcp::set_nodelay(&fd);
    }
    let peer = peer_of(&fd, from);
    let Ok(socket) = tcp::Stream::from_fd(&shard.flow.local.reactor, fd) else { return };
    let counted = Counted::new(shard, listener);
    let rule = listener.rule.borrow().clone();
    match &rule.tls {
        Some(tls) => handshake::begin(counted, socket, peer, tls.clone()),
        None if rule.h1 => connection::open_h1(counted, socket.into(), peer),
        None => connection::open_h2(counted, socket.into(), peer, Buf::none()),
    }
}

fn peer_of(fd: &OwnedFd, from: &socket2::SockAddr) -> Peer {
    let Some(remote) = from.as_socket() else { return Peer::UNIX };
    let local = socket2::SockRef::from(fd).local_addr().ok().and_then(|a| a.as_socket());
    Peer {
        ip: canonical(remote),
        port: remote.port(),
        local_port: local.map_or(0, |a| a.port()),
        tls: false,
        unix: false,
    }
}

fn canonical(addr: SocketAddr) -> IpAddr {
    addr.ip().to_canonical()
}

/// EMFILE, ENFILE, ENOBUFS or ENOMEM: the kernel has no room for another socket.
fn is_out_of_descriptors(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(24 | 23 | 105 | 12))
}
