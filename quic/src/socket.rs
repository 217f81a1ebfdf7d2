//! One UDP socket of a shard: datagrams in batches, with GSO, GRO and ECN.
//!
//! Nothing that happens to a single datagram ends a socket: errors are counted, and QUIC repeats what was lost.
use crate::sockopt;
use edge_io::reactor::{Reactor, Source};
use quinn_proto::EcnCodepoint;
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use std::{
    cell::{Cell, RefCell},
    fmt,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    rc::Rc,
    task::{Context, Poll},
};

/// Messages that one `try_recv` takes at most.
pub const BATCH: usize = quinn_udp::BATCH_SIZE;
/// Room for one message: the longest that GRO puts together.
const ROOM: usize = 1 << 16;
/// Messages that are asked for when few came last time: setting up a call costs something for each.
const SMALL_BATCH: usize = 4;
/// Calls after which a socket that lost its offloads to an error tries them again.
const HEAL_AFTER: u32 = 4096;

/// One non-blocking UDP socket of a shard.
pub struct Socket {
    source: Source,
    state: RefCell<UdpSocketState>,
    local: SocketAddr,
    /// Sends until the offloads are tried again; 0 when nothing is wrong.
    healing: Cell<u32>,
    send_errors: Cell<u64>,
    receive_errors: Cell<u64>,
}

/// A message as it came: one datagram, or several of one sender that GRO joined.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// Who sent it: never port 0 nor an unspecified address.
    pub remote: SocketAddr,
    /// Which of our addresses it was sent to; known on wildcard sockets alone.
    pub local_ip: Option<IpAddr>,
    /// The ECN bits of its IP header (RFC 3168); of joined datagrams, all have the same.
    pub ecn: Option<EcnCodepoint>,
    /// Length of each datagram in `data`, in bytes, ≥ 1; the last may be shorter.
    pub stride: usize,
    /// The payloads one after another; not empty.
    pub data: &'a [u8],
}

impl<'a> Received<'a> {
    /// The datagrams in it, at least one, none of them empty. They may be for different connections.
    pub fn datagrams(&self) -> std::slice::Chunks<'a, u8> {
        self.data.chunks(self.stride.max(1))
    }
}

/// Datagrams to send, all to one peer.
#[derive(Debug, Clone, Copy)]
pub struct Transmit<'a> {
    /// Where to.
    pub remote: SocketAddr,
    /// From which of our addresses; `None` lets the kernel choose.
    pub local_ip: Option<IpAddr>,
    /// The ECN bits of the IP header.
    pub ecn: Option<EcnCodepoint>,
    /// `Some`: `data` holds datagrams of this many bytes each (the last may be shorter), at most
    /// `Socket::max_gso_segments`.
    pub segment: Option<usize>,
    /// The payloads; at most 65,507 bytes together.
    pub data: &'a [u8],
}

/// Memory for what a shard receives, shared by all its sockets: `BATCH` × 64 KiB of addresses, of which pages count
/// only once datagrams were put there.
pub struct Inbox {
    memory: Box<[u8]>,
    meta: Box<[RecvMeta]>,
    /// How many messages the next call asks for.
    window: usize,
}

impl Inbox {
    /// An empty inbox.
    pub fn new() -> Inbox {
        Inbox {
            memory: vec![0; BATCH * ROOM].into(),
            meta: vec![RecvMeta::default(); BATCH].into(),
            window: SMALL_BATCH,
        }
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Inbox::new()
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inbox")
    }
}

impl Socket {
    /// Takes over a bound UDP socket and watches it. Errors are those of `epoll_ctl`, `setsockopt` and `getsockname`.
    pub fn from_fd(reactor: &Rc<Reactor>, fd: OwnedFd) -> io::Result<Socket> {
        let local = local_addr(&fd)?;
        let state = sockopt::prepare(&fd, local)?;
        Ok(Socket {
            source: reactor.register_datagrams(fd)?,
            state: RefCell::new(state),
            local,
            healing: Cell::new(0),
            send_errors: Cell::new(0),
            receive_errors: Cell::new(0),
        })
    }

    /// Where it is bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Datagrams that one `Transmit` may hold: 1 where the system cannot cut segments. May fall and rise again.
    pub fn max_gso_segments(&self) -> usize {
        self.state.borrow().max_gso_segments()
    }

    /// Calls of `try_send` that lost datagrams: refused by the kernel, unreachable, too long for the path.
    pub fn send_errors(&self) -> u64 {
        self.send_errors.get()
    }

    /// Messages that were dropped because no answer could go to their sender, and errors on receipt.
    pub fn receive_errors(&self) -> u64 {
        self.receive_errors.get()
    }

    /// Ready when a datagram may be there.
    #[inline]
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.source.poll_readable(cx)
    }

    /// Ready when a datagram may be sent.
    #[inline]
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.source.poll_writable(cx)
    }

    /// One `recvmmsg(2)`: gives each message to `each`, and answers how many there were (0: they were dropped, or one
    /// passing error was taken). Keeps readiness right: fewer than asked for means that the rest has not come yet.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there. Anything else passes (say, no memory): try again in a later turn.
    pub fn try_recv(&self, inbox: &mut Inbox, mut each: impl FnMut(Received<'_>)) -> io::Result<usize> {
        let Some(n) = self.receive(inbox)? else { return Ok(0) };
        let mut given = 0;
        for (meta, room) in inbox.meta.iter().zip(inbox.memory.chunks(ROOM)).take(n) {
            match received(meta, room) {
                Some(message) => {
                    given += 1;
                    each(message);
                }
                None => count(&self.receive_errors),
            }
        }
        Ok(given)
    }

    /// How many messages came into `inbox`; `None` after an error that has passed.
    fn receive(&self, inbox: &mut Inbox) -> io::Result<Option<usize>> {
        let mut rooms = inbox.memory.chunks_mut(ROOM);
        let mut parts: [_; BATCH] = std::array::from_fn(|_| IoSliceMut::new(rooms.next().unwrap_or_default()));
        let asked = inbox.window.min(BATCH);
        match self.state.borrow().recv(UdpSockRef::from(self), &mut parts[..asked], &mut inbox.meta) {
            Ok(n) => {
                inbox.window = (2 * n).clamp(SMALL_BATCH, BATCH);
                if n < asked {
                    self.source.not_readable();
                }
                Ok(Some(n))
            }
            Err(e) if is_passing(&e) => {
                count(&self.receive_errors);
                Ok(None)
            }
            Err(e) => {
                if e.kind() == io::ErrorKind::WouldBlock {
                    self.source.not_readable();
                }
                Err(e)
            }
        }
    }

    /// One `sendmsg(2)`, or as many as there are segments where the system cannot cut them. What the kernel refuses to
    /// send is lost and counted, and that is `Ok`: QUIC finds out by itself.
    ///
    /// # Errors
    /// `WouldBlock` alone: nothing was sent, and `poll_writable` tells when to try again.
    pub fn try_send(&self, t: &Transmit<'_>) -> io::Result<()> {
        if t.remote.port() == 0 || t.remote.ip().is_unspecified() {
            count(&self.send_errors); // the kernel would take this as a sign that offloads do not work
            return Ok(());
        }
        self.heal();
        let segment = t.segment.filter(|s| (1..t.data.len()).contains(s));
        let Some(segment) = segment else { return self.send_one(t, t.data).or_else(|e| self.lost(e)) };
        if self.max_gso_segments() > 1 {
            match self.send_batch(t, segment) {
                Err(e) if is_refusal(&e) => {}
                done => return done.or_else(|e| self.lost(e)),
            }
        }
        self.send_each(t, segment)
    }

    fn send_batch(&self, t: &Transmit<'_>, segment: usize) -> io::Result<()> {
        self.send(t, t.data, Some(segment))
    }

    fn send_one(&self, t: &Transmit<'_>, data: &[u8]) -> io::Result<()> {
        self.send(t, data, None)
    }

    /// Segment by segment. Once the first is out there is no way back: what does not fit any more is lost.
    fn send_each(&self, t: &Transmit<'_>, segment: usize) -> io::Result<()> {
        let mut segments = t.data.chunks(segment);
        if let Some(first) = segments.next() {
            self.send_one(t, first).or_else(|e| self.lost(e))?;
        }
        for data in segments {
            match self.send_one(t, data) {
                Ok(()) => {}
                Err(e) => {
                    count(&self.send_errors);
                    if e.kind() == io::ErrorKind::WouldBlock {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn send(&self, t: &Transmit<'_>, contents: &[u8], segment_size: Option<usize>) -> io::Result<()> {
        let ecn = t.ecn.and_then(|e| quinn_udp::EcnCodepoint::from_bits(e as u8));
        let transmit = quinn_udp::Transmit { destination: t.remote, ecn, contents, segment_size, src_ip: t.local_ip };
        self.state.borrow().try_send(UdpSockRef::from(self), &transmit).inspect_err(|e| {
            if e.kind() == io::ErrorKind::WouldBlock {
                self.source.not_writable();
            } else if is_refusal(e) && self.healing.get() == 0 {
                self.healing.set(HEAL_AFTER);
            }
        })
    }

    /// What remains of an error: only the want of room is told.
    fn lost(&self, e: io::Error) -> io::Result<()> {
        if e.kind() == io::ErrorKind::WouldBlock {
            return Err(e);
        }
        count(&self.send_errors);
        Ok(())
    }

    /// `quinn_udp` gives up GSO, and ECN on IPv4, for good at the first refusal. That may have been one peer's route
    /// (say, through IPsec), or one of our addresses that was just removed: try again after a while.
    fn heal(&self) {
        let left = self.healing.get();
        if left == 0 {
            return;
        }
        self.healing.set(left - 1);
        if left == 1
            && let Ok(state) = sockopt::prepare(self, self.local)
        {
            self.state.replace(state);
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the source owns the descriptor, and closes it no earlier than when it is dropped with `self`.
        unsafe { BorrowedFd::borrow_raw(self.source.as_raw_fd()) }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({})", self.local)
    }
}

/// The address a UDP socket is bound to.
pub(crate) fn local_addr(socket: &impl AsFd) -> io::Result<SocketAddr> {
    let addr = socket2::SockRef::from(socket).local_addr()?;
    addr.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

/// `None` for what cannot be answered: empty, or from an address that nothing can be sent to.
fn received<'a>(meta: &RecvMeta, room: &'a [u8]) -> Option<Received<'a>> {
    let data = room.get(..meta.len).filter(|d| !d.is_empty())?;
    if meta.addr.port() == 0 || meta.addr.ip().is_unspecified() {
        return None;
    }
    let ecn = meta.ecn.and_then(|e| EcnCodepoint::from_bits(e as u8));
    Some(Received { remote: meta.addr, local_ip: meta.dst_ip, ecn, stride: meta.stride.max(1), data })
}

/// Errors that tell of an earlier datagram of ours (ICMP) and are gone once read.
fn is_passing(e: &io::Error) -> bool {
    use libc::{ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH, EMSGSIZE, ENETDOWN, ENETUNREACH, ENOPROTOOPT, EPROTO};
    let passing = [ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH, EMSGSIZE, ENETDOWN, ENETUNREACH, ENOPROTOOPT, EPROTO];
    e.raw_os_error().is_some_and(|e| passing.contains(&e))
}

/// How devices and routes say that they do not cut segments.
fn is_refusal(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EIO | libc::EINVAL))
}

fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}
