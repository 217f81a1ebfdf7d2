//! Plain blocking sockets for clients and origins: bytes out, strictly read messages in, nothing done behind one's back.
use super::{
    message::{self, Kind, Message},
    tls::TlsStream,
};
use std::{
    fmt,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::{linux::net::SocketAddrExt, unix::net::UnixStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Where somebody listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addr {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket at a path.
    Unix(PathBuf),
    /// A unix socket in the abstract namespace.
    Abstract(String),
}

impl Addr {
    /// Reads what `edge status` prints.
    pub fn parse(text: &str) -> Addr {
        match text.strip_prefix("unix:") {
            Some(path) => match path.strip_prefix('@') {
                Some(name) => Addr::Abstract(name.to_owned()),
                None => Addr::Unix(path.into()),
            },
            None => Addr::Tcp(text.parse().unwrap_or_else(|e| panic!("address {text:?}: {e}"))),
        }
    }

    /// As an endpoint in a configuration.
    pub fn endpoint(&self) -> String {
        match self {
            Addr::Tcp(a) => format!("http://{a}"),
            other => other.to_string(),
        }
    }

    /// The TCP address.
    ///
    /// # Panics
    /// When it is another kind.
    pub fn tcp(&self) -> SocketAddr {
        match self {
            Addr::Tcp(a) => *a,
            other => panic!("{other} is not TCP"),
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Addr::Tcp(a) => write!(f, "{a}"),
            Addr::Unix(p) => write!(f, "unix:{}", p.display()),
            Addr::Abstract(n) => write!(f, "unix:@{n}"),
        }
    }
}

/// A connected stream socket.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(TlsStream),
}

impl Stream {
    /// Connects.
    ///
    /// # Errors
    /// As the socket says.
    pub fn connect(to: &Addr) -> io::Result<Stream> {
        Ok(match to {
            Addr::Tcp(a) => {
                let s = TcpStream::connect_timeout(a, super::PATIENCE)?;
                s.set_nodelay(true)?;
                Stream::Tcp(s)
            }
            Addr::Unix(p) => Stream::Unix(UnixStream::connect(p)?),
            Addr::Abstract(n) => {
                Stream::Unix(UnixStream::connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(n)?)?)
            }
        })
    }

    /// The TCP socket, if it is one.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Stream::Tcp(s) => Some(s),
            Stream::Tls(s) => Some(s.socket()),
            Stream::Unix(_) => None,
        }
    }

    fn patience(&self, d: Duration) -> io::Result<()> {
        let tcp = |s: &TcpStream| s.set_read_timeout(Some(d)).and_then(|()| s.set_write_timeout(Some(d)));
        match self {
            Stream::Tcp(s) => tcp(s),
            Stream::Tls(s) => tcp(s.socket()),
            Stream::Unix(s) => s.set_read_timeout(Some(d)).and_then(|()| s.set_write_timeout(Some(d))),
        }
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Stream::Tcp(s) => s.shutdown(how),
            Stream::Tls(s) if how == Shutdown::Write => s.shutdown_write(),
            Stream::Tls(s) => s.socket().shutdown(how),
            Stream::Unix(s) => s.shutdown(how),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.read(buf),
            Stream::Tls(s) => s.read(buf),
            Stream::Unix(s) => s.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.write(buf),
            Stream::Tls(s) => s.write(buf),
            Stream::Unix(s) => s.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One end of a connection that remembers what it has read and not yet used.
pub struct Wire {
    stream: Stream,
    unread: Vec<u8>,
    closed: bool,
    record: Option<Arc<Mutex<Vec<u8>>>>,
}

impl Wire {
    /// Connects as a client.
    ///
    /// # Panics
    /// When that fails.
    pub fn connect(to: &Addr) -> Wire {
        Wire::try_connect(to).unwrap_or_else(|e| panic!("connect to {to}: {e}"))
    }

    /// Connects as a client.
    ///
    /// # Errors
    /// As the socket says.
    pub fn try_connect(to: &Addr) -> io::Result<Wire> {
        Wire::over(Stream::connect(to)?, None)
    }

    /// Over a socket that stands; all bytes read are also appended to `record`.
    ///
    /// # Errors
    /// As the socket says.
    pub fn over(stream: Stream, record: Option<Arc<Mutex<Vec<u8>>>>) -> io::Result<Wire> {
        stream.patience(super::PATIENCE)?;
        Ok(Wire { stream, unread: Vec::new(), closed: false, record })
    }

    /// Gives up reads and writes after so long.
    pub fn patience(&self, d: Duration) {
        self.stream.patience(d).expect("a socket takes a timeout");
    }

    /// Sends all of it.
    ///
    /// # Panics
    /// When the peer does not take it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the peer takes what is sent");
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// As the socket says.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Reads once. `Ok(0)`: the peer has closed.
    ///
    /// # Errors
    /// As the socket says; a timeout is `WouldBlock`.
    pub fn fill(&mut self) -> io::Result<usize> {
        let mut buf = [0; 65536];
        let n = self.stream.read(&mut buf)?;
        let bytes = &buf[..n];
        if let Some(record) = &self.record {
            record.lock().expect("recording does not panic").extend_from_slice(bytes);
        }
        self.unread.extend_from_slice(bytes);
        self.closed |= n == 0;
        Ok(n)
    }

    /// What was read and not yet used.
    pub fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Waits until the peer has closed its side, and leaves what it sent where it is.
    ///
    /// # Errors
    /// `TimedOut`.
    pub fn wait_hangup(&self) -> io::Result<()> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let Some(socket) = self.stream.tcp() else { return Err(io::ErrorKind::Unsupported.into()) };
        let mut fds = [PollFd::new(socket, PollFlags::RDHUP)];
        let patience = Timespec { tv_sec: super::PATIENCE.as_secs() as i64, tv_nsec: 0 };
        match poll(&mut fds, Some(&patience))? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }

    /// Reads a message; `None` when the peer closed before its first byte.
    ///
    /// # Errors
    /// The socket's, or `InvalidData` for a malformed or cut message.
    pub fn message(&mut self, kind: Kind) -> io::Result<Option<Message>> {
        self.parse(|bytes, closed| message::whole(bytes, kind, closed))
    }

    /// Reads a head and leaves the body; `None` when the peer closed before its first byte.
    ///
    /// # Errors
    /// The socket's, or `InvalidData` for a malformed or cut head.
    pub fn head(&mut self, kind: Kind) -> io::Result<Option<Message>> {
        self.parse(|bytes, _| message::head(bytes, kind))
    }

    fn parse(
        &mut self,
        read: impl Fn(&[u8], bool) -> message::Parsed<(Message, usize)>,
    ) -> io::Result<Option<Message>> {
        loop {
            if !self.unread.is_empty() {
                match read(&self.unread, self.closed) {
                    Ok(Some((m, taken))) => {
                        self.unread.drain(..taken);
                        return Ok(Some(m));
                    }
                    Ok(None) if self.closed => {
                        let what = format!("closed within a message: {:?}", String::from_utf8_lossy(&self.unread));
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
                    }
                    Ok(None) => {}
                    Err(e) => return Err(io::Error::new(io::ErrorKind::InvalidData, e)),
                }
            } else if self.closed {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    /// Reads a request, as an origin does.
    ///
    /// # Errors
    /// As [`Wire::message`].
    pub fn request(&mut self) -> io::Result<Option<Message>> {
        self.message(Kind::Request)
    }

    /// Reads the answer to anything but HEAD.
    ///
    /// # Panics
    /// When there is none, or none that is well-formed.
    pub fn response(&mut self) -> Message {
        self.message(Kind::Response).expect("a well-formed answer").expect("an answer before the connection closes")
    }

    /// Reads the answer to HEAD.
    ///
    /// # Panics
    /// When there is none, or none that is well-formed.
    pub fn response_to_head(&mut self) -> Message {
        self.message(Kind::ResponseToHead)
            .expect("a well-formed answer")
            .expect("an answer before the connection closes")
    }

    /// Sends a request and reads its answer.
    ///
    /// # Panics
    /// As [`Wire::response`].
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Message {
        self.send(request);
        self.response()
    }

    /// GETs a target with `Host: test`.
    ///
    /// # Panics
    /// As [`Wire::response`].
    pub fn get(&mut self, target: &str) -> Message {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"))
    }

    /// Takes what is there, at most `max` bytes, waiting for the first; empty when the peer has closed.
    ///
    /// # Errors
    /// The socket's.
    pub fn some(&mut self, max: usize) -> io::Result<Vec<u8>> {
        if self.unread.is_empty() && max > 0 {
            self.fill()?;
        }
        let now = max.min(self.unread.len());
        Ok(self.unread.drain(..now).collect())
    }

    /// Takes a line that ends in CRLF, without its end.
    ///
    /// # Errors
    /// The socket's, `UnexpectedEof`, or `InvalidData` for an endless line or one that is no text.
    pub fn line(&mut self) -> io::Result<String> {
        let mut from = 0;
        loop {
            if let Some(end) = self.unread[from..].windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..from + end + 2).collect();
                let text = String::from_utf8(line[..line.len() - 2].to_vec());
                return text.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e));
            }
            if self.unread.len() > 1 << 20 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "an endless line"));
            }
            from = self.unread.len().saturating_sub(1);
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads until so many bytes are there and takes them.
    ///
    /// # Errors
    /// The socket's, or `UnexpectedEof`.
    pub fn take(&mut self, len: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < len {
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.unread.drain(..len).collect())
    }

    /// Reads and forgets so many bytes.
    ///
    /// # Errors
    /// The socket's, or `UnexpectedEof`.
    pub fn skip(&mut self, mut len: usize) -> io::Result<()> {
        loop {
            let now = len.min(self.unread.len());
            self.unread.drain(..now);
            len -= now;
            if len == 0 {
                return Ok(());
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads to the end and returns everything that came, also when it ends in a reset.
    ///
    /// # Panics
    /// When the end does not come in time.
    pub fn read_to_close(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) if timed_out(&e) => {
                    panic!("the peer does not close; so far: {:?}", String::from_utf8_lossy(&self.unread))
                }
                Err(_) => break,
            }
        }
        std::mem::take(&mut self.unread)
    }

    /// The peer closes now, with nothing more.
    ///
    /// # Panics
    /// When it sends more or does not close.
    pub fn expect_end(&mut self) {
        let more = self.read_to_close();
        assert!(more.is_empty(), "bytes behind the last message: {:?}", String::from_utf8_lossy(&more));
    }

    /// No more bytes will be sent; reading goes on.
    pub fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// When this value is dropped the peer sees a reset (TCP).
    pub fn reset_on_close(&self) {
        if let Stream::Tls(s) = &self.stream {
            s.end_abruptly();
        }
        if let Some(s) = self.stream.tcp() {
            socket2::SockRef::from(s).set_linger(Some(Duration::ZERO)).expect("a socket takes SO_LINGER");
        }
    }

    /// Nothing is said at the end of TLS, as when a connection is cut.
    pub fn end_without_close_notify(&self) {
        if let Stream::Tls(s) = &self.stream {
            s.end_abruptly();
        }
    }

    /// Another handle on the same socket, to send while this one reads.
    pub fn second(&self) -> Wire {
        let stream = match &self.stream {
            Stream::Tcp(s) => s.try_clone().map(Stream::Tcp),
            Stream::Tls(s) => s.second().map(Stream::Tls),
            Stream::Unix(s) => s.try_clone().map(Stream::Unix),
        };
        Wire { stream: stream.expect("a second handle"), unread: Vec::new(), closed: false, record: None }
    }

    /// Takes what was read and not yet used.
    pub fn take_unread(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unread)
    }

    /// Puts bytes before whatever is read next.
    pub fn restore(&mut self, bytes: Vec<u8>) {
        self.unread.splice(..0, bytes);
    }
}

/// Whether an error is a socket timeout.
pub fn timed_out(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
