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
    tls: Option<Box<tls::Session>>,
}

impl From<tcp::Stream> for Stream {
    /// A plain one.
    fn from(tcp: tcp::Stream) -> Stream {
        Stream { tcp, tls: None }
    }
}

impl Stream {
    /// One whose handshake is through.
    pub(crate) fn secure(tcp: tcp::Stream, session: tls::Session) -> Stream {
        Stream { tcp, tls: Some(Box::new(session)) }
    }

    /// Takes the next bytes into `room`, which is not empty: how many, 0 at the end of input. `WouldBlock` when there
    /// are none yet. With TLS the end is `close_notify`; an end of the connection without it is `UnexpectedEof`, and
    /// `InvalidData` means that the peer broke the protocol.
    #[inline]
    pub fn try_recv(&self, room: &mut [u8]) -> io::Result<usize> {
        match &self.tls {
            None => self.tcp.try_recv(room),
            Some(tls) => tls.try_recv(&self.tcp, room),
        }
    }

    /// Hands over some of `bytes`: how many. `WouldBlock` when the socket takes no more now. With TLS they may wait
    /// encrypted until `poll_flush`.
    #[inline]
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.tls {
            None => self.tcp.try_send(bytes),
            Some(tls) => tls.try_sendv(&self.tcp, &[IoSlice::new(bytes)]),
        }
    }

    /// Hands over some of `parts`, in order: how many bytes. As `try_send` otherwise.
    #[inline]
    pub fn try_sendv(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.tls {
            None => self.tcp.try_sendv(parts),
            Some(tls) => tls.try_sendv(&self.tcp, parts),
        }
    }

    /// Ready when a read may succeed or tell the end. With TLS there is something to read then.
    #[inline]
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.tls {
            None => self.tcp.poll_readable(cx),
            Some(tls) => tls.poll_readable(&self.tcp, cx),
        }
    }

    /// Ready when a write may succeed.
    #[inline]
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.tcp.poll_writable(cx)
    }

    /// Ready when the kernel has taken everything that was handed over.
    #[inline]
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.tls {
            None => Poll::Ready(Ok(())),
            Some(tls) => tls.poll_flush(&self.tcp, cx),
        }
    }

    /// Whether the kernel has taken everything that was handed over.
    #[inline]
    pub fn is_flushed(&self) -> bool {
        self.unsent() == 0
    }

    /// Bytes on their way to the kernel that it has not taken, at most `buf::LARGE`; 0 on a plain connection.
    #[inline]
    pub fn unsent(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.unsent())
    }

    /// Whether an idle connection is still usable: nothing to read and not closed. May cost system calls.
    pub fn is_quiet(&self) -> bool {
        match &self.tls {
            None => self.tcp.is_quiet(),
            Some(tls) => !self.is_closed() && !tls.has_news(&self.tcp, true),
        }
    }

    /// Whether the peer's end of input is the next thing to read. Costs a system call.
    pub fn at_end(&self) -> bool {
        match &self.tls {
            None => self.tcp.at_end(),
            Some(tls) => tls.at_end(&self.tcp),
        }
    }

    /// Whether bytes or the end have come on this connection, as far as the reactor has seen. With TLS only what is
    /// for the caller counts: tickets and other messages of the protocol are dealt with here.
    #[inline]
    pub fn has_news(&self) -> bool {
        match &self.tls {
            None => self.tcp.has_news(),
            Some(tls) => tls.has_news(&self.tcp, false),
        }
    }

    /// Whether the peer has finished sending or the socket failed (bytes may wait before the end).
    pub fn is_closed(&self) -> bool {
        self.tcp.is_closed() || self.tls.as_ref().is_some_and(|tls| tls.is_closed())
    }

    /// Ends our sending direction in an orderly way: the peer reads the end of input after what was sent. With TLS that
    /// is `close_notify`, then the end of the socket's direction.
    pub fn shutdown_write(&self) {
        match &self.tls {
            None => self.tcp.shutdown_write(),
            Some(tls) => tls.close(&self.tcp, true),
        }
    }

    /// To be called before an orderly end of the whole connection: with TLS sends `close_notify`, as far as the kernel
    /// takes it. Not before an end that is to be seen as an abort.
    pub fn close_notify(&self) {
        if let Some(tls) = &self.tls {
            tls.close(&self.tcp, false);
        }
    }

    /// What the TLS handshake agreed on; `None` on a plain connection.
    pub fn tls(&self) -> Option<&tls::Info> {
        self.tls.as_ref().map(|tls| tls.info())
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.tcp.as_raw_fd()
    }
}
