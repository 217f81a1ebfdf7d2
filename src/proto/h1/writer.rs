//! The writing half of an HTTP/1.1 connection, either role: what gathers goes out in one write.
use crate::message::{Category, Fault, Side};
use edge_io::{
    head::{FieldRef, Head},
    http1,
    stream::Stream,
};
use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

/// How the body being written is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// `Content-Length`: so many bytes are still due.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// To the end of the connection (answers to HTTP/1.0 clients).
    Close,
    /// An upgraded connection: bytes, then the end of our direction.
    Tunnel,
}

/// Pieces up to this are copied behind what is gathered, bytes.
const COPY: usize = 8 * 1024;
/// What may gather before it must go out, bytes.
const GATHER: usize = 16 * 1024;
/// Capacity kept between connections, bytes.
const KEEP: usize = 32 * 1024;

/// Bytes that go out, and the framing of the body they belong to.
pub struct Writer {
    /// Gathered bytes; those before `sent` have gone out.
    pub out: Vec<u8>,
    sent: usize,
    framing: Framing,
    /// Bytes still due of a chunk whose size line is gathered.
    chunk_left: usize,
    finished: bool,
    side: Side,
    /// The socket took no more: somebody has to wait.
    pub blocked: bool,
    /// Bytes handed to the stream since `begin`.
    pub bytes: u64,
}

impl Writer {
    /// One that writes to a client (`Side::Downstream`) or to an endpoint (`Side::Upstream`).
    pub fn new(side: Side) -> Writer {
        Writer {
            out: Vec::with_capacity(2048),
            sent: 0,
            framing: Framing::None,
            chunk_left: 0,
            finished: false,
            side,
            blocked: false,
            bytes: 0,
        }
    }

    /// Forgets everything, for another message or connection.
    pub fn reset(&mut self) {
        self.out.clear();
        self.sent = 0;
        self.out.shrink_to(KEEP);
        self.begin(Framing::None);
        self.blocked = false;
    }

    /// The head is gathered in `out`; its body is framed so.
    pub fn begin(&mut self, framing: Framing) {
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
        self.framing = framing;
        self.chunk_left = 0;
        self.finished = false;
        self.bytes = 0;
    }

    /// How the body is framed.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether nothing of what was gathered has gone out.
    pub fn is_untouched(&self) -> bool {
        self.bytes == 0 && self.sent == 0
    }

    /// Changes whenever the kernel takes something, encrypted or not.
    pub fn progress_mark(&self, stream: &Stream) -> u64 {
        self.bytes.wrapping_sub(stream.unsent() as u64)
    }

    /// Whether anything waits to go out.
    pub fn is_flushed(&self) -> bool {
        self.sent == self.out.len()
    }

    /// Takes some of `data`, which is not empty: how many bytes.
    pub fn poll_push(&mut self, cx: &mut Context<'_>, stream: &Stream, data: &[u8]) -> Poll<Result<usize, Fault>> {
        if self.out.len() - self.sent > GATHER {
            ready!(self.poll_flush(cx, stream))?;
        }
        let allowed = match self.framing {
            Framing::None => return Poll::Ready(Err(self.fault("a body where there is none"))),
            Framing::Length(left) => {
                let n = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                if n == 0 {
                    return Poll::Ready(Err(self.fault("more body than its length")));
                }
                n
            }
            Framing::Chunked if self.chunk_left > 0 => self.chunk_left.min(data.len()),
            Framing::Chunked => {
                http1::write_chunk_start(&mut self.out, data.len());
                self.chunk_left = data.len();
                data.len()
            }
            Framing::Close | Framing::Tunnel => data.len(),
        };
        let data = &data[..allowed];
        let n = if data.len() <= COPY {
            self.out.extend_from_slice(data);
            data.len()
        } else {
            ready!(self.poll_write_with(cx, stream, data))?
        };
        match &mut self.framing {
            Framing::Length(left) => *left -= n as u64,
            Framing::Chunked => {
                self.chunk_left -= n;
                if self.chunk_left == 0 {
                    self.out.extend_from_slice(b"\r\n");
                }
            }
            _ => {}
        }
        Poll::Ready(Ok(n))
    }

    /// Writes what is gathered and some of `data` in one call: how many bytes of `data`, at least one.
    fn poll_write_with(&mut self, cx: &mut Context<'_>, stream: &Stream, data: &[u8]) -> Poll<Result<usize, Fault>> {
        loop {
            let head = &self.out[self.sent..];
            let tried = if head.is_empty() {
                stream.try_send(data)
            } else {
                stream.try_sendv(&[IoSlice::new(head), IoSlice::new(data)])
            };
            let waiting = head.len();
            match tried {
                Ok(n) => {
                    self.progress(n.min(waiting));
                    if n > waiting {
                        self.bytes += (n - waiting) as u64;
                        self.blocked = false;
                        return Poll::Ready(Ok(n - waiting));
                    }
                }
                Err(e) => ready!(self.poll_unblocked(cx, stream, e))?,
            }
        }
    }

    /// Ends the body and flushes. Trailers travel only in chunks.
    pub fn poll_finish(
        &mut self,
        cx: &mut Context<'_>,
        stream: &Stream,
        trailers: Option<&Head>,
    ) -> Poll<Result<(), Fault>> {
        if !self.finished {
            match self.framing {
                Framing::Length(1..) => return Poll::Ready(Err(self.fault("less body than its length"))),
                Framing::Chunked => match trailers {
                    Some(t) => http1::write_last_chunk(&mut self.out, t.fields()),
                    None => http1::write_last_chunk(&mut self.out, std::iter::empty()),
                },
                _ => {}
            }
            self.finished = true;
        }
        ready!(self.poll_flush(cx, stream))?;
        if self.framing == Framing::Tunnel {
            stream.shutdown_write();
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the body is complete and gone: the kernel has all of it.
    pub fn is_complete(&self, stream: &Stream) -> bool {
        self.finished && self.is_flushed() && stream.is_flushed()
    }

    /// Hands what is gathered to the kernel.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>, stream: &Stream) -> Poll<Result<(), Fault>> {
        while self.sent < self.out.len() {
            match stream.try_send(&self.out[self.sent..]) {
                Ok(n) => self.progress(n),
                Err(e) => ready!(self.poll_unblocked(cx, stream, e))?,
            }
        }
        let flushed = stream.poll_flush(cx);
        self.blocked = flushed.is_pending();
        flushed.map_err(|_| self.fault("connection reset while writing"))
    }

    fn progress(&mut self, n: usize) {
        self.sent += n;
        self.bytes += n as u64;
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
    }

    fn poll_unblocked(&mut self, cx: &mut Context<'_>, stream: &Stream, e: io::Error) -> Poll<Result<(), Fault>> {
        if e.kind() != io::ErrorKind::WouldBlock {
            return Poll::Ready(Err(self.fault("connection reset while writing")));
        }
        self.blocked = true;
        stream.poll_writable(cx).map(Ok)
    }

    fn fault(&self, detail: &'static str) -> Fault {
        match self.side {
            Side::Upstream => Fault::new(Category::UpstreamReset, Side::Upstream, detail),
            _ => Fault::new(Category::ClientAbort, Side::Downstream, detail),
        }
    }
}

/// Appends fields, each on its line.
pub fn write_fields<'f>(out: &mut Vec<u8>, fields: impl Iterator<Item = FieldRef<'f>>) {
    for field in fields {
        http1::write_valid_field(out, field.name, field.value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_was_cut_off_starts_anew() {
        let mut writer = Writer::new(Side::Upstream);
        writer.out.extend_from_slice(b"half of this went out");
        writer.progress(7);
        assert!(!writer.is_flushed() && !writer.is_untouched());
        writer.reset();
        assert!(writer.is_flushed() && writer.is_untouched());
        writer.out.extend_from_slice(b"GET / HTTP/1.1");
        assert_eq!(&writer.out[writer.sent..], b"GET / HTTP/1.1");
    }
}
