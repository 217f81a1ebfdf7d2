//! A shard reduced to its reactor and sockets, and what it received.
use edge_io::{reactor::Reactor, ring::Driver};
use edge_quic::{
    group::{Buffers, Group, Wanted},
    socket::{Inbox, Socket},
};
use quinn_proto::EcnCodepoint;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// One datagram as a socket gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    pub socket: usize,
    pub remote: SocketAddr,
    pub local_ip: Option<IpAddr>,
    pub ecn: Option<EcnCodepoint>,
    pub data: Vec<u8>,
}

/// Sockets on one reactor.
pub struct Shard {
    pub reactor: Rc<Reactor>,
    pub sockets: Vec<Socket>,
    pub inbox: Inbox,
    /// Messages (not datagrams) received so far.
    pub messages: usize,
}

impl Shard {
    /// All sockets of `group` in one thread.
    pub fn of(group: &Arc<Group>, driver: Driver) -> io::Result<Shard> {
        let reactor = Reactor::new(driver)?;
        let sockets = (0..group.shards()).map(|n| Socket::from_fd(&reactor, group.fd(n)?));
        let sockets = sockets.collect::<io::Result<_>>()?;
        Ok(Shard { reactor, sockets, inbox: Inbox::new(), messages: 0 })
    }

    /// A socket of its own on a free port of `ip`.
    pub fn on(ip: IpAddr) -> Shard {
        let group = group(ip, 1, Wanted::Auto);
        Shard::of(&group, Driver::Epoll).unwrap()
    }

    pub fn addr(&self) -> SocketAddr {
        self.sockets[0].local_addr()
    }

    /// Empties all sockets until each says that it would block.
    pub fn take(&mut self, into: &mut Vec<Got>) {
        for (n, socket) in self.sockets.iter().enumerate() {
            loop {
                let messages = &mut self.messages;
                let got = socket.try_recv(&mut self.inbox, |m| {
                    *messages += 1;
                    for data in m.datagrams() {
                        let data = data.to_vec();
                        into.push(Got { socket: n, remote: m.remote, local_ip: m.local_ip, ecn: m.ecn, data });
                    }
                });
                match got {
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => panic!("{e}"),
                }
            }
        }
    }

    /// Waits until `count` datagrams have come in all.
    pub fn wait_for(&mut self, count: usize) -> Vec<Got> {
        let mut got = Vec::new();
        let end = Instant::now() + PATIENCE;
        loop {
            self.take(&mut got);
            if got.len() >= count {
                return got;
            }
            assert!(Instant::now() < end, "{} of {count} datagrams came", got.len());
            readable(self.reactor.as_raw_fd(), 100);
            self.reactor.drain();
        }
    }
}

pub fn group(ip: IpAddr, shards: usize, wanted: Wanted) -> Arc<Group> {
    Group::bind(SocketAddr::new(ip, 0), shards, wanted, Buffers::default()).unwrap()
}

/// A plain socket on a free port.
pub fn peer(ip: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(ip, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// The loopback addresses that this machine has.
pub fn loopbacks() -> Vec<IpAddr> {
    [V4, V6].into_iter().filter(|ip| UdpSocket::bind(SocketAddr::new(*ip, 0)).is_ok()).collect()
}

pub fn readable(fd: i32, timeout_ms: i32) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid `pollfd`, and the count says one.
    unsafe { libc::poll(&raw mut poll, 1, timeout_ms) == 1 }
}

/// Runs `work` on a thread without privileges, as far as we have any to give up.
pub fn unprivileged(work: impl FnOnce() + Send) {
    std::thread::scope(|s| {
        let thread = s.spawn(|| {
            // SAFETY: no pointers. The bare system call, unlike libc's function, is for this thread alone; that the
            // user's number is no longer 0 takes all capabilities from it.
            unsafe {
                if libc::geteuid() == 0 {
                    assert_eq!(libc::syscall(libc::SYS_setresuid, 65_534, 65_534, 65_534), 0);
                }
                assert_ne!(libc::syscall(libc::SYS_geteuid), 0);
            }
            work();
        });
        thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e));
    });
}

/// A small generator of noise (xorshift64), the same at each run.
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}
