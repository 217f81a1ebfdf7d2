//! A stream socket of a shard with or without TLS: the same calls for both.
use crate::{tcp, tls};
use std::{
    io::{self, IoSlice},
    os::fd::{AsRawFd, RawFd},
    task::{Context, Poll},
};

/// A connected stream socket, plain or TLS.
pub struct Stream {
    tcp: tcp::Stream,
}

impl From<tcp::Stream> for Stream {
    /// A plain one.
    fn from(tcp: tcp::Stream) -> Stream {
        Stream { tcp }
    }
}

impl Stream {
    /// Takes the next bytes into `room`, which is not empty: how many, 0 at the end of input.
    #[inline]
    pub fn try_recv(&self, room: &mut [u8]) -> io::Result<usize> {
        self.tcp.try_recv(room)
    }

    /// Hands over some of `bytes`: how many.
    #[inline]
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.try_send(bytes)
    }

    /// Hands over some of `parts`, in order: how many bytes.
    #[inline]
    pub fn try_sendv(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.tcp.try_sendv(parts)
    }

    /// Ready when a read may succeed or tell the end.
    #[inline]
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.tcp.poll_readable(cx)
    }

    /// Ready when a write may succeed.
    #[inline]
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.tcp.poll_writable(cx)
    }

    /// Ready when the kernel has taken everything that was handed over.
    #[inline]
    pub fn poll_flush(&self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Whether the kernel has taken everything that was handed over.
    #[inline]
    pub fn is_flushed(&self) -> bool {
        true
    }

    /// Whether an idle connection is still usable: nothing to read and not closed. May cost system calls.
    pub fn is_quiet(&self) -> bool {
        self.tcp.is_quiet()
    }

    /// Whether the peer's end of input is the next thing to read. Costs a system call.
    pub fn at_end(&self) -> bool {
        self.tcp.at_end()
    }

    /// Whether bytes or the end have come on this connection, as far as the reactor has seen.
    #[inline]
    pub fn has_news(&self) -> bool {
        self.tcp.has_news()
    }

    /// Whether the peer has finished sending or the socket failed (bytes may wait before the end).
    pub fn is_closed(&self) -> bool {
        self.tcp.is_closed()
    }

    /// Ends our sending direction in an orderly way: the peer reads the end of input after what was sent.
    pub fn shutdown_write(&self) {
        self.tcp.shutdown_write();
    }

    /// What the TLS handshake agreed on; `None` on a plain connection.
    pub fn tls(&self) -> Option<&tls::Info> {
        None
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.tcp.as_raw_fd()
    }
}
