//! A client's socket: TCP or unix, with TLS or without, with what was read of it already.
use super::orders::Orders;
use bytes::{Buf, BytesMut};
use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How a client begins that speaks HTTP/2 without having agreed on it (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Room for what is read to tell, bytes: mostly a whole first request.
const FIRST_READ: usize = 2048;
/// What no protocol begins with: no status line, and a frame of no known type that is too large.
pub(super) const GARBAGE: &[u8] = b"\xff\xff\xff\xff\xff\xff\xff\xff\xffgarbage\r\n\r\n\0\0\0";

/// Where bytes come from.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    TlsTcp(Box<TlsStream<TcpStream>>),
    TlsUnix(Box<TlsStream<UnixStream>>),
}

impl Stream {
    /// The same behind a TLS handshake.
    pub async fn secured(self, acceptor: &TlsAcceptor) -> io::Result<Stream> {
        Ok(match self {
            Stream::Tcp(tcp) => Stream::TlsTcp(Box::new(acceptor.accept(tcp).await?)),
            Stream::Unix(unix) => Stream::TlsUnix(Box::new(acceptor.accept(unix).await?)),
            secured => secured,
        })
    }

    /// Whether ALPN chose HTTP/2; `None`: nothing was chosen.
    pub fn chose_h2(&self) -> Option<bool> {
        let chosen = match self {
            Stream::TlsTcp(tls) => tls.get_ref().1.alpn_protocol(),
            Stream::TlsUnix(tls) => tls.get_ref().1.alpn_protocol(),
            Stream::Tcp(_) | Stream::Unix(_) => None,
        };
        chosen.map(|name| name == b"h2")
    }

    /// Has it closed by a reset: what was sent and not received yet is lost. A unix socket knows none, and is closed.
    fn prepare_reset(&self) {
        let tcp = match self {
            Stream::Tcp(tcp) => tcp,
            Stream::TlsTcp(tls) => tls.get_ref().0,
            Stream::Unix(_) | Stream::TlsUnix(_) => return,
        };
        // If it fails the socket is gone already.
        let _ = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
    }
}

/// The socket of one connection.
pub(super) struct Wire {
    stream: Stream,
    /// Read already.
    first: BytesMut,
    orders: Rc<Orders>,
}

impl Wire {
    pub fn new(stream: Stream, orders: &Rc<Orders>) -> Wire {
        Wire { stream, first: BytesMut::new(), orders: orders.clone() }
    }

    /// Reads until it is clear whether the client begins as HTTP/2 does.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn begins_as_h2(&mut self) -> io::Result<bool> {
        loop {
            let n = self.first.len().min(PREFACE.len());
            if self.first.get(..n) != PREFACE.get(..n) {
                return Ok(false);
            }
            if n == PREFACE.len() {
                return Ok(true);
            }
            self.first.reserve(FIRST_READ);
            if self.stream.read_buf(&mut self.first).await? == 0 {
                return Ok(false);
            }
        }
    }

    /// What was read comes again.
    pub fn give_back(&mut self, read: &[u8]) {
        let behind = self.first.split();
        self.first.extend_from_slice(read);
        self.first.unsplit(behind);
    }

    /// Closes it with a reset.
    pub fn reset(self) {
        self.stream.prepare_reset();
    }

    fn poll_garbage(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.orders.garbage.get() > 0 {
            let left = self.orders.garbage.get();
            let rest = GARBAGE.get(GARBAGE.len().saturating_sub(left)..).unwrap_or_default();
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            self.orders.garbage.set(left.saturating_sub(n.max(1)));
        }
        Poll::Ready(Ok(()))
    }
}

/// Calls the same of whatever stream it is.
macro_rules! each {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
            Stream::TlsTcp($stream) => $call,
            Stream::TlsUnix($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, stream => stream.is_write_vectored())
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if wire.first.is_empty() {
            return Pin::new(&mut wire.stream).poll_read(cx, buf);
        }
        let n = wire.first.len().min(buf.remaining());
        buf.put_slice(wire.first.get(..n).unwrap_or_default());
        wire.first.advance(n);
        if wire.first.is_empty() {
            wire.first = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        ready!(wire.poll_garbage(cx))?;
        Pin::new(&mut wire.stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        ready!(wire.poll_garbage(cx))?;
        Pin::new(&mut wire.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        ready!(wire.poll_garbage(cx))?;
        Pin::new(&mut wire.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
