//! The UDP sockets of one address, one per shard, and the filter that steers packets among them.
use crate::{
    socket::local_addr,
    sockopt,
    steer::{self, MAX_SHARDS},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// How packets get to their shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steering {
    /// The kernel puts each datagram into the socket that `steer::shard_of` names. (Joined by GRO, a datagram may still
    /// come along with one for another shard.)
    Kernel,
    /// The kernel spreads datagrams by their addresses; shards forward what is not for them.
    Forward,
}

/// What the operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wanted {
    /// `Kernel` where the filter can be attached, else `Forward`.
    #[default]
    Auto,
    /// `Kernel` or an error.
    Kernel,
    /// `Forward`.
    Forward,
}

/// Sizes of a socket's buffers in the kernel, in bytes of memory (a short datagram takes more than its length).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffers {
    /// For datagrams that were not read yet (`SO_RCVBUF`).
    pub receive: usize,
    /// For datagrams that the device has not taken yet (`SO_SNDBUF`).
    pub send: usize,
}

impl Default for Buffers {
    /// 2 MiB each: 10 ms at 1.6 Gbit/s and shard. The system's limits are often lower.
    fn default() -> Self {
        Buffers { receive: 2 << 20, send: 2 << 20 }
    }
}

static GROUPS: AtomicU64 = AtomicU64::new(1);

/// UDP sockets on one address, in shard order. They close together, when the group and all its copies of descriptors
/// are gone: without one of them, the kernel would number the others anew.
#[derive(Debug)]
pub struct Group {
    id: u64,
    addr: SocketAddr,
    steering: Steering,
    buffers: Buffers,
    sockets: Vec<OwnedFd>,
    /// Connections of all shards.
    live: AtomicUsize,
}

/// One connection of a group, until it is dropped.
#[derive(Debug)]
pub struct Member(Arc<Group>);

impl Drop for Member {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Group {
    /// Opens `shards` (1..=`steer::MAX_SHARDS`) sockets on `addr`; port 0 takes a free one. An IPv6 address is for IPv6
    /// alone. The kernel silently cuts `buffers` to `net.core.rmem_max` and `wmem_max`: `Group::buffers` has the truth.
    ///
    /// # Errors
    /// `AddrInUse` when any other socket is bound there, sharing or not, of this process or another; what keeps a
    /// socket from being opened or bound; for `Wanted::Kernel`, what keeps the filter from being attached.
    pub fn bind(addr: SocketAddr, shards: usize, wanted: Wanted, buffers: Buffers) -> io::Result<Arc<Group>> {
        if !(1..=MAX_SHARDS).contains(&shards) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "between 1 and 256 shards can share an address"));
        }
        let first = open(addr, buffers)?;
        // The first socket takes the address for itself, and only then opens it to the others: so nobody else has it.
        first.bind(&addr.into())?;
        let addr = local_addr(&first)?;
        let mut sockets = vec![first];
        if shards > 1 {
            sockets[0].set_reuse_port(true)?;
        }
        for _ in 1..shards {
            let socket = open(addr, buffers)?;
            socket.set_reuse_port(true)?;
            socket.bind(&addr.into())?;
            sockets.push(socket);
        }
        let steering = steer(&sockets, wanted)?;
        let buffers = granted(&sockets[0])?;
        let sockets = sockets.into_iter().map(OwnedFd::from).collect();
        Ok(Arc::new(Group {
            id: GROUPS.fetch_add(1, Ordering::Relaxed),
            addr,
            steering,
            buffers,
            sockets,
            live: AtomicUsize::new(0),
        }))
    }

    /// A number that no other group of this process has or had.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The address, with the port that 0 became.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// What is in force.
    pub fn steering(&self) -> Steering {
        self.steering
    }

    /// How many sockets there are.
    pub fn shards(&self) -> usize {
        self.sockets.len()
    }

    /// The sizes that the kernel granted, in the measure that was asked in.
    pub fn buffers(&self) -> Buffers {
        self.buffers
    }

    /// One connection more, on whatever shard.
    pub fn join(self: &Arc<Group>) -> Member {
        self.live.fetch_add(1, Ordering::AcqRel);
        Member(self.clone())
    }

    /// Whether some shard has a connection: until then every socket has to be read, because the connection's packets
    /// may come to any of them.
    pub fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire) > 0
    }

    /// A descriptor of shard `shard`'s socket. `InvalidInput` when there is none; else the errors of `dup`.
    pub fn fd(&self, shard: usize) -> io::Result<OwnedFd> {
        self.sockets.get(shard).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?.try_clone()
    }
}

/// A socket with all its options: what arrives right after `bind` is already to be told of in full.
fn open(addr: SocketAddr, buffers: Buffers) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    let most = i32::MAX as usize; // what the system call can say
    socket.set_recv_buffer_size(buffers.receive.min(most))?;
    socket.set_send_buffer_size(buffers.send.min(most))?;
    sockopt::prepare(&socket, addr)?;
    Ok(socket)
}

/// All are bound: their order in the kernel's group is that of `sockets`.
fn steer(sockets: &[Socket], wanted: Wanted) -> io::Result<Steering> {
    let [first, _, ..] = sockets else { return Ok(Steering::Kernel) }; // one socket gets everything
    if wanted == Wanted::Forward {
        return Ok(Steering::Forward);
    }
    match sockopt::attach_reuseport_filter(first, &mut steer::filter(sockets.len())) {
        Ok(()) => Ok(Steering::Kernel),
        Err(e) if wanted == Wanted::Kernel => Err(e),
        Err(_) => Ok(Steering::Forward),
    }
}

fn granted(socket: &Socket) -> io::Result<Buffers> {
    // Linux books twice what was asked, for its own overhead, and tells that.
    Ok(Buffers { receive: socket.recv_buffer_size()? / 2, send: socket.send_buffer_size()? / 2 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_live_as_long_as_somebody_is_in_it() {
        let group = Group::bind(([127, 0, 0, 1], 0).into(), 2, Wanted::Auto, Buffers::default()).unwrap();
        assert!(!group.is_live());
        let (one, other) = (group.join(), group.join());
        drop(one);
        assert!(group.is_live());
        drop(other);
        assert!(!group.is_live());
    }

    #[test]
    fn where_the_filter_is_refused_only_the_operators_wish_is_an_error() {
        let group = Group::bind(([127, 0, 0, 1], 0).into(), 2, Wanted::Forward, Buffers::default()).unwrap();
        let sockets: Vec<_> = (0..2).map(|n| Socket::from(group.fd(n).unwrap())).collect();
        sockopt::set(&sockets[0], libc::SOL_SOCKET, libc::SO_LOCK_FILTER, 1).unwrap();
        assert!(steer(&sockets, Wanted::Kernel).is_err());
        assert_eq!(steer(&sockets, Wanted::Auto).unwrap(), Steering::Forward);
    }
}
