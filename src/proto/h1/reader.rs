//! The reading half of an HTTP/1.1 connection, either role: heads, then bodies piece by piece.
use super::{client_fault, upstream_fault};
use crate::message::{Category, Fault, Fill, Side};
use edge_io::{
    buf::{self, Buf},
    head::Head,
    http1::{self, BodyDecoder, HeadParser, Limits, Reject},
    stream::Stream,
};
use std::{
    io,
    task::{Context, Poll, ready},
};

/// Bytes that came and what they mean so far. Holds a buffer only while bytes wait in it.
pub struct Reader {
    buf: Buf,
    parser: HeadParser,
    decoder: BodyDecoder,
    /// Body bytes at the front of `buf`, and framing bytes right behind them.
    piece: usize,
    behind: usize,
    trailers: Head,
    side: Side,
    /// The last read filled all the room: bulk transfer, worth a large buffer.
    bulk: bool,
    /// Bytes taken from the socket since `begin_message`.
    pub received: u64,
    /// Bytes of the message that were understood so far, head and framing included.
    pub taken: u64,
}

impl Reader {
    /// One that reads requests (`Side::Downstream`) or responses (`Side::Upstream`).
    pub fn new(side: Side) -> Reader {
        let parser = if side == Side::Upstream { HeadParser::response() } else { HeadParser::request() };
        Reader {
            buf: Buf::none(),
            parser,
            decoder: BodyDecoder::new(http1::Framing::None),
            piece: 0,
            behind: 0,
            trailers: Head::new(),
            side,
            bulk: false,
            received: 0,
            taken: 0,
        }
    }

    /// Whether bytes wait that no message has claimed yet.
    pub fn has_leftover(&self) -> bool {
        !self.buf.is_empty()
    }

    /// Bytes that no message has claimed yet.
    pub fn leftover(&self) -> &[u8] {
        self.buf.filled()
    }

    /// Reads until the bytes that wait begin with `start`, or cannot any more; which of the two.
    pub fn poll_starts_with(&mut self, cx: &mut Context<'_>, stream: &Stream, start: &[u8]) -> Poll<bool> {
        loop {
            let here = self.buf.filled();
            if here.len() >= start.len() || !start.starts_with(here) {
                return Poll::Ready(here.starts_with(start));
            }
            if !matches!(ready!(self.poll_more(cx, stream)), Ok(1..)) {
                return Poll::Ready(false);
            }
        }
    }

    /// Gives them away.
    pub fn take_leftover(&mut self) -> Buf {
        std::mem::replace(&mut self.buf, Buf::none())
    }

    /// Forgets everything, for another connection.
    pub fn reset(&mut self) {
        self.buf = Buf::none();
        self.begin_message();
    }

    /// The next bytes begin a message.
    pub fn begin_message(&mut self) {
        self.parser.reset();
        self.decoder = BodyDecoder::new(http1::Framing::None);
        self.piece = 0;
        self.behind = 0;
        self.bulk = false;
        self.received = 0;
        self.taken = 0;
    }

    /// After an informational head another one follows.
    pub fn begin_next_head(&mut self) {
        self.parser.reset();
    }

    /// Reads until the head is complete. `Ok(false)`: the peer closed before its first byte.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        stream: &Stream,
        limits: &Limits,
        head: &mut Head,
    ) -> Poll<Result<bool, Fault>> {
        loop {
            if !self.buf.is_empty()
                && let Some(n) = self.parser.parse(self.buf.filled(), limits, head).map_err(|r| self.fault_of(r))?
            {
                self.buf.consume(n);
                self.taken += n as u64;
                return Poll::Ready(Ok(true));
            }
            if ready!(self.poll_more(cx, stream))? == 0 {
                return Poll::Ready(match self.buf.is_empty() {
                    true => Ok(false),
                    false => Err(self.cut_short()),
                });
            }
        }
    }

    /// The head is done; its body is framed so.
    pub fn begin_body(&mut self, framing: http1::Framing) {
        self.decoder = BodyDecoder::new(framing);
        self.trailers.clear();
    }

    /// Whether the message's body has been read to its end.
    pub fn is_done(&self) -> bool {
        self.piece == 0 && self.decoder.is_done()
    }

    /// Waits for body data, or the end.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, stream: &Stream, limits: &Limits) -> Poll<Result<Fill, Fault>> {
        loop {
            if self.piece > 0 {
                return Poll::Ready(Ok(Fill::Data));
            }
            if self.decoder.is_done() {
                return Poll::Ready(Ok(Fill::End));
            }
            if !self.buf.is_empty() && self.decode(limits)? {
                continue;
            }
            if ready!(self.poll_more(cx, stream))? == 0 {
                self.decoder.end_of_input().map_err(|_| self.cut_short())?;
                self.decoder = BodyDecoder::new(http1::Framing::None); // the close was the end of the body
            }
        }
    }

    /// Takes one step in what is buffered; `false` when it needs more bytes.
    fn decode(&mut self, limits: &Limits) -> Result<bool, Fault> {
        let step = match self.decoder.decode(self.buf.filled(), limits, &mut self.trailers) {
            Ok(step) => step,
            Err(reject) => return Err(self.fault_of(reject)),
        };
        self.taken += step.consumed as u64;
        if step.data.is_empty() {
            self.buf.consume(step.consumed);
            return Ok(step.consumed > 0 || step.done);
        }
        self.buf.consume(step.data.start);
        self.piece = step.data.len();
        self.behind = step.consumed - step.data.end;
        Ok(true)
    }

    /// Body bytes that wait.
    pub fn data(&self) -> &[u8] {
        self.buf.filled().get(..self.piece).unwrap_or_default()
    }

    /// The first `n` of them are done with.
    pub fn consume(&mut self, n: usize) {
        let n = n.min(self.piece);
        self.piece -= n;
        self.buf.consume(n);
        if self.piece == 0 {
            self.buf.consume(self.behind);
            self.behind = 0;
        }
    }

    /// Trailer fields that came.
    pub fn trailers(&self) -> &Head {
        &self.trailers
    }

    /// Waits for bytes: how many came, 0 at the end of input. Leases a buffer only when there is something to read.
    fn poll_more(&mut self, cx: &mut Context<'_>, stream: &Stream) -> Poll<Result<usize, Fault>> {
        loop {
            if stream.poll_readable(cx).is_pending() {
                if self.buf.is_empty() && !self.buf.is_none() {
                    self.buf = Buf::none();
                }
                return Poll::Pending;
            }
            if self.buf.is_none() || (self.bulk && self.buf.is_empty() && self.buf.capacity() < buf::LARGE) {
                self.buf = if self.bulk { Buf::large() } else { Buf::small() };
            }
            if !self.buf.make_room() {
                return Poll::Ready(Err(self.fault_of(Reject::HeadTooLarge)));
            }
            let room = self.buf.spare();
            let size = room.len();
            match stream.try_recv(room) {
                Ok(n) => {
                    self.buf.advance(n);
                    self.bulk = n == size;
                    self.received += n as u64;
                    return Poll::Ready(Ok(n));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(Err(self.broken())),
            }
        }
    }

    fn fault_of(&self, reject: Reject) -> Fault {
        if self.side == Side::Upstream { upstream_fault(reject) } else { client_fault(reject) }
    }

    fn cut_short(&self) -> Fault {
        match self.side {
            Side::Upstream => Fault::new(Category::UpstreamReset, Side::Upstream, "closed in the middle of a message"),
            _ => Fault::new(Category::ClientAbort, Side::Downstream, "closed in the middle of a message"),
        }
    }

    fn broken(&self) -> Fault {
        match self.side {
            Side::Upstream => Fault::new(Category::UpstreamReset, Side::Upstream, "connection reset while reading"),
            _ => Fault::new(Category::ClientAbort, Side::Downstream, "connection reset while reading"),
        }
    }
}
