//! The UDP socket of one connection: connected, as those of real clients are, so that the kernel looks up the route once,
//! passes on nobody else's datagrams, and tells when nothing listens at the other end.
use super::basket::{Basket, Taken};
use crate::sockopt::set;
use edge_io::reactor::{Reactor, Source};
use quinn_proto::EcnCodepoint;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd, OwnedFd},
    rc::Rc,
    task::{Context, Poll},
};

/// What the kernel keeps for a connection that its shard has not read, bytes: some windows of a fast server. It grants
/// less where `net.core.rmem_max` is less.
const RECEIVE_BUFFER: usize = 2 << 20;
/// What it keeps of what was sent, bytes.
const SEND_BUFFER: usize = 1 << 20;
/// `UDP_SEGMENT` and `UDP_GRO` (linux/udp.h).
const UDP_SEGMENT: libc::c_int = 103;
pub(super) const UDP_GRO: libc::c_int = 104;
/// The most datagrams in one message (the kernel's own bound is 64).
const SEGMENTS_MAX: usize = 44;

/// One connection's socket.
pub(super) struct Wire {
    source: Source,
    v4: bool,
    /// Whether the kernel cuts segments.
    pub(super) cuts: bool,
    /// The ECN bits that it puts into each header.
    ecn: Option<EcnCodepoint>,
    /// Nothing listens at the other end (an ICMP message said so).
    refused: bool,
}

impl Wire {
    /// A socket of its own port, connected to `remote`.
    ///
    /// # Errors
    /// Those of `socket(2)`, `connect(2)` (`EADDRNOTAVAIL` or `EAGAIN`: no port is free) and `epoll_ctl(2)`.
    pub fn connect(reactor: &Rc<Reactor>, remote: SocketAddr) -> io::Result<Wire> {
        let socket =
            Socket::new(Domain::for_address(remote), Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        let unspecified = match remote {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        // Without these it works, only worse.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        let _ = socket.set_send_buffer_size(SEND_BUFFER);
        let _ = set(&socket, libc::SOL_UDP, UDP_GRO, 1);
        let cuts = set(&socket, libc::SOL_UDP, UDP_SEGMENT, 0).is_ok();
        match remote {
            SocketAddr::V4(_) => {
                let _ = set(&socket, libc::IPPROTO_IP, libc::IP_RECVTOS, 1);
                set(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
            }
            SocketAddr::V6(_) => {
                let _ = set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1);
                set(&socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)?;
            }
        }
        socket.bind(&SocketAddr::new(unspecified, 0).into())?;
        socket.connect(&remote.into())?;
        let source = reactor.register_datagrams(OwnedFd::from(socket))?;
        Ok(Wire { source, v4: remote.is_ipv4(), cuts, ecn: None, refused: false })
    }

    /// Datagrams that one message may hold.
    pub fn segments(&self) -> usize {
        if self.cuts { SEGMENTS_MAX } else { 1 }
    }

    /// Whether an ICMP message said that nothing listens at the other end.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Ready when a datagram may be there.
    #[inline]
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.source.poll_readable(cx)
    }

    /// Ready when a datagram may be sent.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.source.poll_writable(cx)
    }

    /// One `recvmmsg(2)`: what has come, bytes, and whether there may be more. Errors pass.
    pub fn receive(&mut self, basket: &mut Basket, each: impl FnMut(Option<EcnCodepoint>, bytes::BytesMut)) -> Taken {
        let taken = basket.receive(self.source.as_raw_fd(), each);
        match taken {
            Ok(taken) => {
                if !taken.more {
                    self.source.not_readable();
                }
                taken
            }
            Err(e) => {
                if e.kind() == io::ErrorKind::WouldBlock {
                    self.source.not_readable();
                }
                self.note(&e);
                Taken { bytes: 0, more: e.kind() != io::ErrorKind::WouldBlock }
            }
        }
    }

    /// What an error tells of the other end.
    fn note(&mut self, e: &io::Error) {
        self.refused |= e.raw_os_error() == Some(libc::ECONNREFUSED);
    }

    /// Sends datagrams of `segment` bytes each, the last of which may be shorter; without it `data` is one. What the
    /// kernel refuses is lost, and QUIC finds out by itself.
    ///
    /// # Errors
    /// `WouldBlock` alone: nothing was sent.
    pub fn send(&mut self, data: &[u8], segment: Option<usize>, ecn: Option<EcnCodepoint>) -> io::Result<()> {
        if ecn != self.ecn {
            self.mark(ecn);
        }
        let Some(segment) = segment.filter(|s| (1..data.len()).contains(s)) else {
            return self.one(data);
        };
        if self.cuts {
            match send_segments(self.source.as_raw_fd(), data, segment as u16) {
                Err(e) if matches!(e.raw_os_error(), Some(libc::EIO | libc::EINVAL)) => self.cuts = false,
                done => return self.sent(done),
            }
        }
        let mut each = data.chunks(segment);
        // Once the first is out there is no way back: what does not fit any more is lost.
        each.next().map_or(Ok(()), |first| self.one(first))?;
        for datagram in each {
            let _ = self.one(datagram);
        }
        Ok(())
    }

    fn one(&mut self, data: &[u8]) -> io::Result<()> {
        // SAFETY: the kernel reads `data.len()` bytes of `data`, which lives through the call.
        let n = unsafe { libc::send(self.source.as_raw_fd(), data.as_ptr().cast(), data.len(), 0) };
        self.sent(if n < 0 { Err(io::Error::last_os_error()) } else { Ok(()) })
    }

    fn sent(&mut self, done: io::Result<()>) -> io::Result<()> {
        let Err(e) = done else { return Ok(()) };
        self.note(&e);
        if e.kind() == io::ErrorKind::WouldBlock {
            self.source.not_writable();
            return Err(e);
        }
        Ok(())
    }

    /// From now on packets carry these ECN bits: as an option of the socket, it costs nothing for each of them.
    fn mark(&mut self, ecn: Option<EcnCodepoint>) {
        self.ecn = ecn;
        let bits = ecn.map_or(0, |e| e as libc::c_int);
        let _ = match self.v4 {
            true => set(&self.source_fd(), libc::IPPROTO_IP, libc::IP_TOS, bits),
            false => set(&self.source_fd(), libc::IPPROTO_IPV6, libc::IPV6_TCLASS, bits),
        };
    }

    fn source_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        // SAFETY: the source owns the descriptor, and lives as long as the borrow of `self`.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(self.source.as_raw_fd()) }
    }
}

/// Room for one control message with a `u16`.
#[repr(C, align(8))]
struct Control([u8; 32]);

/// One `sendmsg(2)` whose data the kernel cuts.
fn send_segments(fd: libc::c_int, data: &[u8], segment: u16) -> io::Result<()> {
    let mut control = Control([0; 32]);
    let mut part = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    // SAFETY: all zeroes is a valid `msghdr`. The control buffer has room for one message with a `u16`, and its alignment;
    // all that the header points to lives through the call, which only reads it.
    let n = unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut control).cast();
        header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as _;
        let message = libc::CMSG_FIRSTHDR(&raw const header);
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = UDP_SEGMENT;
        (*message).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
        libc::CMSG_DATA(message).cast::<u16>().write_unaligned(segment);
        libc::sendmsg(fd, &raw const header, 0)
    };
    if n < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
