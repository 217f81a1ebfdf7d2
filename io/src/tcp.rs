//! Stream sockets of a shard, TCP and unix alike: non-blocking calls, and waiting by readiness.
use crate::{
    buf::Buf,
    reactor::{Reactor, Source},
};
use std::{
    future::poll_fn,
    io::{self, IoSlice},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    rc::Rc,
    task::{Context, Poll, ready},
};

/// A connected stream socket.
pub struct Stream {
    source: Source,
}

impl Stream {
    /// Takes over a connected, non-blocking stream socket.
    pub fn from_fd(reactor: &Rc<Reactor>, fd: OwnedFd) -> io::Result<Stream> {
        Ok(Stream { source: reactor.register(fd)? })
    }

    /// Begins a connection and waits until it stands. The caller bounds the time.
    pub async fn connect(reactor: &Rc<Reactor>, addr: &socket2::SockAddr) -> io::Result<Stream> {
        let tcp = addr.is_ipv4() || addr.is_ipv6();
        let kind = socket2::Type::STREAM.nonblocking().cloexec();
        let socket = socket2::Socket::new(addr.domain(), kind, tcp.then_some(socket2::Protocol::TCP))?;
        if tcp {
            socket.set_tcp_nodelay(true)?;
        }
        let waiting = match socket.connect(addr) {
            Ok(()) => false,
            Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => true,
            Err(e) => return Err(e),
        };
        let stream = Stream::from_fd(reactor, socket.into())?;
        if waiting {
            poll_fn(|cx| stream.source.poll_writable(cx)).await;
            stream.take_error()?;
        }
        Ok(stream)
    }

    /// Asks for another congestion control than the system's, by the kernel's name for it; `reno` is always there.
    /// Errors: not a TCP socket, or the name is not allowed (`net.ipv4.tcp_allowed_congestion_control`).
    pub fn set_congestion_control(&self, name: &str) -> io::Result<()> {
        let len = name.len() as libc::socklen_t;
        // SAFETY: `name` is valid for reads of `len` bytes during the call, which keeps nothing of it.
        let done = unsafe {
            libc::setsockopt(self.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_CONGESTION, name.as_ptr().cast(), len)
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn take_error(&self) -> io::Result<()> {
        let mut error: libc::c_int = 0;
        let mut len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: `error` and `len` are valid for the call and of the sizes told.
        let done = unsafe {
            libc::getsockopt(self.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, (&raw mut error).cast(), &raw mut len)
        };
        match (done, error) {
            (0, 0) => Ok(()),
            (0, e) => Err(io::Error::from_raw_os_error(e)),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Reads what is there into the spare room of `buf`: bytes read, 0 at the end of input, pending when there is
    /// nothing yet. `buf` must have room.
    #[inline]
    pub fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut Buf) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.source.poll_readable(cx));
            match self.try_recv(buf.spare()) {
                Ok(n) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(n));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    /// `poll_recv` to await.
    pub async fn recv(&self, buf: &mut Buf) -> io::Result<usize> {
        poll_fn(|cx| self.poll_recv(cx, buf)).await
    }

    /// One `recv(2)`. Keeps readiness right: a short read means that the rest has not come yet.
    pub fn try_recv(&self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            // SAFETY: the kernel writes at most `room.len()` bytes into `room`.
            let n = unsafe { libc::recv(self.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), libc::MSG_DONTWAIT) };
            if let Ok(n) = usize::try_from(n) {
                if n < room.len() {
                    self.source.drained();
                }
                return Ok(n);
            }
            let e = io::Error::last_os_error();
            match e.kind() {
                io::ErrorKind::Interrupted => continue,
                io::ErrorKind::WouldBlock => self.source.not_readable(),
                _ => {}
            }
            return Err(e);
        }
    }

    /// Whether an idle connection is still usable: nothing to read and not closed. Costs a `recv(2)` with `MSG_PEEK`.
    pub fn is_quiet(&self) -> bool {
        if self.source.is_closed() {
            return false;
        }
        let mut byte = 0u8;
        // SAFETY: at most one byte is written into `byte`.
        let n = unsafe { libc::recv(self.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_DONTWAIT | libc::MSG_PEEK) };
        n < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
    }

    /// Whether the peer's end of input is the next thing to read. Costs a `recv(2)` with `MSG_PEEK`.
    pub fn at_end(&self) -> bool {
        let mut byte = 0u8;
        // SAFETY: at most one byte is written into `byte`.
        let n = unsafe { libc::recv(self.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_DONTWAIT | libc::MSG_PEEK) };
        n == 0 || (n < 0 && io::Error::last_os_error().kind() != io::ErrorKind::WouldBlock)
    }

    /// Whether the reactor has seen bytes or the end on this connection, without a system call. Events that the kernel
    /// holds back until the next turn are not seen.
    #[inline]
    pub fn has_news(&self) -> bool {
        self.source.is_readable()
    }

    /// One `send(2)`: how many bytes the kernel took.
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: the kernel reads at most `bytes.len()` bytes of `bytes`.
            let n = unsafe { libc::send(self.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
            if let Ok(n) = usize::try_from(n) {
                return Ok(n);
            }
            self.send_failed()?;
        }
    }

    /// One gathering `sendmsg(2)`: how many bytes the kernel took.
    pub fn try_sendv(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            // SAFETY: a zeroed msghdr is valid; IoSlice is ABI-compatible with iovec (std's promise), and the slices
            // outlive the call, which only reads them.
            let n = unsafe {
                let mut message: libc::msghdr = std::mem::zeroed();
                message.msg_iov = parts.as_ptr().cast_mut().cast();
                message.msg_iovlen = parts.len() as _;
                libc::sendmsg(self.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            };
            if let Ok(n) = usize::try_from(n) {
                return Ok(n);
            }
            self.send_failed()?;
        }
    }

    /// After a failed send: `Ok` to try again at once.
    fn send_failed(&self) -> io::Result<()> {
        let e = io::Error::last_os_error();
        match e.kind() {
            io::ErrorKind::Interrupted => return Ok(()),
            io::ErrorKind::WouldBlock => self.source.not_writable(),
            _ => {}
        }
        Err(e)
    }

    /// Ready when a write may succeed.
    #[inline]
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.source.poll_writable(cx)
    }

    /// Ready when a read may succeed or tell the end.
    #[inline]
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.source.poll_readable(cx)
    }

    /// Whether the peer has finished sending or the socket failed (bytes may wait before the end).
    pub fn is_closed(&self) -> bool {
        self.source.is_closed()
    }

    /// Ends our sending direction: the peer reads the end of input after what was sent.
    pub fn shutdown_write(&self) {
        // SAFETY: no pointers.
        unsafe { libc::shutdown(self.as_raw_fd(), libc::SHUT_WR) };
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.source.as_raw_fd()
    }
}

/// A listening socket of a shard.
pub struct Listener {
    source: Source,
}

impl Listener {
    /// Takes over a listening, non-blocking socket.
    pub fn from_fd(reactor: &Rc<Reactor>, fd: OwnedFd) -> io::Result<Listener> {
        Ok(Listener { source: reactor.register(fd)? })
    }

    /// The next connection: close-on-exec and non-blocking, with the peer's address.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(OwnedFd, socket2::SockAddr)>> {
        loop {
            ready!(self.source.poll_readable(cx));
            match self.try_accept() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.source.not_readable(),
                Err(e) if matches!(e.raw_os_error(), Some(libc::EINTR | libc::ECONNABORTED)) => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn try_accept(&self) -> io::Result<(OwnedFd, socket2::SockAddr)> {
        // SAFETY: the storage and its length are valid for accept4, which writes at most that much; a non-negative
        // result is a new descriptor that we own.
        unsafe {
            socket2::SockAddr::try_init(|storage, len| {
                let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
                let fd = libc::accept4(self.source.as_raw_fd(), storage.cast(), len, flags);
                match fd {
                    0.. => Ok(OwnedFd::from_raw_fd(fd)),
                    _ => Err(io::Error::last_os_error()),
                }
            })
        }
    }
}

/// Sets `TCP_NODELAY` on an accepted TCP socket that does not inherit it.
pub fn set_nodelay(fd: &OwnedFd) {
    let _ = socket2::SockRef::from(fd).set_tcp_nodelay(true);
}
